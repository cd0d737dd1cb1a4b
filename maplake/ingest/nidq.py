"""Breathing and piezo traces of a session, cut at the trial starts that a probe recorded."""

from __future__ import annotations

import pyarrow.parquet as pq

from maplake.ingest.session import Item
from maplake.ingest.sources import NIDQ
from maplake.ingest.state import SourceState
from maplake.ingest.work import Work

_MTL = "multi-target-licking"


def take(work: Work, item: Item, state: SourceState) -> None:
    """Cut the board's traces into trials; other tasks than multi-target-licking have none."""
    part = item.source.parts[0]
    insertion = _first_insertion(work)
    session = pq.ParquetFile(work.file("experiment.session", work.plan.partition)).read()
    if session["task"][0].as_py() != _MTL:
        return
    partition = {**work.plan.partition, "insertion_number": insertion}
    trials = pq.ParquetFile(work.file("ephys.ephys_trial", partition)).read()
    probe = pq.ParquetFile(work.file("ephys.probe_insertion", partition)).read()
    rate = float(probe["sampling_rate"][0].as_py())
    starts = trials["start_sample"].to_numpy() / rate
    records = part.read(starts, trials["trial"].to_numpy())
    work.tables(state, records.tables, work.plan.partition)
    work.skipped(state, NIDQ, records.skipped)


def _first_insertion(work: Work) -> int:
    known = [
        s.insertion_number
        for s in (*work.plan.state.values(), *work.result.states)
        if s.kind == "ephys" and s.status == "in" and s.insertion_number is not None
    ]
    return min(known)
