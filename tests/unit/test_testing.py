"""Runners without a server: `voxloom.testing.run`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from voxloom import testing
from voxloom.errors import NotFound
from voxloom.imagefiles import write_image
from voxloom.runner import BaseRunner, GenericSchema, Image2ImageRunner
from voxloom.runner.exceptions import text_of

STACK = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)

ALGORITHM = """
from helper import OFFSET
from voxloom import Runner as Base
from voxloom.runner import VolumeSchema


class Runner(Base):
    def load_assets(self):
        self.factor = int(self.fetch_asset("files/factor.txt").getvalue())

    def preprocess(self, input_data, args):
        return self.fetch_data(input_data["input_dataset_ids"], VolumeSchema, "volume")

    def inference(self, data, args):
        import late
        self.set_progress(0.5)
        self.log_message(f"power {args['power']} on {self.device}")
        return [{"volume": late.power(item["volume"] * self.factor + OFFSET, args["power"])} for item in data]

    def postprocess(self, data, args):
        return self.post_data(data, VolumeSchema)
"""

PYPROJECT = """
[project]
name = "power"
version = "1.0"

[[tool.voxloom.additional_parameters]]
name = "power"
config = { type = "int_range", default = 3, min = 0, max = 4, step = 1 }
"""


class Adding(Image2ImageRunner):
    def inference(self, data: Any, args: Any) -> Any:
        return data + args.get("offset", 1)


class Echoing(BaseRunner):
    """Gives its inputs back, and a text."""

    def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
        return input_data["input_dataset_ids"]

    def inference(self, data: Any, args: Any) -> Any:
        return data

    def postprocess(self, data: Any, args: Any) -> list[str]:
        return [*data, "This is Foo!"]


def algorithm_in(folder: Path, *, offset: int = 1, factor: int = 10) -> Path:
    (folder / "files").mkdir(parents=True)
    (folder / "Runner.py").write_text(ALGORITHM)
    (folder / "helper.py").write_text(f"OFFSET = {offset}\n")
    (folder / "late.py").write_text("def power(array, exponent):\n    return array**exponent\n")
    (folder / "files" / "factor.txt").write_text(str(factor))
    return folder


class TestInputs:
    def test_a_stack_is_one_file_per_slice(self) -> None:
        outputs = testing.run(Adding, STACK, {"offset": 2})

        np.testing.assert_array_equal([output["image"] for output in outputs], STACK + 2)

    def test_an_image_is_one_file(self) -> None:
        assert len(testing.run(Adding, STACK[0])) == 1

    def test_a_list_is_one_file_per_item(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "input.h5", "w") as file:
            file["image"] = STACK[1]

        outputs = testing.run(
            Adding, [{"image": STACK[0]}, tmp_path / "input.h5", STACK[0], str(tmp_path / "input.h5")]
        )

        np.testing.assert_array_equal([output["image"] for output in outputs], STACK[[0, 1, 0, 1]] + 1)

    def test_a_colour_image_in_a_list_is_one_file(self) -> None:
        assert testing.run(Adding, [np.zeros((3, 4, 5), np.uint8)])[0]["image"].shape == (3, 4, 5)

    @pytest.mark.parametrize("name", ["stack.tif", "stack.npy"])
    def test_a_file_of_images_is_read_and_cut_into_slices(self, tmp_path: Path, name: str) -> None:
        write_image(tmp_path / name, STACK)

        assert len(testing.run(Adding, tmp_path / name)) == 2

    def test_a_path_without_a_file_is_missed(self) -> None:
        with pytest.raises(NotFound, match=r"no file gone\.h5"):
            testing.run(Adding, "gone.h5")

    def test_a_dataset_that_is_missing_is_told_with_those_that_are_there(self) -> None:
        with pytest.raises(ValidationError) as caught:
            testing.run(Adding, {"volume": STACK})

        assert text_of(caught.value).startswith("image is missing (while reading the file ")
        assert text_of(caught.value).endswith(", which holds volume)")

    def test_an_array_for_a_runner_of_no_family_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"pass \{name: array\}"):
            testing.run(Echoing, STACK)

    def test_another_type_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not an int"):
            testing.run(Echoing, [1])  # type: ignore[list-item]  # the mistake that is tested

    def test_there_may_be_none(self) -> None:
        assert testing.run(Echoing).ids == ["This is Foo!"]


class TestOutputs:
    def test_free_texts_are_ids_without_a_file(self) -> None:
        outputs = testing.run(Echoing, {"data": STACK})

        assert (len(outputs), outputs.ids[-1]) == (1, "This is Foo!")

    def test_what_is_posted_but_not_returned_is_no_output(self) -> None:
        class Leaving(Echoing):
            def inference(self, data: Any, args: Any) -> Any:
                self.post_data([{"data": STACK}], GenericSchema)
                return []

        assert testing.run(Leaving, {"data": STACK}) == []

    def test_the_files_are_gone_and_the_arrays_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

        outputs = testing.run(Adding, STACK)

        assert list(tmp_path.iterdir()) == []
        assert outputs[0]["image"].sum() == (STACK[0] + 1).sum()


class TestFolders:
    def test_an_algorithm_s_folder_is_run_with_its_modules_and_assets(self, tmp_path: Path) -> None:
        outputs = testing.run(algorithm_in(tmp_path / "a"), {"volume": STACK}, {"power": 2}, device="cuda")

        np.testing.assert_array_equal(outputs[0]["volume"], (STACK * 10 + 1) ** 2)
        assert (outputs.log, outputs.progress) == ([("INFO", "power 2 on cuda")], [0.5])

    def test_parameters_are_checked_and_filled_in_as_a_server_does_it(self, tmp_path: Path) -> None:
        folder = algorithm_in(tmp_path / "a")
        (folder / "pyproject.toml").write_text(PYPROJECT)

        assert testing.run(folder, {"volume": STACK}).log == [("INFO", "power 3 on cpu")]
        with pytest.raises(ValueError, match="'power' must be a whole number from 0 to 4"):
            testing.run(folder, {"volume": STACK}, {"power": 5})

    def test_a_folder_that_is_not_there_is_missed(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="There is no folder"):
            testing.run(tmp_path / "gone")

    def test_two_folders_with_modules_of_the_same_names_do_not_mix(self, tmp_path: Path) -> None:
        one, two = algorithm_in(tmp_path / "a"), algorithm_in(tmp_path / "b", offset=5, factor=1)
        results = [testing.run(folder, {"volume": STACK}, {"power": 1})[0]["volume"][0, 0, 1] for folder in (one, two)]

        assert results == [11, 6]

    def test_a_run_leaves_the_interpreter_as_it_was(self, tmp_path: Path) -> None:
        before = (list(sys.path), dict(os.environ), list(sys.meta_path))
        testing.run(str(algorithm_in(tmp_path / "a")), {"volume": STACK}, {"power": 1})

        assert (list(sys.path), dict(os.environ), list(sys.meta_path)) == before
        assert {"Runner", "helper", "late"} & sys.modules.keys() == set()

    def test_assets_may_lie_elsewhere(self, tmp_path: Path) -> None:
        folder, other = algorithm_in(tmp_path / "a"), algorithm_in(tmp_path / "b", factor=3)

        outputs = testing.run(folder, {"volume": STACK}, {"power": 1}, assets=other)

        np.testing.assert_array_equal(outputs[0]["volume"], STACK * 3 + 1)

    def test_an_asset_without_a_folder_says_how_to_give_one(self) -> None:
        class Needy(Echoing):
            def load_assets(self) -> None:
                self.fetch_asset("files/factor.txt")

        with pytest.raises(KeyError, match="as `assets`"):
            testing.run(Needy)


def test_importing_the_authors_side_brings_nothing_of_client_or_server() -> None:
    script = (
        "import sys, voxloom.runner, voxloom.testing; "
        "print([name for name in ('typer', 'rich', 'httpx', 'aiohttp', 'asyncio', 'messages', 'shared', 'services') "
        "if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
