"""New algorithms: a folder that deploys as it is and passes its own test, for each type."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple, get_args

from voxloom.errors import InvalidInput
from voxloom.models import AlgorithmType

TYPES: tuple[str, ...] = get_args(AlgorithmType)
_SEVERAL = ("Image2MultiRegionSegmentation", "Image2Alignment", "Image2Embedding")
"""Types whose outputs hold more than one array, so that they go into a folder."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")


class _Template(NamedTuple):
    base: str
    inference: str
    """The lines of `inference`."""
    given: str
    """What the test runs it on."""
    then: str
    """What the test expects."""


_IMAGES = "np.random.default_rng(0).random((3, 32, 32), np.float32)"
_IMAGE2IMAGE = _Template(
    "Image2ImageRunner",
    """
        # (N, H, W): one image per file, stacked. What is returned is written as one image per file.
        # Of float32 at least: a factor times a number of 8 or 16 bits may be larger than these can hold.
        result = np.empty(data.shape, np.result_type(data.dtype, np.float32))
        for index, image in enumerate(data):
            result[index] = image * args.get("factor", 2.0)
            self.set_progress((index + 1) / len(data))
        return result
""",
    _IMAGES,
    'np.testing.assert_allclose([one["image"] for one in outputs], images * 2.0)',
)
_IMAGE2SEGMENTATION = _Template(
    "Image2SegmentationRunner",
    """
        # (N, H, W): one image per file, stacked. What is returned is written as one mask per file.
        return (data > args.get("factor", 2.0) * data.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
""",
    _IMAGES,
    'assert {one["mask"].dtype.name for one in outputs} == {"uint8"}',
)
_SEGMENTATION2SEGMENTATION = _Template(
    "Segmentation2SegmentationRunner",
    """
        # (N, H, W): one mask per file, stacked. What is returned is written as one mask per file.
        return (data > 0).astype(np.uint8)
""",
    "(np.random.default_rng(0).random((3, 32, 32)) > 0.5).astype(np.uint8) * 7",
    'np.testing.assert_array_equal([one["mask"] for one in outputs], images > 0)',
)
_MULTI = _Template(
    "Image2MultiRegionSegmentationRunner",
    """
        # (N, H, W): one image per file, stacked. What is returned is one dict of masks, by region, per image.
        level = args.get("factor", 2.0) / 4
        return [{"dark": (one < level).astype(np.uint8), "bright": (one >= level).astype(np.uint8)} for one in data]
""",
    _IMAGES,
    'assert outputs[0]["region_names"] == ["dark", "bright"]',
)
_ALIGNMENT = _Template(
    "Image2AlignmentRunner",
    """
        # (N, H, W): one image per file, stacked. What is returned is N - 1 matrices, each to the image before.
        return [np.eye(3) for _ in range(len(data) - 1)]
""",
    _IMAGES,
    "assert len(outputs) == 2",
)
_EMBEDDING = _Template(
    "Image2EmbeddingRunner",
    """
        # (N, H, W): one image per file, stacked. What is returned is (N, D): one vector per image.
        return np.stack([data.mean(axis=(1, 2)), data.std(axis=(1, 2))], axis=1).astype(np.float32)
""",
    _IMAGES,
    'assert outputs[0]["features"].size == 2',
)
_GENERIC = _Template(
    "BaseRunner",
    """
        # One dict of arrays per file.
        self.set_progress(0.5)
        factor = np.float32(args.get("factor", 2.0))
        return [{name: array * factor for name, array in item.items()} for item in data]
""",
    '{"image": np.ones((2, 3, 4), np.float32)}',
    'np.testing.assert_allclose(outputs[0]["image"], 2.0)',
)
_TEMPLATES: Mapping[str, _Template] = {
    "Image2Image": _IMAGE2IMAGE,
    "Image2Segmentation": _IMAGE2SEGMENTATION,
    "Image2MultiRegionSegmentation": _MULTI,
    "Image2Alignment": _ALIGNMENT,
    "Image2Embedding": _EMBEDDING,
    "Segmentation2Segmentation": _SEGMENTATION2SEGMENTATION,
    "Generic": _GENERIC,
    "Undefined": _GENERIC,
}
_STEPS = """
    def preprocess(self, input_data, args):
        # One dict per file, of all datasets that it holds. A .npy or .tif is sent as one dataset, `image`; another name
        # is what `voxloom run --dataset NAME` says. Fields of Anything make sure of what is there.
        return self.fetch_data(input_data["input_dataset_ids"], Anything)
"""
_LAST_STEP = """
    def postprocess(self, data, args):
        return self.post_data(data, Anything)
"""
_SCHEMA = """

class Anything(DataSchema):
    model_config = ConfigDict(extra="allow")
"""
_LEARNING = """
    def load_assets(self):
        # Called once per process. What is set here stays, and is locked.
        self.model = json.loads(self.fetch_asset("files/model.json").getvalue())

    def train(self, training_data, args):
        # Learn from the samples, and save what was learnt in place of the asset: once at least, as often as you like.
        dataset = self.get_training_dataset(training_data)
        ids = [one for sample in dataset[:, "image"] for one in sample]
        levels = [self.task_handler.fetch_data([one], ImageSchema)[0]["image"].mean() for one in ids]
        model = {"level": float(np.mean(levels))}
        self.set_state(model)
        self.save_checkpoint({"files/model.json": json.dumps(model).encode()}, model)
"""
_TRAINING_TEST = """
    def test_it_learns(self):
        samples = [[{"image": [np.full((4, 4), 3.0, np.float32)]}]]
        (checkpoint,) = testing.train(FOLDER, samples)
        assert checkpoint.properties == {"level": 3.0}
"""


