"""One pybpod session of the foraging task: its trials, and what was printed about them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from maplake.errors import CorruptFileError
from maplake.readers.pybpod_csv import Row, SessionFile, literal, pc_time

__all__ = ["PORTS", "STATE_EVENTS", "BpodSession", "BpodTrial", "parse_session"]

#: Letters by which the rig calls the water ports.
PORTS = {"left": "L", "right": "R", "middle": "M"}

#: States that are events of a trial.
STATE_EVENTS = {
    "ITIBeforeVideoOn": "videostart",
    "Start": "bitcodestart",
    "DelayStart": "delay",
    "GoCue": "go",
    "Double_dipped": "doubledip",
    "ITI": "trialend",
    "ITIAfterVideoOff": "videoend",
    **{f"Double_dipped_to_{letter}": "doubledip" for letter in PORTS.values()},  # newer protocols
    **{f"Choice_{letter}": "choice" for letter in PORTS.values()},
    **{f"Reward_{letter}": "reward" for letter in PORTS.values()},
}

_WATER = {f"Auto_Water_{letter}" for letter in PORTS.values()}
_STATES = {*STATE_EVENTS, *_WATER}
_VARIABLES, _UPDATED, _MOTORS = "Variables:", "Variables updated:", "LickportMotors:"
_REWARDS = {f"reward_{letter}_accumulated:" for letter in PORTS.values()}
_LABELS = {_VARIABLES, _UPDATED, _MOTORS, *_REWARDS,
           "Blocknumber:", "Random seed:", "TrialBitCode:"}  # fmt: skip
_FIXED = ("reward_probabilities", "_ch_in", "_ch_out")  # never change within a bpod session
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass
class BpodTrial:
    """A trial as bpod saw it.

    ``states`` are the visits (name, start, duration), ``inputs`` the events (name, time), in s
    from the trial's start; ``transitions`` the names of the states entered, ``listed`` of those
    with a row, visited or not. The rest is what was printed about it: None = nothing.
    """

    row: int
    number: int
    start: datetime
    stop: datetime
    states: list[tuple[str, float, float]] = field(default_factory=list)
    inputs: list[tuple[str, float]] = field(default_factory=list)
    transitions: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    variables: dict[str, Any] = field(default_factory=dict)
    motors: dict[str, Any] = field(default_factory=dict)
    rewards: dict[str, bool] = field(default_factory=dict)
    block: int | None = None
    bitcode: str | None = None
    seed: str | None = None


@dataclass
class BpodSession:
    """The trials of one file, and what of it could not be used."""

    trials: list[BpodTrial]
    variables: dict[str, Any]
    problems: list[str]


_Marks = dict[str, list[tuple[int, str]]]


def parse_session(file: SessionFile) -> BpodSession:
    """Sort the rows of a file into trials.

    Raises
    ------
    CorruptFileError
        If a trial has no time, a time is no number, or the task's variables are no plain values.
    """
    session = BpodSession(_trials(file.rows), {}, [])
    if session.trials:
        marks = _collect(file.rows, session.trials)
        _add_variables(session, marks)
        _add_motors(session, marks)
        _add_prints(session, marks)
    return session


def _trials(rows: Sequence[Row]) -> list[BpodTrial]:
    """Return the trials without what happened in them: each lasts until the next one starts.

    The last one lasts as long as the file.
    """
    starts = [i for i, row in enumerate(rows) if row.type == "TRIAL" and row.msg == "New trial"]
    times = [pc_time(rows[i]) for i in starts]
    if starts:
        after = (pc_time(rows[i]) for i in range(len(rows) - 1, starts[-1], -1))
        times.append(next((time for time in after if time is not None), times[-1]))
    trials = []
    for number, (first, start, stop) in enumerate(zip(starts, times, times[1:], strict=False), 1):
        if start is None:
            raise CorruptFileError(
                "a trial has no time", place=f"trial {number}, PC-TIME", found=rows[first].pc_time
            )
        trials.append(BpodTrial(first, number, start, stop or start))
    return trials


def _collect(rows: Sequence[Row], trials: Sequence[BpodTrial]) -> _Marks:
    """Put states, inputs and transitions into their trials; return what was printed, by label."""
    marks: _Marks = defaultdict(list)
    ends = [trial.row for trial in trials[1:]] + [len(rows)]
    place = 0
    for index, row in enumerate(rows):
        label = row.msg.strip()
        if label in _LABELS and index + 1 < len(rows):
            marks[label].append((index, rows[index + 1].msg.strip()))
        if index < trials[0].row:
            continue
        if index >= ends[place]:
            place += 1
        trial = trials[place]
        if row.type == "STATE" and label in _STATES:
            trial.listed.add(label)
            if row.initial.strip().lower() not in ("nan", ""):
                trial.states.append(_visit(row, label, trial.number))
        elif row.type == "TRANSITION":
            trial.transitions.add(label)
        elif row.type == "EVENT":
            trial.inputs.append((row.info.strip(), _seconds(row.initial, trial.number, label)))
    return marks


def _visit(row: Row, name: str, trial: int) -> tuple[str, float, float]:
    start = _seconds(row.initial, trial, name)
    return name, start, _seconds(row.final, trial, name) - start


def _seconds(text: str, trial: int, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise CorruptFileError(
            "a time is no number",
            place=f"trial {trial}, {what}",
            found=repr(text[:40]),
            expected="seconds from trial start",
        )
    return value


def _add_variables(session: BpodSession, marks: _Marks) -> None:
    """Give every trial the variables in force when it starts."""
    changes = sorted([*marks[_VARIABLES][:1], *marks[_UPDATED]])
    current: dict[str, Any] = {}
    place = 0
    for number, trial in enumerate(session.trials):
        while place < len(changes) and (changes[place][0] < trial.row or number + place == 0):
            new = _dictionary(changes[place], "Variables")
            fixed = {k: v for k, v in current.items() if any(part in k for part in _FIXED)}
            current = current | new | fixed
            place += 1
        trial.variables = current
    session.variables = session.trials[0].variables


def _dictionary(mark: tuple[int, str], what: str) -> dict[str, Any]:
    row, text = mark
    try:
        value = literal(text)
    except CorruptFileError as error:
        error.place = f"{what}, row {row + 2}"
        raise
    if not isinstance(value, dict):
        raise CorruptFileError("is no dict", place=f"{what}, row {row + 2}", found=repr(text[:60]))
    return {str(key): item for key, item in value.items()}


def _add_motors(session: BpodSession, marks: _Marks) -> None:
    known: dict[str, dict[str, Any]] = {}
    for trial, text in zip(session.trials, _printed(marks[_MOTORS], session), strict=True):
        if text is not None and text not in known:
            try:
                known[text] = _dictionary((trial.row, text), "LickportMotors")
            except CorruptFileError as error:
                session.problems.append(f"motor positions of trial {trial.number}: {error}")
                known[text] = {}
        trial.motors = known.get(text or "", {})


def _add_prints(session: BpodSession, marks: _Marks) -> None:
    trials = session.trials
    block = 1 if marks["Blocknumber:"] else None
    for trial, text in zip(trials, _printed(marks["Blocknumber:"], session), strict=True):
        # A trial without a number is in the block of the one before, the first in block 1.
        block = int(text) if text is not None and _NUMBER.fullmatch(text) else block
        trial.block = block
    for trial, text in zip(trials, _printed(marks["TrialBitCode:"], session, 1), strict=True):
        trial.bitcode = text
    # The seed stands before the first trial, among what belongs to the session.
    if marks["Random seed:"]:
        trials[0].seed = marks["Random seed:"][0][1]
    for label in _REWARDS & set(marks):
        places = [place for place, _ in marks[label]]
        for trial in trials:
            last = bisect_left(places, trial.row) - 1
            # What was left over when the trial before ended is what this one starts with.
            trial.rewards[label[7]] = last >= 0 and marks[label][last][1] == "True"


def _printed(
    marks: Sequence[tuple[int, str]], session: BpodSession, reach: int | None = None
) -> list[str | None]:
    """Return what was printed about each trial.

    Old protocols print after a trial has run, newer ones before it starts; which, is told by
    whether something stands before the first trial. A trial without takes what was printed about
    one of the ``reach`` trials before it, all of them if None.
    """
    starts = [trial.row for trial in session.trials]
    if not marks:
        return [None] * len(starts)
    ahead = marks[0][0] < starts[0]
    places = [place for place, _ in marks]
    found: list[str | None] = []
    for number in range(len(starts)):
        limit = starts[number] if ahead else ([*starts, places[-1] + 1][number + 1])
        last = bisect_left(places, limit) - 1
        oldest = number - 1 if ahead else number
        near = reach is None or oldest < 0 or (last >= 0 and places[last] > starts[oldest])
        found.append(marks[last][1] if last >= 0 and near else None)
    return found
