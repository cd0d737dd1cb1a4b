"""``landmarks_….csv``: points of the warp to the CCF, and of the labelled track, of one shank."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, UnreadableFileError
from maplake.readers.histology_rows import check_points

__all__ = ["Landmarks", "read_landmarks"]

_WIDTH = 8
_EXPECTED = "name, true or false, subject x, y, z, CCF x, y, z"


@dataclass(frozen=True)
class Landmarks:
    """What such a file holds.

    Attributes
    ----------
    warp
        By name, place in the animal's image (a.u.) and CCF position (um): x, y, z, x, y, z.
    track
        CCF positions of the track's points in um, (points, 3), in file order.
    """

    warp: dict[str, tuple[float, ...]]
    track: NDArray[np.float64]


def read_landmarks(path: Path) -> Landmarks:
    """Read one file.

    Raises
    ------
    UnreadableFileError
        If it cannot be read.
    CorruptFileError
        If it is empty, or a row is not as it should be.
    """
    rows = _rows(path)
    warp: dict[str, tuple[float, ...]] = {}
    track = []
    for number, row in enumerate(rows, start=1):
        is_warp, values = _row(path, number, row)
        name = row[0].strip()
        if not is_warp:
            track.append(values[3:])
        elif name in warp:
            raise CorruptFileError("a landmark twice", file=path, place=f"row {number}", found=name)
        else:
            warp[name] = values
    return Landmarks(warp, np.array(track, dtype=np.float64).reshape(-1, 3))


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = [row for row in csv.reader(text.splitlines()) if any(map(str.strip, row))]
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorruptFileError(f"is no table of text: {error}", file=path) from error
    if not rows:
        raise CorruptFileError("the file is empty", file=path, expected=_EXPECTED)
    return rows


def _row(path: Path, number: int, row: list[str]) -> tuple[bool, tuple[float, ...]]:
    place = f"row {number}"
    words = {"true": True, "false": False}
    if len(row) != _WIDTH or row[1].strip().lower() not in words:
        raise CorruptFileError(
            "no landmark", file=path, place=place, found=", ".join(row)[:80], expected=_EXPECTED
        )
    try:
        values = tuple(float(cell) for cell in row[2:])
    except ValueError as error:
        raise CorruptFileError(
            f"no landmark: {error}", file=path, place=place, expected=_EXPECTED
        ) from error
    is_warp = words[row[1].strip().lower()]
    # BigWarp writes Infinity for what a point that is no landmark has in the other image.
    check_points(path, np.array([values if is_warp else values[3:]]), [place])
    return is_warp, values
