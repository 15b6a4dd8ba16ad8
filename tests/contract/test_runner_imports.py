"""Every form of import in real runner processes, with two algorithms side by side whose modules have the same names."""

from __future__ import annotations

import asyncio
import py_compile
import shutil
from pathlib import Path

import pytest

from tests.contract.test_runner_process import Bench
from tests.contract.test_runner_process import bench as bench

SOURCE = """
import multiprocessing
import utils
import pkg.sub as s
import pkg.sub
from utils import f
from utils import f as g
from dependencies.utils import f as h
from pkg import sub
from pkg.sub import f as i
from . import utils as own
from .utils import f as j
from .pkg import sub as own_sub
from .pkg.sub import f as k
from .reaching import f as m
from reaching import f as n
from voxloom import Runner as Base


class Runner(Base):
    def preprocess(self, input_data, args):
        from utils import f as late
        modules = [utils, s, pkg.sub, sub, own, own_sub]
        return [*(module.f() for module in modules), *(each() for each in (f, g, h, i, j, k, m, n, late))]

    def inference(self, data, args):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return [*data, *(pool.apply(one) for one in (utils.f, h, s.f, k, m))]

    def postprocess(self, data, args):
        return [str(len(data)), *sorted(set(data))]
"""
TELLING = "def f():\n    return {name!r}\n"


def algorithm(bench: Bench, name: str) -> Path:
    files = {
        "utils": TELLING,
        "dependencies___utils": TELLING,
        "pkg_____init__": "from .sub import f as up\n",
        "pkg___sub": "from .. import utils\nfrom ..utils import f as own\n"
        + TELLING
        + "assert own() == utils.f() == f()\n",
        "reaching": "from .utils import f as own\nfrom .pkg.sub import f as other\n" + TELLING,
    }
    return bench.module(Runner=SOURCE, **{path: text.format(name=name) for path, text in files.items()})


def compile_all(module: Path) -> None:
    """As zips that Compox has exported: no source at all."""
    for source in list(module.rglob("*.py")):
        py_compile.compile(str(source), str(source.with_suffix(".pyc")), doraise=True)
        source.unlink()
    for folder in list(module.rglob("__pycache__")):
        shutil.rmtree(folder)


@pytest.mark.parametrize("compiled", [False, True], ids=["sources", "compiled"])
async def test_every_import_form_finds_the_algorithms_own_modules(bench: Bench, compiled: bool) -> None:
    modules = [algorithm(bench, name) for name in ("first", "second")]
    for module in modules if compiled else ():
        compile_all(module)
    results = await asyncio.gather(*map(bench.run, modules))
    assert [ended.outputs for ended, _ in results] == [["20", "first"], ["20", "second"]], results[0][1].log
