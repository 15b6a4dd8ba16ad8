"""Whether a TIFF file is whole: tifffile fills in what is missing with zeros, and says so in its log alone.

Everything here speaks of pages counted from 1, as image viewers do.
"""

from __future__ import annotations

import json
import logging
import math
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from voxloom.errors import InvalidInput

_LOSS = re.compile(
    r"zeroed|is missing|missing (?:files|data offset|data ByteCounts|ByteCounts|required)|failed to re(?:ad|shape)"
    r"|incompletely written|corrupted tag list|out of range|could not read all values|segments, got"
    r"|incorrect Strip|invalid (?:value offset|page offset|offset to|circular|SubIFDs)|contains no pages|BinaryOnly"
)
"""What tifffile says where it goes on without a part of the file. It says more than that of files that are whole."""
_SHOWN = 5


class _Listener(logging.Handler):
    """Keeps what this thread's tifffile says."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.said.append(record.getMessage())


@contextmanager
def losses_told(path: Path) -> Iterator[None]:
    """Raises InvalidInput at the end of the block where tifffile has read on past something that is missing."""
    logger, listener = logging.getLogger("tifffile"), _Listener()
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
    if (loss := loss_in(listener.said)) is not None:
        raise incomplete(path, loss)


def loss_in(said: Sequence[str]) -> str | None:
    """The first of tifffile's messages that tells of a loss, without its names for things of this process."""
    lost = next((message for message in said if _LOSS.search(message)), None)
    return None if lost is None else re.sub(r"^<.*?>\s+|, raised .*$|raised TiffFileError", "", lost).strip("('\"). ")


def incomplete(path: Path, what: str) -> InvalidInput:
    return InvalidInput(f"{path} is not complete: {what}. Copy or export the file again.", code="incomplete_image")


def check_whole(path: Path, file: Any, series: Any) -> None:
    """Raises InvalidInput for a TIFF that lacks a page, a part of one, or a file of its set. Reads no pixels."""
    _check_chain(path, file)
    _check_set(path, file, series)
    _check_declared(path, file, series)
    for number, page in enumerate(series.pages, 1):
        if page is None:
            raise incomplete(path, f"page {number} of {len(series.pages)} is missing")
        _check_page(path, number, page)
    _check_extent(path, file, series)


def _check_chain(path: Path, file: Any) -> None:
    """Each page says where the next one is; the last one says 0."""
    count = len(file.pages)  # looks for all of them
    place = file.pages.next_page_offset
    if place is None or file.is_scanimage or file.is_ndpi:  # of these, tifffile reckons where pages are
        return
    size = struct.calcsize(file.tiff.offsetformat)
    file.filehandle.seek(place)
    pointer = file.filehandle.read(size)
    if len(pointer) < size:
        raise incomplete(path, f"it ends within the header of page {count}")
    (following,) = struct.unpack(file.tiff.offsetformat, pointer)
    if following != 0:
        told = f"it should begin at byte {following} of {file.filehandle.size}"
        raise incomplete(path, f"page {count + 1} cannot be read ({told})")


def _check_set(path: Path, file: Any, series: Any) -> None:
    """An OME-TIFF may be one of several files, which it names."""
    if not file.is_ome:
        return
    master, partners = partners_of(file.ome_metadata or "")
    if master is not None:
        raise InvalidInput(
            f"{path} is one file of a set that {master!r} describes, so nobody knows from it alone which planes it "
            "has. Export the image as one file.",
            code="incomplete_image",
        )
    if strange := [name for name in partners if "/" in name or "\\" in name]:
        raise InvalidInput(f"{path} names a file in another folder, {strange[0]!r}, which Voxloom does not read.")
    if series.kind != "ome":
        return
    absent = [name for name in partners if not (path.parent / name).is_file()]
    if absent and None in series.pages:
        named = ", ".join(absent[:_SHOWN]) + (f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else "")
        raise InvalidInput(
            f"{path} is one file of a set, and the rest is not in {path.absolute().parent}: {named}. "
            "Put them beside it, or export the image as one file.",
            code="incomplete_image",
        )


def partners_of(description: str) -> tuple[str | None, list[str]]:
    """The file that describes the set instead of this one, if any, and the names of all others in it."""
    try:
        root = ElementTree.fromstring(description)  # noqa: S314 - tifffile has parsed it before
    except ElementTree.ParseError:
        return None, []
    named = dict.fromkeys(one.get("FileName") for one in root.iter() if one.tag.endswith("UUID"))
    masters = [one.get("MetadataFile") for one in root.iter() if one.tag.endswith("BinaryOnly")]
    return next(iter(masters), None), [name for name in named if name]


def _check_declared(path: Path, file: Any, series: Any) -> None:
    """ImageJ and tifffile say in the first page how much there is; what is less than that was cut."""
    declared, planes = _declared(file), math.prod(series.shape)
    if declared is not None and planes < declared:
        raise incomplete(path, f"it should have {declared} values and has {planes}")


def _declared(file: Any) -> int | None:
    """How many values the file says to have in its first image; None where it does not say."""
    page = file.pages.first
    if file.is_imagej:
        about = file.imagej_metadata or {}
        counts = [about.get(name, 1) for name in ("frames", "slices", "channels")]
        images = math.prod(count for count in counts if isinstance(count, int) and count > 0)
        samples = max(page.samplesperpixel, 1)
        return images * int(page.size) // (samples if counts[2] == samples > 1 else 1)
    if file.is_shaped:
        about = json.loads(page.shaped_description) if str(page.shaped_description).startswith("{") else {}
        return math.prod(map(int, about["shape"])) if "shape" in about else None
    return None


def _check_page(path: Path, number: int, page: Any) -> None:
    size = page.parent.filehandle.size
    wanted, named = math.prod(page.chunked), len(page.dataoffsets)
    parts = "tiles" if page.keyframe.is_tiled else "strips"
    absent = sum(1 for begin, length in _parts(page) if not begin or not length)
    cut = sum(1 for begin, length in _parts(page) if begin + length > size)
    if named < wanted or absent or cut:
        lost = max(wanted - named, 0) + absent + cut
        raise incomplete(path, f"page {number} lacks {lost} of its {wanted} {parts}{_in_partner(path, page)}")


def _parts(page: Any) -> Iterator[tuple[int, int]]:
    return zip(page.dataoffsets, page.databytecounts, strict=False)


def _in_partner(path: Path, page: Any) -> str:
    name = page.parent.filename
    return "" if name == path.name else f" (it is in {name})"


def _check_extent(path: Path, file: Any, series: Any) -> None:
    """Pixels that lie in one piece, of which the first page alone knows."""
    if series.dataoffset is not None and series.dataoffset + series.nbytes > file.filehandle.size:
        pages = math.ceil(series.nbytes / series.keyframe.nbytes)
        there = (file.filehandle.size - series.dataoffset) // series.keyframe.nbytes
        raise incomplete(path, f"page {there + 1} of {pages} is cut off")
