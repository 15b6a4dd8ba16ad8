"""What Compox has and Voxloom has not: where to turn instead."""

from __future__ import annotations

from voxloom.runner.frameworks import gone

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
    "load_sample_manifest": "self.get_training_dataset(...)",
    "save_sample_manifest": "POST /api/v1/samples",
    "delete_sample_manifest": "DELETE /api/v1/samples/{sample_id}",
    "AlgorithmCheckpoint": "GET /api/v1/checkpoints, or self.save_checkpoint in a training",
    "CheckpointManifest": "GET /api/v1/checkpoints",
    "BaseConnection": "self.fetch_data, self.post_data and self.fetch_asset",
    "S3Connection": "self.fetch_data, self.post_data and self.fetch_asset: runs hold no credentials",
    "TempfileConnection": "voxloom.testing.run, or compox.tasks.DebuggingTaskHandler",
    "database_utils": "self.fetch_data, self.post_data and self.fetch_asset",
    "AlgorithmManager": "`voxloom ls`, `voxloom rm NAME MAJOR [--minor N]`, or GET /api/v0/algorithm/all",
    "pydantic_models": "voxloom.models",
    "routers": "the routes of the server: docs/rest.md",
    "parse_pyproject_toml": "AlgorithmDeployer(folder).manifest, or `voxloom check FOLDER`",
    "check_if_zip_is_importable": "`voxloom check FOLDER`, or voxloom.check(folder)",
    **dict.fromkeys(
        ("find_py_files", "find_pyc_files", "find_other_than_py_files"),
        "voxloom.bundle.list_folder(folder): all files that a deploy takes",
    ),
    **dict.fromkeys(
        ("calculate_etag", "get_py_files_hashes", "process_path_to_dict_key"),
        "nothing: the server names contents by itself",
    ),
    "store_algorithm": "`voxloom deploy FOLDER`, or Client().deploy(...)",
    "deploy_from_zip": "`voxloom deploy ZIP`, or Client().deploy(...)",
}


def missing(module: str, name: str) -> Exception:
    """What `__getattr__` of a module raises. Where it is known what to use instead, that is an ImportError: of an
    AttributeError `from module import name` would say nothing but that the name is not there."""
    error = gone(module, name)
    return ImportError(str(error), name=module) if name in INSTEAD else error


def refuse(module: str) -> ImportError:
    """What a module raises that Compox has and Voxloom has not."""
    _, _, name = module.rpartition(".")
    return ImportError(f"{module} is not here. Use {INSTEAD[name]}.", name=module)
