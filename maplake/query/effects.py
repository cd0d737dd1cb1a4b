"""What photostimulation does to units, and what single units are tuned to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import NotFoundError, QueryError
from maplake.query.aligned import Aligned, place, where
from maplake.query.counts import TrialCounts
from maplake.query.numbers import Floats
from maplake.query.selectivity import t_test
from maplake.query.sqltext import literal
from maplake.tables.ephys import UNIT_KEY

if TYPE_CHECKING:
    import polars as pl

_MOST_BINS = 1_000_000


def stimulus_window(
    aligned: Aligned, keys: Mapping[str, Any], condition: str
) -> tuple[float, float]:
    """Return mean onset and end of the photostimuli of a condition's trials (s from the go cue).

    Raises
    ------
    NotFoundError
        If there is no stimulus of known duration in a trial with a go cue.
    """
    session = where({k: keys[k] for k in UNIT_KEY[:2]})
    found = aligned.of_probe(
        {**keys, "insertion_number": None},
        f"""
        SELECT avg(e.photostim_event_time - g.event_time) AS onset, avg(p.duration) AS duration
        FROM (FROM experiment.photostim_event WHERE {session}) AS e
        JOIN (FROM experiment.photostim WHERE {session}) AS p USING (photo_stim)
        JOIN (FROM psth.last_event WHERE {session} AND trial_event_type = 'go') AS g USING (trial)
        JOIN (FROM psth.trial_set WHERE {session}) AS c USING (trial)
        WHERE list_contains(c.conditions, psth.condition_name({literal(condition)}))
        """,
    ).row(0)
    if None in found:
        raise NotFoundError(
            "there is no photostimulus of known duration",
            place=f"{place(keys)}, {condition}",
            hint="Give the window.",
        )
    return found[0], found[0] + found[1]


def photostim_effect(control: TrialCounts, stimulated: TrialCounts) -> pl.DataFrame:
    """Compare rates in one window; see :meth:`Lake.photostim_effect`."""
    import polars as pl

    rows = []
    for place_ in range(len(control.units)):
        rates = [c.rate[place_, c.observed[place_], 0] for c in (control, stimulated)]
        means = [float(r.mean()) if len(r) else None for r in rates]
        both = None not in means
        p_value = float(t_test(rates[0][None], rates[1][None])[0]) if both else None
        rows.append((*means, p_value, *map(len, rates)))
    found = pl.DataFrame(
        rows,
        schema={
            "control_rate": pl.Float64,
            "stim_rate": pl.Float64,
            "p_value": pl.Float64,
            "control_trials": pl.Int32,
            "stim_trials": pl.Int32,
        },
        orient="row",
    ).with_columns(difference=pl.col("stim_rate") - pl.col("control_rate"))
    return control.units.hstack(found)


@dataclass(frozen=True)
class Tuning:
    """Rate of a unit against a tracked position.

    Attributes
    ----------
    edges
        Edges of the bins (px), shape (bins + 1,).
    occupancy
        Time in each bin (s), shape (bins,).
    count
        Spikes in each bin, shape (bins,).
    rate
        Rate (Hz), shape (bins,); NaN where the feature never was.
    """

    edges: Floats
    occupancy: Floats
    count: npt.NDArray[np.int64]
    rate: Floats


def tuning(aligned: Aligned, keys: Mapping[str, Any], options: Mapping[str, Any]) -> Tuning:
    """Compute :class:`Tuning`; see :meth:`Lake.tuning`."""
    frames = _frames(aligned, keys, options)
    if not len(frames):
        raise NotFoundError(
            "nothing was tracked",
            place=f"{place(keys)}, {options['tracking_device']}, {options['feature']}",
            hint="See tracking.tracking_position.",
        )
    value = frames["value"].to_numpy()
    edges = _edges(value, options["bins"])
    weights = frames["duration"].to_numpy()
    occupancy = np.histogram(value, edges, weights=weights)[0]
    count = np.histogram(np.repeat(value, frames["spikes"].to_numpy()), edges)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(occupancy > 0, count / occupancy, np.nan)
    return Tuning(edges, occupancy, count.astype(np.int64), rate)


def _edges(value: Floats, bins: int | Sequence[float]) -> Floats:
    try:
        edges = np.asarray(bins, dtype=np.float64)
    except (TypeError, ValueError):
        edges = np.zeros(0)
    if edges.ndim == 0 and edges in range(1, _MOST_BINS + 1):
        return np.histogram_bin_edges(value, int(edges))
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise QueryError("bins must be a number or ascending edges", found=repr(bins))
    return edges


def _frames(aligned: Aligned, keys: Mapping[str, Any], options: Mapping[str, Any]) -> pl.DataFrame:
    """Return frames with position, duration (s) and the number of spikes until the next one."""
    insertion = where({k: keys[k] for k in UNIT_KEY[:3]})
    column = options["coordinate"]
    if column not in ("x", "y"):
        raise QueryError("a position is x or y", found=column)
    camera = {**keys, "tracking_device": options["tracking_device"]}
    return aligned.of_probe(
        keys,
        f"""
        WITH frame AS (
            SELECT trial, time, {column} AS value, likelihood,
                lead(time) OVER (PARTITION BY trial ORDER BY frame) - time AS duration
            FROM {aligned.file("tracking.tracking_position", camera)}
            WHERE feature = {literal(options["feature"])}
        ),
        spike AS (
            SELECT e.trial, (s.spike_sample - e.zero_sample) / e.sampling_rate AS spike_time
            FROM {aligned.spikes(keys)} AS s
            JOIN (FROM ephys.trial_zero WHERE {insertion}) AS e ON e.trial = s.trial
            WHERE s.unit = {int(keys["unit"])}
                AND s.clustering_method = {literal(aligned.method(keys))}
        ),
        hit AS (
            SELECT f.trial, f.time, count(*) AS spikes
            FROM spike AS s
            ASOF JOIN frame AS f ON s.trial = f.trial AND s.spike_time >= f.time
            WHERE s.spike_time < f.time + f.duration
            GROUP BY f.trial, f.time
        )
        SELECT f.value, f.duration, coalesce(h.spikes, 0) AS spikes
        FROM frame AS f
        SEMI JOIN (FROM ephys.ephys_trial WHERE {insertion}) AS e ON e.trial = f.trial
        LEFT JOIN hit AS h ON h.trial = f.trial AND h.time = f.time
        WHERE f.duration > 0 AND isfinite(f.value)
            AND f.likelihood >= {literal(options["min_likelihood"])}
        ORDER BY f.trial, f.time
        """,
    )
