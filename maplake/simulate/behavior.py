"""What is true about the trials of a session, by the rules of the behavior format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maplake.simulate import task as rig
from maplake.simulate.task import Trial, seconds
from maplake.simulate.trials import Trials
from maplake.simulate.truth import Events

_EVENTS = {
    "PreSamplePeriod": "presample",
    "SamplePeriod": "sample",
    "DelayPeriod": "delay",
    "ResponseCue": "go",
    "TrialEnd": "trialend",
}
_LICKS = {rig.LEFT_IN: "left lick", rig.RIGHT_IN: "right lick"}
_MIN_PROTOCOL = 3
_STIM_AUTOLEARN, _STIM_DELAY = 4, 1.2  # trials with light have these settings


def taken(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that a reader takes."""
    return [trial for trial in trials if trial.plan.protocol_type >= _MIN_PROTOCOL]


def start_times(trials: Sequence[Trial]) -> list[float]:
    """Return the starts of all trials in s from the first, with the file's rounding."""
    first = seconds(trials[0].stamp)
    return [seconds(trial.stamp) - first for trial in trials]


def truth(trials: Sequence[Trial], *, late: bool) -> Trials:
    """Return what a reader must find; ``late`` = the light comes late in the delay."""
    start = dict(zip((t.plan.number for t in trials), start_times(trials), strict=True))
    kept = taken(trials)
    onsets = [photostim_onset(t, late=late) for t in kept]
    return Trials(
        trial=np.array([t.plan.number for t in kept], dtype=np.int32),
        start_time=np.array([start[t.plan.number] for t in kept]),
        stop_time=np.array([start[t.plan.number] + _begin(t, "TrialEnd") for t in kept]),
        trial_instruction=np.array(["left" if t.plan.left else "right" for t in kept]),
        early_lick=np.array([_early_lick(t) for t in kept]),
        outcome=np.array([_outcome(t) for t in kept]),
        auto_water=np.array([t.plan.auto_water != "" for t in kept]),
        free_water=np.array([t.plan.free_water for t in kept]),
        protocol=np.array([t.plan.protocol_type for t in kept], dtype=np.int32),
        autolearn=np.array([t.plan.autolearn for t in kept], dtype=np.int32),
        bitcode=np.array([t.plan.bitcode for t in kept]),
        go_time=np.array([_begin(t, "ResponseCue") for t in kept]),
        photo_stim=np.array(
            [t.plan.stim_trial if np.isfinite(o) else 0 for t, o in zip(kept, onsets, strict=True)],
            dtype=np.int32,
        ),
        photostim_onset=np.array(onsets),
    )


def photostim_onset(trial: Trial, *, late: bool) -> float:
    """Return when the light comes on in s from trial start, NaN = never."""
    plan, delay = trial.plan, trial.last("DelayPeriod")
    fits = plan.protocol_type > 4 if late else plan.protocol_type == 5
    if not (plan.stim_trial and plan.autolearn == _STIM_AUTOLEARN and fits and delay):
        return float("nan")
    if round(seconds(delay.end) - seconds(delay.start), 2) != _STIM_DELAY:
        return float("nan")
    return _begin(trial, "ResponseCue") - rig.LATE_ONSET if late else seconds(delay.start)


def trial_events(trials: Sequence[Trial]) -> Events:
    """Return every visit of the states that become trial events."""
    return _events(
        [
            (t.plan.number, _EVENTS[v.state], seconds(v.start), seconds(v.end) - seconds(v.start))
            for t in taken(trials)
            for v in t.visits
            if v.state in _EVENTS
        ]
    )


def licks(trials: Sequence[Trial]) -> Events:
    """Return every lick."""
    return _events(
        [
            (t.plan.number, _LICKS[code], seconds(time), 0.0)
            for t in taken(trials)
            for time, code in t.licks
        ]
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


def _begin(trial: Trial, state: str) -> float:
    visit = trial.first(state)
    return seconds(visit.start) if visit else float("nan")


def _early_lick(trial: Trial) -> str:
    early = trial.plan.protocol_type >= 5 and trial.visited("EarlyLickSample", "EarlyLickDelay")
    return "early" if early else "no early"


def _outcome(trial: Trial) -> str:
    if trial.visited("Reward"):
        return "hit"
    return "miss" if trial.visited("TimeOut") else "ignore"
