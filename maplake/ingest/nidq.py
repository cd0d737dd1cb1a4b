"""Breathing and piezo traces of a session, cut at the trial starts that a probe recorded."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from maplake.ingest.session import Item
from maplake.ingest.sources import EPHYS, NIDQ
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
    starts, numbers = cut_points(
        trials["start_sample"].to_numpy(),
        trials["trial"].to_numpy(),
        _recorded(work, insertion, rate),
    )
    records = part.read(starts / rate, numbers)
    work.tables(state, records.tables, work.plan.partition)
    work.skipped(state, NIDQ, records.skipped)


def cut_points(
    starts: NDArray[np.int64], trials: NDArray[np.int32], recorded: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return all recorded starts in samples, and the trial of each, 0 = none.

    A start without a trial, as of one that never ran, ends the trial before it.

    Parameters
    ----------
    starts, trials
        (trials,) starts and numbers of the trials.
    recorded
        (starts,) starts of the recording; those of the trials may be among them.
    """
    others = np.setdiff1d(recorded[recorded >= 0], starts)
    every = np.concatenate((starts, others))
    order = np.argsort(every, kind="stable")
    numbers = np.concatenate((trials, np.zeros(len(others), trials.dtype)))
    return every[order], numbers[order]


def _recorded(work: Work, insertion: int, rate: float) -> NDArray[np.int64]:
    """Return the starts that a probe's files tell, in samples; none where they have gone."""
    for item in work.plan.items:
        bitcodes, recording = (item.source.part(kind) for kind in ("bitcodes", "recording"))
        if item.source.kind == EPHYS and item.source.insertion_number == insertion:
            if bitcodes is None or recording is None:
                break
            margin = int(recording.read().info["margin_samples"])
            starts: NDArray[np.int64] = bitcodes.read(rate).arrays["start_sample"]
            return starts - margin
    return np.empty(0, np.int64)


def _first_insertion(work: Work) -> int:
    known = [
        s.insertion_number
        for s in (*work.plan.state.values(), *work.result.states)
        if s.kind == "ephys" and s.status == "in" and s.insertion_number is not None
    ]
    return min(known)
