"""MATLAB 7.3 files: HDF5, walked into the form that :mod:`maplake.readers.matlab` describes.

Structs are groups, cells are datasets of references into ``#refs#``, every array has its axes
reversed, and empty arrays hold their shape in place of their content.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from maplake.errors import CorruptFileError

__all__ = ["largest_content", "read_v73"]

_DEEPEST = 60
_PACKED = 1100  # deflate packs at most 1032 to 1
_BLANK = 1 << 29  # bytes of content that may be nearly all alike
_CLASS, _EMPTY = b"MATLAB_class", b"MATLAB_empty"
# Attributes of what is no plain value: class objects, opaque types, sparse matrices.
_FOREIGN = (b"MATLAB_object_decode", b"MATLAB_sparse")
_NUMBERS = {"double": "float64", "single": "float32", "logical": "bool"} | {
    name: name
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
}

_Array = np.ndarray[Any, Any]


def largest_content(size: int) -> int:
    """Return how many bytes an array in an HDF5 file of ``size`` bytes may have.

    What was measured packs 4 to 1 at best; only what is nearly all alike packs far more.
    """
    return min(1_000_000 + _PACKED * size, max(_BLANK, 4 * size))


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
        return {name: walk.value(item) for name, item in walk.children(file.id)}


class _Walk:
    """One pass over a file, bounded by what an honest file of that size can hold.

    A session has a hundred thousand small arrays, for which the objects of h5py's upper level
    take ten times as long as their content; so this speaks to its lower one.
    """

    def __init__(self, file: h5py.File, path: Path, only: Container[str] | None) -> None:
        size = path.stat().st_size
        self.file = file.id
        self.path = path
        self.only = only
        self.budget = 1000 + size // 8  # each value costs a reference or a link at least
        self.largest = largest_content(size)
        self.depth = 0

    def children(self, group: Any) -> Iterator[tuple[str, Any]]:
        """Members of a group; links out of the file are not followed."""
        for raw in group:
            name = raw.decode("utf-8", errors="replace")
            if name.startswith("#") or not (self.only is None or name in self.only):
                continue
            if group.links.get_info(raw).type == h5py.h5l.TYPE_HARD:
                yield name, h5py.h5o.open(group, raw)

    def value(self, item: Any) -> Any:
        """Convert a group or dataset."""
        self.budget -= 1
        if self.budget < 0 or self.depth > _DEEPEST:
            raise CorruptFileError("refers to itself, or nests too deep", file=self.path)
        if any(h5py.h5a.exists(item, name) for name in _FOREIGN):
            return None
        self.depth += 1
        try:
            return self._struct(item) if isinstance(item, h5py.h5g.GroupID) else self._array(item)
        finally:
            self.depth -= 1

    def _struct(self, group: Any) -> Any:
        fields = dict(self.children(group))
        if not fields or not all(_is_list_of_references(item) for item in fields.values()):
            return {name: self.value(item) for name, item in fields.items()}
        columns = {name: self._items(item) for name, item in fields.items()}
        items = [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
        return items[0] if len(items) == 1 else items

    def _items(self, data: Any) -> list[Any]:
        """Follow a dataset of references; reversed axes make row order MATLAB's column order."""
        return [
            self.value(h5py.h5r.dereference(ref, self.file)) if ref else np.empty((0, 0))
            for ref in self._read(data).flat
        ]

    def _read(self, data: Any) -> _Array:
        dtype, shape = data.dtype, data.shape
        made = data.get_create_plist()
        elsewhere = made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count()
        if math.prod(shape) * dtype.itemsize > self.largest or elsewhere:
            raise CorruptFileError("claims content that the file does not hold", file=self.path)
        content = np.zeros(shape, dtype)
        if content.size:
            data.read(h5py.h5s.ALL, h5py.h5s.ALL, content)
        return content

    def _array(self, data: Any) -> Any:
        kind = _class(data)
        if h5py.h5a.exists(data, _EMPTY):
            return _empty(kind, self._read(data))
        if h5py.check_ref_dtype(data.dtype):
            return self._items(data)
        content = self._read(data)
        if kind == "char":
            return _text(content)
        if kind and kind not in _NUMBERS:
            return None
        return _numbers(content, kind)


def _class(item: Any) -> str:
    """MATLAB's name of the class of an array; nothing where the file does not say."""
    if not h5py.h5a.exists(item, _CLASS):
        return ""
    attribute = h5py.h5a.open(item, _CLASS)
    kind = attribute.get_type()
    if not isinstance(kind, h5py.h5t.TypeStringID) or kind.is_variable_str():
        return ""  # MATLAB writes a text of fixed length
    word = np.zeros((), dtype=f"S{kind.get_size()}")
    attribute.read(word, mtype=kind)
    return bytes(word.item()).decode("latin-1")


def _is_list_of_references(item: Any) -> bool:
    """Tell the fields of a struct array: references that are no cell of their own."""
    return (
        isinstance(item, h5py.h5d.DatasetID)
        and h5py.check_ref_dtype(item.dtype) is not None
        and not h5py.h5a.exists(item, _CLASS)
    )


def _empty(kind: str, shape: _Array) -> Any:
    if kind == "char":
        return ""
    if kind not in _NUMBERS:
        return [] if kind in ("cell", "struct") else None
    sides = [int(side) for side in shape.ravel()]
    return np.empty(sides if 0 in sides else (0, 0), dtype=_NUMBERS[kind])


def _text(codes: _Array) -> Any:
    """Turn UTF-16 code units (columns, rows) into text; several rows into a list."""
    units = np.atleast_2d(codes.T).astype("<u2")
    units = units.reshape((-1, units.shape[-1]), order="F")
    lines = [row.tobytes().decode("utf-16-le", errors="replace").rstrip("\0") for row in units]
    return lines if len(lines) > 1 else "".join(lines)


def _numbers(content: _Array, kind: str) -> Any:
    if content.dtype.names == ("real", "imag"):
        content = content["real"] + 1j * content["imag"]
    if content.dtype.kind not in "biufc":
        return None
    content = np.atleast_2d(content.T)
    if content.dtype.kind == "c":
        return content
    wanted = np.dtype(_NUMBERS.get(kind, content.dtype.newbyteorder("=")))
    if not np.can_cast(content.dtype, wanted) and wanted.kind in "biu":
        _check_fits(content, wanted)
    return content.astype(wanted, copy=False)


def _check_fits(content: _Array, kind: np.dtype[Any]) -> None:
    """Refuse numbers that the class beside them cannot hold: they would become others."""
    with np.errstate(invalid="ignore", over="ignore"):
        if not np.array_equal(content.astype(kind), content):
            raise ValueError(f"holds numbers that are no {kind}")
