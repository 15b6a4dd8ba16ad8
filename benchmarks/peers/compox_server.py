"""Compox with its own store in memory, which no setting of it chooses: its best case. Runs in Compox's environment, as
`python -m benchmarks.peers.compox_server CONFIG`."""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ["COMPOX_DISABLE_CLI"] = "1"  # It would read our command line.

import compox.components.api_builder as builder
from compox.components.server_builder import build_server
from compox.config.server_settings import get_server_settings
from compox.database_connection.InMemoryConnection import InMemoryConnection


class Memory(InMemoryConnection):  # type: ignore[misc]  # Compox is not in the environment that is checked
    s3_client = None

    def list_objects(self, collection_name: str) -> list[Any]:
        """As its routes want them, which are used to those of S3."""
        return [{"Key": key} for key in self.store.get(collection_name, {})]


def main(config: str) -> None:
    store = Memory()
    builder.build_database_connection = lambda settings: store
    settings = get_server_settings(config, verbose=False)
    server = build_server(builder.build_api(settings, with_lifespan=True), settings)
    server.config.host = "127.0.0.1"
    server.run()


if __name__ == "__main__":
    main(sys.argv[1])
