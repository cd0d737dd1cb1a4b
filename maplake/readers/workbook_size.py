"""How large a workbook is, told before it is opened.

Its reader makes a grid of all cells between the first and the last one of a sheet, and ends the
process where there is no memory for it: one cell in the farthest corner, in a file of a few
kilobytes, is enough. So the parts of the zip are unpacked and counted here first.
"""

from __future__ import annotations

import io
import lzma
import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from xml.parsers import expat

__all__ = ["check_workbook"]

_MOST_BYTES = 1 << 27  # unpacked, of all parts together
_MOST_CELLS = 10_000_000  # between the corners of a sheet
_XML = (".xml", ".rels")
#: Names the parts of a workbook, which may be called anything.
_RELATIONS = "xl/_rels/workbook.xml.rels"
_FARTHEST = 1 << 60
#: What reading a damaged zip raises: of its directory, of parts packed in one way or another.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, NotImplementedError, RuntimeError),
)
_PLACE = re.compile(r"([A-Z]{0,3})([1-9][0-9]{0,6})")


def check_workbook(data: bytes) -> None:
    """Refuse a workbook that would take too much memory, or is damaged.

    Raises
    ------
    ValueError
        Saying why.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            # Asking part.is_dir() fails where a part has no name.
            parts = [part for part in book.infolist() if not part.filename.endswith("/")]
            size = sum(part.file_size for part in parts)
            if size > _MOST_BYTES:
                raise ValueError(
                    f"its parts are too large: {size >> 20} MB unpacked, at most "
                    f"{_MOST_BYTES >> 20}; rows that are formatted but empty count, too"
                )
            relations = [part for part in parts if _plain(part.filename) == _RELATIONS]
            targets = set().union(*(_targets(book.read(part)) for part in relations))
            for part in parts:
                # Reading to the end checks that the part is as long as it says.
                text, name = book.read(part), _plain(part.filename)
                # All else, embedded documents, drawings, pictures, is not looked into by a reader.
                if name.endswith(_XML) or name in targets:
                    _check_part(part.filename, text)
    except _DAMAGED as error:
        raise ValueError(f"the zip is damaged: {error}") from error


def _plain(name: str) -> str:
    return name.replace("\\", "/").lower()


def _targets(text: bytes) -> set[str]:
    """Return the names of the parts that a workbook refers to, in all ways that readers know."""
    targets: set[str] = set()

    def element(_: str, attributes: dict[str, str]) -> None:
        target = _plain(attributes.get("Target", ""))
        # From the folder of the workbook or from the top, which should begin with a slash.
        below = posixpath.normpath(posixpath.join("/xl", target))
        targets.update((target.lstrip("/"), below.lstrip("/")))

    _parse(_RELATIONS, text, element)
    return targets


def _parse(name: str, text: bytes, element: Callable[[str, dict[str, str]], None]) -> None:
    if not text.strip():
        return
    parser = expat.ParserCreate()
    parser.StartElementHandler = element
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error


def _check_part(name: str, text: bytes) -> None:
    corners = _Corners()
    _parse(name, text, corners.element)
    if corners.cells() > _MOST_CELLS:
        raise ValueError(f"{name}: {corners.cells()} cells from the first to the last one")


class _Corners:
    """The first and last row and column of the cells of a sheet that hold anything."""

    def __init__(self) -> None:
        self.at = [0, 0]  # row, column of the cell that is being read, from 1
        self.first = [_FARTHEST, _FARTHEST]
        self.last = [0, 0]

    def element(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element into account: ``<row r="7">``, ``<c r="B7">``, in it ``<v>``, ``<is>``.

        Rows and cells that do not say where they are follow the one before.
        """
        kind = name.rpartition(":")[2]
        if kind == "row":
            self.at = [self.at[0] + 1, 0]
        elif kind == "c":
            self.at[1] += 1
        elif kind in ("v", "is"):
            self.first = [min(pair) for pair in zip(self.first, self.at, strict=True)]
            self.last = [max(pair) for pair in zip(self.last, self.at, strict=True)]
        if kind in ("row", "c") and "r" in attributes:
            place = _PLACE.fullmatch(attributes["r"])
            if place is None:
                raise ValueError(f"no place of a cell: {attributes['r'][:20]!r}")
            self.at = [int(place[2]), _column(place[1]) or self.at[1]]

    def cells(self) -> int:
        """Return how many cells there are between the corners."""
        rows, columns = (max(b - a + 1, 0) for a, b in zip(self.first, self.last, strict=True))
        return rows * columns


def _column(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = 26 * number + ord(letter) - 64
    return number
