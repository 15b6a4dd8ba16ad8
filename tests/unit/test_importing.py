"""Importing an algorithm, each in a Python of its own: import state is what is tested."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from voxloom.runner.importing import ModuleUnusable, check_runner_file, python_of, reaches_root

LOAD = """
import sys
from pathlib import Path
from voxloom.runner.importing import load_runner_class
Runner = load_runner_class(Path(sys.argv[1]))
{then}
"""


def algorithm(folder: Path, **files: str) -> Path:
    """Writes `pkg__sub__mod="..."` to pkg/sub/mod.py."""
    for name, text in files.items():
        path = folder / (name.replace("___", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def run_python(folder: Path, then: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOAD.format(then=then), str(folder)],
        capture_output=True,
        text=True,
        timeout=180,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


FORMS = {
    "import utils": "import utils\nvalue = utils.f()",
    "from utils import f": "from utils import f\nvalue = f()",
    "from folder without __init__": "from dependencies.utils import f\nvalue = f()",
    "import pkg.sub as s": "import pkg.sub as s\nvalue = s.f()",
    "from .utils import f": "from .utils import f\nvalue = f()",
    "from . import utils": "from . import utils\nvalue = utils.f()",
    "from .pkg.sub import f": "from .pkg.sub import f\nvalue = f()",
    "from .pkg import sub": "from .pkg import sub\nvalue = sub.f()",
    "a package that reaches up": "from up.deep import f\nvalue = f()",
    "a module that reaches sideways": "import side\nvalue = side.f()",
    "inside a function": "import importlib\nvalue = importlib.import_module('pkg.sub').f()",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_import_form_works(tmp_path: Path, form: str) -> None:
    returns_42 = "def f():\n    return 42\n"
    algorithm(
        tmp_path,
        Runner=f"{form}\nclass Runner:\n    answer = value\n",
        utils=returns_42,
        dependencies___utils=returns_42,
        pkg_____init__="",
        pkg___sub=returns_42,
        up_____init__="",
        up___deep="from ..utils import f\n",
        side="from .utils import f\n",
    )
    assert run_python(tmp_path, "print(Runner.answer)") == "42"


def test_a_module_imported_in_two_ways_is_loaded_once(tmp_path: Path) -> None:
    algorithm(
        tmp_path,
        Runner="import utils\nfrom . import utils as again\nclass Runner:\n    same = utils is again\n",
        utils="print('loaded')\n",
    )
    assert run_python(tmp_path, "print(Runner.same)").split() == ["loaded", "True"]


def test_a_plain_module_keeps_its_plain_name(tmp_path: Path) -> None:
    algorithm(tmp_path, Runner="from .model import Net\nclass Runner:\n    net = Net\n", model="class Net:\n    pass\n")
    assert run_python(tmp_path, "print(Runner.net.__module__)") == "model"


def test_a_folder_without_init_wins_over_an_installed_package_of_its_name(tmp_path: Path) -> None:
    algorithm(tmp_path, Runner="from yaml.mine import f\nclass Runner:\n    v = f\n", yaml___mine="f = 'mine'\n")
    assert run_python(tmp_path, "print(Runner.v)") == "mine"


def test_a_compiled_runner_works(tmp_path: Path) -> None:
    algorithm(tmp_path, Runner="from .utils import v\nclass Runner:\n    v = v\n", utils="v = 7\n")
    for name in ("Runner", "utils"):
        py_compile.compile(str(tmp_path / f"{name}.py"), str(tmp_path / f"{name}.pyc"), doraise=True)
        (tmp_path / f"{name}.py").unlink()
    assert run_python(tmp_path, "print(Runner.v)") == "7"


def test_a_runner_compiled_for_another_python_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "Runner.pyc").write_bytes((3394).to_bytes(2, "little") + b"\r\n" + bytes(12))
    with pytest.raises(ModuleUnusable, match=r"another Python.*compile it with"):
        check_runner_file(tmp_path)


def test_the_magic_number_tells_the_python() -> None:
    assert python_of((3495).to_bytes(2, "little")) == "Python 3.11"
    assert python_of((3571).to_bytes(2, "little")) == "Python 3.13"
    assert python_of(importlib.util.MAGIC_NUMBER) == f"Python 3.{sys.version_info.minor}"


def test_a_folder_without_runner_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModuleUnusable, match=r"no Runner\.py at its root"):
        check_runner_file(tmp_path)


def test_a_module_without_the_class_is_refused(tmp_path: Path) -> None:
    algorithm(tmp_path, Runner="x = 1\n")
    assert "no class named `Runner`" in run_python(tmp_path, "")


def test_a_runner_that_is_no_class_is_refused(tmp_path: Path) -> None:
    algorithm(tmp_path, Runner="Runner = 3\n")
    assert "is of type int" in run_python(tmp_path, "")


def test_child_processes_started_by_hand_find_the_modules(tmp_path: Path) -> None:
    algorithm(tmp_path, Runner="class Runner:\n    pass\n", utils="v = 'found'\n")
    then = "import subprocess; subprocess.run([sys.executable, '-c', 'import utils; print(utils.v)'])"
    assert run_python(tmp_path, then) == "found"


@pytest.mark.parametrize(
    ("source", "reaches"),
    [
        ("import os\n", False),
        ("from .x import y\n", True),
        ("    from . import y\n", True),
        ("from x.y import z\n", False),
    ],
)
def test_a_relative_import_at_the_root_is_seen(tmp_path: Path, source: str, reaches: bool) -> None:
    module = tmp_path / "m.py"
    module.write_text(source)
    assert reaches_root(module) is reaches


def test_a_package_that_stays_within_itself_does_not_reach_the_root(tmp_path: Path) -> None:
    algorithm(tmp_path, pkg___a="from .b import x\n", pkg___b="x = 1\n")
    assert reaches_root(tmp_path / "pkg") is False


@pytest.mark.parametrize("content", [b"", b"\0" * 20, importlib.util.MAGIC_NUMBER + bytes(12) + b"no code"])
def test_a_compiled_module_that_cannot_be_read_reaches_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pyc").write_bytes(content)
    assert reaches_root(tmp_path / "m.pyc") is False


def test_a_relative_import_in_a_compiled_package_is_seen(tmp_path: Path) -> None:
    algorithm(tmp_path, pkg_____init__="", pkg___sub="def f():\n    from ..utils import x\n")
    before = reaches_root(tmp_path / "pkg")
    py_compile.compile(str(tmp_path / "pkg/sub.py"), str(tmp_path / "pkg/sub.pyc"), doraise=True)
    (tmp_path / "pkg/sub.py").unlink()
    assert (before, reaches_root(tmp_path / "pkg")) == (True, True)


def test_a_folder_of_data_does_not_hide_an_installed_package(tmp_path: Path) -> None:
    algorithm(tmp_path, Runner="import numpy, wave\nclass Runner:\n    answer = numpy.pi > 3, hasattr(wave, 'open')\n")
    for name in ("numpy", "wave"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "weights.bin").write_bytes(b"")
    assert run_python(tmp_path, "print(*Runner.answer)") == "True True"
