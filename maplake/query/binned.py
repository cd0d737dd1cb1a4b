"""Spikes counted in bins around an event: what PSTHs and single-trial counts are made of.

The macros of ``psth_macros.sql`` say the same in SQL. Here arrays do what a join, a grouping and a
histogram would, in a third of the time: spikes come sorted by unit, trials are small numbers, and
a spike is a whole number of samples away from a go cue, for which its bin can be looked up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import QueryError
from maplake.query.aligned import Aligned
from maplake.query.numbers import Floats, bin_index
from maplake.query.spike_file import Batch, batches

if TYPE_CHECKING:
    import polars as pl

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

#: Spikes that are worked on at a time: few enough to stay in a core's cache.
_CHUNK = 1 << 16
#: The largest table in which numbers are looked up; beyond it they are searched for.
_LARGEST = 1 << 22
#: As many counts as can be held; and what lies so far below 0 that no cell added to it is one.
_MOST_CELLS = 2_000_000_000
_NOWHERE = -(1 << 31)
_HINT = "`maplake check` says where."


def binned(
    aligned: Aligned,
    keys: Mapping[str, Any],
    units: pl.DataFrame,
    trials: pl.DataFrame,
    groups: int,
    edges: Floats,
) -> Numbers:
    """Count a probe's spikes by unit, group of trials and bin.

    Parameters
    ----------
    units
        Which units, in this order: a row each of clustering_method and unit.
    trials
        Rows of spike_trial, the trial whose spikes (0 = those of no trial) are counted;
        origin_sample, from where; sampling_rate (Hz), the same in all; and group, below ``groups``.
    edges
        Evenly spaced edges of the bins (s from the origin), shape (bins + 1,), into which spikes
        are sorted as ``np.histogram`` does.

    Returns
    -------
    Numbers of spikes, shape (units, groups, bins).

    Raises
    ------
    QueryError
        If the counts are too many to hold, or the spikes cannot be read or lie at times that are
        no numbers.
    """
    shape = len(units), groups, len(edges) - 1
    if math.prod(shape) > _MOST_CELLS:
        raise QueryError(
            f"{' x '.join(map(str, shape))} counts are too many to hold",
            hint="Take wider bins, one probe, or fewer trials.",
        )
    counts = np.zeros(math.prod(shape), np.int32)
    if not counts.size or not len(trials):
        return counts.reshape(shape)
    trials = trials.sort("spike_trial")
    rows = _Rows(trials["spike_trial"].to_numpy())
    bins = _Bins(trials, edges)
    group = np.append(trials["group"].to_numpy().astype(np.int64) * shape[2], _NOWHERE)
    for part, spikes in _spikes(aligned, keys, units):
        cells = _Lookup(part["unit"].to_numpy(), part["place"].to_numpy() * math.prod(shape[1:]))
        for unit, trial, sample in spikes:
            first_cell = cells.of(unit)
            for spike, row in rows.of(trial):
                cell = group.take(row)
                cell += first_cell[spike]
                cell += bins.of(sample[spike], row)
                cell = cell[cell >= 0]
                if len(cell):
                    first = int(cell.min())
                    number = np.bincount(cell - first)
                    counts[first : first + len(number)] += number.astype(np.int32)
    return counts.reshape(shape)


def _spikes(
    aligned: Aligned, keys: Mapping[str, Any], units: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, Iterator[Batch]]]:
    """Yield the units of each clustering, with their places, and its spikes."""
    import polars as pl

    path = aligned.spike_file(keys)
    named = keys["clustering_method"] is not None or len(aligned.methods(keys)) > 1
    units = units.with_columns(place=pl.int_range(pl.len(), dtype=pl.Int64))
    for (method,), part in units.group_by("clustering_method"):
        numbers = part["unit"].to_numpy()
        reach = int(numbers.min()), int(numbers.max())
        yield part, batches(path, reach, str(method) if named else None, _CHUNK)


class _Lookup:
    """What belongs to each of many numbers, if they are among those that are known.

    Parameters
    ----------
    known
        Different numbers, shape (n,).
    found
        What belongs to each, shape (n,).
    missing
        What belongs to any other number.
    """

    def __init__(self, known: npt.NDArray[Any], found: Integers, missing: int = _NOWHERE) -> None:
        order = np.argsort(known)
        self._known, self._found, self._missing = known[order], found[order], missing
        self._table: Integers | None = None
        if self._known[0] >= 0 and self._known[-1] < _LARGEST:
            self._table = np.full(int(self._known[-1]) + 2, missing, np.int64)
            self._table[known] = found

    def of(self, numbers: Numbers) -> Integers:
        """Return what belongs to each number, same shape."""
        if self._table is not None:  # as unsigned, negative numbers lie beyond its end, too
            return self._table.take(numbers.view(np.uint32), mode="clip")
        place = np.minimum(np.searchsorted(self._known, numbers), len(self._known) - 1)
        return np.where(self._known[place] == numbers, self._found[place], self._missing)


class _Rows:
    """The aligned trials that count the spikes of a trial: one, none or, in long windows, more.

    Parameters
    ----------
    spike_trial
        Trial whose spikes each aligned trial counts, ascending.
    """

    def __init__(self, spike_trial: npt.NDArray[Any]) -> None:
        values, self._first, self._number = np.unique(
            spike_trial, return_index=True, return_counts=True
        )
        self._first = np.append(self._first, len(spike_trial))
        self._number = np.append(self._number, 0)
        self._is_single = len(values) == len(spike_trial)
        self._place = _Lookup(values, np.arange(len(values)), missing=len(values))

    def of(self, trial: Numbers) -> Iterator[tuple[Any, Integers]]:
        """Yield which of the spikes are counted, and by which row; beyond the last = by none."""
        place = self._place.of(trial)
        if self._is_single:
            yield slice(None), place
            return
        number = self._number[place]
        cuts = np.searchsorted(np.cumsum(number), np.arange(_CHUNK, number.sum(), _CHUNK))
        for part in np.split(np.arange(len(trial)), cuts):
            times = number[part]
            spike = np.repeat(part, times)
            since = np.arange(len(spike)) - np.repeat(np.cumsum(times) - times, times)
            yield spike, self._first[place[spike]] + since


class _Bins:
    """The bins of spikes around the origins of aligned trials.

    Spikes are whole samples away from a go cue. Where more are asked for than there are samples
    in the window, the bin of each distance is computed once and looked up.
    """

    def __init__(self, trials: pl.DataFrame, edges: Floats) -> None:
        self._edges = edges
        self._rate = float(trials["sampling_rate"][0] or np.nan)
        self._origin: npt.NDArray[Any] = np.append(trials["origin_sample"].to_numpy(), 0.0)
        if not (np.isfinite(self._rate) and self._rate > 0 and np.isfinite(self._origin).all()):
            raise QueryError("spikes have times that are no numbers", hint=_HINT)
        self._is_whole = bool((self._origin == np.rint(self._origin)).all())
        self._low = int(np.floor(edges[0] * self._rate)) - 1
        self._size = int(np.ceil(edges[-1] * self._rate)) + 2 - self._low
        self._asked = 0
        self._table: Numbers | None = None

    def of(self, sample: Integers, row: Integers) -> Numbers:
        """Return the bin of each spike, counted from the origin of a row."""
        self._asked += len(sample)
        if self._table is None and self._is_whole and self._asked > self._size:
            distance = self._low + np.arange(self._size)
            self._table = self._bin(distance)
            self._origin = self._origin.astype(np.int64) + self._low
        distance = sample - self._origin.take(row)
        if self._table is not None:  # both of its ends are in no bin
            found: Numbers = self._table.take(distance, mode="clip")
            return found
        return self._bin(distance)

    def _bin(self, distance: npt.NDArray[Any]) -> Numbers:
        found = bin_index(distance / self._rate, self._edges).astype(np.int32)
        found[found < 0] = _NOWHERE
        return found
