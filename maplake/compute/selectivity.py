"""Built-in table psth.period_selectivity: ipsi- against contralateral trials, period by period."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import t as student

from maplake.compute.model import Computation, Key
from maplake.compute.units import part
from maplake.query.lake import Lake
from maplake.tables import get

__all__ = ["ALPHA", "COMPUTATIONS", "two_sample_test"]

ALPHA = 0.05
_DELAY_S = 1.2
_TICK_S = 1e-4  # of the rig's clock: delays are multiples of it, but for rounding
_UNIT = ["clustering_method", "unit"]
_PERIODS = get("experiment.period").rows


def two_sample_test(
    first: NDArray[np.floating], second: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return two-sided p values of Student's t-test with equal variances.

    Parameters
    ----------
    first, second
        Samples of each unit, (units, trials) each with trials of its own.

    Returns
    -------
    p
        (units,); 1 where there is nothing to tell apart: too few trials, or all values the same.
    """
    count = first.shape[1], second.shape[1]
    freedom = sum(count) - 2
    if min(count) == 0 or freedom < 1:
        return np.ones(len(first))
    means = [x.mean(axis=1) for x in (first, second)]
    squares = sum(((x - m[:, None]) ** 2).sum(axis=1)
                  for x, m in zip((first, second), means, strict=True))  # fmt: skip
    error = np.sqrt(squares / freedom * (1 / count[0] + 1 / count[1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * student.sf(np.abs(means[0] - means[1]) / error, freedom)
    return np.where(np.isnan(p), 1.0, p)


def period_selectivity(lake: Lake, key: Key) -> pl.DataFrame | None:
    """Test the units of an insertion, those of quality all left out, in all periods.

    Needs the insertion's location; without one there are no rows.
    """
    place = part(lake, "ephys.insertion_location", key)
    if not len(place) or not place["ml_location"][0]:
        return None
    side = "left" if place["ml_location"][0] < 0 else "right"
    units = part(lake, "ephys.unit", key).filter(pl.col("unit_quality") != "all").select(_UNIT)
    trials = _trials(lake, key)
    spikes = _spikes(lake, key, units, trials)
    return pl.concat([_period(str(p[0]), units, trials, spikes, side) for p in _PERIODS]).sort(
        [*_UNIT, "period"]
    )


def _trials(lake: Lake, key: Key) -> pl.DataFrame:
    """Return the recorded trials to compare, with their periods in s from the go cue."""
    behavior = part(lake, "experiment.behavior_trial", key).filter(
        task="audio delay", early_lick="no early", outcome="hit", auto_water=False, free_water=False
    )
    events = part(lake, "experiment.trial_event", key).sort("trial", "trial_event_id")
    delays = events.filter(
        (pl.col("trial_event_type") == "delay")
        & ((pl.col("duration") - _DELAY_S).abs() < _TICK_S / 2)
    )
    lit = part(lake, "experiment.photostim_event", key)
    trials = (
        behavior.join(part(lake, "ephys.ephys_trial", key), on="trial")
        .filter(pl.col("go_sample").is_not_null())
        .join(delays, on="trial", how="semi")
        .join(lit, on="trial", how="anti")
        .select("trial", "trial_instruction", "go_sample")
        .sort("trial")
    )
    last = events.group_by("trial", "trial_event_type").agg(pl.col("trial_event_time").last())
    wide = {kind: last.filter(trial_event_type=kind) for kind in ("sample", "delay", "go")}
    for kind, found in wide.items():
        times = found.select("trial", pl.col("trial_event_time").alias(kind))
        trials = trials.join(times, on="trial", how="left", maintain_order="left")
    return trials.with_columns(
        expression
        for name, start, start_shift, end, end_shift in _PERIODS
        for expression in (
            (pl.col(str(start)) + pl.lit(start_shift) - pl.col("go")).alias(f"{name}_start"),
            (pl.col(str(end)) + pl.lit(end_shift) - pl.col("go")).alias(f"{name}_stop"),
        )
    )


def _spikes(lake: Lake, key: Key, units: pl.DataFrame, trials: pl.DataFrame) -> pl.DataFrame:
    """Return the units' spikes in the trials with ``time``, s from the go cue."""
    rate = part(lake, "ephys.probe_insertion", key)["sampling_rate"][0]
    wanted = trials.select("trial", "go_sample")
    found: pl.DataFrame = lake.sql(
        "SELECT clustering_method, unit, trial, spike_sample FROM ephys.spike_file WHERE "
        "subject_id = $subject_id AND session = $session AND insertion_number = $insertion_number "
        "AND trial IS NOT NULL",
        dict(key),
    ).pl()
    return (
        found.join(units, on=_UNIT, how="semi")
        .join(wanted, on="trial")
        .with_columns(time=(pl.col("spike_sample") - pl.col("go_sample")) / rate)
    )


def _period(
    name: str, units: pl.DataFrame, trials: pl.DataFrame, spikes: pl.DataFrame, side: str
) -> pl.DataFrame:
    known = trials.filter(pl.col(f"{name}_stop") > pl.col(f"{name}_start"))
    window = known.select("trial", start=f"{name}_start", stop=f"{name}_stop")
    counts = (
        spikes.join(window, on="trial")
        .filter((pl.col("time") >= pl.col("start")) & (pl.col("time") < pl.col("stop")))
        .group_by([*_UNIT, "trial"])
        .len("count")
    )
    grid = units.join(window, how="cross", maintain_order="left_right")
    filled = grid.join(counts, on=[*_UNIT, "trial"], how="left", maintain_order="left")
    rates = filled.select(
        pl.col("count").fill_null(0) / (pl.col("stop") - pl.col("start"))
    ).to_series().to_numpy().reshape(len(units), len(window))  # fmt: skip
    is_ipsi = (known["trial_instruction"] == side).to_numpy()
    return units.with_columns(period=pl.lit(name)).hstack(_tested(rates, is_ipsi))


def _tested(rates: NDArray[np.float64], is_ipsi: NDArray[np.bool_]) -> pl.DataFrame:
    """Return the test's columns for the rates (units, trials) of one period."""
    ipsi, contra = _mean(rates[:, is_ipsi]), _mean(rates[:, ~is_ipsi])
    p = two_sample_test(rates[:, is_ipsi], rates[:, ~is_ipsi])
    if not len(is_ipsi):
        p = np.full(len(rates), np.nan)
    words = np.where(ipsi > contra, "ipsi-selective", "contra-selective")
    chosen = np.where(p <= ALPHA, words, "non-selective")
    data = {"ipsi_firing_rate": ipsi, "contra_firing_rate": contra, "p_value": p}
    numbers = pl.DataFrame(data).fill_nan(None)
    return numbers.with_columns(period_selectivity=pl.Series(chosen.tolist(), dtype=pl.String))


def _mean(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    return rates.mean(axis=1) if rates.shape[1] else np.full(len(rates), np.nan)


COMPUTATIONS = (
    Computation(
        (get("psth.period_selectivity"),),
        (
            "ephys.unit",
            "ephys.spike",
            "ephys.ephys_trial",
            "ephys.probe_insertion",
            "ephys.insertion_location",
            "experiment.behavior_trial",
            "experiment.trial_event",
            "experiment.photostim_event",
        ),
        period_selectivity,
    ),
)
