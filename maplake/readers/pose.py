"""What one video's tracking file says, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, FileFormatError

__all__ = ["COORDINATES", "Pose", "check_frames", "feature_columns", "feature_name"]

COORDINATES = ("x", "y", "likelihood")
_LAKE_NAMES = {"paw_left": "left_paw", "paw_right": "right_paw"}


@dataclass(frozen=True)
class Pose:
    """Tracked features of a video.

    Attributes
    ----------
    frame
        Frame numbers, ascending, int32 (frames,).
    features
        Names, sorted.
    values
        By feature its x and y in px and its likelihood, each float64 (frames,); NaN = not found.
    """

    frame: NDArray[np.int32]
    features: tuple[str, ...]
    values: tuple[tuple[NDArray[np.float64], ...], ...]


def feature_name(body_part: str, individual: str = "") -> str:
    """Return the lake's name of a body part; several animals' parts get the animal's name."""
    name = _LAKE_NAMES.get(body_part, body_part)
    return f"{individual}_{name}" if individual else name


def feature_columns(path: Path, headers: Sequence[tuple[str, ...]]) -> dict[str, list[int]]:
    """Return where x, y and likelihood of each feature are, by name, sorted.

    Parameters
    ----------
    path
        The file, for messages.
    headers
        Of each column: scorer, individual where there are any, body part, coordinate.

    Raises
    ------
    FileFormatError
        If a feature has not exactly one x, y and likelihood.
    """
    places: dict[str, dict[str, int]] = {}
    for place, header in enumerate(headers):
        *_, part, coordinate = header
        individual = header[1] if len(header) > 3 else ""
        feature = feature_name(part, individual)
        found = places.setdefault(feature, {})
        if coordinate in found or coordinate not in COORDINATES or not feature:
            raise FileFormatError(
                "a column that no feature has",
                file=path,
                place=f"column {place + 2}",
                found=f"{feature} {coordinate}",
                expected="x, y, likelihood once per body part",
            )
        found[coordinate] = place
    for feature, found in places.items():
        if len(found) != len(COORDINATES):
            raise FileFormatError(
                "a feature lacks a column",
                file=path,
                place=f"feature {feature}",
                found=", ".join(found),
                expected=", ".join(COORDINATES),
            )
    return {name: [places[name][c] for c in COORDINATES] for name in sorted(places)}


def check_frames(path: Path, frame: NDArray[np.generic]) -> NDArray[np.int32]:
    """Return frame numbers as int32 (frames,).

    Raises
    ------
    CorruptFileError
        If there are none, or they are not whole, not from 0 on or not ascending.
    """
    if not len(frame):
        raise CorruptFileError("the file holds no frames", file=path)
    number = frame.astype(np.float64)
    bad = ~np.isfinite(number) | (number != np.rint(number)) | (number < 0) | (number >= 2**31)
    bad[1:] |= ~(np.diff(number) > 0)
    if bad.any():
        row = int(bad.argmax())
        raise CorruptFileError(
            "no frame number, or out of order",
            file=path,
            place=f"row {row + 1} after the header",
            found=number[row],
            expected="whole numbers from 0, ascending",
        )
    return number.astype(np.int32)


def sum_of(values: NDArray[np.float64]) -> float:
    """Return a sum: finite only if all values are, NaN if one is. One pass that makes no copy."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.sum())


def check_finite(path: Path, feature: str, arrays: Sequence[NDArray[np.float64]]) -> None:
    """Refuse infinite values; NaN means that the tracker found nothing.

    Raises
    ------
    CorruptFileError
        If there is one; the message says where.
    """
    for coordinate, array in zip(COORDINATES, arrays, strict=True):
        # Only suspicious columns are looked at closely.
        if np.isfinite(sum_of(array)):
            continue
        infinite = np.isinf(array)
        if infinite.any():
            row = int(infinite.argmax())
            raise CorruptFileError(
                "a value is not finite",
                file=path,
                place=f"feature {feature}, {coordinate}, row {row + 1} after the header",
                found=array[row],
            )
