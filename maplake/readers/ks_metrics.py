"""``metrics.csv`` and ``mean_waveforms.npy`` of ecephys_spike_sorting, beside Kilosort's output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake import tables
from maplake.errors import CorruptFileError, FileFormatError, LengthMismatchError
from maplake.readers import npy
from maplake.readers.phy import TextTable, read_text_table
from maplake.readers.rows import as_table

__all__ = ["Metrics", "mean_waveforms", "metric_tables", "read_metrics"]

_TABLES = {
    "ephys.cluster_metric": "epoch_name_quality_metrics",
    "ephys.waveform_metric": "epoch_name_waveform_metrics",
}
_UNIT_VALUES = ("peak_channel", "amplitude", "snr")


def _columns(name: str) -> list[str]:
    """Return the columns of ``metrics.csv`` that a table holds."""
    columns = [column.name for column in tables.get(name).file_columns]
    return [column for column in columns if column not in ("clustering_method", "unit")]


@dataclass(frozen=True)
class Metrics:
    """The rows of ``metrics.csv``.

    Attributes
    ----------
    table
        All columns, as text; names in lower case.
    unit
        (rows,) unit of each row.
    first
        Row of a unit by its number; its first one where there are several epochs.
    peak_channel
        (rows,) 0-based channel of the recording.
    amplitude, snr
        (rows,) uV and ratio; 0 where the file has no finite number.
    """

    table: TextTable
    unit: NDArray[np.int64]
    first: dict[int, int]
    peak_channel: NDArray[np.int64]
    amplitude: NDArray[np.float64]
    snr: NDArray[np.float64]


def read_metrics(path: Path) -> Metrics:
    """Read the quality and waveform metrics of units.

    Raises
    ------
    FileFormatError
        If columns are missing (all of them are named), or a unit is there twice for one epoch.
    SourceError
        If the file is unreadable or damaged, or a cell is no number.
    """
    raw = read_text_table(path)
    names = [name.lower() for name in raw.columns]
    if len(set(names)) < len(names):
        raise FileFormatError("two columns have one name", file=path, found=", ".join(names))
    table = TextTable(path, dict(zip(names, raw.columns.values(), strict=True)))
    wanted = ["cluster_id", *_UNIT_VALUES, *(c for name in _TABLES for c in _columns(name))]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise FileFormatError("columns are missing", file=path, found=f"no {', '.join(missing)}")
    unit = table.ids()
    first: dict[int, int] = {}
    for row, number in enumerate(unit.tolist()):
        first.setdefault(number, row)
    for epoch in _TABLES.values():
        _check_twice(table, unit, epoch)
    amplitude, snr = (
        np.nan_to_num(table.numbers(name), nan=0.0, posinf=0.0, neginf=0.0)
        for name in ("amplitude", "snr")
    )
    return Metrics(table, unit, first, table.ids("peak_channel"), amplitude, snr)


def _check_twice(table: TextTable, unit: NDArray[np.int64], epoch: str) -> None:
    seen = set()
    for row, key in enumerate(zip(unit.tolist(), table.words(epoch), strict=True)):
        if key in seen:
            raise FileFormatError(
                "a unit is there twice",
                file=table.path,
                place=f"row {row + 1}",
                found=f"unit {key[0]}, epoch {key[1]!r}",
            )
        seen.add(key)


def metric_tables(metrics: Metrics, method: str, units: NDArray[Any]) -> dict[str, pa.Table]:
    """Return the tables of metrics for the given units, sorted; no number where not finite."""
    rows = np.nonzero(np.isin(metrics.unit, units))[0]
    rows = rows[np.argsort(metrics.unit[rows], kind="stable")]
    result = {}
    for name, epoch in _TABLES.items():
        words = metrics.table.words(epoch)
        columns: dict[str, Any] = {
            "clustering_method": [method] * len(rows),
            "unit": metrics.unit[rows],
            epoch: [words[row] for row in rows],
        }
        for column in _columns(name):
            if column != epoch:
                values = metrics.table.numbers(column)[rows]
                columns[column] = pa.array(values, mask=~np.isfinite(values))
        result[name] = as_table(name, columns)
    return result


def mean_waveforms(
    path: Path, metrics: Metrics, units: NDArray[Any], channels: NDArray[Any]
) -> NDArray[np.float32]:
    """Return the mean waveforms of units on the sorter's channels.

    Parameters
    ----------
    path
        ``mean_waveforms.npy``: (units, channels, samples) in uV. Its first axis is the unit's
        number if it is long enough for that, else the row of ``metrics.csv``; its second axis is
        the recording's channel if it is long enough for that, else the sorter's.
    metrics
        All units must have a row in it.
    units
        (units,) unit numbers.
    channels
        (channels,) 0-based channels of the recording.

    Returns
    -------
    waveform
        (units, channels, samples) in uV.

    Raises
    ------
    SourceError
        If the file is unreadable or damaged; LengthMismatchError if its axes fit neither.
    """
    array = npy.load(path, ndim=3)
    rows = units
    if len(array) <= max(metrics.first, default=-1):
        rows = np.array([metrics.first[unit] for unit in units.tolist()], dtype=np.int64)
        if len(array) != len(metrics.unit):
            raise _mismatch(path, "units", len(array), len(metrics.unit), metrics.table.path.name)
    columns = channels
    if array.shape[1] <= channels.max():
        columns = np.arange(len(channels))
        if array.shape[1] != len(channels):
            raise _mismatch(path, "channels", array.shape[1], len(channels), "channel_map.npy")
    waveform = np.empty((len(rows), len(columns), array.shape[2]), dtype=np.float32)
    for place, row in enumerate(rows):  # a unit at a time: the file may be larger than memory
        with np.errstate(over="ignore"):
            waveform[place] = array[row][columns]
        if np.isinf(waveform[place]).any():
            raise CorruptFileError(
                "a value is infinite, or too large", file=path, place=f"unit {row}"
            )
    return waveform


def _mismatch(path: Path, what: str, found: int, expected: int, other: str) -> LengthMismatchError:
    return LengthMismatchError(
        f"the number of {what} is another than in {other}",
        file=path,
        found=found,
        expected=expected,
    )
