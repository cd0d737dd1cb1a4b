"""Spike counts trial by trial: units x trials x bins, as decoders want them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import NotFoundError, QueryError
from maplake.query.aligned import TIME, Aligned, frame, place, where
from maplake.query.numbers import Floats, bin_index, smooth
from maplake.query.sqltext import literal
from maplake.tables.ephys import UNIT_KEY

if TYPE_CHECKING:
    import polars as pl

_INSERTION = UNIT_KEY[:3]
_MOST_CELLS = 2_000_000_000


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

    def to_xarray(self) -> Any:
        """Return the counts as an xarray DataArray: unit x trial x time, with the units' keys.

        Raises
        ------
        QueryError
            If xarray is not installed: pip install 'maplake[xarray]'.
        """
        from maplake.query.handover import as_xarray

        return as_xarray(self)

    def __repr__(self) -> str:
        units, trials, bins = self.count.shape
        return (
            f"<TrialCounts {self.condition}, aligned to {self.event}: {units} units x "
            f"{trials} trials x {bins} bins>"
        )


def trial_counts(
    aligned: Aligned,
    keys: Mapping[str, Any],
    condition: str,
    options: Mapping[str, Any],
    edges: Floats,
) -> TrialCounts:
    """Count the spikes of a session's units, a probe's, or one; see :class:`TrialCounts`."""
    import polars as pl

    found = frame(
        aligned.con,
        f"SELECT insertion_number FROM ephys.probe_insertion "
        f"WHERE {where({k: keys[k] for k in _INSERTION})} ORDER BY ALL",
    )
    parts = [
        _of_probe(aligned, {**keys, "insertion_number": number}, condition, options, edges)
        for number in found["insertion_number"]
    ]
    parts = [part for part in parts if len(part.units)]
    if not parts:
        raise NotFoundError("there are no units", place=place(keys), hint="See lake.sessions().")
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
    table = f"temp.main.{aligned.trials(keys, condition, window)}"
    trials = frame(aligned.con, f"SELECT DISTINCT trial FROM {table} ORDER BY trial")
    trial = trials["trial"].to_numpy().astype(np.int32)
    chosen = where({k: keys[k] for k in ("clustering_method", "unit")})
    units = (
        f"SELECT clustering_method, unit FROM temp.main.{aligned.units(keys)} WHERE {chosen} "
        f"AND ({literal(bool(options['all_units']))} OR unit_quality <> 'all') ORDER BY ALL"
    )
    key = frame(aligned.con, units)
    shape = (len(key), len(trial), len(edges) - 1)
    if np.prod(shape, dtype=float) > _MOST_CELLS:
        raise QueryError(
            f"{' x '.join(map(str, shape))} counts are too many to hold",
            hint="Take wider bins, one probe, or fewer trials.",
        )
    spikes = frame(
        aligned.con,
        f"SELECT u.place AS unit, a.trial, {TIME} AS time FROM {aligned.spikes(keys)} AS s "
        f"JOIN (SELECT *, row_number() OVER (ORDER BY clustering_method, unit) - 1 AS place "
        f"FROM ({units})) AS u "
        "USING (clustering_method, unit) "
        f"JOIN {table} AS a ON coalesce(s.trial, 0) = a.spike_trial "
        f"WHERE {TIME} BETWEEN {literal(window['start'])} AND {literal(window['stop'])}",
    )
    columns = [pl.lit(int(keys[k]), pl.Int32).alias(k) for k in _INSERTION]
    return TrialCounts(
        condition,
        str(options["event"]),
        _counted(spikes, trial, shape, edges),
        edges,
        trial,
        np.ones(shape[:2], bool),
        key.select(*columns, pl.all()).select(UNIT_KEY),
    )


def _counted(
    spikes: pl.DataFrame, trial: npt.NDArray[np.int32], shape: tuple[int, ...], edges: Floats
) -> npt.NDArray[np.int32]:
    bins = bin_index(spikes["time"].to_numpy(), edges)
    row = np.searchsorted(trial, spikes["trial"].to_numpy())
    cell = (spikes["unit"].to_numpy() * shape[1] + row) * shape[2] + bins
    counted = np.bincount(cell[bins >= 0], minlength=int(np.prod(shape)))
    return counted.astype(np.int32).reshape(shape)
