"""MATLAB 7.3 files: HDF5 with MATLAB's header and attributes, every array with reversed axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

_HEADER_BYTES = 512  # the user block before the HDF5 content
_CLASSES = {"f8": "double", "f4": "single", "b1": "logical"}


def write_mat73(path: Path, variables: Mapping[str, Any], created: datetime) -> None:
    """Write variables as MATLAB does with ``-v7.3``.

    Arrays have MATLAB's shapes (vectors become columns), dictionaries become structs, texts char
    arrays, lists of texts n x 1 cells.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=_HEADER_BYTES) as file:
        for name, value in variables.items():
            _write(file, file, name, value)
    text = f"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: {created:%d %b %Y %H:%M:%S}"
    header = text.encode("ascii").ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)


def _write(file: h5py.File, group: h5py.Group, name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        struct = group.create_group(name)
        struct.attrs["MATLAB_class"] = np.bytes_("struct")
        for field, item in value.items():
            _write(file, struct, field, item)
    elif isinstance(value, str):
        _write_text(group, name, value)
    elif isinstance(value, list):
        _write_cell(file, group, name, value)
    else:
        _write_array(group, name, np.asarray(value))


def _write_array(group: h5py.Group, name: str, value: np.ndarray[Any, Any]) -> None:
    value = value.reshape(-1, 1) if value.ndim < 2 else value
    stored = value.T.astype(np.uint8) if value.dtype.kind == "b" else value.T
    # Long arrays are chunked and compressed, as MATLAB does.
    packed = {"compression": 3, "chunks": True} if stored.size > 1000 else {}
    data = group.create_dataset(name, data=stored, **packed)
    data.attrs["MATLAB_class"] = np.bytes_(_CLASSES.get(value.dtype.str[1:], value.dtype.name))


def _write_text(group: h5py.Group, name: str, text: str) -> h5py.Dataset:
    if text:
        units = np.frombuffer(text.encode("utf-16-le"), dtype="<u2").reshape(-1, 1)
        data = group.create_dataset(name, data=units)
    else:
        data = group.create_dataset(name, data=np.zeros(2, dtype=np.uint64))
        data.attrs["MATLAB_empty"] = np.uint8(1)
    data.attrs["MATLAB_class"] = np.bytes_("char")
    data.attrs["MATLAB_int_decode"] = np.int32(2)
    return data


def _write_cell(file: h5py.File, group: h5py.Group, name: str, texts: Sequence[str]) -> None:
    pool = file.require_group("#refs#")
    items = [_write_text(pool, f"item{len(pool)}", text) for text in texts]
    references = np.array([[item.ref for item in items]], dtype=h5py.ref_dtype)
    data = group.create_dataset(name, data=references, dtype=h5py.ref_dtype)
    data.attrs["MATLAB_class"] = np.bytes_("cell")
