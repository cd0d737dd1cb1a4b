"""How large a workbook is, told before it is opened.

Its reader makes a grid of all cells between the first and the last one of a sheet, and ends the
process where there is no memory for it: one cell in the farthest corner, in a file of a few
kilobytes, is enough. So the parts of the zip are unpacked and counted here first.
"""

from __future__ import annotations

import io
import lzma
import re
import struct
import zipfile
import zlib
from xml.parsers import expat

__all__ = ["check_workbook"]

_MOST_BYTES = 1 << 27  # unpacked, of all parts together
_MOST_CELLS = 10_000_000  # between the corners of a sheet
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".emf", ".wmf", ".bin")
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
            if sum(part.file_size for part in parts) > _MOST_BYTES:
                raise ValueError("its parts are too large")
            for part in parts:
                # Reading to the end checks that the part is as long as it says.
                _check_part(part.filename, book.read(part))
    except _DAMAGED as error:
        raise ValueError(f"the zip is damaged: {error}") from error


def _check_part(name: str, text: bytes) -> None:
    if name.lower().endswith(_PICTURES) or not text.strip():
        return
    corners = _Corners()
    parser = expat.ParserCreate()
    parser.StartElementHandler = corners.element
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
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
