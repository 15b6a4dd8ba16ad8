"""What a file is, by its first bytes, whatever its name says."""

from __future__ import annotations

import os
from typing import BinaryIO, Literal

HDF5 = b"\x89HDF\r\n\x1a\n"
FIRST_USER_BLOCK = 512
HEAD = 512
"""Bytes that `told_by` looks at."""
_OPEN_FOR_WRITING = 0b101
"""Consistency flags of the superblock: a writer has it, or one that lets others read meanwhile."""

_OTHERS = (
    (0, b"PK\x03\x04", "a zip archive, as .npz files are: save each array as .npy, or write it into a .h5 file"),
    (0, b"PK\x05\x06", "an empty zip archive, as .npz files are: save each array as .npy, or write it into a .h5 file"),
    (0, b"\x93NUMPY", "a .npy file: send it with the client or the command line, or write it into a .h5 file"),
    (0, b"MATLAB 5.0", "a MATLAB file of the old format: save it in MATLAB with `-v7.3`, which makes it HDF5"),
    (0, b"\x0e\x03\x13\x01", "HDF4, not HDF5: convert it with `h4toh5`"),
    (0, b"CDF\x01", "netCDF 3: convert it with `nccopy -k nc4`, which makes it HDF5"),
    (0, b"CDF\x02", "netCDF 3: convert it with `nccopy -k nc4`, which makes it HDF5"),
    (0, b"CDF\x05", "netCDF 3: convert it with `nccopy -k nc4`, which makes it HDF5"),
    (0, b"II*\0", "a TIFF file: send it with the client or the command line, or write it into a .h5 file"),
    (0, b"MM\0*", "a TIFF file: send it with the client or the command line, or write it into a .h5 file"),
    (0, b"II+\0", "a BigTIFF file: send it with the client or the command line, or write it into a .h5 file"),
    (0, b"MM\0+", "a BigTIFF file: send it with the client or the command line, or write it into a .h5 file"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture: save it as .tif, or write its pixels into a .h5 file"),
    (0, b"\xff\xd8\xff", "a JPEG picture: save it as .tif, or write its pixels into a .h5 file"),
    (0, b"\x1f\x8b", "packed with gzip as a whole: unpack it first (`gunzip`)"),
    (0, b"BZh", "packed with bzip2 as a whole: unpack it first (`bunzip2`)"),
    (0, b"\xfd7zXZ\0", "packed with xz as a whole: unpack it first (`unxz`)"),
    (0, b"\x28\xb5\x2f\xfd", "packed with zstd as a whole: unpack it first (`unzstd`)"),
    (128, b"DICM", "a DICOM file: write its pixels into a .h5 or .tif file"),
    (344, b"n+1\0", "a NIfTI file: write its array into a .h5 file"),
)


def told_by(head: bytes) -> str | None:
    """What the bytes at the begin of a file say that it is, and what to do with it; None for HDF5 and the unknown."""
    for at, mark, told in _OTHERS:
        if head[at : at + len(mark)] == mark:
            return told
    return None


def kind_by(head: bytes) -> Literal["npy", "tiff"] | None:
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    return "tiff" if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else None


def not_hdf5(head: bytes) -> str:
    """Completes "it is …"."""
    return told_by(head) or "not HDF5; convert it first"


def find_hdf5(file: BinaryIO) -> int | None:
    """Where HDF5 begins: at 0, or after a block of 512 bytes or any power of two above."""
    end, place = file.seek(0, os.SEEK_END), 0
    while place + len(HDF5) <= end:
        file.seek(place)
        if file.read(len(HDF5)) == HDF5:
            return place
        place = place * 2 or FIRST_USER_BLOCK
    return None


def is_open_for_writing(file: BinaryIO) -> bool:
    """Whether an HDF5 file is marked so; the library does not open it then."""
    place = find_hdf5(file)
    if place is None:
        return False
    file.seek(place + len(HDF5))
    version_to_flags = file.read(4)
    return len(version_to_flags) == 4 and version_to_flags[0] >= 3 and bool(version_to_flags[3] & _OPEN_FOR_WRITING)


OPEN_FOR_WRITING = (
    "it is marked as open for writing: close it in the program that writes it, or, where that has crashed, "
    "run `h5clear -s FILE`"
)
