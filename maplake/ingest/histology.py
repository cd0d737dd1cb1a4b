"""From a probe's histology to the rows of its tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake.errors import MissingFileError, NotFoundError
from maplake.ingest.session import Item
from maplake.ingest.sources import HISTOLOGY, Source
from maplake.ingest.state import SourceState
from maplake.ingest.work import Work
from maplake.query.ccf import Ccf
from maplake.readers.base import HistologyContext, ProbeSites

_LANDMARKS = "histology.subject_to_ccf_landmark"


def take(work: Work, item: Item, state: SourceState) -> None:
    """Read the histology of a probe and stage its rows."""
    source = item.source
    part = source.parts[0]
    partition = {**work.plan.partition, "insertion_number": source.insertion_number or 0}
    records = part.read(_context(work, source, partition))
    landmarks = records.tables.pop(_LANDMARKS, None)
    if landmarks is not None and landmarks.num_rows:
        subject = pa.array([work.plan.subject_id] * landmarks.num_rows, pa.int32())
        work.result.lookups.append((_LANDMARKS, landmarks.append_column("subject_id", subject)))
    work.tables(state, records.tables, partition)
    work.skipped(state, f"{HISTOLOGY}-{source.insertion_number}", records.skipped)


def _context(work: Work, source: Source, partition: dict[str, Any]) -> HistologyContext:
    """Return geometry and annotation: of the lake, or of what was read just now."""
    import polars as pl

    insertion = work.rows("ephys.probe_insertion", partition)
    probe_type = insertion["probe_type"][0]
    config_name = insertion["electrode_config_name"][0]
    sites = (
        work.rows("lab.probe_type_electrode", {})
        .filter(pl.col("probe_type") == probe_type)
        .sort("electrode")
    )
    recorded = work.rows("lab.electrode_config_electrode", {}).filter(
        (pl.col("probe_type") == probe_type) & (pl.col("electrode_config_name") == config_name)
    )
    if sites.is_empty() or recorded.is_empty():
        raise MissingFileError("the lake does not know the probe's sites", file=source.path)
    columns = ("electrode", "shank", "x_coord", "y_coord")
    return HistologyContext(
        ProbeSites(*(sites[name].to_numpy() for name in columns)),
        _in_order(work, source, np.sort(recorded["electrode"].to_numpy())),
        float(work.config.ccf.resolution_um),
        _region_at(work),
    )


def _in_order(work: Work, source: Source, electrode: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the recorded electrodes in the order of their channels, which the lake forgets."""
    for item in work.plan.items:
        part = item.source.part("recording")
        if part is None or item.source.insertion_number != source.insertion_number:
            continue
        found: NDArray[np.int32] = part.read().arrays["electrode"]
        if np.array_equal(np.sort(found), electrode):
            return found
    return electrode


def _region_at(work: Work) -> Callable[..., Any] | None:
    """Return the look-up of the lake's annotation volume, or None without one."""
    try:
        return Ccf.open(work.layout.root, work.config.ccf.version_name).region_at
    except NotFoundError:
        return None
