"""Delay-response behavior: the ``SessionData`` of Bpod (MATLAB v5 or v7.3), one file a session.

Trials are numbered from 1 in file order; a skipped trial keeps its number. Where the published MAP
pipeline and the lab's description of the format differ, the description wins: trials end where
``TrialEnd`` begins (published: ``StopLicking``), event ids start from 0 in each trial and follow
time, states that were not visited are no events. As published, a session lists only those
photostimulation protocols that its accepted photostimulation trials use.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    SourceError,
    UnknownValueError,
)
from maplake.readers import bpod, matlab
from maplake.readers.base import (
    BehaviorContext,
    PhotostimProtocol,
    Reader,
    Records,
    Skipped,
)
from maplake.readers.bpod import find, identify, is_multi_target_licking
from maplake.readers.rows import as_table

__all__ = ["READER", "find", "identify", "is_multi_target_licking", "read"]

TASK, TASK_PROTOCOL = "audio delay", 1
REQUIRED_STATES = (
    "PreSamplePeriod",
    "SamplePeriod",
    "DelayPeriod",
    "ResponseCue",
    "StopLicking",
    "TrialEnd",
)
EVENT_STATES = {
    "PreSamplePeriod": "presample",
    "SamplePeriod": "sample",
    "DelayPeriod": "delay",
    "ResponseCue": "go",
    "TrialEnd": "trialend",
}
LICK_CODES = {69: "left lick", 71: "right lick"}
SIDES = {(1, 1): "left", (1, 0): "right", (2, 1): "right", (2, 0): "left"}
STIMULATED_DELAY = 1.2  # s
STIMULATED_AUTOLEARN = 4
LATE_ONSET = -0.5  # s from the go cue

# Of the many states and settings of a trial, those that are read.
_FIELDS = (
    *EVENT_STATES,
    *("ProtocolType", "Reversal", "Autowater", "Autolearn", "randomID", "GaveFreeReward"),
)
# The columns of each table that is filled, in the order of the rows.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "session": (
        *("session_date", "session_time", "session_datetime"),
        *("task", "task_protocol", "trial_count"),
    ),
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
    "photostim": ("photo_stim", "photostim_device", "duration", "waveform"),
    "photostim_location": (
        *("photo_stim", "skull_reference", "ap_location", "ml_location", "depth"),
        *("theta", "phi", "brain_area"),
    ),
    "photostim_trial": ("trial",),
    "photostim_event": (
        *("trial", "photostim_event_id", "photo_stim", "photostim_event_time", "power"),
    ),
}

_Array = np.ndarray[Any, Any]


def read(path: Path, context: BehaviorContext) -> Records:
    """Read one session.

    Parameters
    ----------
    path
        The ``.mat`` file.
    context
        The photostimulation protocols, and when stimulation comes late in the delay.

    Returns
    -------
    Records
        Tables ``experiment.*``, times in seconds: of trials from the first trial's start, of
        events from their trial's start. ``info``: ``bitcodes``, dict of trial number to code, of
        skipped trials too; ``trial_total``, number of trials in the file.

    Raises
    ------
    SourceError
        Of the kinds of section 12 of the formats: missing, unreadable, corrupt, of another
        format or date, with lengths that differ, times that are not finite or unknown values.
    """
    try:
        return _Builder(_open(path), path, context).records()
    except SourceError as error:
        error.file = error.file or str(path)
        raise


def _open(path: Path) -> bpod.Session:
    data = bpod.load(path, _FIELDS)
    if is_multi_target_licking(data):
        raise FileFormatError(
            "is a session of the multi-target-licking task",
            found="SettingsFile.GUI with X_center, Y_center, Z_center, without delay",
            expected="a delay-response session",
        )
    return bpod.session(data)


@dataclass(frozen=True)
class _Trial:
    """A trial that is kept."""

    number: int
    gui: dict[str, Any]
    protocol: float
    stop: float
    occurred: frozenset[str]
    visits: dict[str, _Array]


class _SkipTrial(Exception):  # noqa: N818 - not an error
    """Why a trial is left out."""


class _Builder:
    """Collects the rows of one session."""

    def __init__(self, session: bpod.Session, path: Path, context: BehaviorContext) -> None:
        identity = identify(path)
        if session.start.date() != identity.start.date():
            raise FileFormatError(
                "the session's date is not that of the file name",
                place="Info.SessionDate",
                found=session.start.date(),
                expected=identity.start.date(),
            )
        self.session = session
        self.first = _finite(session.trial_start[0], "trial 1, TrialStartTimestamp")
        self.context = context
        self.late = _is_late(identity.h2o, path.name, context)
        self.rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.skipped: list[Skipped] = []

    def records(self) -> Records:
        """Go through the trials and return everything."""
        total = len(self.session.trial_start)
        for index in range(total):
            try:
                self._add(index, self._trial(index))
            except _SkipTrial as reason:
                self.skipped.append(Skipped("trial", str(index + 1), str(reason)))
        if not self.rows["session_trial"]:
            raise FileFormatError(
                f"none of the session's {total} trials can be used",
                place="trial 1",
                found=self.skipped[0].reason,
            )
        self._add_session()
        self._add_protocols()
        found = {f"experiment.{name}": _table(name, self.rows[name]) for name in _COLUMNS}
        info = {"bitcodes": self._bitcodes(), "trial_total": total}
        return Records(tables=found, skipped=self.skipped, info=info)

    def _trial(self, index: int) -> _Trial:
        """Decide whether a trial is kept, as little as possible being asked of one that is not."""
        session, place = self.session, f"trial {index + 1}"
        names = matlab.texts(session.state_names[index], f"{place}, OriginalStateNamesByNumber")
        missing = [
            name
            for name in REQUIRED_STATES
            if name not in names or (name in EVENT_STATES and name not in session.states[index])
        ]
        if missing:
            raise _SkipTrial(f"states missing: {', '.join(missing)}")
        gui = session.settings[index].get("GUI")
        gui = gui if isinstance(gui, dict) else {}
        protocol = self._setting(gui, "ProtocolType", place)
        if protocol is None:
            raise _SkipTrial("GUI.ProtocolType is missing")
        if protocol < 3:
            raise _SkipTrial(f"GUI.ProtocolType is {protocol:g}, less than 3")
        numbers, times = self._states(index, place)
        begin, end = (
            np.flatnonzero(numbers == names.index(name) + 1)
            for name in ("PreSamplePeriod", "TrialEnd")
        )
        if not (begin.size and end.size):
            missed = "start (PreSamplePeriod)" if end.size else "end (TrialEnd)"
            raise _SkipTrial(f"the trial has no {missed}")
        visits = {
            name: _visits(session.states[index][name], f"{place}, States.{name}")
            for name in EVENT_STATES
        }
        occurred = frozenset(
            names[int(n) - 1] for n in set(numbers.tolist()) if 1 <= n <= len(names)
        )
        return _Trial(index + 1, gui, protocol, float(times[end[0]]), occurred, visits)

    def _setting(self, gui: dict[str, Any], name: str, place: str) -> float | None:
        value = matlab.number(gui.get(name), f"{place}, GUI.{name}")
        return None if value is None or np.isnan(value) else value

    def _states(self, index: int, place: str) -> tuple[_Array, _Array]:
        """State numbers (n,), and the times at which they begin (n or n + 1,), in seconds."""
        numbers = matlab.vector(self.session.state_data[index], f"{place}, OriginalStateData")
        where = f"{place}, OriginalStateTimestamps"
        times = matlab.vector(self.session.state_times[index], where)
        if len(times) not in (len(numbers), len(numbers) + 1):
            raise LengthMismatchError(
                "the trial's states and their times differ in number",
                place=where,
                found=len(times),
                expected=f"{len(numbers)} or {len(numbers) + 1}",
            )
        return numbers, times

    def _add(self, index: int, trial: _Trial) -> None:
        session, place = self.session, f"trial {trial.number}"
        where = f"{place}, TrialStartTimestamp"
        start = _finite(session.trial_start[index], where) - self.first
        stop = start + _finite(trial.stop, f"{place}, OriginalStateTimestamps")
        self.rows["session_trial"].append((trial.number, start, stop))
        self._add_behavior(index, trial, place)
        self._add_notes(trial, place)
        self._add_events(trial)
        self._add_licks(index, trial, place)
        self._add_photostim(index, trial, place)

    def _add_behavior(self, index: int, trial: _Trial, place: str) -> None:
        free = _finite(self.session.free[index], f"{place}, FreeTrials") != 0
        early = trial.protocol >= 5 and trial.occurred & {"EarlyLickDelay", "EarlyLickSample"}
        outcome = "miss" if "TimeOut" in trial.occurred else "ignore"
        outcome = "hit" if "Reward" in trial.occurred else outcome
        self.rows["behavior_trial"].append(
            (
                trial.number,
                TASK,
                TASK_PROTOCOL,
                self._instruction(index, trial, place),
                "early" if early else "no early",
                outcome,
                self._auto_water(index, trial, place),
                free,
            )
        )

    def _instruction(self, index: int, trial: _Trial, place: str) -> str:
        reversal = self._setting(trial.gui, "Reversal", place)
        kind = float(self.session.trial_type[index])
        if (reversal, kind) not in SIDES:
            raise UnknownValueError(
                "the instructed side cannot be told",
                place=place,
                found=f"GUI.Reversal {reversal}, TrialTypes {kind:g}",
                expected="Reversal 1 or 2, TrialTypes 0 or 1",
            )
        return SIDES[int(reversal or 0), int(kind)]

    def _auto_water(self, index: int, trial: _Trial, place: str) -> bool:
        given = self.session.settings[index].get("GaveFreeReward", [])
        gifts = matlab.vector([] if given is None else given, f"{place}, GaveFreeReward")
        return self._setting(trial.gui, "Autowater", place) == 1 or bool(np.any(gifts[:2] > 0))

    def _add_notes(self, trial: _Trial, place: str) -> None:
        notes = {
            "protocol #": f"{trial.protocol:g}",
            "autolearn": matlab.text(trial.gui.get("Autolearn"), f"{place}, GUI.Autolearn"),
            "bitcode": matlab.text(trial.gui.get("randomID"), f"{place}, GUI.randomID"),
        }
        self.rows["trial_note"] += [
            (trial.number, kind, note) for kind, note in notes.items() if note
        ]

    def _add_events(self, trial: _Trial) -> None:
        found = [
            (float(start), kind, float(end - start))
            for name, kind in EVENT_STATES.items()
            for start, end in trial.visits[name]
        ]
        found.sort(key=lambda event: event[0])  # stable: simultaneous ones stay in trial order
        self.rows["trial_event"] += [
            (trial.number, number, kind, start, duration)
            for number, (start, kind, duration) in enumerate(found)
        ]

    def _add_licks(self, index: int, trial: _Trial, place: str) -> None:
        codes = matlab.vector(self.session.event_data[index], f"{place}, OriginalEventData")
        where = f"{place}, OriginalEventTimestamps"
        times = matlab.vector(self.session.event_times[index], where)
        if len(codes) != len(times):
            raise LengthMismatchError(
                "the trial's events and their times differ in number",
                place=where,
                found=len(times),
                expected=len(codes),
            )
        licks = np.isin(codes, list(LICK_CODES))
        codes, times = codes[licks], times[licks]
        if not np.isfinite(times).all():
            raise CorruptFileError("a lick has no time", place=where, expected="finite seconds")
        order = np.argsort(times, kind="stable")
        self.rows["action_event"] += [
            (trial.number, number, LICK_CODES[int(code)], lick)
            for number, (code, lick) in enumerate(
                zip(codes[order].tolist(), times[order].tolist(), strict=True)
            )
        ]

    def _add_photostim(self, index: int, trial: _Trial, place: str) -> None:
        stim = _finite(self.session.stim[index], f"{place}, StimTrials")
        delays, cues = trial.visits["DelayPeriod"], trial.visits["ResponseCue"]
        fits = trial.protocol > 4 if self.late else trial.protocol == 5
        if not (stim and fits and len(delays)):
            return
        duration = np.round(delays[-1, 1] - delays[-1, 0], 2)  # 1.205 is 1.2, as published
        autolearn = self._setting(trial.gui, "Autolearn", place)
        if autolearn != STIMULATED_AUTOLEARN or duration != STIMULATED_DELAY:
            return
        if self.late and not len(cues):
            reason = "late-delay stimulation, but the trial has no ResponseCue to time it by"
            self.skipped.append(Skipped("photostim_event", str(trial.number), reason))
            return
        onset = float(cues[0, 0]) + LATE_ONSET if self.late else float(delays[-1, 0])
        self.rows["photostim_trial"].append((trial.number,))
        protocol = self._protocol(stim, place)
        event = (trial.number, 0, protocol.photo_stim, onset, protocol.power)
        self.rows["photostim_event"].append(event)

    def _protocol(self, stim: float, place: str) -> PhotostimProtocol:
        if stim not in self.context.photostim:
            known = ", ".join(str(number) for number in sorted(self.context.photostim))
            raise UnknownValueError(
                "unknown photostimulation protocol",
                place=f"{place}, StimTrials",
                found=f"{stim:g}",
                expected=known or "none: no protocol is configured",
                hint="Protocols are described under [[photostim]] in lake.toml.",
            )
        return self.context.photostim[int(stim)]

    def _add_session(self) -> None:
        start, count = self.session.start, len(self.rows["session_trial"])
        self.rows["session"].append((start.date(), start.time(), start, TASK, TASK_PROTOCOL, count))

    def _add_protocols(self) -> None:
        used = sorted({row[2] for row in self.rows["photostim_event"]})
        for protocol in (self.context.photostim[stim] for stim in used):
            stim = protocol.photo_stim
            self.rows["photostim"].append(
                (stim, protocol.photostim_device, protocol.duration, None)
            )
            self.rows["photostim_location"] += [
                (stim, *(getattr(site, name) for name in _COLUMNS["photostim_location"][1:]))
                for site in protocol.sites
            ]

    def _bitcodes(self) -> dict[int, str]:
        """Codes of all trials that have one; alignment can use a skipped trial's code too."""
        return {number: code for number, code in self._codes() if code}

    def _codes(self) -> Iterator[tuple[int, str]]:
        for number, settings in enumerate(self.session.settings, start=1):
            gui = settings.get("GUI")
            try:
                yield number, matlab.text(gui.get("randomID")) if isinstance(gui, dict) else ""
            except FileFormatError:
                continue  # only a skipped trial comes here: a kept one's code was read before


def _is_late(h2o: str, name: str, context: BehaviorContext) -> bool:
    """Whether light comes late in the delay: told by the animal and the rig in the file name."""
    rig = re.escape(context.late_delay_rig) + r"(?![0-9A-Za-z])"
    return bool(re.search(context.late_delay_subjects, h2o) and re.search(rig, name))


def _finite(value: float, place: str) -> float:
    if not np.isfinite(value):
        raise CorruptFileError("is not finite", place=place, found=value, expected="a number")
    return float(value)


def _visits(value: Any, place: str) -> _Array:
    """Visits of a state (n, 2), start and end in seconds; NaN rows are no visits."""
    found = matlab.rows(value, 2, place)
    visited: _Array = found[~np.isnan(found).all(axis=1)]
    if not np.isfinite(visited).all():
        raise CorruptFileError("a time is not finite", place=place, expected="finite seconds")
    return visited


def _table(name: str, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    names = _COLUMNS[name]
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return as_table(f"experiment.{name}", dict(zip(names, columns, strict=True)))


READER = Reader(
    "delay_response",
    kind="behavior",
    find=find,
    read=read,
    identify=identify,
    version=2,
    changes={2: "a delay of 1.205 s counts as one of 1.2 s, as published: such trials had light"},
)
