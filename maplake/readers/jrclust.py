"""Spike sorting results of JRCLUST, versions 3 and 4 (MATLAB 7.3 files).

What differs between the versions is the names of the fields; :mod:`maplake.readers.jrclust_v3`
and :mod:`maplake.readers.jrclust_v4` list them.
Clusters count from 1 and have a row in every array of units; clusters of 0 and below are noise.
Sites count from 1 in the order of the recorded channels. As JRCLUST leaves some things out:
amplitudes of single spikes are NaN where the file has none, a signal-to-noise ratio that is
missing or not finite is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
)
from maplake.readers import phy
from maplake.readers.base import Reader, Records, Skipped, SortingContext
from maplake.readers.jrclust_file import ResultFile, open_result
from maplake.readers.rows import as_table

__all__ = ["Fields", "reader"]

_QUALITIES = ("single", "good"), ("ok", "ok"), ("multi", "multi")
_EXTRAS = ("isi_ratio", "isolation_distance", "l_ratio")
_RATE_TOLERANCE = 1e-3  # calibrated and nominal rates differ by less
_TOO_LARGE = 2**53  # whole numbers below are exact however they were saved
_DATENUM_OFFSET = 366  # MATLAB counts days from the year 0
_DATENUMS = (693_962, 803_534)  # the years 1900 to 2200


@dataclass(frozen=True)
class Fields:
    """Where a version keeps what; empty = nowhere."""

    method: str
    suffix: str
    sample: str
    site: str
    position: str
    cluster: str
    waveform: str
    note: str
    x: tuple[str, int | None]
    y: tuple[str, int | None]
    amplitude: str
    snr: str
    peak_site: str
    spike_amplitude: str
    extras: tuple[str, str, str]
    rate: str = ""
    times: tuple[str, ...] = ()


def _find(path: Path, fields: Fields) -> Sequence[Path]:
    candidates = path.iterdir() if path.is_dir() else [path]
    return sorted(item for item in candidates if _is_result(item, fields))


def _is_result(path: Path, fields: Fields) -> bool:
    h2o, underscore, _ = path.name.removesuffix(fields.suffix).partition("_")
    named = path.name.endswith(fields.suffix) and bool(h2o)
    # Names that begin with a dot are what macOS leaves beside files on network shares. A version
    # 3 file without anything between h2o and suffix has its underscore in the suffix.
    named &= bool(underscore) or fields.suffix.startswith("_")
    return named and not path.name.startswith(".") and path.is_file()


def _read(path: Path, context: SortingContext, fields: Fields) -> Records:
    """Read a result; see the kind ``sorting`` of :class:`~maplake.readers.base.Records`.

    Parameters
    ----------
    path
        The result file.
    context
        The recording.

    Returns
    -------
    Records
        In ``info``: ``waveform_local`` True (channel 0 of a waveform is the unit's peak channel,
        the others are its neighbours), ``unit_extras``, dict of float64 arrays (units,) in the
        order of ``ephys.unit`` with what of isi_ratio, isolation_distance and l_ratio the file
        has.

    Raises
    ------
    SourceError
        If the file is missing, unreadable, damaged, of another version, has arrays whose lengths
        differ, sites that were not recorded or values that are not finite.
    """
    with open_result(path) as file:
        _check_rate(file, fields, context)
        spikes, noise = _spikes(file, fields, len(context.electrode))
        units, empty = _units(file, fields, spikes["spike_unit"], len(context.electrode))
        time, curated = _time(file, fields, path)
    skipped = [Skipped("spikes", f"{noise}", "clusters of 0 and below are noise")] if noise else []
    skipped += [Skipped("unit", str(unit), "has no spikes") for unit in empty]
    waveform = units.pop("waveform")
    extras = {name: units.pop(name) for name in _EXTRAS if name in units}
    return Records(
        tables=_tables(fields.method, units, waveform, path, (time, curated)),
        arrays={**spikes, "waveform": waveform},
        skipped=skipped,
        info={"waveform_local": True, "unit_extras": extras},
    )


def _check_rate(file: ResultFile, fields: Fields, context: SortingContext) -> None:
    if not (fields.rate and file.has(fields.rate)):
        return
    rate = float(_values(file, fields.rate, 1)[0])
    if not abs(rate / context.sampling_rate - 1) < _RATE_TOLERANCE:
        raise FileFormatError(
            "the sampling rate is not that of the recording",
            place=fields.rate,
            found=f"{rate:g} Hz",
            expected=f"{context.sampling_rate:g} Hz",
            hint="Are the sorting and the metadata of the same recording?",
        )


def _values(file: ResultFile, name: str, count: int) -> NDArray[Any]:
    """Read a vector of a known length."""
    values = file.array(name, ndim=1)
    if len(values) != count:
        raise LengthMismatchError(
            "has another length than the others", place=name, found=len(values), expected=count
        )
    return values


def _whole(values: NDArray[Any], name: str, lowest: int | None = None) -> NDArray[np.int64]:
    """Return numbers as int64, having made sure that they are whole."""
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.rint(values))).all():
        raise CorruptFileError("holds what is no whole number", place=name)
    # As Python's numbers: a half float (float16) cannot be held against so large a one.
    if values.size and max(values.max().item(), -values.min().item()) >= _TOO_LARGE:
        raise CorruptFileError("holds a number that is too large", place=name)
    whole = values.astype(np.int64)
    if lowest is not None and whole.size and whole.min() < lowest:
        raise CorruptFileError(
            "a value that cannot be", place=name, found=int(whole.min()), expected=f">= {lowest}"
        )
    return whole


def _sites(values: NDArray[Any], name: str, channels: int) -> NDArray[np.int32]:
    sites = _whole(values, name, lowest=1)
    if sites.size and sites.max() > channels:
        raise CorruptFileError(
            "names a site that was not recorded",
            place=name,
            found=int(sites.max()),
            expected=f"1 to {channels}",
        )
    return sites.astype(np.int32)


def _spikes(file: ResultFile, fields: Fields, channels: int) -> tuple[dict[str, NDArray[Any]], int]:
    """Return the spikes of clusters, in time order, and the number of noise spikes."""
    sample = _whole(file.array(fields.sample, ndim=1), fields.sample, lowest=0)
    unit = _whole(_values(file, fields.cluster, len(sample)), fields.cluster)
    kept = np.flatnonzero(unit > 0)
    if not len(kept):
        raise CorruptFileError("there are no sorted spikes", place=fields.cluster)
    noise = len(unit) - len(kept)
    if (np.diff(sample[kept]) < 0).any():
        kept = kept[np.argsort(sample[kept], kind="stable")]
    found: dict[str, NDArray[Any]] = {
        "spike_sample": sample,
        "spike_unit": unit,
        "spike_channel": _values(file, fields.site, len(sample)),
        "spike_depth": _depth(file, fields, len(sample)),
        "spike_amplitude": _spike_amplitude(file, fields, len(sample)),
    }
    spikes = {name: values[kept] for name, values in found.items()}
    if spikes["spike_unit"].max() >= 2**31:
        raise CorruptFileError("holds a number that is too large", place=fields.cluster)
    spikes["spike_unit"] = spikes["spike_unit"].astype(np.int32)
    spikes["spike_channel"] = _sites(spikes["spike_channel"], fields.site, channels)
    if not np.isfinite(spikes["spike_depth"]).all():
        raise CorruptFileError("a position is not finite", place=fields.position)
    return spikes, noise


def _depth(file: ResultFile, fields: Fields, count: int) -> NDArray[np.float64]:
    position = file.array(fields.position, ndim=2)
    if position.shape[::-1] == (2, count) and count != 2:
        position = position.T  # saved by a tool that does not reverse the axes
    if position.shape != (2, count):
        raise LengthMismatchError(
            "has another length than the others",
            place=fields.position,
            found=position.shape,
            expected=(2, count),
        )
    return np.asarray(position[1], dtype=np.float64)


def _spike_amplitude(file: ResultFile, fields: Fields, count: int) -> NDArray[np.float64]:
    if not file.has(fields.spike_amplitude):
        return np.full(count, np.nan)
    amplitude = _values(file, fields.spike_amplitude, count).astype(np.float64)
    return _not_infinite(amplitude, fields.spike_amplitude)


def _units(
    file: ResultFile, fields: Fields, spike_unit: NDArray[np.int32], channels: int
) -> tuple[dict[str, Any], list[int]]:
    """Return the columns of the units that have spikes, and the ids of those without."""
    site = file.array(fields.peak_site, ndim=1)
    count, last = len(site), int(spike_unit.max(initial=0))
    if last > count:
        raise LengthMismatchError(
            "there are fewer rows of units than units with spikes",
            place=fields.peak_site,
            found=count,
            expected=f"at least {last}",
        )
    spikes = np.bincount(spike_unit, minlength=count + 1)
    row = np.flatnonzero(spikes[1:])
    qualities = _qualities(file, fields, count)
    columns: dict[str, Any] = {
        "unit": (row + 1).astype(np.int32),
        "unit_quality": [qualities[place] for place in row],
        "channel": _sites(site[row], fields.peak_site, channels),
        "unit_posx": _finite(_column(file, fields.x, count)[row], fields.x[0]),
        "unit_posy": _finite(_column(file, fields.y, count)[row], fields.y[0]),
        "unit_amp": _finite(_values(file, fields.amplitude, count)[row], fields.amplitude),
        "unit_snr": _snr(file, fields, count)[row],
        "waveform": _waveforms(file, fields, count)[row],
    }
    for name, place in zip(_EXTRAS, fields.extras, strict=True):
        if file.has(place):
            columns[name] = _values(file, place, count)[row].astype(np.float64)
    return columns, (np.flatnonzero(spikes[1:] == 0) + 1).tolist()


def _column(file: ResultFile, place: tuple[str, int | None], count: int) -> NDArray[Any]:
    name, row = place
    if row is None:
        return _values(file, name, count)
    data = file.array(name, ndim=2)
    if data.shape != (2, count):
        raise LengthMismatchError(
            "has another length than the others",
            place=name,
            found=data.shape,
            expected=(2, count),
        )
    return np.asarray(data[row])


def _finite(values: NDArray[Any], name: str) -> NDArray[np.float64]:
    if not np.isfinite(values).all():
        raise CorruptFileError("a value of a unit with spikes is not finite", place=name)
    return values.astype(np.float64)


def _snr(file: ResultFile, fields: Fields, count: int) -> NDArray[np.float64]:
    if not file.has(fields.snr):
        return np.zeros(count)
    snr = _values(file, fields.snr, count).astype(np.float64)
    return np.where(np.isfinite(snr), snr, 0.0)


def _qualities(file: ResultFile, fields: Fields, count: int) -> list[str]:
    notes = file.texts(fields.note)
    if len(notes) != count:
        raise LengthMismatchError(
            "has another length than the others",
            place=fields.note,
            found=len(notes),
            expected=count,
        )
    return [next((word for start, word in _QUALITIES if n.startswith(start)), "all") for n in notes]


def _waveforms(file: ResultFile, fields: Fields, count: int) -> NDArray[np.float32]:
    """Return mean waveforms (units, channels, samples) in uV; channel 0 is the peak."""
    waveform = file.array(fields.waveform, ndim=3)
    if len(waveform) != count or not waveform.shape[1]:
        raise LengthMismatchError(
            "has another length than the others",
            place=fields.waveform,
            found=waveform.shape,
            expected=f"{count} units",
        )
    with np.errstate(over="ignore"):
        return _not_infinite(waveform.astype(np.float32), fields.waveform)


def _not_infinite(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return values of which some may be unknown (NaN)."""
    if np.isinf(values).any():
        raise CorruptFileError("a value is infinite, or too large", place=name)
    return values


