"""TIFF files that lack something: refused with what they lack, never read with planes of zeros."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from voxloom import imagefiles
from voxloom.errors import InvalidInput
from voxloom.tiffwhole import loss_in, partners_of

VOLUME: np.ndarray[Any, np.dtype[np.uint16]] = np.arange(1, 5 * 40 * 48 + 1, dtype=np.uint16).reshape(5, 40, 48)

WRITTEN: dict[str, dict[str, Any]] = {
    "pages": {"metadata": None},
    "tifffile's own": {},
    "zlib": {"compression": "zlib"},
    "tiles": {"tile": (16, 16), "metadata": None},
    "strips": {"rowsperstrip": 7, "metadata": None},
    "ImageJ": {"imagej": True},
    "OME": {"ome": True},
    "OME, zlib": {"ome": True, "compression": "zlib"},
    "BigTIFF": {"bigtiff": True, "metadata": None},
    "BigTIFF, zlib": {"bigtiff": True, "compression": "zlib"},
}


def write(path: Path, bigtiff: bool = False, ome: bool = False, imagej: bool = False, **how: Any) -> bytes:
    with tifffile.TiffWriter(path, bigtiff=bigtiff, ome=ome, imagej=imagej) as file:
        for plane in [VOLUME] if "metadata" not in how else VOLUME:
            file.write(plane, contiguous=False, photometric="minisblack", **how)
    return path.read_bytes()


def cuts(size: int) -> Iterator[int]:
    yield from range(9, size, size // 24)
    yield from (size - 70, size - 30, size - 17)


def was_refused_or_whole(path: Path) -> bool:
    try:
        return np.array_equal(imagefiles.read_image(path), VOLUME)
    except InvalidInput:
        return True


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, within tifffile
def test_a_tiff_cut_anywhere_is_refused_or_else_nothing_is_missing(tmp_path: Path, how: str) -> None:
    whole = write(tmp_path / "whole.tif", **WRITTEN[how])
    np.testing.assert_array_equal(imagefiles.read_image(tmp_path / "whole.tif"), VOLUME)
    wrong = []
    for cut in cuts(len(whole)):
        (tmp_path / "cut.tif").write_bytes(whole[:cut])
        if not was_refused_or_whole(tmp_path / "cut.tif"):
            wrong.append(cut)
    assert wrong == []


@pytest.mark.parametrize("how", ["pages", "BigTIFF"])
def test_of_a_stack_that_is_cut_the_first_page_that_is_missing_is_named(tmp_path: Path, how: str) -> None:
    write(tmp_path / "a.tif", **WRITTEN[how])
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        fourth = file.pages[3].offset
    with (tmp_path / "a.tif").open("r+b") as raw:
        raw.truncate(fourth)
    with pytest.raises(InvalidInput, match=r"a\.tif is not complete: page 4 cannot be read") as caught:
        imagefiles.read_image(tmp_path / "a.tif")
    assert caught.value.code == "incomplete_image"


@pytest.mark.parametrize(("how", "part"), [("strips", "strips"), ("tiles", "tiles")])
def test_the_page_whose_pixels_are_cut_is_named(tmp_path: Path, how: str, part: str) -> None:
    whole = write(tmp_path / "a.tif", **WRITTEN[how])
    (tmp_path / "a.tif").write_bytes(whole[:-10])
    with pytest.raises(InvalidInput, match=rf"page 5 lacks 1 of its \d+ {part}"):
        imagefiles.read_image(tmp_path / "a.tif")


def test_strips_that_were_never_written_are_no_zeros(tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path / "a.tif", **WRITTEN["strips"]))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[2]
        assert isinstance(page, tifffile.TiffPage)
        place = page.tags["StripByteCounts"].valueoffset
    whole[place : place + 2] = b"\0\0"
    (tmp_path / "a.tif").write_bytes(whole)
    with pytest.raises(InvalidInput, match="page 3 lacks 1 of its 6 strips"):
        imagefiles.read_image(tmp_path / "a.tif")


def two_files(folder: Path, named: str = "second.ome.tif") -> tuple[Path, Path]:
    """One image of five planes as two OME-TIFF files, of which the first has two."""
    first, second = folder / "first.ome.tif", folder / "second.ome.tif"
    tifffile.imwrite(second, VOLUME[2:], ome=True, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(second) as file:
        other = str(file.ome_metadata).partition('UUID="')[2].partition('"')[0]
    told = f"""<?xml version="1.0" encoding="UTF-8"?><OME
xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:00000000-0000-4000-8000-000000000001">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="48" SizeY="40" SizeC="1"
SizeZ="5" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="2"/>
<TiffData FirstZ="2" IFD="0" PlaneCount="3"><UUID FileName="{named}">{other}</UUID></TiffData>
</Pixels></Image></OME>"""
    tifffile.imwrite(first, VOLUME[:2], photometric="minisblack", metadata=None, description=told, compression="zlib")
    return first, second


def test_the_files_of_a_set_are_read_together(tmp_path: Path) -> None:
    first, _ = two_files(tmp_path)
    np.testing.assert_array_equal(imagefiles.read_image(first), VOLUME)


def test_the_file_that_a_set_lacks_is_named(tmp_path: Path) -> None:
    first, second = two_files(tmp_path)
    second.unlink()
    with pytest.raises(InvalidInput, match=r"the rest is not in .*: second\.ome\.tif\. Put them beside it"):
        imagefiles.read_image(first)


def test_a_file_of_a_set_that_is_cut_is_named(tmp_path: Path) -> None:
    first, second = two_files(tmp_path)
    with tifffile.TiffFile(second) as file:
        end = file.pages[2].dataoffsets[0] + 5
    second.write_bytes(second.read_bytes()[:end])
    with pytest.raises(InvalidInput, match=r"first\.ome\.tif is not complete: .*(second|out of range)"):
        imagefiles.read_image(first)


def test_a_file_that_leaves_its_description_to_another_is_refused_by_its_name(tmp_path: Path) -> None:
    told = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:2"/></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", VOLUME, photometric="minisblack", metadata=None, description=told)
    with pytest.raises(InvalidInput, match=r"one file of a set that 'set\.companion\.ome' describes"):
        imagefiles.read_image(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("named", ["../second.ome.tif", "/tmp/second.ome.tif", "C:\\second.ome.tif"])
def test_no_file_of_another_folder_is_read_because_a_file_names_it(tmp_path: Path, named: str) -> None:
    (tmp_path / "in").mkdir()
    first, second = two_files(tmp_path / "in", named)
    second.rename(tmp_path / "second.ome.tif")
    with pytest.raises(InvalidInput, match="names a file in another folder"):
        imagefiles.read_image(first)


@pytest.mark.parametrize(
    ("said", "loss"),
    [
        ([], None),
        (["<tifffile.TiffTag 306 @70> coercing invalid ASCII to bytes, due to X"], None),
        (
            ["<tifffile.TiffFile 'a.tif'> OME series is missing 3 frames. Missing data are zeroed"],
            "OME series is missing 3 frames. Missing data are zeroed",
        ),
        (
            ["<TiffTag.fromfile> raised TiffFileError('<tifffile.TiffTag 270 @70> invalid value offset 9')"],
            "<tifffile.TiffTag 270 @70> invalid value offset 9",
        ),
    ],
)
def test_of_what_tifffile_says_losses_count(said: list[str], loss: str | None) -> None:
    assert loss_in(said) == loss


@pytest.mark.parametrize("text", ["", "no XML", "<OME/>"])
def test_where_no_set_is_described_there_is_none(text: str) -> None:
    assert partners_of(text) == (None, [])
