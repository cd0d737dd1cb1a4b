"""What surrounds foraging sessions: people's notes on days, and events on the recording's clock."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.mat import cell
from maplake.simulate.truth import Probe, Session

__all__ = ["Day", "EphysEvents", "ephys_events", "write_days", "write_people"]

_HEADINGS = ("bitcodestart", "zaberready", "go", "choice", "reward", "trialend")
_READY, _STEPS = 0.3, (0.1, 0.15, 0.2)  # s from trial start
_LICKS = {"lickLPerTrial": "left lick", "lickRPerTrial": "right lick"}
_FRAME = 0.0034  # s


@dataclass(frozen=True)
class Day:
    """A day of an animal; weight in g, water in ml."""

    day: str
    weight: float
    water_earned: float
    water_extra: float
    notes: str


def write_days(path: Path, days: Sequence[Day]) -> None:
    """Write ``{h2o}.csv``: the days, and one of water restriction, which is no session."""
    head = ("Date", "Time", "Time-end", "Weight", "Water during training", "Extra water",
            "Notes", "Training type")  # fmt: skip
    rows: list[tuple[object, ...]] = [
        (d.day, "10:00", "11:30", d.weight, d.water_earned, d.water_extra, d.notes, "foraging")
        for d in days
    ]
    rows.append(("2019-12-31", "", "", 25.0, "", 1.0, "", "restriction"))
    _write(path, head, rows)


def write_people(folder: Path, people: Mapping[str, str], rigs: Mapping[str, str]) -> None:
    """Write ``Experimenter.csv`` (full names) and ``Rig.csv`` (descriptions)."""
    _write(folder / "Experimenter.csv", ("username", "fullname"), list(people.items()))
    rows = [(rig, "2W.334", description) for rig, description in rigs.items()]
    _write(folder / "Rig.csv", ("rig", "room", "rig_description"), rows)


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


@dataclass(frozen=True)
class EphysEvents:
    """Events on the recording's clock, (trial, kind, time in s), by trial and time.

    ``variables`` are those of ``bitcode.mat``.
    """

    markers: list[tuple[int, str, float]]
    licks: list[tuple[int, str, float]]
    variables: dict[str, Any]


def ephys_events(session: Session, probe: Probe) -> EphysEvents:
    """Return a foraging session's events as the recording saw them."""
    start = dict(zip(probe.ephys_trial.tolist(), probe.start_sample.tolist(), strict=True))
    origin = {trial: sample / probe.sampling_rate for trial, sample in start.items()}
    table = np.full((len(start), len(_HEADINGS)), np.nan)
    for place, trial in enumerate(start):
        table[place] = _markers(session, trial, origin[trial])
    steps = [origin[trial] + np.array(_STEPS) for trial in start]
    licks = {
        name: [_of(session, trial, kind) + origin[trial] for trial in start]
        for name, kind in _LICKS.items()
    }
    frames = [origin[trial] + _FRAME * np.arange(3) for trial in start]
    markers = [
        (trial, kind, float(time))
        for trial, row in zip(start, table, strict=True)
        for kind, time in zip(_HEADINGS, row, strict=True)
        if np.isfinite(time)
    ]
    moves = zip(start, steps, strict=True)
    markers += [(n, "zaberstep", float(time)) for n, times in moves for time in times]
    actions = [
        (trial, kind, float(time))
        for name, kind in _LICKS.items()
        for trial, times in zip(start, licks[name], strict=True)
        for time in times
    ]
    variables = {
        "headings": cell(_HEADINGS),
        "digMarkerPerTrial": table,
        "zaberPerTrial": cell(steps),
        **{name: cell(times) for name, times in licks.items()},
        "cameraPerTrial": cell([cell(frames), cell(frames)]),
        "chan": {"cameraNameInDJ": cell(("Camera 0", "Camera 1"))},
    }
    return EphysEvents(_by_time(markers), _by_time(actions), variables)


def _by_time(rows: list[tuple[int, str, float]]) -> list[tuple[int, str, float]]:
    return sorted(rows, key=lambda row: (row[0], row[2]))


def _markers(session: Session, trial: int, origin: float) -> list[float]:
    events = session.events
    times = []
    for kind in _HEADINGS:
        found = events.time[(events.trial == trial) & (events.type == kind)]
        from_start = found[0] if len(found) else np.nan
        times.append(origin + (_READY if kind == "zaberready" else from_start))
    return times


def _of(session: Session, trial: int, kind: str) -> np.ndarray[Any, Any]:
    licks = session.licks
    return np.asarray(licks.time[(licks.trial == trial) & (licks.type == kind)])
