"""MATLAB 7.3 files: HDF5, walked into the form that :mod:`maplake.readers.matlab` describes.

Structs are groups, cells are datasets of references into ``#refs#``, every array has its axes
reversed, and empty arrays hold their shape in place of their content.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from maplake.errors import CorruptFileError

__all__ = ["read_v73"]

_DEEPEST = 60
_CLASS, _EMPTY = b"MATLAB_class", b"MATLAB_empty"
# Attributes of what is no plain value: class objects, opaque types, sparse matrices.
_FOREIGN = (b"MATLAB_object_decode", b"MATLAB_sparse")
_NUMBERS = ("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
            "uint64", "logical")  # fmt: skip


def read_v73(path: Path, only: Container[str] | None = None) -> dict[str, Any]:
    """Read a MATLAB 7.3 file; see :func:`maplake.readers.matlab.load`.

    Raises
    ------
    CorruptFileError
        If it refers to itself, or claims more content than a file of its size can hold.
    Exception
        Whatever h5py raises on damaged files; ``load`` turns it into a CorruptFileError.
    """
    with h5py.File(path, "r") as file:
        walk = _Walk(file, path, only)
        return {name: walk.value(item) for name, item in walk.children(file)}


class _Walk:
    """One pass over a file, bounded by what an honest file of that size can hold."""

    def __init__(self, file: h5py.File, path: Path, only: Container[str] | None) -> None:
        size = path.stat().st_size
        self.file = file
        self.path = path
        self.only = only
        self.budget = 1000 + size // 8  # each value costs a reference or a link at least
        self.largest = 1_000_000 + 1100 * size  # deflate packs at most 1032 to 1
        self.depth = 0

    def children(self, group: h5py.Group) -> Iterator[tuple[str, Any]]:
        """Members of a group; links out of the file are not followed."""
        for name in group:
            if name.startswith("#") or not (self.only is None or name in self.only):
                continue
            if isinstance(group.get(name, getlink=True), h5py.HardLink):
                yield name, group[name]

    def value(self, item: Any) -> Any:
        """Convert a group or dataset."""
        self.budget -= 1
        if self.budget < 0 or self.depth > _DEEPEST:
            raise CorruptFileError("refers to itself, or nests too deep", file=self.path)
        if any(h5py.h5a.exists(item.id, name) for name in _FOREIGN):
            return None
        self.depth += 1
        try:
            return self._struct(item) if isinstance(item, h5py.Group) else self._array(item)
        finally:
            self.depth -= 1

    def _struct(self, group: h5py.Group) -> Any:
        fields = dict(self.children(group))
        if not fields or not all(_is_list_of_references(item) for item in fields.values()):
            return {name: self.value(item) for name, item in fields.items()}
        columns = {name: self._items(item) for name, item in fields.items()}
        items = [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
        return items[0] if len(items) == 1 else items

    def _items(self, data: h5py.Dataset) -> list[Any]:
        """Follow a dataset of references; reversed axes make row order MATLAB's column order."""
        return [
            self.value(self.file[ref]) if ref else np.empty((0, 0)) for ref in self._read(data).flat
        ]

    def _read(self, data: h5py.Dataset) -> np.ndarray[Any, Any]:
        if data.nbytes > self.largest or data.external or data.is_virtual:
            raise CorruptFileError(
                "claims content that the file does not hold", file=self.path, place=data.name
            )
        return np.asarray(data[()])

    def _array(self, data: h5py.Dataset) -> Any:
        kind = _attribute(data, _CLASS)
        if _attribute(data, _EMPTY):
            return _empty(kind, self._read(data))
        if h5py.check_ref_dtype(data.dtype):
            return self._items(data)
        content = self._read(data)
        if kind == "char":
            return _text(content)
        if kind is not None and kind not in _NUMBERS:
            return None
        return _numbers(content, kind)


def _attribute(item: Any, name: bytes) -> Any:
    if not h5py.h5a.exists(item.id, name):
        return None
    found = item.attrs[name.decode()]
    return found.decode("latin-1") if isinstance(found, bytes) else found


def _is_list_of_references(item: Any) -> bool:
    """Tell the fields of a struct array: references that are no cell of their own."""
    return (
        isinstance(item, h5py.Dataset)
        and h5py.check_ref_dtype(item.dtype) is not None
        and not h5py.h5a.exists(item.id, _CLASS)
    )


def _empty(kind: Any, shape: np.ndarray[Any, Any]) -> Any:
    if kind == "char":
        return ""
    if kind not in _NUMBERS:
        return [] if kind in ("cell", "struct") else None
    sides = [int(side) for side in shape.ravel()]
    dtype = {"logical": "bool", "double": "float64", "single": "float32"}.get(kind, kind)
    return np.empty(sides if 0 in sides else (0, 0), dtype=dtype)


def _text(codes: np.ndarray[Any, Any]) -> Any:
    """Turn UTF-16 code units (columns, rows) into text; several rows into a list."""
    units = np.atleast_2d(codes.T).astype("<u2")
    units = units.reshape(-1, units.shape[-1])
    lines = [row.tobytes().decode("utf-16-le", errors="replace").rstrip("\0") for row in units]
    return lines if len(lines) > 1 else "".join(lines)


def _numbers(content: np.ndarray[Any, Any], kind: Any) -> Any:
    if content.dtype.names == ("real", "imag"):
        content = content["real"] + 1j * content["imag"]
    if content.dtype.kind not in "biufc":
        return None
    if kind == "logical":
        content = content.astype(bool)
    content = np.atleast_2d(content.T)
    return np.asfortranarray(content.astype(content.dtype.newbyteorder("="), copy=False))
