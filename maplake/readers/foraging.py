"""Foraging behavior: the ``.csv`` files that pybpod writes, all those of one animal and day.

``project/experiments/{experiment}/setups/{setup}/sessions/{name}/{name}.csv``, where the name is
``YYYYMMDD-HHMMSS``. Several bpod sessions of a day, in the order in which they started, make one
session with running trial numbers; trials without a state GoCue are left out and have no number.

Events and licks have bpod's times, from trial start. The computer's clock lags by milliseconds and
more: only start and stop of trials come from it. As published, a bpod session starts a new block,
``trial_available_reward`` tells what earlier trials left over at each port, the state in which
bpod starts a trial is no event, and a trial whose go cue never came is a trial.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    SourceError,
    UnknownValueError,
)
from maplake.readers.base import BehaviorContext, Identity, Reader, Records, Skipped
from maplake.readers.foraging_trials import (
    PORTS,
    STATE_EVENTS,
    BpodSession,
    BpodTrial,
    parse_session,
)
from maplake.readers.pybpod_csv import SessionFile, first_item, read_head, read_session
from maplake.readers.rows import as_table

__all__ = [
    "READER",
    "SETUP_RIGS",
    "find",
    "group",
    "identify",
    "read",
]

#: Rigs by the lower-cased name of the pybpod setup.
SETUP_RIGS: dict[str, str] = {
    **dict.fromkeys(("day1", "tower-2", "day2-7", "day_1", "real foraging"), "Training-Tower-2"),
    **dict.fromkeys(("tower-3", "tower-3beh", "+", "tower 3"), "Training-Tower-3"),
    "tower-1": "Training-Tower-1",
    "ephys_han": "Ephys-Han",
}
LONGEST = 9999.0  # s; bpod was paused in longer trials
SHORTEST_WATER = 0.001  # s; auto water that is shorter was switched off

_NAME = "%Y%m%d-%H%M%S"
_COLUMNS: dict[str, tuple[str, ...]] = {
    "session_trial": ("trial", "start_time", "stop_time"),
    "behavior_trial": (
        *("trial", "task", "task_protocol", "trial_instruction"),
        *("early_lick", "outcome", "auto_water", "free_water"),
    ),
    "trial_note": ("trial", "trial_note_type", "trial_note"),
    "trial_event": (
        *("trial", "trial_event_id", "trial_event_type", "trial_event_time", "duration"),
    ),
    "action_event": ("trial", "action_event_id", "action_event_type", "action_event_time"),
    "session_block": ("block", "block_start_time"),
    "block_trial": ("trial", "block"),
    "block_reward_probability": ("block", "water_port", "reward_probability"),
    "water_port_choice": ("trial", "water_port"),
    "water_port_setting": (
        *("trial", "water_port_lateral_pos"),
        *("water_port_rostrocaudal_pos", "water_port_dorsoventral_pos"),
    ),
    "water_port_open_duration": ("trial", "water_port", "open_duration"),
    "trial_available_reward": ("trial", "water_port", "reward_available"),
}


def find(path: Path) -> Sequence[Path]:
    """Return ``[path]`` if it has the name of a pybpod session file, else nothing."""
    named = path.suffix == ".csv" and path.parent.name == path.stem
    return [path] if named and _started(path) else []


def _started(path: Path) -> datetime | None:
    try:
        return datetime.strptime(path.stem, _NAME) if len(path.stem) == 15 else None
    except ValueError:
        return None


def identify(path: Path) -> Identity:
    """Return whose session a file is, from its name and the row SUBJECT-NAME near its top.

    Raises
    ------
    SourceError
        If the file cannot be read, or does not say whose it is.
    """
    start = _started(path)
    subject = first_item(read_head(path).info("SUBJECT-NAME"))
    if start is None or not subject:
        raise FileFormatError(
            "does not say whose session it is",
            file=path,
            found=path.name if start is None else "no SUBJECT-NAME",
            expected="{YYYYMMDD-HHMMSS}.csv with a row SUBJECT-NAME",
        )
    return Identity(subject, start)


def group(paths: Iterable[Path]) -> tuple[dict[tuple[str, date], list[Path]], list[Skipped]]:
    """Put files together by animal and day, in the order in which they started.

    Returns
    -------
    sessions, skipped
        Paths by (h2o, day), and the files that do not say whose they are.
    """
    found: dict[tuple[str, date], list[tuple[datetime, Path]]] = defaultdict(list)
    skipped = []
    for path in paths:
        try:
            identity = identify(path)
        except SourceError as error:
            skipped.append(Skipped("file", path.name, str(error)))
            continue
        found[identity.h2o, identity.start.date()].append((identity.start, path))
    return {key: [path for _, path in sorted(items)] for key, items in found.items()}, skipped


def read(paths: Sequence[Path] | Path, context: BehaviorContext | None = None) -> Records:
    """Read the files of one animal and day.

    Parameters
    ----------
    paths
        The ``.csv`` files, in any order.
    context
        Rigs by setup, beside the published ones (``setup_rigs``).

    Returns
    -------
    Records
        Tables ``experiment.*`` as declared, ``experiment.session`` with username and rig. Times
        of trials in seconds from the first trial's start, of events from their trial's. Skipped:
        trials without state GoCue (``bpod trial``, named ``{file}:{number}``), files without
        trials or of another task.
        ``info``: ``bitcodes``, dict of trial to code; ``trial_total``; ``h2o``.

    Raises
    ------
    SourceError
        If a file is missing, unreadable, damaged or of another animal, no file is of the task or
        has a usable trial, or the setup is unknown.
    """
    files = [paths] if isinstance(paths, Path) else sorted(paths, key=lambda path: path.stem)
    if not files:
        raise FileFormatError("there are no files to read")
    builder = _Builder(context or BehaviorContext({}))
    for path in files:
        try:
            builder.add(path)
        except SourceError as error:
            error.file = error.file or str(path)
            raise
    return builder.records(files[0])


@dataclass(frozen=True)
class _Task:
    name: str
    protocol: int
    ports: tuple[str, ...]


_TWO_PORTS = _Task("foraging", 100, ("left", "right"))
_THREE_PORTS = _Task("foraging 3lp", 101, ("left", "right", "middle"))


class _Builder:
    """Collects the rows of one session from its files."""

    def __init__(self, context: BehaviorContext) -> None:
        self.context = context
        self.rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.skipped: list[Skipped] = []
        self.refused: list[UnknownValueError] = []
        self.session: dict[str, Any] = {}
        self.subject = ""
        self.trial = 0
        self.block = 0
        self.bitcodes: dict[int, str] = {}

    def add(self, path: Path) -> None:
        """Add the trials of one file."""
        file = read_session(path)
        self._check_subject(file)
        if file.strays:
            reason = "lines that are no rows of the table (printed errors and the like)"
            self.skipped.append(Skipped("lines", f"{path.name}: {file.strays}", reason))
        bpod = parse_session(file)
        if not bpod.trials:
            self.skipped.append(Skipped("file", path.name, "has no trial"))
            return
        try:
            task = _task(file, bpod)
        except UnknownValueError as error:  # rigs run calibrations and other tasks between
            self.refused.append(error)
            self.skipped.append(Skipped("file", path.name, str(error)))
            error.file = str(path)
            return
        trials = self._usable(bpod, path)
        if not trials:  # started in vain: the session begins with the next file
            return
        if not self.session:
            self._start(file, bpod)
        channels = {_channel(bpod, port): port for port in task.ports}
        self.skipped += [Skipped("setting", path.name, problem) for problem in bpod.problems]
        probability: tuple[float, ...] = ()
        for trial in trials:
            self.trial += 1
            probability = self._add_block(bpod, trial, task, probability)
            self._add_trial(trial, task, channels)
            self._add_settings(trial, task)

    def _usable(self, bpod: BpodSession, path: Path) -> list[BpodTrial]:
        """Return the trials that list a go cue, if only as not reached; the others are skipped."""
        usable = []
        for trial in bpod.trials:
            if "GoCue" in trial.listed:
                usable.append(trial)
            else:
                item = f"{path.stem}:{trial.number}"
                self.skipped.append(Skipped("bpod trial", item, "the trial has no go cue"))
        return usable

    def _check_subject(self, file: SessionFile) -> None:
        subject = first_item(file.info("SUBJECT-NAME"))
        if self.subject and subject != self.subject:
            raise FileFormatError(
                "is of another animal than the day's other files",
                place="SUBJECT-NAME",
                found=subject or "nothing",
                expected=self.subject,
            )
        self.subject = subject

    def _start(self, file: SessionFile, bpod: BpodSession) -> None:
        start = bpod.trials[0].start
        self.session = {
            "session_date": start.date(),
            "session_time": start.time(),
            "session_datetime": start,
            "username": first_item(file.info("CREATOR-NAME")) or "unknown",
            "rig": self._rig(file),
        }

    def _rig(self, file: SessionFile) -> str:
        setup = _level(file.path, "setups") or first_item(file.info("SETUP-NAME"))
        named = {**SETUP_RIGS, **self.context.setup_rigs}
        rigs = {name.strip().lower(): rig for name, rig in named.items()}
        rig = rigs.get(setup.strip().lower())
        if rig is None:
            raise UnknownValueError(
                "the rig of this pybpod setup is not known",
                found=repr(setup),
                expected=", ".join(sorted(rigs)),
                hint="Name it under [foraging] setup_rigs in lake.toml.",
            )
        return rig

    def _seconds(self, time: datetime) -> float:
        start: datetime = self.session["session_datetime"]
        return (time - start).total_seconds()

    def _add_block(
        self, bpod: BpodSession, trial: BpodTrial, task: _Task, before: tuple[float, ...]
    ) -> tuple[float, ...]:
        """Note the trial's block, a new one where the probabilities change; return these."""
        number = trial.block
        if number is None:
            return before
        found = tuple(_probability(bpod, port, number, trial) for port in task.ports)
        if found != before:
            self.block += 1
            self.rows["session_block"].append((self.block, self._seconds(trial.start)))
            self.rows["block_reward_probability"] += [
                (self.block, port, value) for port, value in zip(task.ports, found, strict=True)
            ]
        self.rows["block_trial"].append((self.trial, self.block))
        return found

    def _add_trial(self, trial: BpodTrial, task: _Task, channels: Mapping[str, str]) -> None:
        number = self.trial
        times = (self._seconds(trial.start), self._seconds(trial.stop))
        self.rows["session_trial"].append((number, *times))
        order = {port: place for place, port in enumerate(task.ports)}
        licks = [(time, channels[name]) for name, time in trial.inputs if name in channels]
        licks.sort(key=lambda lick: (lick[0], order[lick[1]]))
        cues = [start for name, start, _ in trial.states if name == "GoCue"]
        go = min(cues, default=LONGEST)  # without cue, every lick came before it
        chosen = _entered(trial, "Choice", task.ports)
        outcome = "miss" if chosen else "ignore"
        if chosen and _entered(trial, "Reward", task.ports):
            outcome = "hit"
        early = "early" if licks and licks[0][0] < go else "no early"
        watered = _auto_water(trial, task.ports)
        self.rows["behavior_trial"].append(
            (number, task.name, task.protocol, "none", early, outcome, bool(watered), False)
        )
        self.rows["water_port_choice"].append((number, chosen))
        self._add_notes(trial, watered)
        self.rows["action_event"] += [
            (number, place, f"{port} lick", time) for place, (time, port) in enumerate(licks)
        ]
        events = [
            (t, STATE_EVENTS[n], d) for n, t, d in trial.states if n in STATE_EVENTS and t > 0
        ]
        events.sort(key=lambda event: event[0])  # stable: simultaneous ones stay in file order
        self.rows["trial_event"] += [
            (number, place, kind, min(time, LONGEST), _capped(time, duration))
            for place, (time, kind, duration) in enumerate(events)
        ]

    def _add_notes(self, trial: BpodTrial, watered: Sequence[str]) -> None:
        notes = {
            "autowater": "and ".join(watered),  # as published: "leftand right"
            "random_seed_start": trial.seed,
            "bitcode": trial.bitcode,
        }
        self.rows["trial_note"] += [
            (self.trial, kind, text) for kind, text in notes.items() if text
        ]
        if trial.bitcode:
            self.bitcodes[self.trial] = trial.bitcode

    def _add_settings(self, trial: BpodTrial, task: _Task) -> None:
        positions = [
            _number(trial.motors.get(f"LickPort_{axis}_pos"))
            for axis in ("Lateral", "RostroCaudal", "DorsoVentral")
        ]
        self.rows["water_port_setting"].append((self.trial, *positions))
        for port in task.ports:
            duration = _number(trial.variables.get(f"ValveOpenTime_{PORTS[port]}"))
            if duration is not None:
                self.rows["water_port_open_duration"].append((self.trial, port, duration))
            if PORTS[port] in trial.rewards:
                left = trial.rewards[PORTS[port]]
                self.rows["trial_available_reward"].append((self.trial, port, left))

    def records(self, path: Path) -> Records:
        """Return everything."""
        if not self.trial and self.refused:
            raise self.refused[0]
        if not self.trial:
            reason = self.skipped[-1].reason if self.skipped else "there is none"
            raise FileFormatError("no trial can be used", file=path, found=reason)
        session = {name: [value] for name, value in self.session.items()}
        tasks = Counter((row[1], row[2]) for row in self.rows["behavior_trial"])
        (task, protocol), _ = tasks.most_common(1)[0]
        session |= {"task": [task], "task_protocol": [protocol], "trial_count": [self.trial]}
        tables = {f"experiment.{name}": _table(name, self.rows[name]) for name in _COLUMNS}
        tables["experiment.session"] = as_table("experiment.session", session)
        info = {"bitcodes": self.bitcodes, "trial_total": self.trial, "h2o": self.subject}
        return Records(tables=tables, skipped=self.skipped, info=info)


