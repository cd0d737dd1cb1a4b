"""Writes MATLAB files, v5 and v7.3, and builds delay-response sessions whose truth is known."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

STATES = (
    *("TrigTrialStart", "PreSamplePeriod", "SamplePeriod", "DelayPeriod", "ResponseCue"),
    *("AnswerPeriod", "Reward", "RewardConsumption", "StopLicking", "TrialEnd"),
    *("EarlyLickSample", "EarlyLickDelay", "NoResponse", "TimeOut"),
)


_NUMBERS = itertools.count()


class StructArray(list):
    """A MATLAB struct array, where a plain list is a cell."""


def write_v5(path: Path, variables: dict[str, Any]) -> Path:
    savemat(path, {name: _to_v5(value) for name, value in variables.items()})
    return path


def _to_v5(value):
    if isinstance(value, StructArray):
        out = np.empty((1, len(value)), dtype=[(name, object) for name in value[0]])
        for index, item in enumerate(value):
            for name, part in item.items():
                out[0, index][name] = _to_v5(part)
        return out
    if isinstance(value, list):
        cell = np.empty((1, len(value)), dtype=object)
        for index, item in enumerate(value):
            cell[0, index] = _to_v5(item)
        return cell
    if isinstance(value, dict):
        return {name: _to_v5(part) for name, part in value.items()}
    return value if isinstance(value, str) else np.atleast_2d(value)


def write_v73(path: Path, variables: dict[str, Any]) -> Path:
    """Write as MATLAB 7.3 does: header block, classes, references, reversed axes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for name, value in variables.items():
            _to_v73(file, refs, name, value)
    header = b"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: Mon Jan 01 00:00:00 2024"
    with path.open("r+b") as raw:
        raw.write(header.ljust(116) + b"\0" * 8 + b"\0\2IM")
    return path


def _to_v73(group, refs, name, value):
    if isinstance(value, StructArray):
        part = group.create_group(name)
        part.attrs["MATLAB_class"] = np.bytes_("struct")
        for field in value[0]:
            pointers = _pointers(refs, [item[field] for item in value])
            part.create_dataset(field, data=pointers, dtype=h5py.ref_dtype)
    elif isinstance(value, dict):
        part = group.create_group(name)
        part.attrs["MATLAB_class"] = np.bytes_("struct")
        for field, item in value.items():
            _to_v73(part, refs, field, item)
    elif isinstance(value, list) and not value:
        _empty_v73(group, name, "cell", (0, 0))
    elif isinstance(value, list):
        data = group.create_dataset(name, data=_pointers(refs, value), dtype=h5py.ref_dtype)
        data.attrs["MATLAB_class"] = np.bytes_("cell")
    else:
        _array_v73(group, name, value)


def _pointers(refs, items):
    pointers = np.empty((len(items), 1), dtype=h5py.ref_dtype)
    for index, item in enumerate(items):
        name = f"r{next(_NUMBERS)}"
        _to_v73(refs, refs, name, item)
        pointers[index, 0] = refs[name].ref
    return pointers


def _array_v73(group, name, value):
    kind, data = "double", np.atleast_2d(value)
    if data.dtype.kind == "U":
        kind = "char"
        data = np.array([[ord(char) for char in line] for line in data.ravel()], dtype=np.uint16)
    elif data.dtype == np.bool_:
        kind, data = "logical", data.astype(np.uint8)
    elif data.dtype.kind in "iu":
        kind = data.dtype.name
    if data.size:
        out = group.create_dataset(name, data=data.T)
        out.attrs["MATLAB_class"] = np.bytes_(kind)
    else:
        _empty_v73(group, name, kind, data.shape)


def _empty_v73(group, name, kind, shape):
    out = group.create_dataset(name, data=np.array(shape, dtype=np.uint64))
    out.attrs["MATLAB_class"] = np.bytes_(kind)
    out.attrs["MATLAB_empty"] = np.uint8(1)


def trial(
    states: list[tuple[str, float, float]] | None = None,
    events: list[tuple[int, float]] = (),
    **settings: Any,
) -> dict[str, Any]:
    """Describe a trial: its visits of states in order, events, and GUI settings.

    ``kind``, ``start``, ``stim``, ``free`` and ``gifts`` are its type, start, StimTrials,
    FreeTrials and GaveFreeReward.
    """
    outer = {"kind": 1, "start": 0.0, "stim": 0, "free": 0, "gifts": [0, 0, 0]}
    outer |= {name: settings.pop(name) for name in list(settings) if name in outer}
    gui = {"ProtocolType": 5, "Reversal": 1, "Autowater": 2, "Autolearn": 4, "randomID": "0010"}
    gui = {name: value for name, value in (gui | settings).items() if value is not None}
    return {"states": states or plain(), "events": list(events), "gui": gui, **outer}


def plain(delay: float = 1.2, outcome: str = "Reward") -> list[tuple[str, float, float]]:
    """Visits of a trial in which the animal waited: delay from 1.5 s, then the go cue."""
    go = 1.5 + delay
    return [
        ("TrigTrialStart", 0.0, 0.1),
        ("PreSamplePeriod", 0.1, 0.2),
        ("SamplePeriod", 0.2, 1.5),
        ("DelayPeriod", 1.5, go),
        ("ResponseCue", go, go + 0.1),
        (outcome, go + 0.1, go + 0.3),
        ("StopLicking", go + 0.3, go + 1.0),
        ("TrialEnd", go + 1.0, go + 1.25),
    ]


def session(trials: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Build the variables of a session file; ``changes`` replace fields of SessionData."""
    data = {
        "Info": {"SessionDate": "03-Mar-2019", "SessionStartTime_UTC": "09:08:07"},
        "TrialTypes": np.array([t["kind"] for t in trials], float),
        "StimTrials": np.array([t["stim"] for t in trials], float),
        "FreeTrials": np.array([t["free"] for t in trials], float),
        "TrialStartTimestamp": np.array([t["start"] for t in trials], float),
        "TrialSettings": StructArray(
            {"GUI": t["gui"], "GaveFreeReward": np.array(t["gifts"], float)} for t in trials
        ),
        "RawData": {
            "OriginalStateNamesByNumber": [list(t.get("names", STATES)) for t in trials],
            "OriginalStateData": [
                np.array([STATES.index(name) + 1 for name, *_ in t["states"]], float)
                for t in trials
            ],
            "OriginalStateTimestamps": [
                np.array([start for _, start, _ in t["states"]] + [t["states"][-1][2]])
                for t in trials
            ],
            "OriginalEventData": [np.array([c for c, _ in t["events"]], float) for t in trials],
            "OriginalEventTimestamps": [np.array([s for _, s in t["events"]]) for t in trials],
        },
        "RawEvents": {"Trial": [{"States": _visits(t["states"])} for t in trials]},
    }
    return {"SessionData": {k: v for k, v in (data | changes).items() if v is not None}}


def _visits(states):
    return {
        name: np.array([s[1:] for s in states if s[0] == name] or [(np.nan, np.nan)])
        for name in STATES
    }
