"""NumPy's ``.npy`` files from strangers: checked before a byte of data is taken for a number.

Nothing pickled is ever loaded, and a header that promises more than the file holds is refused
before memory is asked for it.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
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
_MAX_HEADER = 2**16  # bytes
_NUMBERS = re.compile(r"[<>|=]?(?:b1|i[1248]|u[1248]|f[248])")


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
            "the file is truncated",
            file=path,
            found=f"{size} bytes",
            expected=f"{expected} bytes",
            hint="Copy it again from where it was sorted.",
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
    version = file.read(2)
    if version[:1] not in (b"\1", b"\2", b"\3"):
        raise FileFormatError("unknown version of the .npy format", file=path, found=version[:1])
    length = int.from_bytes(file.read(2 if version[0] == 1 else 4), "little")
    text = file.read(min(length, _MAX_HEADER + 1))
    if len(text) < length or length > _MAX_HEADER:
        raise CorruptFileError("the header is damaged", file=path, found=f"{len(text)} bytes")
    shape, fortran, descr = _parse(path, text)
    if not _NUMBERS.fullmatch(descr):
        what = "pickled objects are never loaded" if "O" in descr else "no numbers"
        raise FileFormatError(what, file=path, found=descr[:40], expected="numbers")
    return NpyHeader(path, shape, fortran, np.dtype(descr), file.tell())


def _parse(path: Path, text: bytes) -> tuple[tuple[int, ...], bool, str]:
    """Return shape, Fortran order and type of the dictionary literal in a header.

    Not left to NumPy, which lets many kinds of errors out of a damaged one.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            values = ast.literal_eval(text.decode("latin-1").strip())
        shape, fortran, descr = values["shape"], values["fortran_order"], values["descr"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise CorruptFileError(f"the header is damaged: {error}", file=path) from error
    whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not whole or len(shape) > 32 or not isinstance(fortran, bool):
        raise CorruptFileError("the header is damaged", file=path, found=f"shape {shape}"[:80])
    return shape, fortran, str(descr)


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
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    try:
        if size > _SMALL:
            # As a plain array: pieces of it are made many times faster than memory maps.
            return np.asarray(
                np.memmap(path, header.dtype, "r", header.offset, header.shape, order)
            )
        # An empty array cannot be mapped.
        count = _product(header.shape)
        array = np.fromfile(path, header.dtype, count, offset=header.offset)
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"cannot be read: {error}", file=path) from error
    return array.reshape(header.shape, order=order)


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
        array = array.astype(np.float64, copy=False)  # half floats end long before the limit
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
    rows = max(1, min(rows, count))
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
