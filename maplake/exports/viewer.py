"""Units for the activity viewer: position, waveform, PSTH and statistics, an npz per insertion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import NotFoundError, near
from maplake.exports.place import named, writing
from maplake.exports.recording_units import clustering_of
from maplake.exports.select import Insertion, ask, place
from maplake.tables.ephys import UNIT_KEY

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

__all__ = ["CONDITION", "export_viewer", "viewer", "viewer_file"]

CONDITION = "good_noearlylick_hit"
#: Width of the atlas from left to right (um): the viewer counts ML from the right.
_WIDTH = 11400
_BINS = -3 + 0.04 * np.arange(1, 150)  # right edges of psth.unit_psth, s from the go cue
_STATS = ("unit_amp", "unit_snr", "avg_firing_rate", "isi_violation")

_UNITS = """
SELECT u.unit, c.ccf_x, c.ccf_y, c.ccf_z, u.unit_amp, u.unit_snr, s.avg_firing_rate,
    s.isi_violation, w.waveform, p.unit_psth
FROM ephys.unit AS u
JOIN (FROM ephys.unit_ccf WHERE {ccf} AND NOT interpolated
    QUALIFY row_number() OVER (PARTITION BY unit ORDER BY annotation_version) = 1) AS c {using}
JOIN (FROM psth.unit_psth WHERE {psth}) AS p {using}
LEFT JOIN ephys.unit_stat AS s {using}
LEFT JOIN ephys.unit_waveform AS w {using}
WHERE {key} AND u.unit_quality <> 'all' ORDER BY u.unit
"""


def viewer_file(folder: Path, insertion: Insertion) -> Path:
    """Return the file of an insertion: ``{h2o}_{start}_{insertion}.npz``."""
    return named(folder, _uid(insertion), ".npz")


def _uid(insertion: Insertion) -> str:
    return f"{insertion.h2o}_{insertion.start:%Y%m%d_%H%M%S}_{insertion.insertion_number}"


def viewer(
    lake: Lake,
    insertion: Insertion,
    *,
    condition: str = CONDITION,
    clustering_method: str | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the arrays of an insertion's file.

    Units of quality ``all`` and units without a place in the CCF are left out.

    Returns
    -------
    unit_id (units,), ccf_coord (units, 3): AP, DV, 11400 - ML in um, waveform (units, samples) uV,
    unit_psth (1 + units, bins): the bins' right edges in s from the go cue, then rates in Hz,
    unit_amp, unit_snr, avg_firing_rate, isi_violation (units,), and names.

    Raises
    ------
    NotFoundError
        If no unit has a place in the CCF, or there is no such condition or clustering.
    """
    method = clustering_of(lake, insertion, clustering_method)
    key = {**insertion.key, "clustering_method": method or ""}
    known = ask(lake, "SELECT trial_condition_name FROM psth.trial_condition ORDER BY ALL")
    names = known["trial_condition_name"].to_list()
    if condition.lower() not in map(str.lower, names):
        raise NotFoundError(
            f"there is no trial condition {condition!r}",
            expected=", ".join(names),
            hint=near(condition, names),
        )
    query = _UNITS.format(
        key=place(key, "u"),
        ccf=place(key),
        psth=place({**key, "trial_condition_name": condition}),
        using=f"USING ({', '.join(UNIT_KEY)})",
    )
    units = ask(lake, query)
    if not len(units):
        raise NotFoundError(
            f"no unit of {insertion} has a place in the CCF and a PSTH of {condition}",
            hint="Take in the histology of this insertion first: `maplake ingest histology`.",
        )
    ap, dv, ml = (units[name].to_numpy() for name in ("ccf_z", "ccf_y", "ccf_x"))
    return {
        "probe_insertion": np.array(_uid(insertion)),
        "unit_id": units["unit"].to_numpy(),
        "ccf_coord": np.stack([ap, dv, _WIDTH - ml], axis=1),
        "waveform": _stack(units["waveform"]),
        "timeseries": np.array(["unit_psth"]),
        "unit_stats": np.array(_STATS),
        **{name: units[name].to_numpy().astype(float) for name in _STATS},
        "unit_psth": np.vstack([_BINS, _stack(units["unit_psth"], len(_BINS))]),
    }


def _stack(lists: pl.Series, width: int = 0) -> NDArray[np.float64]:
    """Return lists as rows; NaN where one is missing or shorter."""
    found = [np.asarray([] if item is None else item, dtype=float) for item in lists]
    made = np.full((len(found), max([width, *map(len, found)])), np.nan)
    for line, values in zip(made, found, strict=True):
        line[: len(values)] = values
    return made


def export_viewer(
    lake: Lake,
    insertion: Insertion,
    folder: Path,
    *,
    force: bool = False,
    condition: str = CONDITION,
    clustering_method: str | None = None,
) -> Path:
    """Write an insertion's file for the activity viewer.

    Returns
    -------
    The file.

    Raises
    ------
    NotFoundError
        See :func:`viewer`.
    QueryError
        If the file is there already or cannot be written.
    """
    path = viewer_file(folder, insertion)
    with writing(path, force=force) as temporary:
        arrays: dict[str, Any] = viewer(
            lake, insertion, condition=condition, clustering_method=clustering_method
        )
        np.savez(temporary, **arrays)
    return path
