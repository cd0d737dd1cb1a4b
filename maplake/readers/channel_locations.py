"""Histology, format 2: ``channel_locations.json`` and ``xyz_picks.json``, a pair per shank."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, FileFormatError, UnreadableFileError
from maplake.readers.base import HistologyContext, Reader, Records, Skipped
from maplake.readers.histology_files import CHANNEL_LOCATIONS, by_shank, matching, pair_shanks
from maplake.readers.histology_rows import Found, check_points, records, shanks_of
from maplake.readers.site_matching import match_sites

__all__ = ["READER", "find", "read"]

_TAIL = r"(?:_shank_?(?P<shank>\d+))?\.json"
_CHANNEL = re.compile(r"channel_(\d{1,6})")
_NUMBERS = ("x", "y", "z", "lateral", "axial")


def find(path: Path) -> Sequence[Path]:
    """Return ``path`` if it names a probe's histology of this format and there is any.

    See :func:`maplake.readers.histology_files.locate` for such paths.
    """
    is_one = path.name.endswith(CHANNEL_LOCATIONS) and path.parent.is_dir()
    return [path] if is_one and matching(path, _TAIL) else []


def _picks(path: Path) -> dict[int | None, Path]:
    """Return the track files: named like the channel locations, or without their prefix."""
    prefix = path.name.removesuffix(CHANNEL_LOCATIONS)
    found = matching(path.with_name(f"{prefix}xyz_picks"), _TAIL)
    return found or matching(path.with_name("xyz_picks"), _TAIL)


def files(path: Path) -> Sequence[Path]:
    """Return the files of one probe."""
    return sorted([*matching(path, _TAIL).values(), *_picks(path).values()])


def read(path: Path, context: HistologyContext) -> Records:
    """Read the positions of a probe's recorded sites and its track.

    Parameters
    ----------
    path
        As :func:`find` returns.
    context
        The probe's sites, and what is known about the volume.

    Raises
    ------
    FileFormatError
        If there is not one file per shank, or a file is not of this format.
    CorruptFileError
        If a file is damaged, a position cannot be, or a channel's place is that of no recorded
        site; the message names it.
    UnreadableFileError
        If a file cannot be read.
    """
    shanks = shanks_of(context)
    location_files = by_shank(matching(path, _TAIL), shanks, CHANNEL_LOCATIONS)
    pick_files = pair_shanks(_picks(path), shanks, "xyz_picks")
    found = Found()
    origins = {}
    for shank, file in location_files.items():
        located = _read_locations(file)
        origins[shank] = located.origin
        place = match_sites(file, located.names, located.place, located.index, shank, context)
        found.electrode.append(place)
        found.position.append(_to_ccf(located.xyz, located.origin))
        found.mri.append(None)
        check_points(file, found.position[-1], located.names)
    if pick_files is None:
        found.skipped.append(Skipped("labelled track", path.name, "there is no xyz_picks.json"))
    for shank, file in (pick_files or {}).items():
        found.tracks[shank] = _read_picks(file, origins[shank])
    return records(found, context)


@dataclass(frozen=True)
class _Located:
    """Channels of one shank: positions ML, AP, DV (um from the origin) and on the probe (um)."""

    names: list[str]
    index: list[int]
    xyz: NDArray[np.float64]
    place: NDArray[np.float64]
    origin: NDArray[np.float64]


def _to_ccf(xyz: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CCF x, y, z: the file counts right, anterior and dorsal up from its origin."""
    x, y, z = xyz.T
    return np.column_stack([origin[0] + x, origin[2] - z, origin[1] - y])


def _load(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=file) from error
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"is no whole JSON file: {error}", file=file) from error
    if not isinstance(content, dict):
        raise FileFormatError("holds no named entries", file=file, found=type(content).__name__)
    return content


def _read_locations(file: Path) -> _Located:
    content = _load(file)
    numbered = sorted((int(m[1]), key) for key in content if (m := _CHANNEL.fullmatch(key)))
    if not numbered:
        raise FileFormatError("holds no channels", file=file, expected="channel_0, channel_1, …")
    rows, index = [], []
    for number, key in numbered:
        entry = content[key]
        if not isinstance(entry, dict):
            raise FileFormatError("is no channel", file=file, place=key)
        rows.append([_number(file, entry.get(name), f"{key}, {name}") for name in _NUMBERS])
        original = entry.get("original_channel_idx")
        index.append(original if isinstance(original, int) else number)
    values = np.array(rows)
    return _Located(
        [key for _, key in numbered], index, values[:, :3], values[:, 3:], _origin(file, content)
    )


def _number(file: Path, value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        raise CorruptFileError(
            "is no number", file=file, place=place, found=value, expected="a finite number"
        )
    return float(value)


def _origin(file: Path, content: Mapping[str, Any]) -> NDArray[np.float64]:
    origin = content.get("origin")
    # Early files hold a list with the one entry.
    if isinstance(origin, list) and len(origin) == 1:
        origin = origin[0]
    if not isinstance(origin, dict) or len(origin) != 1:
        raise FileFormatError(
            "not one origin",
            file=file,
            place="origin",
            found=origin,
            expected='{"bregma": [x,y,z]}',
        )
    ((name, point),) = origin.items()
    if not isinstance(point, list) or len(point) != 3:
        raise FileFormatError("no point", file=file, place=f"origin, {name}", found=point)
    return np.array([_number(file, value, f"origin, {name}") for value in point])


def _read_picks(file: Path, origin: NDArray[np.float64]) -> NDArray[np.float64]:
    picks = _load(file).get("xyz_picks")
    if not isinstance(picks, list) or not all(isinstance(p, list) and len(p) == 3 for p in picks):
        raise FileFormatError("holds no points", file=file, expected='{"xyz_picks": [[x,y,z], …]}')
    names = [f"point {number + 1}" for number in range(len(picks))]
    points = [
        [_number(file, value, name) for value in pick]
        for name, pick in zip(names, picks, strict=True)
    ]
    track = _to_ccf(np.array(points, dtype=np.float64).reshape(-1, 3), origin)
    check_points(file, track, names)
    return track


READER = Reader("channel_locations", kind="histology", find=find, read=read, files=files)
