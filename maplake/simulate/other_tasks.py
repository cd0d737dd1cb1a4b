"""Truth of sessions of the other tasks, and what probes live through in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from maplake.simulate.foraging import ForagingSession, concatenated
from maplake.simulate.multi_target_licking import MtlSession
from maplake.simulate.options import Recording
from maplake.simulate.recording import Course
from maplake.simulate.spikes import OUTSIDE, RESPONSE, RESPONSE_EPOCH, Timeline
from maplake.simulate.trials import Trials
from maplake.simulate.truth import Animal, Events, Session

__all__ = ["course", "foraging_session", "licking_session"]

Array = np.ndarray[Any, Any]

_BITS = 10
_EVENTS = {
    "ITIBeforeVideoOn": "videostart",
    "Start": "bitcodestart",
    "DelayStart": "delay",
    "GoCue": "go",
    **{f"Choice_{letter}": "choice" for letter in "LRM"},
    **{f"Reward_{letter}": "reward" for letter in "LRM"},
    "Double_dipped": "doubledip",
    "ITI": "trialend",
    "ITIAfterVideoOff": "videoend",
}


def licking_session(animal: Animal, number: int, truth: MtlSession) -> Session:
    """Return a multi-target-licking session."""
    count = len(truth.original)
    start = truth.start_time - truth.start_time[0]
    codes = [format(original, f"0{_BITS}b")[::-1] for original in truth.original.tolist()]
    trials = _trials(
        start,
        start + truth.end_time,
        np.full(count, "N/A"),
        np.full(count, "no early"),
        codes,
        auto_water=truth.auto_water,
        free_water=truth.free_water,
        protocol=1,
        go_time=np.full(count, np.nan),
    )
    ends = [(n, "trialend", float(end), 0.05) for n, end in enumerate(truth.end_time, 1)]
    return Session(
        animal, number, truth.start, truth.path, count, trials, _events(ends), _events([]), ()
    )


def foraging_session(animal: Animal, number: int, bpod: Sequence[ForagingSession]) -> Session:
    """Return the foraging session of a day's bpod sessions."""
    ordered = sorted(bpod, key=lambda session: session.path.stem)
    kept = concatenated(bpod)
    first = ordered[0].trials[0].start
    trials = _trials(
        np.array([(trial.start - first).total_seconds() for trial in kept]),
        np.array([(trial.stop - first).total_seconds() for trial in kept]),
        np.array([trial.outcome for trial in kept]),
        np.array(["early" if trial.early else "no early" for trial in kept]),
        [trial.bitcode for trial in kept],
        auto_water=np.array([bool(trial.auto_water) for trial in kept]),
        free_water=np.zeros(len(kept), dtype=bool),
        protocol=100 + (len(ordered[0].ports) == 3),
        go_time=np.array([next(t for t, s, _ in trial.events if s == "GoCue") for trial in kept]),
    )
    events = [
        (n, _EVENTS[state], time, duration)
        for n, trial in enumerate(kept, 1)
        for time, state, duration in trial.events
    ]
    licks = [(n, f"{p} lick", t, 0.0) for n, trial in enumerate(kept, 1) for t, p in trial.licks]
    return Session(
        animal, number, first, ordered[0].path, len(kept), trials, _events(events), _events(licks),
        (),
    )  # fmt: skip


def _trials(
    start: Array,
    stop: Array,
    outcome: Array,
    early_lick: Array,
    codes: Sequence[str],
    *,
    auto_water: Array,
    free_water: Array,
    protocol: int,
    go_time: Array,
) -> Trials:
    count = len(start)
    return Trials(
        trial=np.arange(1, count + 1, dtype=np.int32),
        start_time=start,
        stop_time=stop,
        trial_instruction=np.full(count, "none"),
        early_lick=early_lick,
        outcome=outcome,
        auto_water=auto_water,
        free_water=free_water,
        protocol=np.full(count, protocol, dtype=np.int32),
        autolearn=np.zeros(count, dtype=np.int32),
        bitcode=np.array(codes),
        go_time=go_time,
        photo_stim=np.zeros(count, dtype=np.int32),
        photostim_onset=np.full(count, np.nan),
    )


def _events(rows: Sequence[tuple[int, str, float, float]]) -> Events:
    trial = np.array([row[0] for row in rows], dtype=np.int32)
    first = np.searchsorted(trial, trial, side="left")
    return Events(
        trial=trial,
        id=(np.arange(len(trial)) - first).astype(np.int32),
        type=np.array([row[1] for row in rows], dtype=np.str_),
        time=np.array([row[2] for row in rows]),
        duration=np.array([row[3] for row in rows]),
    )


def course(session: Session, options: Recording) -> Course:
    """Return what a probe lives through: the animal is busy from each go cue (or start) on."""
    trials = session.trials
    last = len(trials) - options.ends_early
    chosen = slice(options.starts_late, last)
    start = trials.start_time[chosen]
    origin = float(start[0]) - options.lead
    length = float(trials.stop_time[chosen][-1]) + options.tail - origin
    sample = np.rint((start - origin) * options.sampling_rate).astype(np.int64)
    cue = trials.go_time[chosen]
    known = np.isfinite(cue)
    go = np.where(known, sample + np.rint(np.nan_to_num(cue) * options.sampling_rate), -1)
    busy = start - origin + np.where(known, cue, 0.0)
    edges = np.unique(np.concatenate([[0.0], busy, busy + RESPONSE, [length]]).clip(0, length))
    place = np.searchsorted(busy, edges[:-1], side="right") - 1
    inside = (place >= 0) & (edges[:-1] < busy[np.maximum(place, 0)] + RESPONSE)
    return Course(
        trials.trial[chosen],
        sample,
        go.astype(np.int64),
        Timeline(
            edges,
            np.where(inside, RESPONSE_EPOCH, OUTSIDE),
            np.zeros(len(edges) - 1, dtype=int),
            np.zeros(len(edges) - 1, dtype=int),
        ),
        origin,
    )
