"""Careful access to MATLAB 7.3 result files of JRCLUST, array by array.

The files are many gigabytes, of which little is needed: hence not :mod:`maplake.readers.matlab`.
Only links and references inside the file are followed, and only to numbers and texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    MissingFileError,
    SourceError,
    UnreadableFileError,
)
from maplake.readers.matlab73 import largest_content

__all__ = ["ResultFile", "open_result"]

_MOST_TEXT = 10_000  # characters of a note


@contextmanager
def open_result(path: Path) -> Iterator[ResultFile]:
    """Open a result file.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If it is not there or cannot be read.
    FileFormatError
        If it is no HDF5 file.
    CorruptFileError
        If it is empty, truncated or damaged, also while something is read from it.
    """
    _check_head(path)
    try:
        with h5py.File(path, "r") as file:
            yield ResultFile(file, path)
    except SourceError as error:
        error.file = error.file or str(path)
        raise
    except Exception as error:
        # h5py raises nearly anything on damaged bytes (OS, runtime, key, type, memory).
        raise CorruptFileError(
            f"the file is truncated or damaged ({type(error).__name__}: {error})",
            file=path,
            hint="Copy it again from the rig.",
        ) from error


def _check_head(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(520)
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    if not head.strip(b"\0"):
        raise CorruptFileError("the file is empty", file=path)
    if b"\x89HDF" not in (head[:4], head[512:516]):
        raise FileFormatError(
            "is no MATLAB 7.3 file",
            file=path,
            found=repr(head[:16]),
            expected="HDF5",
            hint="Save the result again with '-v7.3'.",
        )


class ResultFile:
    """An open result file; names are paths such as ``S_clu/viClu``."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self._file = file
        self._largest = largest_content(path.stat().st_size)

    def has(self, name: str) -> bool:
        """Tell whether there is a dataset of that name, without following links out."""
        item: Any = self._file
        for part in name.split("/"):
            if not isinstance(item, h5py.Group) or part not in item:
                return False
            if not isinstance(item.get(part, getlink=True), h5py.HardLink):
                return False
            item = item[part]
        return isinstance(item, h5py.Dataset)

    def array(self, name: str, *, ndim: int) -> NDArray[Any]:
        """Read numbers, axes as in the file (reversed to MATLAB's), with ``ndim`` axes.

        A vector (``ndim`` 1) may come as a row or a column. Trailing axes of one that MATLAB
        left out are put back in front, where they belong in a file.

        Raises
        ------
        FileFormatError
            If it is missing, holds no numbers or has other axes.
        """
        data = self._read(name)
        if data.dtype.kind not in "biuf":
            raise FileFormatError("holds no numbers", place=name, found=data.dtype)
        if ndim == 1 and data.size == max(data.shape, default=1):
            return data.reshape(-1)
        if data.ndim < ndim and ndim > 1:
            data = data.reshape((1,) * (ndim - data.ndim) + data.shape)
        if data.ndim != ndim:
            raise FileFormatError(
                "has other axes", place=name, found=data.shape, expected=f"{ndim} axes"
            )
        return data

    def _read(self, name: str) -> NDArray[Any]:
        if not self.has(name):
            raise FileFormatError("the field is missing", place=name)
        data = self._file[name]
        self._check(data, name)
        if data.attrs.get("MATLAB_empty"):
            return np.empty((0, 0))
        return np.asarray(data[()])

    def _check(self, data: h5py.Dataset, name: str) -> None:
        if data.external or data.is_virtual or data.nbytes > self._largest:
            raise CorruptFileError("claims content that the file does not hold", place=name)

    def texts(self, name: str) -> list[str]:
        """Read a cell of texts: references to UTF-16 code units; anything else reads as ``""``.

        Raises
        ------
        FileFormatError
            If it is missing, or no cell.
        """
        cell = self._read(name)
        if cell.size and h5py.check_ref_dtype(cell.dtype) is not h5py.Reference:
            raise FileFormatError("is no cell", place=name, found=cell.dtype)
        return [self._text(reference, name) for reference in cell.flat]

    def _text(self, reference: Any, name: str) -> str:
        item = self._file[reference] if reference else None
        if not isinstance(item, h5py.Dataset) or item.dtype.kind != "u":
            return ""
        self._check(item, name)
        if item.size > _MOST_TEXT or item.attrs.get("MATLAB_empty"):
            return ""
        units = np.asarray(item[()]).astype("<u2")
        return units.tobytes().decode("utf-16-le", errors="replace").rstrip("\0")
