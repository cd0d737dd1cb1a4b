"""The spikes of a Kilosort or phy folder: times, clusters, templates, amplitudes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MissingFileError,
    UnknownValueError,
)
from maplake.readers import npy
from maplake.readers.gather import gather

__all__ = ["TIME_FILES", "Spikes", "Units", "count_units", "read_spikes", "time_file"]

#: First one that is there. The last holds the samples that the sorter found the spikes at.
TIME_FILES = ("spike_times_sec_adj.npy", "spike_times_sec.npy", "spike_times.npy")
#: Cluster numbers up to this are counted by a table, which is faster than sorting them.
_DENSE = 10_000_000


@dataclass(frozen=True)
class Spikes:
    """Spikes in the order of the files; all arrays (spikes,).

    ``sample`` int64; ``own`` int64, the sample in the probe's own recording, which is another one
    where ``sample`` is on the clock of another stream; ``cluster`` and ``template`` whole numbers
    of 0 or more; ``amplitude`` as the sorter gives it.
    """

    sample: NDArray[np.int64]
    own: NDArray[np.int64]
    cluster: NDArray[Any]
    template: NDArray[Any]
    amplitude: NDArray[np.float64]

    def take(self, kept: NDArray[np.bool_]) -> Spikes:
        """Return some of the spikes; ``kept`` is (spikes,)."""
        if kept.all():
            return self
        return Spikes(*(getattr(self, field.name)[kept] for field in fields(self)))


@dataclass(frozen=True)
class Units:
    """Units with spikes, in order of their numbers.

    Attributes
    ----------
    number
        (units,) number of each.
    spike_count
        (units,)
    index
        (spikes,) place of each spike's unit in ``number``.
    """

    number: NDArray[np.int64]
    spike_count: NDArray[np.int64]
    index: NDArray[Any]


def time_file(folder: Path) -> Path:
    """Return the file with the spike times; MissingFileError if there is none."""
    for name in TIME_FILES:
        if (folder / name).is_file():
            return folder / name
    raise MissingFileError("no spike times", file=folder, expected=" or ".join(TIME_FILES))


def read_spikes(folder: Path, sampling_rate: float) -> Spikes:
    """Read the spikes of a folder.

    Parameters
    ----------
    folder
        Of Kilosort or phy. Where ``spike_clusters.npy`` is missing, nothing was merged or split:
        the clusters are the templates, and the other way round.
    sampling_rate
        In Hz; turns times that are not whole numbers, seconds, into samples.

    Returns
    -------
    spikes
        All of them. Kilosort 4 and clocks that were adjusted put a few before sample 0.

    Raises
    ------
    SourceError
        If a file is missing, unreadable or damaged, arrays differ in length, or a time is
        not finite, more than 1 s before sample 0, or all are before it.
    """
    path = time_file(folder)
    times = npy.load_flat(path)
    if not len(times):
        raise CorruptFileError("there are no spikes", file=path)
    names = [n for n in ("spike_clusters.npy", "spike_templates.npy") if (folder / n).is_file()]
    if not names:
        raise MissingFileError(
            "no clusters", file=folder, expected="spike_clusters.npy or spike_templates.npy"
        )
    length = (path, len(times))
    cluster = npy.load_whole(folder / names[0], length)
    template = npy.load_whole(folder / names[-1], length) if len(names) > 1 else cluster
    if cluster.max() >= 2**31:
        raise UnknownValueError(
            "a cluster number is too large", file=folder / names[0], found=cluster.max()
        )
    amplitude_file = folder / "amplitudes.npy"
    amplitude = np.asarray(npy.load_flat(amplitude_file, length), dtype=np.float64)
    _check_finite(amplitude_file, amplitude)
    sample = own = _samples(path, times, sampling_rate)
    own_file = folder / TIME_FILES[-1]
    if own_file != path and own_file.is_file():
        own = _samples(own_file, npy.load_flat(own_file, length), sampling_rate)
    return Spikes(sample, own, cluster, template, amplitude)


def _check_finite(path: Path, values: NDArray[Any]) -> None:
    # One sum instead of an array of answers: it is not finite if a value is not.
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum(dtype=np.float64)
    if not np.isfinite(total) and not np.isfinite(values).all():
        spike = int((~np.isfinite(values)).argmax())
        raise CorruptFileError(
            "a value is not finite", file=path, place=f"spike {spike}", found=values[spike]
        )


def _samples(path: Path, times: NDArray[Any], sampling_rate: float) -> NDArray[np.int64]:
    """Return spike times as sample numbers."""
    if times.dtype.kind == "f":
        _check_finite(path, times)
        times = times.astype(np.float64, copy=False)  # half floats end before the limits below
        if (times != np.rint(times)).any():
            if not sampling_rate > 0:
                raise FileFormatError(
                    "times are in seconds, but the sampling rate is not known", file=path
                )
            with np.errstate(over="ignore"):  # what is infinite is refused below
                times = np.rint(times * sampling_rate)
    first = -max(sampling_rate, 0.0) if times.max() >= 0 else 0.0
    if times.min() < first or times.max() >= 2**62:
        spike = int(((times < first) | (times >= 2**62)).argmax())
        raise CorruptFileError(
            "a spike time that cannot be", file=path, place=f"spike {spike}", found=times[spike]
        )
    # The same bytes where they are whole numbers of 64 bits.
    return times.view(np.int64) if times.dtype == np.uint64 else times.astype(np.int64, copy=False)


def count_units(cluster: NDArray[Any]) -> Units:
    """Return the units that have spikes."""
    if cluster.max() < _DENSE:
        counts = np.bincount(cluster)
        number = np.nonzero(counts)[0]
        place = np.zeros(len(counts), dtype=np.int32)
        place[number] = np.arange(len(number))
        return Units(number, counts[number], gather(place, cluster))
    number, index, counts = np.unique(cluster, return_inverse=True, return_counts=True)
    return Units(number.astype(np.int64), counts, index)


def unit_templates(units: Units, template: NDArray[Any]) -> NDArray[np.int64]:
    """Return the template of each unit's first spike; (units,).

    Units that curators merged have spikes of several templates; as published, the first spike
    tells which one stands for the unit.
    """
    first = np.empty(len(units.number), dtype=np.intp)
    first[units.index[::-1]] = np.arange(len(units.index) - 1, -1, -1)  # the last write stays
    return template[first].astype(np.int64)


def check_templates(folder: Path, template: NDArray[Any], templates: int) -> None:
    """Raise LengthMismatchError if a spike has a template that does not exist."""
    if template.max() >= templates:
        name = "spike_templates.npy"
        path = folder / (name if (folder / name).is_file() else "spike_clusters.npy")
        raise LengthMismatchError(
            f"{path.name} names a template that templates.npy does not have",
            file=path,
            place=f"spike {int(template.argmax())}",
            found=template.max(),
            expected=f"less than {templates}",
        )
