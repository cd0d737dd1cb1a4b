"""Events of a foraging session on the recording's clock.

From what ``bitcode.mat`` holds beside codes: markers, steps of the port's motors (Zaber) and licks
of each trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, LengthMismatchError
from maplake.readers.base import Records, Skipped
from maplake.readers.rows import as_table
from maplake.tables import get

__all__ = ["foraging_events"]

_LICKS = {
    "lickLPerTrial": "left lick",
    "lickRPerTrial": "right lick",
    "lickMPerTrial": "middle lick",
}
_FRAME = "tracking.tracking_frame"
_Events = list[tuple[NDArray[np.int64], NDArray[np.float64], str]]


def foraging_events(
    found: Mapping[str, Any], trials: Sequence[int] | NDArray[Any], origin: float = 0.0
) -> Records:
    """Return the rows of ``ephys.ephys_trial_event``, ``ephys_action_event`` and of camera frames.

    Parameters
    ----------
    found
        ``info["foraging"]`` of the bitcode reader, times in s.
    trials
        (ephys trials,) behavior trial number of each recorded trial; below 1 = none, its events
        are left out. More recorded trials than these have no behavior and are left out as well.
    origin
        Time that is taken off, in s.

    Returns
    -------
    Records
        The tables, ids from 0 in each trial in time order; ``tracking.tracking_frame`` where the
        recording saw the cameras. Skipped: markers of an unknown kind, unknown cameras, trials
        without behavior.

    Raises
    ------
    LengthMismatchError
        If there are fewer recorded trials in a field than in ``trials``.
    CorruptFileError
        If a motor step, lick or frame has no finite time.
    """
    numbers = np.asarray(trials, dtype=np.int64)
    skipped: list[Skipped] = []
    markers = _markers(found, numbers, skipped)
    if "zaberPerTrial" in found:
        markers.append((*_per_trial(found, "zaberPerTrial", numbers), "zaberstep"))
    licks = [(*_per_trial(found, name, numbers), kind) for name, kind in _LICKS.items()
             if name in found]  # fmt: skip
    lost = len(found["digMarkerPerTrial"]) - int((numbers > 0).sum())
    if lost:
        skipped.append(Skipped("ephys trials", str(lost), "have no behavior trial"))
    names = ("ephys.ephys_trial_event", "ephys.ephys_action_event")
    tables = {
        name: as_table(name, _columns(name, events, origin))
        for name, events in zip(names, (markers, licks), strict=True)
    }
    if found.get("cameraPerTrial"):
        tables[_FRAME] = _frames(found["cameraPerTrial"], numbers, origin, skipped)
    return Records(tables=tables, skipped=skipped)


def _frames(
    cameras: Mapping[str, Any], numbers: NDArray[np.int64], origin: float, skipped: list[Skipped]
) -> pa.Table:
    """Return the frames' times, by camera and trial in the file's order."""
    known = [row[0] for row in get("tracking.tracking_device").rows]
    parts = []
    for camera in cameras:
        if camera not in known:
            skipped.append(Skipped("camera", camera, f"is none of {', '.join(map(str, known))}"))
            continue
        trial, time = _per_trial(cameras, camera, numbers)
        frame = np.arange(len(trial)) - np.searchsorted(trial, trial)
        parts.append((camera, trial, frame, time - origin))
    columns: dict[str, Any] = {
        "trial": np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)]),
        "tracking_device": np.repeat([p[0] for p in parts], [len(p[1]) for p in parts]).tolist(),
        "frame": np.concatenate([np.empty(0, np.int64), *(part[2] for part in parts)]),
        "frame_time": np.concatenate([np.empty(0), *(part[3] for part in parts)]),
    }
    return as_table(_FRAME, columns)


def _markers(
    found: Mapping[str, Any], numbers: NDArray[np.int64], skipped: list[Skipped]
) -> _Events:
    times = np.asarray(found["digMarkerPerTrial"], dtype=np.float64)
    _check("digMarkerPerTrial", len(times), len(numbers))
    known = get("ephys.ephys_trial_event").column("trial_event_type").values
    events = []
    for column, kind in zip(times[: len(numbers)].T, found["headings"], strict=True):
        if kind not in known:
            skipped.append(Skipped("marker", str(kind), "is no kind of trial event"))
            continue
        there = np.isfinite(column) & (numbers > 0)
        events.append((numbers[there], column[there], kind))
    return events


def _per_trial(
    found: Mapping[str, Any], name: str, numbers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    items = found[name]
    _check(name, len(items), len(numbers))
    items = [np.ravel(item) for item in items[: len(numbers)]]
    trial = np.repeat(numbers, [len(item) for item in items])
    times = np.concatenate(items) if items else np.empty(0)
    if not np.isfinite(times).all():
        raise CorruptFileError("a time is not finite", place=name, expected="seconds")
    return trial[trial > 0], times[trial > 0]


def _check(name: str, count: int, trials: int) -> None:
    if count < trials:
        raise LengthMismatchError(
            "has fewer trials than were recorded", place=name, found=count, expected=trials
        )


def _columns(name: str, events: _Events, origin: float) -> dict[str, Any]:
    """Sort events by trial and time, and number them within each trial."""
    prefix = name.removeprefix("ephys.ephys_")
    trial = np.concatenate([np.empty(0, np.int64), *(event[0] for event in events)])
    time = np.concatenate([np.empty(0), *(event[1] for event in events)]) - origin
    kind = np.repeat([event[2] for event in events], [len(event[0]) for event in events])
    order = np.lexsort((time, trial))  # stable: simultaneous ones stay in the file's order
    trial, first = trial[order], np.searchsorted(trial[order], trial[order])
    return {
        "trial": trial,
        f"{prefix}_id": np.arange(len(trial)) - first,
        f"{prefix}_type": kind[order].tolist(),
        f"{prefix}_time": time[order],
    }
