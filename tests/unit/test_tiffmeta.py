"""Axes, voxel sizes and units of TIFF files: what is read of them, and that what is written says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from voxloom import imagefiles
from voxloom.client._inputs import Item, Wanted, plan_inputs
from voxloom.errors import InvalidInput
from voxloom.imagemeta import ATTRIBUTE, Meta, Slice, Source, follows, inherited, item_of, parse, stack_of, unit_named

VOLUME: np.ndarray[Any, np.dtype[np.uint16]] = np.arange(5 * 40 * 48, dtype=np.uint16).reshape(5, 40, 48)

IMAGEJ = {
    "imagej": True,
    "resolution": (5, 4),
    "metadata": {"axes": "ZYX", "unit": "micron", "spacing": 0.5, "finterval": 2.0},
}
OME = {
    "ome": True,
    "photometric": "minisblack",
    "metadata": {
        **{"axes": "ZYX", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm"},
        **{"PhysicalSizeY": 200, "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 0.5},
    },
}
PRINTED = {"photometric": "minisblack", "resolution": (300, 300), "resolutionunit": "INCH"}


def written(folder: Path, how: dict[str, Any], name: str = "in.tif", image: Any = VOLUME) -> Path:
    tifffile.imwrite(folder / name, image, **how)
    return folder / name


def meta_of(path: Path) -> Meta | None:
    with imagefiles.open_image(path) as source:
        return imagefiles.meta_of(source)


def test_imagej_says_its_unit_and_sizes(tmp_path: Path) -> None:
    assert meta_of(written(tmp_path, IMAGEJ)) == Meta(
        axes="zyx",
        spacing={"z": 0.5, "y": 0.25, "x": 0.2},
        unit="micrometer",
        time_step=2.0,
        time_unit="second",
        source=Source(format="imagej", unit="micron"),
    )


def test_ome_says_its_sizes_in_one_unit_whatever_it_has_for_each(tmp_path: Path) -> None:
    meta = meta_of(written(tmp_path, OME))
    assert meta is not None
    assert (meta.axes, meta.unit) == ("zyx", "micrometer")
    assert meta.spacing == pytest.approx({"z": 0.5, "y": 0.2, "x": 0.1})


def test_the_resolution_of_a_print_is_no_size_of_a_voxel(tmp_path: Path) -> None:
    meta = meta_of(written(tmp_path, PRINTED))
    assert meta is not None
    assert (meta.spacing, meta.unit, meta.source.resolution_unit) == ({}, None, "inch")


@pytest.mark.parametrize("how", [{"photometric": "minisblack"}, {"photometric": "minisblack", "metadata": None}])
def test_of_a_file_that_says_nothing_nothing_is_said(tmp_path: Path, how: dict[str, Any]) -> None:
    assert meta_of(written(tmp_path, how)) is None


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.h5"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "<u2", "float32", ">f4", "float64", ">f8", "int64"])
@pytest.mark.parametrize("how", [IMAGEJ, OME, PRINTED], ids=["ImageJ", "OME", "print"])
def test_what_is_known_is_written_and_read_back(tmp_path: Path, how: dict[str, Any], dtype: str, name: str) -> None:
    meta = meta_of(written(tmp_path, how))
    imagefiles.write_image(tmp_path / name, VOLUME.astype(dtype), meta=meta)
    back = meta_of(tmp_path / name)
    assert meta is not None
    assert back is not None
    assert back.spacing == pytest.approx(meta.spacing)
    same = ("axes", "unit", "time_step") if how is not PRINTED else ("axes",)
    assert [getattr(back, field) for field in same] == [getattr(meta, field) for field in same]
    np.testing.assert_array_equal(imagefiles.read_image(tmp_path / name), VOLUME.astype(dtype))


def test_others_find_the_same_tags_in_what_is_written(tmp_path: Path) -> None:
    meta = meta_of(written(tmp_path, IMAGEJ))
    imagefiles.write_image(tmp_path / "out.tif", VOLUME, meta=meta)
    with tifffile.TiffFile(tmp_path / "in.tif") as before, tifffile.TiffFile(tmp_path / "out.tif") as after:
        told = [
            (*file.pages.first.resolution, (file.imagej_metadata or {})["unit"], file.series[0].axes)
            for file in (before, after)
        ]
        assert after.is_imagej
    assert told[0] == told[1] == (5.0, 4.0, "micron", "ZYX")


def test_the_resolution_of_a_print_stays(tmp_path: Path) -> None:
    meta = meta_of(written(tmp_path, PRINTED))
    imagefiles.write_image(tmp_path / "out.tif", VOLUME, meta=meta)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        page = file.pages.first
        assert (page.resolution, int(page.resolutionunit)) == ((300.0, 300.0), tifffile.RESUNIT.INCH)


def test_sizes_that_imagej_and_ome_have_no_place_for_are_shown_to_others_in_centimetres(tmp_path: Path) -> None:
    meta = Meta(axes="nyx", spacing={"y": 10.0, "x": 10.0}, unit="micrometer")
    imagefiles.write_image(tmp_path / "out.tif", VOLUME, meta=meta)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        page = file.pages.first
        assert (page.resolution, int(page.resolutionunit)) == ((1000.0, 1000.0), tifffile.RESUNIT.CENTIMETER)
    assert meta_of(tmp_path / "out.tif") == meta.with_changes(source=Source(format="tiff"))


def test_a_colour_image_in_an_hdf5_file_that_says_so_is_no_stack(tmp_path: Path) -> None:
    meta = Meta(axes="syx", spacing={"y": 0.2, "x": 0.2}, unit="micrometer")
    imagefiles.write_image(tmp_path / "one.h5", np.zeros((3, 40, 48), np.uint8), meta=meta)
    imagefiles.write_image(tmp_path / "stack.h5", np.zeros((3, 40, 48), np.uint8), meta=Meta(axes="zyx"))
    with plan_inputs([tmp_path / "one.h5", tmp_path / "stack.h5"], Wanted("Image2Image")) as plan:
        assert plan.counts == [None, 3]
        assert isinstance(plan.uploads[0], Item)
        assert plan.uploads[0].meta == meta


def test_a_colour_image_keeps_its_sizes(tmp_path: Path) -> None:
    colours = np.zeros((3, 40, 48), np.uint8)
    meta = Meta(axes="syx", spacing={"y": 0.2, "x": 0.2}, unit="micrometer")
    imagefiles.write_image(tmp_path / "out.tif", colours, colour=True, meta=meta)
    with imagefiles.open_image(tmp_path / "out.tif") as source:
        back = imagefiles.meta_of(source)
        assert imagefiles.is_colour(source)
    assert back is not None
    assert back.axes == "syx"
    assert back.spacing == pytest.approx(meta.spacing)


# --- slices or colours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tifffile's own, that it will stop doing so
def test_three_slices_as_tifffile_saves_them_are_asked_about(tmp_path: Path, count: int) -> None:
    path = written(tmp_path, {}, image=VOLUME[:count])
    with pytest.raises(InvalidInput, match=rf"may be {count} slices or one image in {count} colours.*--axes zyx"):
        imagefiles.read_image(path)
    for axes, colour in (("zyx", False), ("syx", True)):
        with imagefiles.open_image(path, axes=axes) as source:
            assert (imagefiles.is_colour(source), source.shape) == (colour, (count, 40, 48))


@pytest.mark.parametrize(
    "how",
    [
        {"photometric": "minisblack"},
        {"metadata": {"axes": "ZYX"}, "photometric": "minisblack"},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}, "photometric": "minisblack"},
    ],
)
def test_three_slices_that_say_so_are_three_slices(tmp_path: Path, how: dict[str, Any]) -> None:
    with imagefiles.open_image(written(tmp_path, how, image=VOLUME[:3])) as source:
        assert not imagefiles.is_colour(source)


@pytest.mark.parametrize(("axes", "said"), [("zy", "are 2, and the array has 3"), ("abc", "are no axes")])
def test_axes_that_cannot_be_are_refused(tmp_path: Path, axes: str, said: str) -> None:
    path = written(tmp_path, {"photometric": "minisblack"})
    with pytest.raises(InvalidInput, match=said), imagefiles.open_image(path, axes=axes):
        pass


# --- the model --------------------------------------------------------------------------------------------

ZYX = Meta(axes="zyx", spacing={"z": 2.0, "y": 0.5, "x": 0.25}, unit="micrometer")


def test_equal_meanings_have_equal_bytes() -> None:
    again = parse('{"unit": "micrometer", "v": 1, "spacing": {"x": 0.25, "y": 0.5, "z": 2.0}, "axes": "zyx"}')
    assert again is not None
    assert (
        again.text() == ZYX.text() == ('{"axes":"zyx","spacing":{"x":0.25,"y":0.5,"z":2.0},"unit":"micrometer","v":1}')
    )


def test_what_a_later_version_adds_is_kept() -> None:
    text = '{"axes":"yx","origin":{"x":1.0},"v":1}'
    meta = parse(text)
    assert meta is not None
    assert meta.text() == text


@pytest.mark.parametrize(
    "text",
    [
        *(None, 7, "", "{", "[]", '{"axes":"yx","v":2}', '{"axes":"qq","v":1}', '{"axes":"zz","v":1}', b"\xff"),
        *(
            '{"axes":"yx","spacing":{"x":0}}',
            '{"axes":"yx","spacing":{"t":1}}',
            '{"axes":"yx","a":"%s"}' % ("a" * 40000),
        ),
    ],
)
def test_what_is_none_of_ours_says_nothing(text: object) -> None:
    assert parse(text) is None


def test_an_item_knows_its_place_and_the_stack_is_made_of_the_first() -> None:
    items = [item_of(ZYX, index, 5) for index in range(5)]
    assert items[3] == Meta(
        axes="yx",
        spacing={"y": 0.5, "x": 0.25},
        unit="micrometer",
        slice=Slice(axes="z", shape=[5], at=[3], spacing={"z": 2.0}),
    )
    assert stack_of(items[0], 5) == ZYX
    assert [follows(one, items[0], index) for index, one in enumerate(items)] == [True] * 5
    assert not follows(items[2], items[0], 3)


@pytest.mark.parametrize("first", [item_of(ZYX, 1, 5), item_of(ZYX, 0, 9), ZYX.with_changes(axes="yx")])
def test_images_that_are_no_whole_stack_are_a_row_of_items(first: Meta) -> None:
    assert stack_of(first, 5).axes == "nyx"


@pytest.mark.parametrize(
    ("given", "made", "axes", "spacing"),
    [
        ((5, 8, 9), (5, 8, 9), "zyx", {"z": 2.0, "y": 0.5, "x": 0.25}),
        ((5, 8, 9), (5, 4, 9), "zyx", {"z": 2.0}),
        ((5, 8, 9), (8, 9), None, None),
        ((5, 8, 9), (7,), None, None),
    ],
)
def test_an_output_inherits_what_is_still_true(
    given: tuple[int, ...], made: tuple[int, ...], axes: str | None, spacing: dict[str, float] | None
) -> None:
    meta = inherited(ZYX, given, made)
    assert (None if meta is None else (meta.axes, meta.spacing)) == (None if axes is None else (axes, spacing))


def test_a_mask_of_a_colour_image_has_its_height_and_width() -> None:
    colours = Meta(axes="syx", spacing={"y": 0.5, "x": 0.5}, channels=[{"name": "R"}])
    mask = inherited(colours, (3, 8, 9), (8, 9), labels=True)
    assert mask is not None
    assert mask.text() == '{"axes":"yx","spacing":{"x":0.5,"y":0.5},"v":1}'


@pytest.mark.parametrize(
    ("spelling", "unit"),
    [
        *(("um", "micrometer"), ("µm", "micrometer"), ("μm", "micrometer"), ("\\u00B5m", "micrometer")),
        *(("micron", "micrometer"), ("Å", "angstrom"), ("nm", "nanometer"), ("pixel", None), ("", None), (None, None)),
    ],
)
def test_units_have_one_name(spelling: object, unit: str | None) -> None:
    assert unit_named(spelling) == unit


def test_an_attribute_that_is_not_ours_does_no_harm(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = VOLUME
        file["image"].attrs[ATTRIBUTE] = np.arange(3)
    assert meta_of(tmp_path / "a.h5") is None