def _level(path: Path, above: str) -> str:
    """Return the name of the folder directly below the nearest folder called ``above``."""
    parts = path.parts
    places = [i for i, part in enumerate(parts[:-1]) if part == above]
    return parts[places[-1] + 1] if places else ""


def _task(file: SessionFile, bpod: BpodSession) -> _Task:
    name = _level(file.path, "experiments") or first_item(file.info("EXPERIMENT-NAME"))
    low = name.lower()
    if "foraging" not in low and not ("bari" in low and "cohen" in low):
        raise UnknownValueError(
            "is no session of the foraging task",
            place="experiment",
            found=repr(name),
            expected="a name with 'foraging', or 'bari' and 'cohen'",
        )
    three = bpod.variables.get("lickport_number") == 3
    return _THREE_PORTS if three else _TWO_PORTS


def _channel(bpod: BpodSession, port: str) -> str:
    name = f"WaterPort_{PORTS[port]}_ch_in"
    channel = bpod.variables.get(name)
    if not isinstance(channel, str) or not channel:
        raise CorruptFileError(
            "the input channel of a water port is missing",
            place=f"Variables, {name}",
            found=channel,
            expected="e.g. 'Port1In'",
        )
    return channel


def _probability(bpod: BpodSession, port: str, number: int, trial: BpodTrial) -> float:
    name = f"reward_probabilities_{PORTS[port]}"
    values = bpod.variables.get(name)
    value = None
    if isinstance(values, (list, tuple)) and 1 <= number <= len(values):
        value = _number(values[number - 1])
    if value is None:
        raise CorruptFileError(
            "there is no reward probability for the trial's block",
            place=f"trial {trial.number}, {name}",
            found=f"block {number} of {len(values) if isinstance(values, (list, tuple)) else 0}",
        )
    return value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) <= sys.float_info.max else None  # NaN is not


