"""What Compox has and Voxloom has not: where to turn instead."""

from __future__ import annotations

INSTEAD = {
    "algorithm_cache": "nothing: processes are kept warm by the worker",
    "data_cache": "sessions: save_item_to_session, load_item_from_session",
    "weak_lru": "functools.lru_cache",
    "calculate_s3_etag": "nothing: authors do not speak to the store",
    "check_and_create_database_collections": "nothing: the server makes its own",
    "find_algorithm_by_id": "GET /api/v0/algorithm/all, or Client().algorithms()",
    "get_subprocess_fn": "the subprocess module",
    "database_connection": "self.fetch_data, self.post_data and self.fetch_asset",
    "fetch_algorithm": "POST /api/v0/execute-algorithm, or Client().submit(...)",
    "stop_request": "TaskStoppedException, which comes out of the next call into the runner API",
    "emergency_record_store": "nothing: records are kept by the server",
}


def gone(where: str, name: str) -> AttributeError:
    """What to raise for a name that is not there; it says what to use instead, where that is known."""
    instead = INSTEAD.get(name)
    hint = f" Use {instead}." if instead else ""
    return AttributeError(f"{where} has no {name!r} here.{hint}")
