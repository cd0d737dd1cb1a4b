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
    known, numbers = trials["start_sample"].to_numpy(), trials["trial"].to_numpy()
    recorded = _recorded(work, insertion)
    if recorded is None:
        probe = pq.ParquetFile(work.file("ephys.probe_insertion", partition)).read()
        starts = known / float(probe["sampling_rate"][0].as_py())
    else:
        starts, samples = recorded
        numbers = trials_of(samples, known, numbers)
    records = part.read(starts, numbers)
    work.tables(state, records.tables, work.plan.partition)
    work.skipped(state, NIDQ, records.skipped)


def trials_of(
    samples: NDArray[np.int64], starts: NDArray[np.int64], trials: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return the trial of each recorded start, 0 = none, as of one that never ran.

    Parameters
    ----------
    samples
        (recorded,) starts that the recording has, in samples.
    starts, trials
        (trials,) starts of the trials in samples, and their numbers.
    """
    if not len(starts):
        return np.zeros(len(samples), trials.dtype)
    order = np.argsort(starts)
    place = order[np.minimum(np.searchsorted(starts, samples, sorter=order), len(starts) - 1)]
    return np.where(starts[place] == samples, trials[place], 0)


def _recorded(work: Work, insertion: int) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """Return all starts that a probe's files tell: in s as they stand there, and in samples.

    In samples they are without the trigger margin, as those of trials are. None where the files
    have gone.
    """
    for item in work.plan.items:
        bitcodes, recording = (item.source.part(kind) for kind in ("bitcodes", "recording"))
        if item.source.kind == EPHYS and item.source.insertion_number == insertion:
            if bitcodes is None or recording is None:
                break
            info = recording.read().info
            rate = float(info["sampling_rate"])
            arrays = bitcodes.read(rate).arrays
            samples: NDArray[np.int64] = arrays["start_sample"]
            times = arrays.get("start_time")
            seconds = samples / rate if times is None else times
            return seconds, samples - int(info["margin_samples"])
    return None


def _first_insertion(work: Work) -> int:
    known = [
        s.insertion_number
        for s in (*work.plan.state.values(), *work.result.states)
        if s.kind == "ephys" and s.status == "in" and s.insertion_number is not None
    ]
    return min(known)
