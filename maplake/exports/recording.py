"""Recordings for MATLAB: one file per probe insertion, as the MAP pipeline exported them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maplake.exports.matfile import row, write
from maplake.exports.place import named, writing
from maplake.exports.recording_tracking import tracking
from maplake.exports.recording_trials import trial_variables, trials_of
from maplake.exports.recording_units import (
    clustering_of,
    histology,
    insertion_info,
    unit_variables,
)
from maplake.exports.select import Insertion, ask, place

if TYPE_CHECKING:
    from maplake.query.lake import Lake

__all__ = ["export_recording", "recording", "recording_file"]


def recording_file(folder: Path, insertion: Insertion) -> Path:
    """Return the file of an insertion: ``map-export_{h2o}_{start}_s{session}_p{insertion}.mat``."""
    stem = (
        f"map-export_{insertion.h2o}_{insertion.start:%Y%m%d_%H%M%S}"
        f"_s{insertion.session}_p{insertion.insertion_number}"
    )
    return named(folder, stem, ".mat")


def recording(
    lake: Lake,
    insertion: Insertion,
    *,
    with_tracking: bool = True,
    clustering_method: str | None = None,
) -> dict[str, Any]:
    """Return all variables of an insertion's file; docs/exports.md describes each.

    Parameters
    ----------
    lake
        The lake.
    insertion
        Which probe insertion.
    with_tracking
        Whether to read videos.
    clustering_method
        Which sorting, where there are several.

    Returns
    -------
    Numbers and cells by name; ``tracking`` and ``histology`` are empty (0, 0) where there are none.

    Raises
    ------
    NotFoundError
        If there is no such clustering, or several and none is named.
    """
    session = {name: insertion.key[name] for name in ("subject_id", "session")}
    trials = trials_of(lake, session)
    number = trials["trial"].to_numpy()
    info = insertion_info(lake, insertion)
    method = clustering_of(lake, insertion, clustering_method)
    units = {**insertion.key, "clustering_method": method or ""}
    nothing = np.zeros((0, 0))
    recorded = ask(
        lake, f"SELECT trial FROM ephys.ephys_trial WHERE {place(insertion.key)} ORDER BY trial"
    )
    return {
        "probe_insertion_info": info
        | {
            "clustering_method": method or "",
            "trials": row(number).astype(float),
            "recorded_trials": row(recorded["trial"].to_numpy()).astype(float),
        },
        **unit_variables(lake, units, number, info),
        **trial_variables(lake, session, trials),
        "tracking": (tracking(lake, session) if with_tracking else None) or nothing,
        "histology": histology(lake, units) or nothing,
    }


def export_recording(
    lake: Lake,
    insertion: Insertion,
    folder: Path,
    *,
    force: bool = False,
    with_tracking: bool = True,
    clustering_method: str | None = None,
) -> Path:
    """Write an insertion's MATLAB file.

    Returns
    -------
    The file.

    Raises
    ------
    NotFoundError
        If there is no such clustering, or several and none is named.
    QueryError
        If the file is there already or cannot be written, or a variable is too large for it.
    """
    path = recording_file(folder, insertion)
    with writing(path, force=force) as temporary:
        made = recording(
            lake, insertion, with_tracking=with_tracking, clustering_method=clustering_method
        )
        write(temporary, made)
    return path
