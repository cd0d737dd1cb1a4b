"""Columns and arrays for NWB files, read when they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hdmf.backends.hdf5.h5_utils import H5DataIO
from hdmf.common import VectorData, VectorIndex
from hdmf.data_utils import GenericDataChunkIterator
from numpy.typing import NDArray

__all__ = ["column", "name_of", "packed", "postponed", "ragged"]

_CHUNK = 1 << 16  # rows of a chunk of a long array


class _Postponed(GenericDataChunkIterator):  # type: ignore[misc, unused-ignore]
    """An array that is read when it is written, in parts."""

    def __init__(
        self, read: Callable[[Any], NDArray[Any]], shape: tuple[int, ...], dtype: Any, rows: int
    ) -> None:
        self._read, self._shape, self._type = read, shape, np.dtype(dtype)
        chunk = (min(_CHUNK, shape[0]), *shape[1:])
        super().__init__(buffer_shape=(min(rows, shape[0]), *shape[1:]), chunk_shape=chunk)

    def _get_data(self, selection: Any) -> NDArray[Any]:
        return self._read(selection)

    def _get_maxshape(self) -> tuple[int, ...]:
        return self._shape

    def _get_dtype(self) -> Any:
        return self._type


def postponed(
    read: Callable[[Any], NDArray[Any]], shape: tuple[int, ...], dtype: Any, rows: int = 0
) -> Any:
    """Return an array of a known shape that is read when the file is written.

    Parameters
    ----------
    read
        Returns the part that a selection of slices names.
    shape, dtype
        Of the whole array.
    rows
        Read so many rows at a time, a multiple of 65536; 0 = all at once.
    """
    if not shape[0]:
        return np.empty(shape, dtype)
    return H5DataIO(_Postponed(read, shape, dtype, rows or shape[0]), **_PACKED)


_PACKED: dict[str, Any] = {"compression": "gzip", "compression_opts": 4, "shuffle": True}


def packed(values: NDArray[Any]) -> Any:
    """Return an array that is compressed in the file, if there is something to compress."""
    return H5DataIO(values, **_PACKED) if values.nbytes > 1 << 14 else values


def column(name: str, description: str, values: Any) -> VectorData:
    """Return a column; texts without a value are N/A, other values NaN."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return VectorData(name=name, description=description, data=packed(values))
    return VectorData(name=name, description=description, data=plain(list(values)))


def plain(values: Sequence[Any]) -> Any:
    """Return values of one type, as a file needs them."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in known):
        return ["N/A" if value is None else str(value) for value in values]
    if len(known) < len(values) or not values:
        return np.array([np.nan if value is None else value for value in values], dtype=float)
    return np.array(values)


def ragged(
    name: str, description: str, data: Any, ends: NDArray[np.integer[Any]], kind: Any = VectorData
) -> list[Any]:
    """Return a column of lists: the values of all rows, and where those of each row end."""
    values = data if isinstance(data, VectorData) else None
    if values is None:
        values = kind(name=name, description=description, data=data)
    index = VectorIndex(name=f"{name}_index", data=np.asarray(ends, np.uint64), target=values)
    return [index, values]


def name_of(*words: str) -> str:
    """Return words from the lake as a name inside an NWB file."""
    return re.sub(r"[^A-Za-z0-9_+-]", "_", "_".join(word for word in words if word)) or "_"
