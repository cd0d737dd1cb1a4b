"""MATLAB files of both kinds, v5 (also called v6 and v7) and v7.3 (HDF5), in one form.

====================  ==========================================================================
MATLAB                here
====================  ==========================================================================
struct                ``dict``; an array of structs that has not exactly one element: ``list``
cell                  ``list``, column by column
char                  ``str``; several rows: ``list`` of ``str``, with their padding
numbers, logical      ``numpy`` array of MATLAB's class and shape, so with two axes or more
objects, functions,   ``None``; they are never interpreted
sparse matrices
====================  ==========================================================================

MATLAB itself does not say whether one number is a number, a vector with one element or a matrix:
the caller knows, and says so by :func:`vector`, :func:`rows`, :func:`texts`, :func:`structs` or
:func:`per_trial`, which read one of a thing exactly as many.

Why not pymatreader: it squeezes on loading, so a session with one trial comes as another nesting
of types than one with two (a struct array as a dict of lists, a cell as its content), v5 and v7.3
differ in the types of numbers, damaged variables become warnings, and on some damaged files the
scipy below it ends the process (see :mod:`maplake.readers.matlab5`).
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MissingFileError,
    SourceError,
    UnreadableFileError,
)
from maplake.readers.matlab5 import DamagedError, read_v5
from maplake.readers.matlab73 import read_v73

__all__ = [
    "load",
    "number",
    "per_trial",
    "rows",
    "split",
    "structs",
    "text",
    "texts",
    "vector",
]

_HEADER = 128
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load(path: Path, only: Container[str] | None = None) -> dict[str, Any]:
    """Read a MATLAB file of version 5 or 7.3.

    Parameters
    ----------
    path
        The file.
    only
        Names of variables and of struct fields, at any depth, to keep (None = all). The others
        are left out, which saves most of the time with large sessions.

    Returns
    -------
    dict
        Variables by name, in the form described at the top of this module.

    Raises
    ------
    MissingFileError
        If there is no such file.
    UnreadableFileError
        If the operating system refuses to read it.
    CorruptFileError
        If it is empty, truncated or damaged.
    FileFormatError
        If it is no MATLAB file of these versions.
    """
    path = Path(path)
    version = _version(path)
    try:
        if version == "7.3":
            return read_v73(path, only)
        return read_v5(_bytes(path), only)
    except SourceError:
        raise
    except Exception as error:
        # Damaged bytes raise nearly anything: struct, zlib, key, type, memory, recursion, h5py.
        why = str(error) if isinstance(error, DamagedError) else f"{type(error).__name__}: {error}"
        raise CorruptFileError(
            f"the MATLAB {version} file is truncated or damaged ({why})",
            file=path,
            hint="Copy it again from the rig.",
        ) from error


def _version(path: Path) -> str:
    """Tell the versions apart by their headers."""
    if path.is_dir():
        raise FileFormatError("is a folder", file=path, expected="a MATLAB file")
    head = _bytes(path, _HEADER)
    if not head.strip(b"\0"):
        raise CorruptFileError("the file is empty", file=path, found=f"{len(head)} bytes read")
    if any(_bytes(path, 8, at=at) == _HDF5 for at in (0, 512, 1024, 2048)):
        return "7.3"
    if head[126:128] in (b"IM", b"MI") and b"\1" in head[124:126]:
        return "5"
    if head.startswith((b"MATLAB", _HDF5[:4])):
        raise CorruptFileError("the MATLAB file is truncated or damaged in its header", file=path)
    raise FileFormatError(
        "is no MATLAB file", file=path, found=repr(head[:16]), expected="MATLAB version 5 or 7.3"
    )


def _bytes(path: Path, count: int = -1, at: int = 0) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(count)
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except OSError as error:
        raise UnreadableFileError(
            f"the file cannot be read: {error.strerror or error}", file=path
        ) from error


def vector(value: Any, place: str | None = None) -> np.ndarray[Any, Any]:
    """Return numbers as float64 (n,), whether one, many, none, a row, a column or a cell.

    Raises
    ------
    FileFormatError
        If the value holds anything but real numbers; it names ``place``.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value.ravel(order="F").astype(np.float64)
    if isinstance(value, str) and not value:
        return np.empty(0)  # '' and [] look alike to those who fill in a struct
    if isinstance(value, list):
        parts = [vector(item, place) for item in value]
        return np.concatenate(parts) if parts else np.empty(0)
    raise FileFormatError("holds no numbers", place=place, found=_kind(value), expected="numbers")