def _capped(time: float, duration: float) -> float:
    """Return how long a visit lasts whose start and end are cut at ``LONGEST``."""
    if time + duration <= LONGEST:
        return duration
    return LONGEST - min(time, LONGEST)


def _entered(trial: BpodTrial, state: str, ports: Sequence[str]) -> str | None:
    return next((p for p in ports if f"{state}_{PORTS[p]}" in trial.transitions), None)


def _auto_water(trial: BpodTrial, ports: Sequence[str]) -> list[str]:
    long = {name for name, _, duration in trial.states if duration > SHORTEST_WATER}
    return [port for port in ports if f"Auto_Water_{PORTS[port]}" in long]


def _table(name: str, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    names = _COLUMNS[name]
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return as_table(f"experiment.{name}", dict(zip(names, columns, strict=True)))


READER = Reader(
    "foraging",
    kind="behavior",
    find=find,
    read=read,
    identify=identify,
    joins=True,
    version=5,
    changes={
        2: "a trial lasts until the next one starts, as published, not until END-TRIAL",
        3: "Double_dipped_to_{L,R,M} are double dips; beyond 9999 s start and end are cut, not "
        "durations and licks; a file without a trial that can be used does not begin the session",
        4: "a trial that lists the state GoCue without reaching it is a trial, as published; the "
        "state in which bpod starts a trial, at 0 s, is no event; notes of auto water and licks "
        "at the same time are as published",
        5: "a day of several tasks has that of most of its trials",
    },
)
