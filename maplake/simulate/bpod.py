"""Bpod's ``SessionData``: a session's trials as a ``.mat`` file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate import task as rig
from maplake.simulate.mat import MONTHS, cell, struct_array, write_mat
from maplake.simulate.options import Task
from maplake.simulate.task import Trial, seconds, state_names

_TIMER, _SOUND = 109, 3  # event codes: a state's timer ran out, the wave player's marker
_EVENT_NAMES = {
    _TIMER: "Tup",
    _SOUND: "WavePlayer1_3",
    rig.LEFT_IN: "Port1In",
    rig.LEFT_OUT: "Port1Out",
    rig.RIGHT_IN: "Port2In",
    rig.RIGHT_OUT: "Port2Out",
}
_LICK_TICKS = 700  # duration of a lick
_SOUND_DELAY = 2  # ticks
_PROTOCOLS = (
    "Water-Valve-Calibration", "Licking", "AutoAssist_step1", "NoAutoAssist_step2",
    "DelayEnforce_step3", "SampleDelayEnforce_step4", "Fixed_step5", "Prep_delay_step6",
)  # fmt: skip


def write_session(path: Path, trials: Sequence[Trial], task: Task, start: datetime) -> None:
    """Write a session as Bpod does."""
    plans = [trial.plan for trial in trials]
    data: dict[str, Any] = {
        "TrialTypes": np.array([p.trial_type for p in plans], dtype=np.uint8),
        "LickPortMotorPosition": np.full(len(plans), 127_000, dtype=np.int32),
        "ProbeTrials": np.zeros(len(plans)),
        "StimTrials": np.array([p.stim_trial for p in plans], dtype=np.uint8),
        "MATLABStartTimes": _datenum(start)
        + np.array([seconds(t.stamp - trials[0].stamp) for t in trials]) / 86_400,
        "Info": _info(start),
        "nTrials": np.uint16(len(plans)),
        "RawEvents": {"Trial": cell([_trial(trial) for trial in trials])},
        "RawData": _raw_data(trials),
        "TrialStartTimestamp": np.array([seconds(trial.stamp) for trial in trials]),
        "SettingsFile": _settings(trials[-1], task),
        "TrialSettings": struct_array([_settings(trial, task) for trial in trials]),
    }
    if any(p.free_water for p in plans):
        data["FreeTrials"] = np.array([p.free_water for p in plans], dtype=np.uint8)
    write_mat(path, {"SessionData": data}, start)


def _info(start: datetime) -> dict[str, Any]:
    return {
        "BpodVersion": "Bpod 0.7-0.9",
        "SessionDate": f"{start.day:02d}-{MONTHS[start.month - 1]}-{start.year}",
        "SessionStartTime_UTC": f"{start:%H:%M:%S}",
        "SessionStartTime_MATLAB": _datenum(start),
    }


def _datenum(time: datetime) -> float:
    """Return MATLAB's day number, which counts from the year 0."""
    day = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return time.toordinal() + 366 + (time - day).total_seconds() / 86_400


def _trial(trial: Trial) -> dict[str, Any]:
    names = state_names(len(trial.plan.bitcode))
    states = {name: np.full((1, 2), np.nan) for name in _visited_first(trial, names)}
    for name in {visit.state for visit in trial.visits}:
        states[name] = np.array(
            [(seconds(v.start), seconds(v.end)) for v in trial.visits if v.state == name]
        )
    codes, times = _events(trial)
    events = {
        name: times[codes == code][np.newaxis]
        for code, name in _EVENT_NAMES.items()
        if np.any(codes == code)
    }
    return {"States": states, "Events": events}


def _visited_first(trial: Trial, names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*(visit.state for visit in trial.visits), *names]))


def _raw_data(trials: Sequence[Trial]) -> dict[str, Any]:
    names = state_names(len(trials[0].plan.bitcode))
    number = {name: place for place, name in enumerate(names, start=1)}
    events = [_events(trial) for trial in trials]
    return {
        "OriginalStateNamesByNumber": cell([cell(names) for _ in trials]),
        "OriginalStateData": cell(
            [np.array([number[v.state] for v in t.visits], dtype=np.uint8) for t in trials]
        ),
        "OriginalEventData": cell([codes for codes, _ in events]),
        "OriginalStateTimestamps": cell(
            [np.array([seconds(tick) for tick in _edges(t)]) for t in trials]
        ),
        "OriginalEventTimestamps": cell([times for _, times in events]),
    }


def _edges(trial: Trial) -> list[int]:
    return [*(visit.start for visit in trial.visits), trial.length]


def _events(trial: Trial) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return codes and times in s of all events of a trial, in time order."""
    rows = [(visit.end, _TIMER) for visit in trial.visits if not visit.lick]
    rows += [
        (visit.start + _SOUND_DELAY, _SOUND)
        for visit in trial.visits
        if visit.state in ("SamplePeriod", "ResponseCue")
    ]
    for tick, code in trial.licks:
        rows += [(tick, code), (min(tick + _LICK_TICKS, trial.length), code + 1)]
    rows.sort()
    codes = np.array([code for _, code in rows], dtype=np.uint8)
    return codes, np.array([seconds(tick) for tick, _ in rows])


def _settings(trial: Trial, task: Task) -> dict[str, Any]:
    plan = trial.plan
    drop = plan.auto_water == "drop"
    return {
        "GUI": {
            "WaterValveTime": 0.03,
            "SamplePeriod": task.sample_period,
            "DelayPeriod": plan.delay,
            "AnswerPeriod": task.answer_period,
            "ConsumptionPeriod": 1.5,
            "StopLickingPeriod": 1.5,
            "TimeOut": np.uint8(1),
            "LickportMotorPosition": np.int32(127_000),
            "LickportLeftPos": np.uint8(0),
            "LickportRightPos": np.uint8(0),
            "ProtocolType": np.uint8(plan.protocol_type),
            "Autolearn": np.uint8(plan.autolearn),
            "Autowater": np.uint8(1 if plan.auto_water == "setting" else 2),
            "Reversal": np.uint8(plan.reversal),
            "MaxSame": np.uint8(3),
            "NoTrialProb": 0.5,
            "Min_correct_Right": np.uint8(2),
            "Max_incorrect_Right": np.uint8(2),
            "Min_correct_Left": np.uint8(2),
            "Max_incorrect_Left": np.uint8(2),
            "randomID": plan.bitcode,
        },
        "GUIPanels": {
            "Protocol": cell(["ProtocolType"]),
            "TrialParameters": cell(["Autolearn", "Autowater", "Reversal"]),
        },
        "GUIMeta": {"ProtocolType": {"Style": "popupmenu", "String": cell(_PROTOCOLS)}},
        "ProtocolHistory": np.array([[float(plan.protocol_type), 1.0, 0.7]]),
        "LickPortMove": np.uint8(0),
        # The third value counts trials and says nothing about water.
        "GaveFreeReward": np.array(
            [drop and not plan.left, drop and plan.left, plan.number % 200], dtype=np.uint8
        ),
    }
