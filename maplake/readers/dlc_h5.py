"""DeepLabCut's ``.h5``: a data frame as pandas stores it, in its *fixed* or its *table* layout.

Only arrays are read. The table layout keeps the names of its columns in a pickle: that is taken
apart here as data, by an interpreter that knows texts, numbers, tuples and lists and nothing
else, so that nothing in it can be executed.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from itertools import count
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
from maplake.readers.pose import Pose, check_finite, check_frames, feature_columns

__all__ = ["plain_pickle", "read_h5"]

_LEVELS = (3, 4)  # scorer, (individual,) body part, coordinate

_Block = tuple[list[tuple[str, ...]], NDArray[Any]]


def read_h5(path: Path) -> Pose:
    """Read one tracking file.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If it is not there or cannot be read.
    CorruptFileError
        If it is empty, truncated or damaged.
    FileFormatError
        If it holds no data frame of DeepLabCut's, or one that only unpickling could read.
    """
    _check_readable(path)
    try:
        with h5py.File(path, "r") as file:
            group = _frame_group(path, file)
            table = group.get("table")
            frame, blocks = _table(path, table) if table is not None else _fixed(path, group)
            return _pose(path, frame, blocks)
    except SourceError:
        raise
    except Exception as error:
        # h5py raises nearly anything on damaged bytes.
        raise CorruptFileError(
            f"the HDF5 file is truncated or damaged ({type(error).__name__}: {error})", file=path
        ) from error


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    if not head:
        raise CorruptFileError("the file is empty", file=path)
    if head != b"\x89HDF\r\n\x1a\n":
        raise FileFormatError("is no HDF5 file", file=path, found=repr(head))


def _frame_group(path: Path, file: h5py.File) -> h5py.Group:
    found = [
        group
        for name in file
        if isinstance(file.get(name, getlink=True), h5py.HardLink)
        and isinstance(group := file[name], h5py.Group)
        and ("table" in group or "axis0_level0" in group)
    ]
    if len(found) != 1:
        raise FileFormatError(
            "not exactly one data frame with DeepLabCut's header",
            file=path,
            found=", ".join(group.name for group in found) or f"groups {', '.join(file)}",
            expected="a data frame written by pandas, with scorer, bodyparts, coords",
        )
    return found[0]


def _numbers(path: Path, item: Any) -> NDArray[Any]:
    """Return the content of a dataset, if it is one of numbers or texts of an honest size."""
    if not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
        raise FileFormatError("no array of its own", file=path, place=getattr(item, "name", None))
    if item.dtype.kind not in "iufSV" or item.dtype.hasobject:
        raise FileFormatError(
            "pickled objects are never loaded",
            file=path,
            place=item.name,
            found=item.dtype,
            expected="numbers",
        )
    if item.size * item.dtype.itemsize > largest_content(path.stat().st_size):
        raise CorruptFileError("claims more than a file of its size holds", file=path)
    return np.asarray(item[()])


def _fixed(path: Path, group: h5py.Group) -> tuple[NDArray[Any], list[_Block]]:
    blocks = []
    for number in count():
        name = f"block{number}"
        if f"{name}_values" not in group:
            break
        values = group[f"{name}_values"]
        array = _numbers(path, values)
        # pandas keeps blocks turned round and says so when it turned them back for the file.
        columns = array if values.attrs.get("transposed", 0) else array.T
        blocks.append((_headers(path, group, f"{name}_items"), columns))
    return _numbers(path, group["axis1"]), blocks


def _headers(path: Path, group: h5py.Group, name: str) -> list[tuple[str, ...]]:
    """Return the header of each column of a block, from its levels and the codes into them."""
    levels = []
    for number in count():
        if f"{name}_level{number}" not in group:
            break
        words = [_text(word) for word in _numbers(path, group[f"{name}_level{number}"]).ravel()]
        codes = _numbers(path, group[f"{name}_label{number}"]).ravel()
        if len(codes) and (codes.min() < 0 or codes.max() >= len(words)):
            raise CorruptFileError("a column without a name", file=path, place=f"{name}, {number}")
        levels.append([words[code] for code in codes])
    return list(zip(*levels, strict=True))


def _table(path: Path, table: Any) -> tuple[NDArray[Any], list[_Block]]:
    rows = _numbers(path, table)
    names = rows.dtype.names or ()
    if "index" not in names:
        raise FileFormatError("no index", file=path, place=table.name, found=", ".join(names))
    blocks = []
    for name in names:
        if name == "index":
            continue
        kind = table.attrs.get(f"{name}_kind")
        headers = plain_pickle(bytes(kind)) if isinstance(kind, bytes) else None
        if not isinstance(headers, list) or not all(map(_is_header, headers)):
            raise FileFormatError("columns without names", file=path, place=f"{table.name}, {name}")
        blocks.append(([tuple(map(_text, h)) for h in headers], rows[name].reshape(len(rows), -1)))
    return rows["index"], blocks


def _is_header(header: Any) -> bool:
    # Tuples within tuples, each twice in the next, would be texts without end.
    return isinstance(header, tuple) and all(isinstance(w, (str, bytes, int)) for w in header)


def _text(word: Any) -> str:
    return word.decode("utf-8") if isinstance(word, bytes) else str(word)


def _pose(path: Path, frame: NDArray[Any], blocks: list[_Block]) -> Pose:
    headers = [header for names, _ in blocks for header in names]
    if {len(header) for header in headers} not in [{n} for n in _LEVELS]:
        raise FileFormatError(
            "no DeepLabCut header",
            file=path,
            found=f"columns {headers[:1]}",
            expected="scorer, bodyparts, coords; with several animals individuals before bodyparts",
        )
    for names, values in blocks:
        if values.shape != (len(frame), len(names)) or values.dtype.kind not in "iuf":
            raise CorruptFileError(
                "values and header do not fit",
                file=path,
                found=f"{values.shape} {values.dtype}",
                expected=f"({len(frame)}, {len(names)}) numbers",
            )
    columns = [
        np.ascontiguousarray(column, dtype=np.float64) for _, block in blocks for column in block.T
    ]
    places = feature_columns(path, headers)
    found = tuple(tuple(columns[p] for p in place) for place in places.values())
    for feature, arrays in zip(places, found, strict=True):
        check_finite(path, feature, arrays)
    return Pose(check_frames(path, frame), tuple(places), found)


_MARK = object()
_PUSH = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "INT", "BININT", "BININT1", "BININT2")
_IGNORE = ("PROTO", "FRAME")
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def plain_pickle(data: bytes) -> Any:
    """Return what a pickle of nested lists and tuples of texts and numbers says.

    Nothing is unpickled: its instructions are read as data, and only those that build such values
    are carried out.

    Raises
    ------
    FileFormatError
        If there is any other instruction in it, so anything that could name or call something.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    try:
        for code, argument in _instructions(data):
            if code == "STOP":
                return stack[-1]
            _step(code, argument, stack, memo)
    except FileFormatError:
        raise
    except Exception as error:
        raise FileFormatError("names of columns are damaged", found=str(error)) from error
    raise FileFormatError("names of columns are damaged", found="no end")


def _instructions(data: bytes) -> Iterator[tuple[str, Any]]:
    for code, argument, _ in pickletools.genops(data):
        yield code.name, argument


def _step(code: str, argument: Any, stack: list[Any], memo: dict[Any, Any]) -> None:
    if code in _PUSH:
        stack.append(argument)
    elif code == "MARK":
        stack.append(_MARK)
    elif code in ("LIST", "EMPTY_LIST"):
        stack.append([] if code == "EMPTY_LIST" else _to_mark(stack))
    elif code == "TUPLE":
        stack.append(tuple(_to_mark(stack)))
    elif code in _TUPLES:
        parts = [stack.pop() for _ in range(_TUPLES[code])][::-1]
        stack.append(tuple(parts))
    elif code in ("APPEND", "APPENDS"):
        items = [stack.pop()] if code == "APPEND" else _to_mark(stack)
        stack[-1].extend(items)
    elif code in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[len(memo) if code == "MEMOIZE" else argument] = stack[-1]
    elif code in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif code not in _IGNORE:
        raise FileFormatError(
            "pickled objects are never loaded", found=code, expected="lists of texts"
        )


def _to_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]
