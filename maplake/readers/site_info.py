"""Histology, format 1: ``landmarks_…_siteInfo.mat`` and ``landmarks_….csv``, a pair per shank."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, FileFormatError, LengthMismatchError, SourceError
from maplake.readers import matlab
from maplake.readers.base import HistologyContext, Reader, Records, Skipped
from maplake.readers.histology_files import by_shank, matching, pair_shanks
from maplake.readers.histology_rows import Found, check_points, records, shanks_of
from maplake.readers.landmarks import read_landmarks

__all__ = ["READER", "find", "read"]

_NAME = re.compile(r"landmarks_.+_\d{8}(?:_\d{6})?_\d+")
_SITES = r"(?:_(?P<shank>\d))?_siteInfo\.mat"
_LANDMARKS = r"(?:_(?P<shank>\d))?\.csv"
_FIELDS = ("site", "pos", "warp", "ont", "id", "x", "y", "z", "mmPerPixel")


def find(path: Path) -> Sequence[Path]:
    """Return ``path`` if it names a probe's histology of this format and there is any.

    See :func:`maplake.readers.histology_files.locate` for such paths.
    """
    is_one = _NAME.fullmatch(path.name) and path.parent.is_dir() and files(path)
    return [path] if is_one else []


def files(path: Path) -> Sequence[Path]:
    """Return the files of one probe."""
    both = (matching(path, tail) for tail in (_SITES, _LANDMARKS))
    return sorted(file for found in both for file in found.values())


def read(path: Path, context: HistologyContext) -> Records:
    """Read the positions of a probe's sites, its track and the landmarks.

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
    LengthMismatchError
        If a shank has more sites than its file has rows.
    CorruptFileError
        If a file is damaged or a position cannot be.
    SourceError
        If a file is unreadable.
    """
    shanks = shanks_of(context)
    site_files = by_shank(matching(path, _SITES), shanks, "siteInfo.mat")
    landmark_files = pair_shanks(matching(path, _LANDMARKS), shanks, "landmarks csv")
    found = Found()
    for shank, file in site_files.items():
        try:
            _read_sites(file, shank, context, found)
        except SourceError as error:
            error.file = error.file or str(file)
            raise
    if landmark_files is None:
        found.skipped.append(
            Skipped("labelled track", path.name, "there is no landmarks csv beside siteInfo.mat")
        )
    for shank, file in (landmark_files or {}).items():
        _read_landmarks(file, shank, found)
    return records(found, context)


def _read_sites(file: Path, shank: int, context: HistologyContext, found: Found) -> None:
    site = matlab.load(file, only=_FIELDS).get("site")
    if not isinstance(site, dict) or not all(
        isinstance(site.get(name), dict) for name in ("pos", "ont")
    ):
        raise FileFormatError("holds no site positions", file=file, expected="site.pos, site.ont")
    scale = matlab.number(site["pos"].get("mmPerPixel"), "site.pos.mmPerPixel")
    if scale is None or not 0 < scale < np.inf:
        raise CorruptFileError("no voxel size", place="site.pos.mmPerPixel", found=scale)
    warp = site.get("warp")
    warped = warp.size > 0 if isinstance(warp, np.ndarray) else bool(warp)
    with np.errstate(over="ignore"):  # what is too large is told below, or left out
        # Whole um first: places half way between two voxels are rounded as published then.
        position = _xyz(site["pos"], "site.pos") * (scale * 1000)
        mri = _xyz(site["warp"], "site.warp") * (scale * 1000) if warped else None
    region = matlab.vector(site["ont"].get("id", []), "site.ont.id")
    electrode = context.sites.electrode[context.sites.shank == shank]
    lengths = {"site.pos": len(position), "site.ont.id": len(region)}
    lengths |= {} if mri is None else {"site.warp": len(mri)}
    if len(set(lengths.values())) != 1 or len(region) < len(electrode):
        raise LengthMismatchError(
            "not a row for each site",
            found=", ".join(f"{name} {length}" for name, length in lengths.items()),
            expected=f"{len(electrode)} or more each, the sites of shank {shank}",
        )
    _take(file, found, context, electrode, position, mri, region)


def _take(
    file: Path,
    found: Found,
    context: HistologyContext,
    electrode: NDArray[Any],
    position: NDArray[np.float64],
    mri: NDArray[np.float64] | None,
    region: NDArray[np.float64],
) -> None:
    count = len(electrode)
    recorded = np.isin(electrode, context.recorded)
    in_brain = region[:count] > 0  # NaN is not
    found.skipped += [
        Skipped("electrode", str(number), "outside of the brain: its site.ont.id is empty or 0")
        for number in electrode[recorded & ~in_brain]
    ]
    kept = recorded & in_brain
    names = [f"site {place + 1}" for place in np.flatnonzero(kept)]
    check_points(file, position[:count][kept], names)
    found.electrode.append(electrode[kept].astype(np.int32))
    found.position.append(position[:count][kept])
    found.mri.append(None if mri is None else np.where(np.isfinite(mri), mri, np.nan)[:count][kept])


def _xyz(field: Any, place: str) -> NDArray[np.float64]:
    if not isinstance(field, dict):
        raise FileFormatError("holds no positions", place=place)
    axes = [matlab.vector(field.get(axis, []), f"{place}.{axis}") for axis in "xyz"]
    if len({len(axis) for axis in axes}) != 1:
        raise LengthMismatchError(
            "x, y and z differ in length", place=place, found=[len(axis) for axis in axes]
        )
    return np.column_stack(axes)


def _read_landmarks(file: Path, shank: int, found: Found) -> None:
    landmarks = read_landmarks(file)
    found.tracks[shank] = landmarks.track
    for name, values in landmarks.warp.items():
        if found.landmarks.setdefault(name, values) != values:
            found.skipped.append(
                Skipped("landmark", f"{name}, {file.name}", "differs from that of another shank")
            )


READER = Reader(
    "site_info",
    kind="histology",
    find=find,
    read=read,
    files=files,
    priority=1,
    version=2,
    changes={2: "places half way between two voxels are rounded as published"},
)
