"""What the HDF5 library is asked past h5py."""

from __future__ import annotations

import ctypes
from pathlib import Path

import h5py
import numpy as np
import pytest

from voxloom.hdf5 import chunks, growing
from voxloom.hdf5.library import NotAsked, ask
from voxloom.hdf5.refusals import Refused


@pytest.mark.parametrize("function", ["H5Nothing", "H5Dget_chunk_index_type"])
def test_what_it_does_not_know_or_answer_is_not_taken_for_an_answer(function: str) -> None:
    with pytest.raises(NotAsked, match=function):
        ask(function, -1, ctypes.c_int())


def test_a_dataset_is_refused_where_it_cannot_be_asked_how_its_chunks_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> int:
        raise NotAsked

    monkeypatch.setattr(growing, "ask", unknown)
    monkeypatch.setattr(growing, "_are_told_wrong", lambda: True)
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        dataset = file.create_dataset("x", data=np.ones((4, 6)), chunks=(2, 2), maxshape=(4, None))
        with pytest.raises(Refused, match="without a `maxshape`"):
            chunks.read(dataset)
