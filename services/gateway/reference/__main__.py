"""Writes docs/rest.md: `python -m services.gateway.reference [--check]`.

What it says of a route is in the route: its summary, the docstring of its handler, its examples, its models. What holds
for all routes is in the Markdown beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from services.gateway.reference.document import document

TARGET = Path(__file__).parents[3] / "docs" / "rest.md"


def main(arguments: list[str]) -> int:
    text = document()
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    checking = "--check" in arguments
    sys.stdout.write(f"{'outdated' if checking else 'written'}: {TARGET}\n")
    if not checking:
        TARGET.write_text(text)
    return int(checking)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
