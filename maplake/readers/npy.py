"""NumPy's ``.npy`` files from strangers: checked before a byte of data is taken for a number.

Nothing pickled is ever loaded, and a header that promises more than the file holds is refused
before memory is asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MissingFileError,
    UnreadableFileError,
)

__all__ = ["NpyHeader", "fill", "first_features", "load", "load_flat", "load_whole", "read_header"]

_SMALL = 2**20  # bytes; below, a copy is cheaper than a memory map
_HEADERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


@dataclass(frozen=True)
class NpyHeader:
    """What the header of a ``.npy`` file says; ``offset`` is where its data begin, in bytes."""

    path: Path
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int


def read_header(path: Path) -> NpyHeader:
    """Read and check the header of a ``.npy`` file of numbers.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If the file is not there or cannot be read.
    CorruptFileError
        If it is empty, truncated or its header is damaged.
    FileFormatError
        If it is no ``.npy`` file or holds no numbers (pickled objects, text, records).
    """
    try:
        with path.open("rb") as file:
            header = _header(path, file)
            size = file.seek(0, 2)
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    expected = header.offset + header.dtype.itemsize * _product(header.shape)
    if size < expected:
        raise CorruptFileError(
            "the file is truncated", file=path, found=f"{size} bytes", expected=f"{expected} bytes"
        )
    return header


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def _header(path: Path, file: BinaryIO) -> NpyHeader:
    magic = file.read(6)
    if not magic:
        raise CorruptFileError("the file is empty", file=path, expected="a .npy array")
    if magic != b"\x93NUMPY":
        raise FileFormatError("no .npy file", file=path, found=repr(magic))
    version = tuple(file.read(2))
    if version not in _HEADERS:
        raise FileFormatError("unknown version of the .npy format", file=path, found=version)
    try:
        shape, fortran, dtype = _HEADERS[version](file)
        broken = any(length < 0 for length in shape)
    except (ValueError, SyntaxError, TypeError, EOFError, RecursionError, MemoryError) as error:
        raise CorruptFileError(f"the header is damaged: {error}", file=path) from error
    if broken:
        raise CorruptFileError("the header is damaged", file=path, found=f"shape {shape}")
    if dtype.hasobject:
        raise FileFormatError(
            "pickled objects are never loaded", file=path, found=dtype, expected="numbers"
        )
    if dtype.kind not in "biuf":
        raise FileFormatError("no numbers", file=path, found=dtype, expected="numbers")
    return NpyHeader(path, shape, fortran, dtype, file.tell())


def load(path: Path, ndim: int | None = None) -> NDArray[Any]:
    """Load a ``.npy`` array of numbers: memory-mapped where large.

    Parameters
    ----------
    path
        The file.
    ndim
        Number of dimensions that it must have; None = any.

    Raises
    ------
    SourceError
        As :func:`read_header`; also FileFormatError if the number of dimensions is another.
    """
    header = read_header(path)
    if ndim is not None and len(header.shape) != ndim:
        raise FileFormatError(
            "another number of dimensions",
            file=path,
            found=f"shape {header.shape}",
            expected=f"{ndim} dimensions",
        )
    size = header.dtype.itemsize * _product(header.shape)
    try:
        # An empty array cannot be mapped.
        array: NDArray[Any] = np.load(
            path, mmap_mode="r" if size > _SMALL else None, allow_pickle=False
        )
    except (ValueError, EOFError) as error:
        raise CorruptFileError(f"cannot be read: {error}", file=path) from error
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    return array


def load_flat(path: Path, length: tuple[Path, int] | None = None) -> NDArray[Any]:
    """Load a vector, saved as such or as a column or a row; shape (n,).

    Parameters
    ----------
    path
        The file.
    length
        The file whose length it must share, and that length.

    Raises
    ------
    SourceError
        As :func:`load`; FileFormatError if it is no vector, LengthMismatchError if its length is
        another one.
    """
    array = load(path)
    if array.size != max(array.shape, default=1):
        raise FileFormatError(
            "no vector", file=path, found=f"shape {array.shape}", expected="(n,) or (n, 1)"
        )
    array = array.reshape(-1)
    if length is not None and len(array) != length[1]:
        raise LengthMismatchError(
            f"{path.name} and {length[0].name} differ in length",
            file=path,
            found=len(array),
            expected=f"{length[1]} as in {length[0].name}",
        )
    return array


def load_whole(path: Path, length: tuple[Path, int] | None = None) -> NDArray[Any]:
    """Load a vector of whole numbers of 0 or more, as signed integers; shape (n,).

    Raises
    ------
    SourceError
        As :func:`load_flat`; CorruptFileError if a value is fractional, negative or too large.
    """
    array = load_flat(path, length)
    if array.dtype.kind == "f":
        bad = ~(np.isfinite(array) & (array == np.rint(array)) & (np.abs(array) < 2**53))
        if bad.any():
            raise _bad_value(path, array, bad, "a whole number")
        array = array.astype(np.int64)
    elif array.dtype.kind == "b":
        array = array.astype(np.int64)
    if len(array) and (array.min() < 0 or array.max() >= 2**62):
        raise _bad_value(path, array, (array < 0) | (array >= 2**62), "a number of 0 or more")
    # Unsigned numbers of 64 bits turn into floats as soon as they meet signed ones.
    return array.astype(np.int64) if array.dtype == np.uint64 else array


def _bad_value(
    path: Path, array: NDArray[Any], bad: NDArray[np.bool_], expected: str
) -> CorruptFileError:
    row = int(bad.argmax())
    return CorruptFileError(
        "a value that cannot be",
        file=path,
        place=f"element {row}",
        found=array[row],
        expected=expected,
    )


def first_features(
    header: NpyHeader, *, channels_last: bool, rows: int = 16384
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Stream the first component of a three-dimensional array of features.

    Plain reads into one buffer, not a memory map: the file may be larger than memory, and mapped
    pages would count as the process's own.

    Parameters
    ----------
    header
        Of an array (spikes, components, channels), or (spikes, channels, components) if not
        ``channels_last``.
    channels_last
        Which of the two it is.
    rows
        Spikes per piece.

    Yields
    ------
    start, piece
        First spike and the features (spikes, channels) of its piece; valid until the next.
    """
    count, second, third = header.shape
    channels = third if channels_last else second
    item = header.dtype.itemsize
    with header.path.open("rb", buffering=0) as file:
        if not header.fortran:
            buffer = np.empty((rows, second, third), header.dtype)
            file.seek(header.offset)
            for start in range(0, count, rows):
                piece = buffer[: min(rows, count - start)]
                fill(file, piece, header.path)
                yield start, piece[:, 0, :] if channels_last else piece[:, :, 0]
            return
        step = count * (second if channels_last else 1) * item
        block = np.empty((channels, rows), header.dtype)
        for start in range(0, count, rows):
            stop = min(rows, count - start)
            for channel in range(channels):
                file.seek(header.offset + channel * step + start * item)
                fill(file, block[channel, :stop], header.path)
            yield start, block[:, :stop].T


def fill(file: BinaryIO, array: NDArray[Any], path: Path) -> None:
    """Read as many bytes as the contiguous ``array`` has; CorruptFileError if there are fewer."""
    view = memoryview(array.data).cast("B")
    done = 0
    while done < len(view):
        got = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise CorruptFileError("the file is truncated", file=path)
        done += got
