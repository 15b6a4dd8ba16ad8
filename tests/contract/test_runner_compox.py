"""Algorithms written for Compox in real runner processes, and in the processes that those start."""

from __future__ import annotations

import pytest

from tests.contract.test_runner_process import Bench
from tests.contract.test_runner_process import bench as bench

SOURCE = """
import multiprocessing

from compox.algorithm_utils.BaseRunner import BaseRunner
from compox.exceptions import CompoxAssetError
from compox.tasks.context_handler import current_handler
from work import double


class Runner(BaseRunner):
    def preprocess(self, input_data, args={}):
        return self.task_handler is current_handler.get()

    def inference(self, data, args={}):
        try:
            self.fetch_asset("unknown")
        except CompoxAssetError:
            with multiprocessing.get_context("METHOD").Pool(2) as pool:
                return [data, *pool.map(double, [1, 2])]

    def postprocess(self, data, args={}):
        return [str(one) for one in data]
"""
WORK = """
from compox.algorithm_utils.io_schemas import ImageSchema


def double(number):
    return number * 2 if ImageSchema.__module__ == "voxloom.runner.schemas" else None
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_its_names_are_there_also_in_children(bench: Bench, method: str) -> None:
    ended, desk = await bench.run(bench.module(Runner=SOURCE.replace("METHOD", method), work=WORK))
    assert ended.outputs == ["True", "2", "4"], desk.log