def number(value: Any, place: str | None = None) -> float | None:
    """Return one number; None where the value is missing (None) or empty.

    Raises
    ------
    FileFormatError
        If it is no number, or more than one.
    """
    if value is None:
        return None
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf":
        return float(value.item())
    flat = vector(value, place)
    if flat.size > 1:
        raise FileFormatError("has several values", place=place, found=flat.size, expected="one")
    return float(flat[0]) if flat.size else None


def rows(value: Any, width: int, place: str | None = None) -> np.ndarray[Any, Any]:
    """Return numbers as float64 (n, width); ``width`` numbers in any shape are one row.

    Raises
    ------
    FileFormatError
        If the numbers do not make rows of that width.
    """
    flat = vector(value, place)
    if flat.size in (0, width):
        return flat.reshape(-1, width)
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == width:
        return value.astype(np.float64)
    found = getattr(value, "shape", len(flat))
    raise FileFormatError("has a wrong shape", place=place, found=found, expected=f"n x {width}")


def texts(value: Any, place: str | None = None) -> list[str]:
    """Return texts as a list: of one text, a cell of texts, a char matrix, or whole numbers.

    Padding of char matrices is taken off; numbers become their digits (leading zeros that MATLAB
    did not keep cannot be had back); a matrix of digits gives one text a row.

    Raises
    ------
    FileFormatError
        If the value holds anything else.
    """
    if isinstance(value, str):
        return [value.strip()] if value.strip() else []
    if isinstance(value, list):
        return [text(item, place) for item in value]
    if isinstance(value, np.ndarray) and value.size == 0:
        return []
    digits = vector(value, place)
    if not (np.isfinite(digits) & (digits == np.floor(digits))).all():
        raise FileFormatError("holds no texts", place=place, found="numbers that are not whole")
    words = [str(int(digit)) for digit in digits]
    if value.ndim == 2 and min(value.shape) > 1:
        count = value.shape[0]
        return ["".join(words[row::count]) for row in range(count)]
    return words


def text(value: Any, place: str | None = None) -> str:
    """Return one text; several parts (digits in a row) are joined, nothing gives ``""``."""
    return "".join(texts(value, place)) if value is not None else ""


def structs(value: Any, place: str | None = None) -> list[dict[str, Any]]:
    """Return structs as a list: of one struct, a struct array, or a cell of structs.

    Raises
    ------
    FileFormatError
        If something else is among them.
    """
    if isinstance(value, np.ndarray) and value.size == 0:
        return []  # MATLAB's []
    found = value if isinstance(value, list) else [value]
    for item in found:
        if not isinstance(item, dict):
            raise FileFormatError(
                "holds no structs", place=place, found=_kind(item), expected="a struct"
            )
    return found


def split(value: Any, count: int) -> list[Any]:
    """Split a field into its items, knowing that there should be ``count`` of them.

    A cell has its items, a matrix of ``count`` rows its rows (that is what a cell of vectors of
    one length turns into when other tools save it), a vector its numbers. With one trial, a cell
    of texts, a vector or a struct is that trial's item.
    """
    if isinstance(value, list):
        squeezed = count == 1 and value and all(isinstance(item, str) for item in value)
        return [value] if squeezed else value
    if not isinstance(value, np.ndarray):
        return [value]
    if count == 1 and min(value.shape) <= 1:
        return [value]
    items = list(value) if value.shape[0] == count else list(value.ravel(order="F"))
    return [np.atleast_2d(item) for item in items]


def per_trial(value: Any, count: int, place: str | None = None) -> list[Any]:
    """Split a field into one item per trial, see :func:`split`.

    Raises
    ------
    LengthMismatchError
        If there are not ``count`` items.
    """
    items = split(value, count)
    if len(items) != count:
        raise LengthMismatchError(
            "has not one item per trial", place=place, found=len(items), expected=count
        )
    return items


def _kind(value: Any) -> str:
    names = {dict: "a struct", list: "a cell or struct array", str: "text", type(None): "nothing"}
    return names.get(type(value), "numbers")