def _time(file: ResultFile, fields: Fields, path: Path) -> tuple[datetime, bool]:
    """Return when the result was made or curated, and whether it was curated by hand."""
    logged = phy.last_curation(path.parent / "phy.log")
    for name in fields.times:
        if file.has(name) and (when := _datenum(file.array(name, ndim=1), name)):
            return when, logged is not None  # as published, whatever curatedOn says
    return logged or phy.file_time(path), logged is not None


def _datenum(values: NDArray[Any], name: str) -> datetime | None:
    """Turn MATLAB's day number into a time, to the second; None if there is none."""
    if not values.size or not np.isfinite(values[0]):
        return None
    days = float(values[0])
    if not _DATENUMS[0] <= days <= _DATENUMS[1]:
        raise CorruptFileError("is no date", place=name, found=days, expected="a datenum")
    seconds = round((days - _DATENUM_OFFSET - 1) * 86_400)
    return datetime(1, 1, 1) + timedelta(seconds=seconds)


def _tables(
    method: str,
    units: dict[str, Any],
    waveform: NDArray[np.float32],
    path: Path,
    curation: tuple[datetime, bool],
) -> dict[str, pa.Table]:
    name = {"clustering_method": [method] * len(units["unit"])}
    time, curated = curation
    label = {
        "clustering_method": [method],
        "clustering_time": [time],
        "quality_control": [(path.parent / "metrics.csv").is_file()],
        "manual_curation": [curated],
        "clustering_note": [None],
    }
    peak = [row.tolist() for row in waveform[:, 0].astype(np.float64)]
    waves = name | {"unit": units["unit"], "waveform": peak}
    return {
        "ephys.unit": as_table("ephys.unit", name | units, {"channel": pa.int32()}),
        "ephys.unit_waveform": as_table("ephys.unit_waveform", waves),
        "ephys.clustering_label": as_table("ephys.clustering_label", label),
    }


def _files(path: Path) -> Sequence[Path]:
    beside = (path.parent / name for name in ("phy.log", "metrics.csv"))
    return [path, *(item for item in beside if item.is_file())]


def reader(fields: Fields, priority: int) -> Reader:
    """Return the reader of a version."""
    return Reader(
        fields.method,
        kind="sorting",
        find=partial(_find, fields=fields),
        read=partial(_read, fields=fields),
        files=_files,
        priority=priority,
        version=2,
        changes={2: "manual_curation is what phy.log says alone, as published"},
    )
