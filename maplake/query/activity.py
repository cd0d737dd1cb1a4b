"""PSTHs as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.query.aligned import Aligned, no_units
from maplake.query.binned import binned
from maplake.query.numbers import Floats, bin_edges

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Psth:
    """Peri-stimulus time histograms of units under one condition.

    Attributes
    ----------
    condition, event
        Which trials, aligned to what.
    time
        Right edges of the bins (s from the event), shape (bins,).
    count
        Spikes in all trials, shape (units, bins).
    trial_count
        Trials of the condition that the unit's probe saw, shape (units,).
    rate
        Mean rate (Hz), shape (units, bins); NaN where there is no trial.
    units
        A row per unit: its key.
    """

    condition: str
    event: str
    bin: float
    time: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]
    trial_count: npt.NDArray[np.int32]
    rate: npt.NDArray[np.float64]
    units: pl.DataFrame

    def to_polars(self) -> pl.DataFrame:
        """Return one row per unit and bin: unit key, time (s), count, rate (Hz), trial_count."""
        import polars as pl

        bins = len(self.time)
        rows = self.units.select(pl.all().repeat_by(bins).explode())
        return rows.with_columns(
            pl.Series("time", np.tile(self.time, len(self.units))),
            pl.Series("count", self.count.ravel()),
            pl.Series("rate", self.rate.ravel()).fill_nan(None),
            pl.Series("trial_count", np.repeat(self.trial_count, bins)),
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw one unit as a line or several as a heat map; returns the matplotlib axes."""
        from maplake.query.drawing import rates

        ax = rates(ax, self.time, self.rate, self.bin)
        ax.axvline(0, color="0.4", linestyle="--", linewidth=0.8)
        ax.set(
            xlabel=f"time from {self.event} (s)",
            title=f"{self.condition}, n = {self.trial_count.max(initial=0)} trials",
        )
        return ax

    def __repr__(self) -> str:
        return (
            f"<Psth {self.condition}, aligned to {self.event}: {len(self.units)} units x "
            f"{len(self.time)} bins of {self.bin} s, "
            f"up to {self.trial_count.max(initial=0)} trials>"
        )


def psths(
    aligned: Aligned,
    keys: Mapping[str, Any],
    conditions: Sequence[str],
    options: Mapping[str, Any],
) -> dict[str, Psth]:
    """Compute :class:`Psth` of several conditions in one pass over the spikes of each probe."""
    import polars as pl

    if not conditions:
        return {}
    edges = bin_edges(options["start"], options["stop"], options["bin"])
    parts = [
        _of_probe(aligned, {**keys, "insertion_number": number}, conditions, options, edges)
        for number in aligned.insertions(keys)
    ]
    parts = [part for part in parts if len(part[0])]
    if not parts:
        raise no_units(aligned.con, keys)
    units = pl.concat([part[0] for part in parts])
    counts = np.concatenate([part[1] for part in parts], axis=1)
    trials = np.concatenate([part[2] for part in parts], axis=1)
    return {
        name: _psth(name, options, edges, counts[i], trials[i], units)
        for i, name in enumerate(conditions)
    }


def _psth(
    condition: str,
    options: Mapping[str, Any],
    edges: Floats,
    count: npt.NDArray[np.int64],
    trials: npt.NDArray[np.int32],
    units: pl.DataFrame,
) -> Psth:
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(trials[:, None] > 0, count / trials[:, None] / options["bin"], np.nan)
    return Psth(
        condition,
        str(options["event"]),
        float(options["bin"]),
        time=edges[1:],
        count=count,
        trial_count=trials,
        rate=rate,
        units=units,
    )


def _of_probe(
    aligned: Aligned,
    keys: Mapping[str, Any],
    conditions: Sequence[str],
    options: Mapping[str, Any],
    edges: Floats,
) -> tuple[pl.DataFrame, npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return units; counts (conditions, units, bins); numbers of trials (conditions, units).

    Trials fall into few patterns, the sets of conditions that they belong to: spikes are binned
    once per unit and pattern, conditions are sums of the patterns that they are part of.
    """
    units = aligned.chosen_units(keys, all_units=bool(options["all_units"]))
    names = aligned.declared(conditions)
    trials = aligned.patterns(keys, conditions, options)
    group, trial = (trials[name].to_numpy() for name in ("pattern", "trial"))
    _, first = np.unique(group, return_index=True)
    _, once = np.unique(np.stack([group, trial]), axis=1, return_index=True)
    member = _membership(names, trials["conditions"][first].to_list())
    number = (member @ np.bincount(group[once], minlength=len(first))).astype(np.int32)
    binned_ = binned(aligned, keys, units, trials.rename({"pattern": "group"}), len(first), edges)
    counts = np.stack([binned_[:, row].sum(axis=1, dtype=np.int64) for row in member])
    return units, counts, np.repeat(number[:, None], len(units), axis=1)


def _membership(conditions: list[str], patterns: list[list[str]]) -> npt.NDArray[np.bool_]:
    """Return which pattern is part of which condition, shape (conditions, patterns)."""
    rows = [[name in pattern for pattern in patterns] for name in conditions]
    return np.array(rows, dtype=bool).reshape(len(conditions), len(patterns))
