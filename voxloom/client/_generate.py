"""Makes the synchronous client out of the asynchronous one: `python -m voxloom.client._generate [--check]`.

The asynchronous code is the only one to edit. Names are exchanged word by word and `ruff` formats what comes out, so
the result reads as if written by hand.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent / "_async"
TARGET = Path(__file__).parent / "_sync"
NOTICE = "# Generated from voxloom/client/_async/{name} by `python -m voxloom.client._generate`; edit that file.\n\n"

_WORDS = {
    "AsyncGenerator": "Generator",
    "AsyncIterator": "Iterator",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "_aio": "_sio",
    "_async": "_sync",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_raw": "iter_raw",
    "aread": "read",
    "asynccontextmanager": "contextmanager",
    "asynchronous": "synchronous",
}
_KEYWORDS = re.compile(r"\b(?:async (?=def|with|for)|await )")
_WORD = re.compile(r"\b(?:" + "|".join(map(re.escape, _WORDS)) + r")\b")
_GENERATOR = re.compile(r"\bAsyncGenerator\[(\w+), None\]")
_CLASS = re.compile(r"\bAsync(?=[A-Z])")
"""Ours, and those of the HTTP library."""

_TIDY = (
    *("--fix-only", "--unsafe-fixes", "--quiet", "--select", "I,SIM117,UP028"),
    *("--config", "lint.isort.known-first-party=['voxloom']"),
)
"""Order of imports, and what asyncio had to write at more length."""


def make_synchronous(source: str) -> str:
    """The same code without asyncio; not yet formatted."""
    text = _GENERATOR.sub(r"Generator[\1, None, None]", _KEYWORDS.sub("", source))
    text = _WORD.sub(lambda found: _WORDS[found[0]], text)
    return _CLASS.sub("", text)


def generate(source: Path) -> str:
    if source.name == "__init__.py":
        return '"""The synchronous client, generated: edit `_async` and run `python -m voxloom.client._generate`."""\n'
    text = NOTICE.format(name=source.name) + make_synchronous(source.read_text())
    return _ruff("format", "-", given=_ruff("check", *_TIDY, "-", given=text))


def _ruff(*arguments: str, given: str) -> str:
    place = ["--stdin-filename", str(TARGET / "generated.py")]
    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "ruff", *arguments[:-1], *place, arguments[-1]],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def outdated() -> dict[Path, str]:
    """What has to be written, by file; empty when the synchronous client is up to date."""
    wanted = {TARGET / source.name: generate(source) for source in sorted(SOURCE.glob("*.py"))}
    return {path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text}


def main(arguments: list[str]) -> int:
    stale = outdated()
    for path, text in stale.items():
        sys.stdout.write(f"{'outdated' if '--check' in arguments else 'written'}: {path}\n")
        if "--check" not in arguments:
            path.write_text(text)
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
