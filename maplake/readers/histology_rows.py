"""Rows of the histology tables, whatever the format they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError
from maplake.readers.base import HistologyContext, Records, Skipped
from maplake.readers.rows import as_table

__all__ = ["Found", "check_points", "records", "shanks_of"]

_FARTHEST = 1e6  # um; nothing in a brain is a metre away
_AXES = ("ccf_x", "ccf_y", "ccf_z")
_MRI = ("mri_x", "mri_y", "mri_z")
_FLOATS = NDArray[np.float64]


@dataclass
class Found:
    """What the files of one probe hold.

    Attributes
    ----------
    electrode, position, mri
        Per shank: site numbers (sites,), CCF x, y, z in um (sites, 3), MRI x, y, z (sites, 3) or
        None.
    tracks
        By shank, the points of its track in um (points, 3), in the order of the file.
    landmarks
        Name, place in the animal's image and CCF position (um) of the warp's landmarks.
    """

    electrode: list[NDArray[np.int32]] = field(default_factory=list)
    position: list[_FLOATS] = field(default_factory=list)
    mri: list[_FLOATS | None] = field(default_factory=list)
    tracks: dict[int, _FLOATS] = field(default_factory=dict)
    landmarks: dict[str, tuple[float, ...]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)


def shanks_of(context: HistologyContext) -> list[int]:
    """Return the shanks that have recorded sites, ascending."""
    recorded = np.isin(context.sites.electrode, context.recorded)
    return [int(shank) for shank in np.unique(context.sites.shank[recorded])]


def check_points(file: Path, points: _FLOATS, names: Sequence[str]) -> None:
    """Refuse coordinates that cannot be (points, n), named by ``names``.

    Raises
    ------
    CorruptFileError
        If one is not finite, or is more than a metre away.
    """
    bad = ~(np.abs(points) < _FARTHEST).all(axis=1)  # NaN is not below either
    if bad.any():
        row = int(bad.argmax())
        raise CorruptFileError(
            "a position that cannot be",
            file=file,
            place=names[row],
            found=", ".join(f"{value:g}" for value in points[row]),
            expected="um within the brain",
        )


def records(found: Found, context: HistologyContext) -> Records:
    """Return the tables, with electrodes outside of the annotated volume kept apart."""
    electrode = np.concatenate([np.empty(0, np.int32), *found.electrode])
    order = np.argsort(electrode, kind="stable")
    electrode = electrode[order]
    position = np.concatenate([np.empty((0, 3)), *found.position])[order]
    voxel = context.voxel_um * np.rint(position / context.voxel_um)
    blank = [m if m is not None else np.full((len(e), 3), np.nan)
             for m, e in zip(found.mri, found.electrode, strict=True)]  # fmt: skip
    mri = np.concatenate([np.empty((0, 3)), *blank])[order]
    outside = _outside(voxel, context)
    columns = dict(zip((*_AXES, *_MRI), np.hstack([voxel, mri]).T, strict=True))
    tables = {}
    for name, kept in (("", ~outside), ("_error", outside)):
        rows: dict[str, object] = {"electrode": electrode[kept]}
        rows |= {axis: columns[axis][kept].astype(np.int32) for axis in _AXES}
        rows |= {axis: _nullable(columns[axis][kept]) for axis in _MRI}
        if name:
            rows["reason"] = ["outside of the annotated volume"] * int(kept.sum())
        table = f"histology.electrode_ccf_position{name}"
        tables[table] = as_table(table, rows)
    return Records(tables=tables | _tracks(found), skipped=found.skipped)


def _outside(voxel: _FLOATS, context: HistologyContext) -> NDArray[np.bool_]:
    outside = (voxel < 0).any(axis=1)
    if context.region_at is not None and len(voxel):
        outside |= np.asarray(context.region_at(*voxel.T)) == 0
    return np.asarray(outside)


def _nullable(values: _FLOATS) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _tracks(found: Found) -> dict[str, object]:
    points = [points for _, points in sorted(found.tracks.items())]
    position = np.concatenate([np.empty((0, 3)), *points])
    rows = {
        "order": np.concatenate([np.empty(0, np.int32), *(np.arange(len(p)) for p in points)]),
        "shank": np.repeat(sorted(found.tracks), [len(p) for p in points]).astype(np.int32),
        **dict(zip(_AXES, position.T, strict=True)),
    }
    rows["order"] = rows["order"].astype(np.int32)
    has_track = int(bool(found.tracks))
    names = sorted(found.landmarks)
    places = np.array([found.landmarks[name] for name in names]).reshape(len(names), 6)
    landmark = dict(zip(("subj_x", "subj_y", "subj_z", *_AXES), places.T, strict=True))
    return {
        "histology.labeled_probe_track": as_table(
            "histology.labeled_probe_track",
            {"labeling_date": [None] * has_track, "dye_color": [None] * has_track},
        ),
        "histology.labeled_probe_track_point": as_table(
            "histology.labeled_probe_track_point", rows
        ),
        "histology.subject_to_ccf_landmark": as_table(
            "histology.subject_to_ccf_landmark", {"landmark_name": names, **landmark}
        ),
    }