def check_name(name: str) -> str:
    """Raises InvalidInput for a name that an algorithm, and a folder, should not have."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name[:100]!r} cannot be the name of an algorithm: begin with a letter and use letters, digits, - and _, "
            "100 at most."
        )
    return name


def files_of(name: str, algorithm_type: str, *, trainable: bool = False) -> dict[str, str]:
    """The files of a new algorithm, by their paths. Raises InvalidInput for a type that there is not."""
    template = _TEMPLATES.get(algorithm_type)
    if template is None:
        raise InvalidInput(f"There is no type {algorithm_type!r}; choose among {', '.join(TYPES)}.")
    files = {
        "pyproject.toml": _pyproject(check_name(name), algorithm_type),
        "Runner.py": _runner(template, trainable=trainable),
        f"test_{name.replace('-', '_')}.py": _test(template, trainable=trainable),
        "README.md": _readme(name, algorithm_type, trainable=trainable),
    }
    return files | ({"files/model.json": json.dumps({"level": 0.0}) + "\n"} if trainable else {})


def _pyproject(name: str, algorithm_type: str) -> str:
    return f'''[project]
name = "{name}"
version = "1.0" # MAJOR.MINOR; deploying a changed folder again adds a minor version by itself

[tool.voxloom]
algorithm_type = "{algorithm_type}"
description = "What it does, in one sentence."
tags = ["new"]
supported_devices = ["cpu"]
removable = true # may be deleted over REST

[[tool.voxloom.additional_parameters]]
name = "factor"
description = "What it is for."
config = {{ type = "float_range", default = 2.0, min = 0.0, max = 100.0, step = 0.1 }}
'''


def _runner(template: _Template, *, trainable: bool) -> str:
    generic = template.base == "BaseRunner"
    names = sorted({template.base, *(["DataSchema"] if generic else []), *(["ImageSchema"] if trainable else [])})
    imports = [
        *(["import json\n"] if trainable else []),
        "import numpy as np",
        *(["from pydantic import ConfigDict"] if generic else []),
    ]
    return (
        "\n".join([*imports, f"from voxloom.runner import {', '.join(names)}"])
        + ("\n" + _SCHEMA.rstrip("\n") if generic else "")
        + f"\n\n\nclass Runner({template.base}):"
        + (_LEARNING if trainable else "")
        + (_STEPS if generic else "")
        + "\n    def inference(self, data, args):"
        + template.inference
        + (_LAST_STEP if generic else "")
    )


def _test(template: _Template, *, trainable: bool) -> str:
    return f"""import unittest
from pathlib import Path

import numpy as np

from voxloom import testing

FOLDER = Path(__file__).parent


class Test(unittest.TestCase):
    def test_it_runs(self):
        images = {template.given}
        outputs = testing.run(FOLDER, images)
        {template.then}
{_TRAINING_TEST if trainable else ""}"""


def _readme(name: str, algorithm_type: str, *, trainable: bool) -> str:
    out = "out" if algorithm_type in _SEVERAL else "out.h5"
    training = f"{f'voxloom train {name} -d image=FILE':<39} # learn\n" if trainable else ""
    return f"""# {name}

An algorithm of type {algorithm_type}.

```
python -m unittest                      # its own test, without a server; pytest runs it, too
voxloom check .                         # what a deploy would say
voxloom debug . FILE -o debugged        # run it here on a file: .h5, .npy or .tif
voxloom deploy .                        # put it on the server
{f"voxloom run {name} FILE -o {out}":<39} # run it there
{training}```

`python` is the one that Voxloom is installed in.
"""
