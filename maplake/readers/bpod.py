"""Bpod's ``SessionData``: whose it is, when it started, and its fields with one item per trial.

Shared by the readers of the tasks that Bpod runs; which task a file is of is told by its content.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np

from maplake.errors import FileFormatError, LengthMismatchError
from maplake.readers import matlab
from maplake.readers.base import Identity

__all__ = [
    "Session",
    "find",
    "identify",
    "is_multi_target_licking",
    "load",
    "session",
    "start_of",
]

_Array = np.ndarray[Any, Any]

_NAME = re.compile(r"[a-zA-Z]{2}.*_.*_([0-9]{8}_[0-9]{6})\.mat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_RAW = (
    "OriginalStateNamesByNumber",
    "OriginalStateData",
    "OriginalStateTimestamps",
    "OriginalEventData",
    "OriginalEventTimestamps",
)
_FIELDS = frozenset(
    {
        "SessionData",
        "Info",
        "SessionDate",
        "SessionStartTime_UTC",
        "SettingsFile",
        "GUI",
        *("X_center", "Y_center", "Z_center", "SamplePeriod", "DelayPeriod"),
        "TrialTypes",
        "StimTrials",
        "FreeTrials",
        "TrialStartTimestamp",
        "TrialSettings",
        "RawEvents",
        "Trial",
        "States",
        "RawData",
        *_RAW,
    }
)


def find(path: Path) -> Sequence[Path]:
    """Return ``[path]`` if its name is that of a Bpod session, else nothing."""
    return [path] if _start(path.name) else []


def identify(path: Path) -> Identity:
    """Return whose session a file is, from its name ``{h2o}_{protocol}_{YYYYMMDD}_{HHMMSS}.mat``.

    Raises
    ------
    FileFormatError
        If the name is not of that form.
    """
    start = _start(path.name)
    if start is None:
        raise FileFormatError(
            "the name is not that of a behavior session",
            file=path,
            expected="{h2o}_{protocol}_{YYYYMMDD}_{HHMMSS}.mat",
        )
    return Identity(path.name.split("_", 1)[0], start)


def _start(name: str) -> datetime | None:
    match = _NAME.fullmatch(name)
    try:
        return datetime.strptime(match[1], "%Y%m%d_%H%M%S") if match else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Session:
    """The fields of ``SessionData``, one item per trial, in MATLAB's own terms.

    ``trial_start``, ``trial_type``, ``stim``, ``free`` are float64 (trials,), ``trial_start`` in
    seconds; ``stim`` and ``free`` are 0 where the rig wrote none. ``settings`` are
    ``TrialSettings``, ``states`` are ``RawEvents.Trial.States``, the rest is ``RawData``.
    """

    start: datetime
    trial_start: _Array
    trial_type: _Array
    stim: _Array
    free: _Array
    settings: list[dict[str, Any]]
    states: list[dict[str, Any]]
    state_names: list[Any]
    state_data: list[Any]
    state_times: list[Any]
    event_data: list[Any]
    event_times: list[Any]


def is_multi_target_licking(data: dict[str, Any]) -> bool:
    """Tell whether a ``SessionData`` is of the multi-target-licking task.

    Its files have the names of the delay-response task. It has targets in space
    (``SettingsFile.GUI.X_center``, ``Y_center``, ``Z_center``) and not both sample and delay.
    """
    settings = data.get("SettingsFile")
    gui = settings.get("GUI") if isinstance(settings, dict) else None
    if not isinstance(gui, dict):
        return False
    has_target = all(name in gui for name in ("X_center", "Y_center", "Z_center"))
    return has_target and not all(name in gui for name in ("SamplePeriod", "DelayPeriod"))


def load(path: Path, fields: Collection[str]) -> dict[str, Any]:
    """Load ``SessionData``, of it the fields that :func:`session` needs and those named.

    Raises
    ------
    SourceError
        If the file cannot be read, see :func:`maplake.readers.matlab.load`, or has none.
    """
    data = matlab.load(path, only=_FIELDS.union(fields)).get("SessionData")
    if not isinstance(data, dict):
        raise FileFormatError(
            "has no SessionData", file=path, expected="the SessionData of a Bpod session"
        )
    return data


def session(data: dict[str, Any]) -> Session:
    """Take ``SessionData`` apart.

    Raises
    ------
    FileFormatError
        If a field is missing or of another kind, or there is no trial.
    LengthMismatchError
        If the fields differ in their number of trials; it names all lengths.
    """
    start = matlab.vector(_field(data, "TrialStartTimestamp"), "TrialStartTimestamp")
    _field(data, "TrialTypes")
    vectors: dict[str, _Array] = {
        name: matlab.vector(data[name], name)
        for name in ("TrialTypes", "StimTrials", "FreeTrials")
        if name in data
    }
    for name in ("StimTrials", "FreeTrials"):  # rigs make these fields and may never fill them
        if name in vectors and not len(vectors[name]):
            del vectors[name]
    settings = matlab.structs(_field(data, "TrialSettings"), "TrialSettings")
    trials = matlab.structs(_field(data, "RawEvents", "Trial"), "RawEvents.Trial")
    raw = [matlab.split(_field(data, "RawData", name), len(start)) for name in _RAW]
    lengths: dict[str, int] = {name: len(items) for name, items in vectors.items()}
    lengths |= {f"RawData.{name}": len(items) for name, items in zip(_RAW, raw, strict=True)}
    lengths |= {"TrialSettings": len(settings), "RawEvents.Trial": len(trials)}
    _check_lengths({"TrialStartTimestamp": len(start), **lengths})
    none = np.zeros(len(start))
    names, state_data, state_times, event_data, event_times = raw
    return Session(
        start=_session_start(data),
        trial_start=start,
        trial_type=vectors["TrialTypes"],
        stim=vectors.get("StimTrials", none),
        free=vectors.get("FreeTrials", none),
        settings=settings,
        states=[_states(trial) for trial in trials],
        state_names=names,
        state_data=state_data,
        state_times=state_times,
        event_data=event_data,
        event_times=event_times,
    )


def start_of(path: Path) -> datetime:
    """Return when a session began, reading no more of its file.

    Raises
    ------
    SourceError
        If the file cannot be read or does not say so.
    """
    only = ("SessionData", "Info", "SessionDate", "SessionStartTime_UTC")
    return _session_start(matlab.load(path, only=only).get("SessionData"))


def _field(data: Any, *names: str) -> Any:
    for depth, name in enumerate(names, start=1):
        if not isinstance(data, dict) or name not in data:
            place = f"SessionData.{'.'.join(names[:depth])}"
            raise FileFormatError(
                "the field is missing", place=place, expected="the SessionData of a Bpod session"
            )
        data = data[name]
    return data


def _states(trial: dict[str, Any]) -> dict[str, Any]:
    states = trial.get("States")
    return states if isinstance(states, dict) else {}


def _check_lengths(lengths: dict[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        raise LengthMismatchError(
            "the fields of SessionData differ in their number of trials",
            found=", ".join(f"{name} {length}" for name, length in lengths.items()),
            expected="one length",
        )
    if not lengths["TrialStartTimestamp"]:
        raise FileFormatError("the session has no trial")


def _session_start(data: Any) -> datetime:
    """Combine date and time, whatever the language and clock settings of this machine."""
    day = matlab.text(_field(data, "Info", "SessionDate"), "Info.SessionDate")
    clock = matlab.text(_field(data, "Info", "SessionStartTime_UTC"), "Info.SessionStartTime_UTC")
    return datetime.combine(_date(day), _time(clock))


def _date(day: str) -> date:
    match = re.fullmatch(r"([0-9]{1,2})-([A-Za-z]{3})[a-z]*-([0-9]{4})", day)
    try:
        if match:
            return date(int(match[3]), _MONTHS.index(match[2].lower()) + 1, int(match[1]))
    except ValueError:
        pass
    raise FileFormatError(
        "is no date", place="Info.SessionDate", found=repr(day), expected="25-Feb-2018"
    )


def _time(clock: str) -> time:
    pattern = r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:\.([0-9]+))?\s*([AaPp][Mm])?"
    match = re.fullmatch(pattern, clock)
    try:
        if match:
            hour, half = int(match[1]), (match[5] or "").lower()
            hour = hour % 12 + 12 * (half == "pm") if half else hour
            micro = int((match[4] or "").ljust(6, "0")[:6])
            return time(hour, int(match[2]), int(match[3]), micro)
    except ValueError:
        pass
    raise FileFormatError(
        "is no time", place="Info.SessionStartTime_UTC", found=repr(clock), expected="11:23:28"
    )
