"""A probe's spikes as arrays, some row groups of its Parquet file at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import QueryError
from maplake.query.refusal import DAMAGED
from maplake.tables import get

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["Batch", "batches"]

#: Unit, trial (0 = none) and sample of spikes.
Batch = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int64]]

_COLUMNS = ["unit", "trial", "spike_sample"]
_METHOD = "clustering_method"
#: Row groups that are read at a time, so that memory does not grow with the recording.
_GROUPS = 8


def batches(path: Path, units: tuple[int, int], method: str | None, size: int) -> Iterator[Batch]:
    """Yield a probe's spikes, as they come in its file: sorted by clustering, unit, time.

    Parameters
    ----------
    path
        The probe's file of ``ephys.spike``; where there is none, there are no spikes.
    units
        Smallest and largest unit that are wanted; unless they are one, others may come along.
    method
        The clustering method; None = any, which reads a column less.
    size
        The most spikes at a time.

    Raises
    ------
    QueryError
        If the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _COLUMNS if method is None else [*_COLUMNS, _METHOD]
    try:
        with pq.ParquetFile(path) as file:
            _check(path, file.schema_arrow, columns)
            groups = _groups(file, units)
            for first in range(0, len(groups), _GROUPS):
                table = file.read_row_groups(groups[first : first + _GROUPS], columns)
                for batch in table.to_batches(size):
                    yield _arrays(path, batch, units, method)
    except FileNotFoundError:
        return
    except (OSError, ValueError, pa.ArrowException) as error:
        raise QueryError(f"spikes cannot be read: {error}", file=path, hint=DAMAGED) from error


def _check(path: Path, schema: pa.Schema, columns: list[str]) -> None:
    declared = {column.name: column.type for column in get("ephys.spike").columns}
    for name in columns:
        found = schema.field(name).type if name in schema.names else None
        if found != declared[name] and not (name == _METHOD and str(found) == "string"):
            raise QueryError(
                f"column {name} of the spikes is not of its type",
                file=path,
                found=found or "no such column",
                expected=declared[name],
                hint=DAMAGED,
            )


def _groups(file: pq.ParquetFile, units: tuple[int, int]) -> list[int]:
    """Return the row groups that may hold one of the units."""
    metadata = file.metadata
    column = file.schema_arrow.get_field_index("unit")
    found = []
    for group in range(metadata.num_row_groups):
        known = metadata.row_group(group).column(column).statistics
        if (
            known is None
            or not known.has_min_max
            or (known.min <= units[1] and known.max >= units[0])
        ):
            found.append(group)
    return found


def _arrays(path: Path, batch: pa.RecordBatch, units: tuple[int, int], method: str | None) -> Batch:
    import pyarrow.compute as pc

    if batch.column("unit").null_count or batch.column("spike_sample").null_count:
        raise QueryError("spikes lack their unit or time", file=path, hint=DAMAGED)
    if method is not None:
        batch = batch.filter(pc.equal(batch.column(_METHOD).cast("string"), method))
    if units[0] == units[1]:
        batch = batch.filter(pc.equal(batch.column("unit"), units[0]))
    unit, trial, sample = (batch.column(name) for name in _COLUMNS)
    arrays: Any = (unit, trial.fill_null(0), sample)
    first, second, third = (array.to_numpy() for array in arrays)
    return first, second, third
