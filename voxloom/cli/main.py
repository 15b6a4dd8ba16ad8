"""Where the `voxloom` program begins: a Ctrl-C while it loads is no traceback either."""

import sys


def main() -> None:
    try:
        from voxloom.cli.program import start
    except KeyboardInterrupt:
        sys.exit(130)
    start()
