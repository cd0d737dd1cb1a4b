"""Spike counts trial by trial: units x trials x bins, as decoders want them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import QueryError
from maplake.query.aligned import Aligned, no_units
from maplake.query.binned import binned
from maplake.query.numbers import Floats, smooth
from maplake.tables.ephys import UNIT_KEY

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class TrialCounts:
    """Spikes of units in the bins of single trials.

    Attributes
    ----------
    condition, event
        Which trials, aligned to what.
    count
        Number of spikes, shape (units, trials, bins); 0 where a probe did not record a trial.
    edges
        Edges of the bins (s from the event), shape (bins + 1,).
    trial
        Trial numbers, ascending, shape (trials,).
    observed
        Whether the unit's probe recorded the trial, shape (units, trials).
    units
        A row per unit: its key.
    """

    condition: str
    event: str
    count: npt.NDArray[np.int32]
    edges: Floats
    trial: npt.NDArray[np.int32]
    observed: npt.NDArray[np.bool_]
    units: pl.DataFrame

    @property
    def time(self) -> Floats:
        """Right edges of the bins (s from the event), shape (bins,)."""
        return self.edges[1:]

    @property
    def bin(self) -> float:
        """Width of a bin (s)."""
        return float((self.edges[-1] - self.edges[0]) / (len(self.edges) - 1))

    @property
    def rate(self) -> Floats:
        """Rate (Hz), shape (units, trials, bins); NaN where a probe did not record a trial."""
        return np.where(self.observed[:, :, None], self.count / self.bin, np.nan)

    def smoothed(self, width: float, kernel: str = "gaussian") -> Floats:
        """Return the rate (Hz) smoothed over time; see :func:`maplake.query.numbers.smooth`."""
        return smooth(self.rate, self.bin, width, kernel)

    def complete(self) -> TrialCounts:
        """Return the trials that all units' probes recorded."""
        keep = self.observed.all(axis=0)
        return TrialCounts(
            self.condition,
            self.event,
            self.count[:, keep],
            self.edges,
            self.trial[keep],
            self.observed[:, keep],
            self.units,
        )

    @classmethod
    def from_polars(cls, rows: pl.DataFrame, condition: str = "", event: str = "go") -> TrialCounts:
        """Make counts of rows as the SQL macro ``psth.trial_counts`` gives them.

        Parameters
        ----------
        rows
            Columns of the unit key, trial, time (right edge of the bin, s) and count, in any
            order; bins that are missing are 0.

        Raises
        ------
        QueryError
            If a column is missing or there are fewer than two bins.
        """
        return _from_rows(rows, condition, event)

    def to_polars(self) -> pl.DataFrame:
        """Return a row per unit, trial and bin: unit key, trial, time (s), count.

        Trials that a unit's probe did not record are left out.
        """
        import polars as pl

        unit, trial = np.nonzero(self.observed)
        bins = len(self.time)
        rows = self.units[unit].select(pl.all().repeat_by(bins).explode())
        return rows.with_columns(
            pl.Series("trial", np.repeat(self.trial[trial], bins)),
            pl.Series("time", np.tile(self.time, len(unit))),
            pl.Series("count", self.count[unit, trial].ravel()),
        )

    def to_xarray(self) -> Any:
        """Return the counts as an xarray DataArray: unit x trial x time, with the units' keys.

        Raises
        ------
        QueryError
            If xarray is not installed: pip install 'maplake[xarray]'.
        """
        from maplake.query.handover import library

        xarray = library("xarray")
        keys = {name: ("unit", self.units[name].to_numpy()) for name in self.units.columns}
        return xarray.DataArray(
            self.count,
            dims=("unit", "trial", "time"),
            coords={
                **{f"unit_{n}" if n == "unit" else n: v for n, v in keys.items()},
                "trial": self.trial,
                "time": ("time", self.time, {"units": "s", "long_name": f"from {self.event}"}),
                "observed": (("unit", "trial"), self.observed),
            },
            name="count",
            attrs={"condition": self.condition, "event": self.event, "bin_s": self.bin},
        )

    def __repr__(self) -> str:
        units, trials, bins = self.count.shape
        return (
            f"<TrialCounts {self.condition}, aligned to {self.event}: {units} units x "
            f"{trials} trials x {bins} bins>"
        )


def _from_rows(rows: pl.DataFrame, condition: str, event: str) -> TrialCounts:
    import polars as pl

    missing = {*UNIT_KEY, "trial", "time", "count"} - set(rows.columns)
    if missing:
        raise QueryError("columns are missing", found=", ".join(rows.columns), expected=missing)
    time, column = np.unique(rows["time"].to_numpy(), return_inverse=True)
    if len(time) < 2:
        raise QueryError("there must be two bins or more", found=f"{len(time)}")
    trial, place = np.unique(rows["trial"].to_numpy().astype(np.int32), return_inverse=True)
    units = rows.select(UNIT_KEY).unique().sort(UNIT_KEY)
    row = (
        rows.select(UNIT_KEY)
        .join(units.with_row_index("place"), on=list(UNIT_KEY), how="left", maintain_order="left")[
            "place"
        ]
        .to_numpy()
    )
    count = np.zeros((len(units), len(trial), len(time)), np.int32)
    count[row, place, column] = rows["count"].to_numpy()
    observed = np.zeros(count.shape[:2], bool)
    observed[row, place] = True
    edges = np.concatenate([[2 * time[0] - time[1]], time])
    units = units.with_columns(pl.col(UNIT_KEY[:3]).cast(pl.Int32))
    return TrialCounts(condition, event, count, edges, trial, observed, units)


def trial_counts(
    aligned: Aligned,
    keys: Mapping[str, Any],
    condition: str,
    options: Mapping[str, Any],
    edges: Floats,
) -> TrialCounts:
    """Count the spikes of a session's units, a probe's, or one; see :class:`TrialCounts`."""
    import polars as pl

    parts = [
        _of_probe(aligned, {**keys, "insertion_number": number}, condition, options, edges)
        for number in aligned.insertions(keys)
    ]
    parts = [part for part in parts if len(part.units)]
    if not parts:
        raise no_units(aligned.con, keys)
    if len(parts) == 1:
        return parts[0]
    trial = np.unique(np.concatenate([part.trial for part in parts]))
    units = pl.concat([part.units for part in parts])
    count = np.zeros((len(units), len(trial), len(edges) - 1), np.int32)
    observed = np.zeros((len(units), len(trial)), bool)
    first = 0
    for part in parts:
        rows = np.arange(first, first + len(part.units))
        columns = np.searchsorted(trial, part.trial)
        count[rows[:, None], columns[None, :]] = part.count
        observed[rows[:, None], columns[None, :]] = True
        first += len(rows)
    return TrialCounts(condition, str(options["event"]), count, edges, trial, observed, units)


def _of_probe(
    aligned: Aligned,
    keys: Mapping[str, Any],
    condition: str,
    options: Mapping[str, Any],
    edges: Floats,
) -> TrialCounts:
    import polars as pl

    window = {**options, "start": float(edges[0]), "stop": float(edges[-1])}
    trials = aligned.trials(keys, condition, window)
    trial, group = np.unique(trials["trial"].to_numpy(), return_inverse=True)
    trials = trials.with_columns(pl.Series("group", group, pl.Int64))
    units = aligned.chosen_units(keys, all_units=bool(options["all_units"]))
    return TrialCounts(
        condition,
        str(options["event"]),
        binned(aligned, keys, units, trials, len(trial), edges),
        edges,
        trial,
        np.ones((len(units), len(trial)), bool),
        units,
    )
