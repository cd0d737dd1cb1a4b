"""Rasters and PSTHs: single units, and all units of a probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maplake.errors import NotFoundError
from maplake.plots import lookup
from maplake.plots.lookup import Key
from maplake.plots.style import CONTRA, epoch_lines, plain
from maplake.query.asked import whole
from maplake.query.drawing import heat_map

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

_CONDITION = "good_noearlylick_{}_hit"
_BIN_S = 0.04


def raster_and_psth(
    lake: Lake,
    subject_id: int,
    session: int,
    insertion_number: int,
    unit: int,
    clustering_method: str | None = None,
    axes: Sequence[Any] | None = None,
) -> Sequence[Any]:
    """Draw the raster and the PSTH of one unit in contra and ipsi hit trials.

    Parameters
    ----------
    lake
        The lake.
    subject_id, session, insertion_number, unit, clustering_method
        The unit.
    axes
        Two matplotlib axes, for raster and PSTH; None = a new figure.

    Returns
    -------
    The two axes. Time is in s from the go cue, rate in Hz. Without the insertion's location the
    sides are named left and right instead.

    Raises
    ------
    NotFoundError
        If there is no such unit.
    """
    key = _probe(subject_id, session, insertion_number)
    unit = whole("unit", unit)
    wanted = [(name, _CONDITION.format(side), color) for name, side, color in sides(lake, key)]
    results = lake.psth(
        *key,
        unit,
        condition=[condition for _, condition, _ in wanted],
        bin=_BIN_S,
        clustering_method=clustering_method,
        all_units=True,
    )
    upper, lower = _two_axes() if axes is None else axes
    first = 0
    counts = []
    for name, condition, color in wanted:
        result = results[condition]
        rows = _condition_trials(lake, key, condition)
        raster = lake.raster(*key, unit, condition, clustering_method=clustering_method)
        place = first + np.searchsorted(rows, raster["trial"].to_numpy())
        upper.plot(
            raster["spike_time"], place, "|", color=color, markersize=2.5, markeredgewidth=0.6
        )
        # The time of a bin is its right edge; the line goes through its middle.
        lower.plot(
            result.time - _BIN_S / 2,
            result.rate[0],
            color=color,
            linewidth=1.4,
            label=f"{name} hit, n = {result.trial_count[0]}",
        )
        first += len(rows)
        counts.append(f"{len(rows)} {name}")
    epochs = epoch_times(lake, key)
    _finish(upper, lower, epochs, first)
    upper.set_title(
        f"{unit_title(lake, key, unit)}\n{', '.join(counts)} hit trials", fontsize=10, pad=16
    )
    return upper, lower


def _probe(subject_id: int, session: int, insertion_number: int) -> tuple[int, int, int]:
    return (
        whole("subject_id", subject_id),
        whole("session", session),
        whole("insertion_number", insertion_number),
    )


def _two_axes() -> Sequence[Any]:
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(
        2, 1, figsize=(5, 6), sharex=True, layout="constrained", height_ratios=(3, 2)
    )
    return list(axes)


def _finish(upper: Any, lower: Any, epochs: dict[str, float], trials: int) -> None:
    epoch_lines(upper, epochs, names=True)
    epoch_lines(lower, epochs)
    upper.set(ylabel="trials", xlim=(-3, 3), ylim=(max(trials, 1) - 0.5, -0.5))
    lower.set(xlabel="time from go cue (s)", ylabel="rate (Hz)", xlim=(-3, 3))
    lower.set_ylim(bottom=0)
    lower.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    plain(upper)
    plain(lower)


def sides(lake: Lake, key: tuple[int, int, int]) -> list[tuple[str, str, str]]:
    """Return name, instructed side and colour of both kinds of trials, contra first."""
    return lookup.sides(lake, Key(*key))


def epoch_times(lake: Lake, key: tuple[int, int, int]) -> dict[str, float]:
    """Return the median start of sample, delay and go cue (s from the go cue)."""
    return lookup.epoch_times(lake, Key(*key))


def unit_title(lake: Lake, key: tuple[int, int, int], unit: int) -> str:
    """Return what a unit is, in one line."""
    rows = lake.sql(
        "SELECT unit_quality, cell_type, w.water_restriction_number FROM ephys.unit "
        f"LEFT JOIN lab.water_restriction AS w USING (subject_id) {_where(key)} "
        f"AND unit = {int(unit)} LIMIT 1"
    ).fetchall()
    quality, cell_type, h2o = rows[0] if rows else (None, None, None)
    about = ", ".join(str(word) for word in (quality, cell_type) if word)
    return f"{h2o or key[0]} session {key[1]}, probe {key[2]}, unit {unit}" + (
        f" ({about})" if about else ""
    )


def _condition_trials(lake: Lake, key: tuple[int, int, int], condition: str) -> Any:
    """Return the numbers of the trials that the probe saw under a condition, sorted."""
    rows = lake.sql(
        "SELECT trial FROM psth.recorded_trial JOIN psth.condition_trial "
        f"USING (subject_id, session, trial) {_where(key)} AND go_sample IS NOT NULL "
        "AND trial_condition_name = ? ORDER BY trial",
        [condition],
    ).fetchall()
    return np.array([row[0] for row in rows], dtype=np.int64)


def _where(key: Sequence[int]) -> str:
    names = ("subject_id", "session", "insertion_number")
    parts = (f"{name} = {int(value)}" for name, value in zip(names, key, strict=False))
    return f"WHERE {' AND '.join(parts)}"


def population_psth(
    lake: Lake,
    subject_id: int,
    session: int,
    insertion_number: int,
    condition: str = "all_noearlylick_nostim",
    axes: Sequence[Any] | None = None,
) -> Sequence[Any]:
    """Draw the z-scored PSTHs of all units of a probe by depth, and their mean rate.

    Parameters
    ----------
    lake
        The lake.
    subject_id, session, insertion_number
        The probe.
    condition
        Which trials.
    axes
        Two matplotlib axes, for heat map and mean; None = a new figure.

    Returns
    -------
    The two axes. Time is in s from the go cue; units are ordered by position along the probe,
    the tip below; the band is the standard error over units.

    Raises
    ------
    NotFoundError
        If the probe has no units, or the condition no trials.
    """
    key = _probe(subject_id, session, insertion_number)
    result = lake.psth(*key, condition=condition, bin=_BIN_S)
    if not result.trial_count.any():
        raise NotFoundError(
            f"there are no trials of {condition}",
            place=f"subject {key[0]}, session {key[1]}, insertion {key[2]}",
        )
    upper, lower = _two_axes() if axes is None else axes
    order = _depth_order(lake, key, result.units)
    heat_map(upper, result.time, result.rate[order], result.bin)
    middle = result.time - _BIN_S / 2
    mean = result.rate.mean(axis=0)
    error = result.rate.std(axis=0) / np.sqrt(len(result.units))
    lower.fill_between(middle, mean - error, mean + error, color=CONTRA, alpha=0.25, linewidth=0)
    lower.plot(middle, mean, color=CONTRA, label="mean and SEM over units")
    epochs = epoch_times(lake, key)
    _finish(upper, lower, epochs, 0)
    upper.set(ylabel="unit, tip of the probe below", ylim=(-0.5, len(order) - 0.5))
    upper.set_title(
        f"subject {key[0]} session {key[1]}, probe {key[2]}: {len(order)} units\n"
        f"{condition}, n = {result.trial_count.max()} trials",
        fontsize=10,
        pad=16,
    )
    return upper, lower


def _depth_order(lake: Lake, key: tuple[int, int, int], units: pl.DataFrame) -> Any:
    rows = lake.sql(f"SELECT clustering_method, unit, unit_posy FROM ephys.unit {_where(key)}").pl()
    places = units.join(rows, on=["clustering_method", "unit"], how="left", maintain_order="left")
    return np.argsort(places["unit_posy"].to_numpy(), kind="stable")
