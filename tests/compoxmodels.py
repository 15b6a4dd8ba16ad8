"""Compox's own models of what goes over REST, as its 3.2.0 wheel has them, in a folder that only a child process sees.

`python -m tests.compoxmodels` installs it; a test that needs it does so itself.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WANTED = "compox==3.2.0"
PLACE = Path(sys.prefix) / "compox-3.2.0"
"""Beside the environment's own packages, so it goes with them; what it needs (pydantic) comes from those."""
MISSING = f"Compox's models are not there: pip could not install {WANTED}. Run `make test` where the package index is."

# Reads [{"where", "model", "many", "body"}] and says what does not fit, as [{"where", "said"}].
_CHILD = """
import json, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from compox import pydantic_models as models

def faults(one):
    model = getattr(models, one["model"])
    for body in one["body"] if one["many"] else [one["body"]]:
        yield from ([] if model is models.ErrorResponse else sorted(set(model.model_fields) - set(body)))
        try:
            model.model_validate(body)
        except ValueError as error:
            yield str(error)

given = json.load(sys.stdin)
json.dump([{"where": one["where"], "said": said} for one in given for said in faults(one)], sys.stdout)
"""
_FIELDS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from compox import pydantic_models as models
json.dump({name: sorted(getattr(models, name).model_fields) for name in json.load(sys.stdin)}, sys.stdout)
"""


def installed() -> Path:
    """Where it lies; installed first if it is not there. Raises RuntimeError."""
    with (Path(sys.prefix) / ".compox-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not PLACE.is_dir():
            _install(PLACE.with_suffix(".new"))
    return PLACE


def _install(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    quietly = ["--disable-pip-version-check", "--quiet", "--no-deps", "--no-compile"]
    command = [sys.executable, "-m", "pip", "install", *quietly, "--target", str(place), WANTED]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{MISSING}\n{done.stderr[-2000:]}")
    place.rename(PLACE)


def faults_of(answers: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """What Compox's models say of answers, each `{"where", "model", "many", "body"}`: fields that are not there (of
    what is no error) and values that they refuse."""
    faults: list[dict[str, str]] = _asked(_CHILD, answers)
    return faults


def fields_of(names: Sequence[str]) -> dict[str, list[str]]:
    """The fields of some of its models."""
    fields: dict[str, list[str]] = _asked(_FIELDS, names)
    return fields


def _asked(program: str, given: Any) -> Any:
    command = [sys.executable, "-I", "-c", program, str(installed())]
    done = subprocess.run(command, input=json.dumps(given), check=False, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    return json.loads(done.stdout)


if __name__ == "__main__":
    installed()
