"""`python -m voxloom.compat Runner.py [ARGUMENTS]`: runs a file as Python does, with Compox's names within reach."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from voxloom.compat import install


def main(arguments: list[str]) -> int:
    if not arguments or not Path(arguments[0]).is_file():
        named = f"There is no file {arguments[0]}." if arguments else "Which file?"
        sys.stderr.write(f"{named} Use: python -m voxloom.compat Runner.py\n")
        return 2
    install()
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
