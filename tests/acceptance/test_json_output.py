"""What commands print with --json, on a real system, is what `voxloom.cli.answers` promises."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from tests.acceptance.nursery import Nursery
from tests.acceptance.support import Footing
from voxloom.cli.answers import ANSWERS, LINES
from voxloom.models import Problem


class Program:
    """`voxloom … --json`, its answers looked at."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self._nursery, self._folder = nursery, folder
        self._environment = {**os.environ, "NO_COLOR": "1"}
        self.checked: set[str] = set()

    def use(self, url: str, token: str) -> None:
        self._environment |= {"VOXLOOM_URL": url, "VOXLOOM_TOKEN": token}

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._nursery.run(*words, "--json", environment=self._environment, cwd=self._folder)

    def told(self, command: str, *more: str) -> str:
        """Its one document, or its lines; fails where they are not what they should be."""
        done = self._run(*command.split(), *more)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        self.checked.add(command)
        if command in LINES:
            for line in done.stdout.splitlines():
                TypeAdapter(LINES[command]).validate_json(line)
        else:
            TypeAdapter(ANSWERS[command]).validate_json(done.stdout)
        return done.stdout

    def refused(self, *words: str) -> Problem:
        done = self._run(*words)
        assert done.returncode == 1, (words, done.stdout)
        return Problem.model_validate_json(done.stdout)


def test_every_command_tells_programs_what_is_promised(
    closed_system: Footing, nursery: Nursery, tmp_path: Path
) -> None:
    program = Program(nursery, tmp_path)
    # Whoever runs the server
    first = json.loads(program.told("admin init", "--data", str(closed_system.data)))
    program.use(closed_system.start().url, Path(first["file"]).read_text().strip())
    program.told("admin user add", "mia", "--name", "Mia")
    program.told("admin project add", "lab")
    program.told("admin member set", "lab", "mia", "viewer")
    program.told("admin limits", "lab", "--weight", "2")
    program.told("admin retention", "lab", "--files", "2")
    made = json.loads(program.told("token create", "--for", "mia"))
    program.told("passwd", "mia", "--one-time")
    for command in ("whoami", "token list", "admin user list", "admin project list"):
        assert program.told(command).strip(), command
    for command, *more in (("admin member list", "lab"), ("token revoke", made["token_id"])):
        program.told(command, *more)
    assert json.loads(program.told("audit", "-n", "3", "--by", "me")), "nobody has done anything"
    for command, *more in (
        ("admin member remove", "lab", "mia"),
        ("admin user logout", "mia"),
        ("admin project rm", "lab", "--yes", "--all"),
        ("admin user disable", "mia"),
        ("admin user enable", "mia"),
        ("admin user remove", "mia", "--yes"),
    ):
        program.told(command, *more)
    np.save(tmp_path / "scan.npy", np.ones((2, 8, 8), np.float32))
    # An author's day
    program.told("version")
    program.told("new", "mine", "--trainable")
    program.told("check", "mine")
    program.told("debug", "mine", "scan.npy", "-o", "debugged")
    program.told("deploy", "mine")
    # A scientist's
    ran = json.loads(program.told("run", "mine", "scan.npy", "-o", "out.tif"))
    run, file = ran["execution"]["execution_id"], ran["execution"]["output_dataset_ids"][0]
    assert ran["saved"] == ["out.tif"]
    program.told("train", "mine", "-d", "image=scan.npy")
    for command in ("ls", "ls files", "ls trainings", "checkpoints", "queues", "workers", "dead list"):
        assert program.told(command).strip(), command
    for command, *more in (("status", run), ("logs", run), ("save", run, "later.h5"), ("info", file)):
        program.told(command, *more)
    program.told("keep", "files", file)
    program.told("release", "files", file)
    program.told("ls files", "--expiring", "--within", "7")
    # What is handed on
    program.told("bundle keygen", "key")
    program.told("bundle build", "all.vxb", "mine", "--key-file", "key")
    program.told("bundle inspect", "all.vxb", "--key-file", "key")
    program.told("bundle import", "all.vxb", "--key-file", "key")
    program.told("export", "mine", "1")
    program.told("dead replay", "--all")
    # What is refused is a problem; a doctor's findings are an answer, whatever they are
    assert program.refused("stop", run).code == "execution_not_stoppable"
    assert program.refused("dead", "show", "none").code == "dead_letter_not_found"
    examined = program._run("doctor")
    TypeAdapter(ANSWERS["doctor"]).validate_json(examined.stdout)
    program.told("rm", "mine", "1", "--yes")
    assert {*ANSWERS, *LINES} - program.checked == {
        *("stop", "dead show", "doctor", "login", "logout"),
        *("admin user link", "admin user unlink"),  # which need an OpenID provider: test_gateway_oidc.py
    }
