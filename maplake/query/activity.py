"""PSTHs as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import NotFoundError
from maplake.query.aligned import TIME, Aligned, frame, place, where
from maplake.query.numbers import bin_edges
from maplake.query.sqltext import literal
from maplake.tables.ephys import UNIT_KEY

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
        from maplake.plots.psth import draw

        return draw(self, ax)

    def __repr__(self) -> str:
        return (
            f"<Psth {self.condition}, aligned to {self.event}: {len(self.units)} units x "
            f"{len(self.time)} bins of {self.bin} s, "
            f"up to {self.trial_count.max(initial=0)} trials>"
        )


def psth(
    aligned: Aligned, keys: Mapping[str, Any], condition: str, options: Mapping[str, Any]
) -> Psth:
    """Compute :class:`Psth`: of one probe from its spike file, of several with ``psth.psth``."""
    edges = bin_edges(options["start"], options["stop"], options["bin"])
    one = keys["insertion_number"] is not None
    found = (
        _of_probe(aligned, keys, condition, options, len(edges) - 1)
        if one
        else frame(aligned.con, _of_session(keys, condition, options))
    )
    if not len(found):
        raise NotFoundError("there are no units", place=place(keys), hint="See lake.sessions().")
    count = _matrix(found["count"], len(edges) - 1)
    trials = found["trial_count"].to_numpy().astype(np.int32)
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
        units=found.select(UNIT_KEY),
    )


def _of_session(keys: Mapping[str, Any], condition: str, options: Mapping[str, Any]) -> str:
    columns = ", ".join(UNIT_KEY)
    return (
        f"SELECT {columns}, trial_count, list(count ORDER BY time) AS count "
        f"FROM psth.psth({_arguments({'condition': condition, **options})}) "
        f"WHERE {where(keys)} GROUP BY {columns}, trial_count ORDER BY {columns}"
    )


def _of_probe(
    aligned: Aligned,
    keys: Mapping[str, Any],
    condition: str,
    options: Mapping[str, Any],
    bins: int,
) -> pl.DataFrame:
    trials = f"temp.main.{aligned.trials(keys, condition, options)}"
    chosen = where({k: keys[k] for k in ("clustering_method", "unit")})
    bounds = ", ".join(literal(options[name]) for name in ("start", "stop", "bin"))
    key = ", ".join(f"{literal(keys[k])}::INTEGER AS {k}" for k in UNIT_KEY[:3])
    return frame(
        aligned.con,
        f"SELECT {key}, u.clustering_method, u.unit, c.count, "
        f"(SELECT count(DISTINCT trial) FROM {trials}) AS trial_count "
        f"FROM temp.main.{aligned.units(keys)} AS u LEFT JOIN ("
        "SELECT s.clustering_method, s.unit, psth.in_time_order(histogram("
        f"-({TIME}), psth.negated_edges({bounds})), {bins}) AS count "
        f"FROM {aligned.spikes(keys)} AS s "
        f"JOIN {trials} AS a ON coalesce(s.trial, 0) = a.spike_trial WHERE {chosen} "
        "GROUP BY s.clustering_method, s.unit) AS c USING (clustering_method, unit) "
        f"WHERE {chosen} AND ({literal(options['all_units'])} OR u.unit_quality <> 'all') "
        "ORDER BY u.clustering_method, u.unit",
    )


def _matrix(lists: pl.Series, bins: int) -> npt.NDArray[np.int64]:
    """Return lists of one length as rows; a missing one is zeros."""
    matrix = np.zeros((len(lists), bins), np.int64)
    there = lists.is_not_null().to_numpy()
    matrix[there] = lists.drop_nulls().explode().to_numpy().reshape(-1, bins)
    return matrix


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} := {literal(value)}" for name, value in values.items())
