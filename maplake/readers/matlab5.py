"""MATLAB files of version 5 (saved by MATLAB's ``-v6`` and ``-v7``), read within their bounds.

Why not scipy: on damaged files ``scipy.io.loadmat`` 1.17 ends the whole process by a segmentation
fault (a flipped byte in a length is enough), so that one bad file would take all others with it.
Here every length is held against the bytes that are there. Fields that nobody asked for are
stepped over, which makes large sessions faster to read as well.

A file is a header of 128 bytes and elements: a tag (type, number of bytes), then content padded to
8 bytes; up to 4 bytes of content may sit in the tag itself. See MathWorks, "MAT-File Format".
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

import numpy as np

__all__ = ["DamagedError", "read_v5"]

_HEADER = 128
_LARGEST = 1 << 29  # bytes of a compressed variable; sessions have a tenth of that
_SHORT = 256  # bytes of a text that is remembered
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _OPAQUE = 1, 2, 4, 17
_LOGICAL, _COMPLEX = 0x200, 0x800
# Types of stored numbers, and classes of arrays: numbers are stored in the smallest type that fits.
_STORED = dict(enumerate(("i1", "u1", "i2", "u2", "i4", "u4", "f4"), start=1))
_STORED |= {9: "f8", 12: "i8", 13: "u8"}
_CLASSES = dict(enumerate(("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"), start=6))
_ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}


class DamagedError(ValueError):
    """The bytes contradict each other."""


class _Part(NamedTuple):
    """An element: its type, where its content begins and ends, where the next element begins."""

    kind: int
    start: int
    stop: int
    after: int


def read_v5(content: bytes, only: Container[str] | None = None) -> dict[str, Any]:
    """Read the variables of a file; see :func:`maplake.readers.matlab.load`.

    Raises
    ------
    DamagedError
        If the bytes contradict each other.
    Exception
        Others of Python on damaged bytes; ``load`` turns all into a CorruptFileError.
    """
    order = "<" if content[126:128] == b"IM" else ">"
    found: dict[str, Any] = {}
    at = _HEADER
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        start, at = at + 8, at + 8 + size
        if at > len(content):
            raise DamagedError(f"a variable of {size} bytes runs past the end of the file")
        element = content[start - 8 : at]
        if kind == _COMPRESSED:
            element = _inflated(element[8:], order)
        elif kind != _MATRIX:
            raise DamagedError(f"unknown type {kind} of a variable")
        name, value = _Elements(element, order, only).variable()
        if name and (only is None or name in only):
            found[name] = value
    if at < len(content) and content[at:].strip(b"\0"):
        raise DamagedError("bytes are left over at the end of the file")
    return found


def _inflated(packed: bytes, order: str) -> bytes:
    """Unpack an element, no further than it says itself how long it is."""
    stream = zlib.decompressobj()
    head = stream.decompress(packed, 8)
    if len(head) < 8:
        raise DamagedError("a compressed variable is cut short")
    size: int = struct.unpack(f"{order}II", head)[1]
    if size > _LARGEST:
        raise DamagedError(f"a compressed variable claims {size} bytes")
    body = stream.decompress(stream.unconsumed_tail, size) if size else b""
    if len(body) < size:
        raise DamagedError("a compressed variable is cut short")
    # Reading on to the end checks the sum over the content.
    if not stream.eof and (stream.decompress(stream.unconsumed_tail, 8) or not stream.eof):
        raise DamagedError("a compressed variable is longer than it says, or cut short")
    return head + body


class _Elements:
    """The elements of one variable."""

    def __init__(self, data: bytes, order: str, only: Container[str] | None) -> None:
        self.data = data
        self.order = order
        self.only = only
        self.tag = struct.Struct(f"{order}II")
        self.texts: dict[bytes, str] = {}  # the same names stand in every trial

    def variable(self) -> tuple[str, Any]:
        """Name and value of the variable itself."""
        whole = self._part(0, len(self.data))
        name = self._name(whole)
        wanted = name and (self.only is None or name in self.only)
        return name, self._matrix(whole) if wanted else None

    def _part(self, at: int, end: int) -> _Part:
        if at + 8 > end:
            raise DamagedError("an element is missing")
        kind, size = self.tag.unpack_from(self.data, at)
        if kind >> 16:
            kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise DamagedError("a short element is too long")
        else:
            start = at + 8
            after = start + size + -size % 8
        if start + size > end:
            raise DamagedError("an element runs past the end of what holds it")
        return _Part(kind, start, start + size, after)

    def _name(self, whole: _Part) -> str:
        flags = self._part(whole.start, whole.stop)
        part = self._part(flags.after, whole.stop)
        if self._flags(flags) & 0xFF != _OPAQUE:  # those have no dimensions
            part = self._part(part.after, whole.stop)
        return self.data[part.start : part.stop].decode("latin-1")

    def _flags(self, part: _Part) -> int:
        if part.stop - part.start != 8:
            raise DamagedError("the flags of an array are damaged")
        flags: int = self.tag.unpack_from(self.data, part.start)[0]
        return flags

    def _matrix(self, whole: _Part) -> Any:
        if whole.kind != _MATRIX:
            raise DamagedError(f"an element of type {whole.kind} is no array")
        end = whole.stop
        if whole.start == end:
            return np.empty((0, 0))
        raw = self.data[whole.start : end] if end - whole.start < _SHORT else b""
        if raw in self.texts:
            return self.texts[raw]
        part = self._part(whole.start, end)
        flags = self._flags(part)
        kind = flags & 0xFF
        if kind not in _CLASSES and kind not in (_CELL, _STRUCT, _CHAR):
            return None
        part = self._part(part.after, end)
        shape = self._shape(part)
        at = self._part(part.after, end).after
        if kind == _CELL:
            return [self._matrix(item) for item in self._items(math.prod(shape), at, end)]
        if kind == _STRUCT:
            return self._structs(math.prod(shape), at, end)
        if kind == _CHAR:
            text = self._text(shape, self._part(at, end) if at + 8 <= end else None)
            if raw and isinstance(text, str):
                self.texts[raw] = text
            return text
        return self._numbers(_CLASSES[kind], flags, shape, at, end)

    def _shape(self, part: _Part) -> tuple[int, ...]:
        count = (part.stop - part.start) // 4
        shape: tuple[int, ...] = struct.unpack_from(f"{self.order}{count}i", self.data, part.start)
        if part.kind not in (5, 6) or count < 2 or min(shape) < 0:
            raise DamagedError("the dimensions of an array are damaged")
        return shape

    def _items(self, count: int, at: int, end: int) -> Iterator[_Part]:
        if count * 8 > end - at:
            raise DamagedError(f"an array claims {count} items and does not hold them")
        for _ in range(count):
            part = self._part(at, end)
            yield part
            at = part.after

    def _structs(self, count: int, at: int, end: int) -> Any:
        width_part = self._part(at, end)
        names_part = self._part(width_part.after, end)
        text = self.data[names_part.start : names_part.stop]
        width = int.from_bytes(
            self.data[width_part.start : width_part.stop], "little" if self.order == "<" else "big"
        )
        if text and not 0 < width <= len(text):
            raise DamagedError("the field names of a struct are damaged")
        names = [
            text[i : i + width].split(b"\0", 1)[0].decode("latin-1")
            for i in range(0, len(text), width or 1)
        ]
        wanted = [name if self.only is None or name in self.only else None for name in names]
        if not names:
            return {} if count == 1 else []
        parts = self._items(count * len(names), names_part.after, end)
        items = [self._struct(wanted, parts) for _ in range(count)]
        return items[0] if count == 1 else items

    def _struct(self, names: list[str | None], parts: Iterator[_Part]) -> dict[str, Any]:
        found = {}
        for name in names:
            part = next(parts)
            if name is not None:
                found[name] = self._matrix(part)
        return found

    def _text(self, shape: tuple[int, ...], part: _Part | None) -> Any:
        size = math.prod(shape)
        if not size or part is None:
            return ""
        encoding = _ENCODINGS.get(part.kind)
        if encoding is None:
            raise DamagedError(f"a text is stored as type {part.kind}")
        if encoding.startswith("utf-") and encoding != "utf-8":
            encoding += "-le" if self.order == "<" else "-be"
        text = self.data[part.start : part.stop].decode(encoding, errors="replace")
        rows = size // shape[-1]
        if rows == 1:
            return text.rstrip("\0")
        if len(text) != size:
            raise DamagedError(f"a text of {size} characters has {len(text)}")
        return [text[row::rows].rstrip("\0") for row in range(rows)]

    def _numbers(self, kind: str, flags: int, shape: tuple[int, ...], at: int, end: int) -> Any:
        real = self._part(at, end)
        array = self._array(real, shape)
        if flags & _COMPLEX:
            return array + 1j * self._array(self._part(real.after, end), shape)
        return array.astype("bool" if flags & _LOGICAL else kind, copy=False)

    def _array(self, part: _Part, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        if part.kind not in _STORED:
            raise DamagedError(f"numbers are stored as type {part.kind}")
        dtype = np.dtype(self.order + _STORED[part.kind])
        size = math.prod(shape)
        if size * dtype.itemsize != part.stop - part.start:
            raise DamagedError(f"an array of {size} numbers holds {part.stop - part.start} bytes")
        return np.frombuffer(self.data, dtype, size, part.start).reshape(shape, order="F")
