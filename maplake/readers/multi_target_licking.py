"""Multi-target-licking behavior: ``SessionData`` of Bpod, in files named like delay-response ones.

Trials that never started (``MATLABStartTimes`` 0) are left out and the others numbered from 1;
``TrialTypes``, ``TrialSettings``, ``TrialBlockOrder`` and the target matrices still hold all. A
block begins with a trial of order 1, also if that trial itself never started. As published, blocks
in which no trial started keep their number, and ``trial_count`` counts the trials of a block that
started, while those that can be used are counted anew within each block.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
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
from maplake.readers.base import Reader, Records, Skipped
from maplake.readers.bpod import find, identify, is_multi_target_licking
from maplake.readers.rows import as_table
from maplake.tables import get

__all__ = ["READER", "bitcode", "find", "identify", "matches_content", "read"]

TASK = "multi-target-licking"
START_STATE, END_STATE = "TrigTrialStart", "TrialEnd"
CODE_BITS = 10

_CONTENT = frozenset(
    ("SessionData", "SettingsFile", "GUI", "X_center", "Y_center", "Z_center",
     "SamplePeriod", "DelayPeriod")
)  # fmt: skip
_TARGETS = ("trial_type_mat", "X_positions_mat", "Z_positions_mat")
_ORDERED = ("MATLABStartTimes", "TrialBlockOrder")
_FIELDS = (
    *(*_TARGETS, *_ORDERED, START_STATE, END_STATE),
    *("ProtocolType", "Autowater", "NumLicksForReward", "RollDeg", "num_bins"),
)
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
    "mtl_session_block": (
        *("block", "block_start_time", "trial_count", "num_licks_for_reward", "roll_deg"),
        *("position_x_bins", "position_y_bins", "position_z_bins"),
    ),
    "mtl_block_water_port": ("block", "water_port", "position_x", "position_y", "position_z"),
    "mtl_block_trial": ("trial", "block", "block_trial_number"),
}

_Array = np.ndarray[Any, Any]


def matches_content(path: Path) -> bool:
    """Tell whether a file is of this task; its name does not.

    Raises
    ------
    SourceError
        If the file cannot be read.
    """
    data = matlab.load(path, only=_CONTENT).get("SessionData")
    return isinstance(data, dict) and is_multi_target_licking(data)


def bitcode(number: int) -> str:
    """Return the code of a trial by its number in the file: 10 bits, least significant first."""
    return format(number % (1 << CODE_BITS), f"0{CODE_BITS}b")[::-1]


def read(path: Path, context: object = None) -> Records:  # noqa: ARG001 (all readers take one)
    """Read one session.

    Parameters
    ----------
    path
        The ``.mat`` file.
    context
        Not used.

    Returns
    -------
    Records
        Tables ``experiment.*``, times of trials in seconds from the first trial's start, of
        events from their trial's. ``info``: ``bitcodes``, dict of trial to code; ``trial_total``,
        trials that started.

    Raises
    ------
    SourceError
        If the file is missing, unreadable, damaged, of another task or date, or has fields whose
        lengths differ, values that are not finite or targets that do not exist.
    """
    try:
        data = bpod.load(path, _FIELDS)
        if not is_multi_target_licking(data):
            raise FileFormatError(
                "is no session of the multi-target-licking task",
                expected="SettingsFile.GUI with X_center, Y_center, Z_center, without delay",
            )
        return _Builder(_take_apart(data), path).records()
    except SourceError as error:
        error.file = error.file or str(path)
        raise


@dataclass(frozen=True)
class _Session:
    """Fields of the trials that started.

    ``original`` are their numbers in the file, from 1, ``lost`` those of the other trials.
    ``y_center`` counts where a trial's own settings have none.
    """

    bpod: bpod.Session
    original: _Array
    lost: list[int]
    block: _Array
    targets: dict[str, list[Any]]
    y_center: float


def _take_apart(data: dict[str, Any]) -> _Session:
    starts, order = (_vector(data, name) for name in _ORDERED)
    settings = matlab.structs(data.get("TrialSettings", []), "TrialSettings")
    types = _vector(data, "TrialTypes")
    targets = {name: _matrices(data.get(name, []), len(starts)) for name in _TARGETS}
    lengths = {"MATLABStartTimes": len(starts), "TrialBlockOrder": len(order)}
    lengths |= {"TrialTypes": len(types), "TrialSettings": len(settings)}
    lengths |= {name: len(items) for name, items in targets.items()}
    if len(set(lengths.values())) > 1:
        raise LengthMismatchError(
            "the fields of all trials differ in length",
            found=", ".join(f"{name} {length}" for name, length in lengths.items()),
            expected="one length",
        )
    kept = np.flatnonzero(np.nan_to_num(starts) != 0)
    begins = order == 1
    begins[:1] = True  # a session may begin within a block
    if not np.isfinite(order[kept]).all():
        raise CorruptFileError("is not finite", place="TrialBlockOrder")
    changed: dict[str, Any] = {
        "TrialTypes": types[kept],
        "TrialSettings": [settings[i] for i in kept],
    }
    for name in ("StimTrials", "FreeTrials"):
        if name in data and len(values := _vector(data, name)) == len(starts):
            changed[name] = values[kept]
        elif name in data and not len(values):
            del data[name]  # the rig makes the field and never fills it
    gui = data["SettingsFile"]["GUI"]
    return _Session(
        bpod.session(data | changed),
        kept + 1,
        np.setdiff1d(np.arange(1, len(starts) + 1), kept + 1).tolist(),
        np.cumsum(begins)[kept],
        {name: [items[i] for i in kept] for name, items in targets.items()},
        _number(gui, "Y_center", "SettingsFile"),
    )


def _vector(data: dict[str, Any], name: str) -> _Array:
    if name not in data:
        raise FileFormatError("the field is missing", place=f"SessionData.{name}")
    return matlab.vector(data[name], name)


def _matrices(value: Any, count: int) -> list[Any]:
    """Return the matrix of each trial; a single one may have lost the cell that it was in."""
    is_bare = count == 1 and isinstance(value, np.ndarray)
    return [value] if is_bare else matlab.split(value, count)


def _number(gui: dict[str, Any], name: str, place: str) -> float:
    value = matlab.number(gui.get(name), f"{place}, GUI.{name}")
    if value is None:
        raise FileFormatError("the setting is missing", place=f"{place}, GUI.{name}")
    if not np.isfinite(value):
        raise CorruptFileError("is not finite", place=f"{place}, GUI.{name}", found=value)
    return value


class _Builder:
    """Collects the rows of one session."""

    def __init__(self, session: _Session, path: Path) -> None:
        day = identify(path).start.date()
        if session.bpod.start.date() != day:
            raise FileFormatError(
                "the session's date is not that of the file name",
                place="Info.SessionDate",
                found=session.bpod.start.date(),
                expected=day,
            )
        self.session = session
        self.rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.skipped = [
            Skipped("trial of the file", str(number), "never started: MATLABStartTimes is 0")
            for number in session.lost
        ]
        self.blocks: dict[int, tuple[int, float]] = {}  # first trial's place, start in s
        self.counts: dict[int, int] = defaultdict(int)  # of trials that can be used
        if not np.isfinite(session.bpod.trial_start).all():
            raise CorruptFileError("a start is not finite", place="TrialStartTimestamp")

    def records(self) -> Records:
        """Go through the trials and return everything."""
        total = len(self.session.original)
        for place in range(total):
            self._add(place)
        if not self.blocks:
            reason = self.skipped[-1].reason if self.skipped else "there is none"
            raise FileFormatError("no trial can be used", found=reason)
        self._add_blocks()
        start = self.session.bpod.start
        protocols = [row[2] for row in self.rows["behavior_trial"]]
        session = {
            "session_date": [start.date()],
            "session_time": [start.time()],
            "session_datetime": [start],
            "task": [TASK],
            "task_protocol": [Counter(protocols).most_common(1)[0][0]],
            "trial_count": [len(protocols)],
        }
        tables = {f"experiment.{name}": _table(name, self.rows[name]) for name in _COLUMNS}
        tables["experiment.session"] = as_table("experiment.session", session)
        codes = {n: bitcode(original) for n, original in enumerate(self.session.original, 1)}
        return Records(
            tables=tables,
            skipped=self.skipped,
            info={"bitcodes": codes, "trial_total": total},
        )

    def _add(self, place: int) -> None:
        number, session = place + 1, self.session
        where = f"trial {number}"
        visits = {name: self._visits(place, name) for name in (START_STATE, END_STATE)}
        missing = [name for name, rows in visits.items() if not len(rows)]
        if missing:
            reason = f"states missing: {', '.join(missing)}"
            self.skipped.append(Skipped("trial", str(number), reason))
            return
        gui = _settings(session, place, where)
        protocol = int(_number(gui, "ProtocolType", where))
        start = float(session.bpod.trial_start[place] - session.bpod.trial_start[0])
        end = visits[END_STATE]
        auto = matlab.number(gui.get("Autowater"), f"{where}, GUI.Autowater") == 1
        block = int(session.block[place])
        within = self.counts[block] = self.counts[block] + 1
        auto = bool(auto or within == 1)
        free = bool(session.bpod.free[place])
        self.rows["session_trial"].append((number, start, start + float(end[0, 0])))
        self.rows["behavior_trial"].append(
            (number, TASK, protocol, "none", "no early", "N/A", auto, free)
        )
        original = int(session.original[place])
        notes = {"protocol #": protocol, "bitcode": bitcode(original), "original trial": original}
        self.rows["trial_note"] += [(number, kind, str(note)) for kind, note in notes.items()]
        self.rows["trial_event"] += [
            (number, i, "trialend", first, last - first)
            for i, (first, last) in enumerate(end.tolist())
        ]
        self.blocks.setdefault(block, (place, start))
        self.rows["mtl_block_trial"].append((number, block, within))

    def _visits(self, place: int, name: str) -> _Array:
        where = f"trial {place + 1}, States.{name}"
        found: _Array = matlab.rows(
            self.session.bpod.states[place].get(name, np.empty((0, 2))), 2, where
        )
        found = np.asarray(found[~np.isnan(found).all(axis=1)])
        if not np.isfinite(found).all():
            raise CorruptFileError("a time is not finite", place=where)
        return found

    def _add_blocks(self) -> None:
        for block, (place, start) in self.blocks.items():
            where = f"trial {place + 1}"
            gui = _settings(self.session, place, where)
            licks, bins = (int(_number(gui, n, where)) for n in ("NumLicksForReward", "num_bins"))
            roll = _number(gui, "RollDeg", where)
            started = int((self.session.block == block).sum())
            row = (block, start, started, licks, roll, bins, 1, bins)
            self.rows["mtl_session_block"].append(row)
            self.rows["mtl_block_water_port"].append((block, *self._target(place, gui, where)))

    def _target(
        self, place: int, gui: dict[str, Any], where: str
    ) -> tuple[str, float, float, float]:
        """Return the port of a trial, and its position in motor units."""
        kind = self.session.bpod.trial_type[place]
        port = f"mtl-{kind:g}"
        if port not in get("experiment.mtl_block_water_port").column("water_port").values:
            raise UnknownValueError(
                "there is no such target", place=f"{where}, TrialTypes", found=f"{kind:g}"
            )
        types, x, z = (
            matlab.vector(self.session.targets[name][place], f"{where}, {name}")
            for name in _TARGETS
        )
        match = np.flatnonzero(types == kind)
        if not len(types) == len(x) == len(z):
            raise LengthMismatchError(
                "the matrices of targets differ in size",
                place=where,
                found=f"{len(types)}, {len(x)} and {len(z)}",
            )
        if not match.size or not np.isfinite([x[match[0]], z[match[0]]]).all():
            raise CorruptFileError(
                "the target has no position", place=f"{where}, trial_type_mat", found=f"{kind:g}"
            )
        y = _number(gui, "Y_center", where) if "Y_center" in gui else self.session.y_center
        return port, float(x[match[0]]), y, float(z[match[0]])


def _settings(session: _Session, place: int, where: str) -> dict[str, Any]:
    gui = session.bpod.settings[place].get("GUI")
    if not isinstance(gui, dict):
        raise FileFormatError("the settings are missing", place=f"{where}, TrialSettings.GUI")
    return gui


def _table(name: str, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    names = _COLUMNS[name]
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return as_table(f"experiment.{name}", dict(zip(names, columns, strict=True)))


READER = Reader(
    "multi_target_licking",
    kind="behavior",
    find=find,
    read=read,
    identify=identify,
    priority=-1,
    recognise=matches_content,
    version=4,
    changes={
        2: "blocks keep their numbers and trials count anew within each, the first trial of a "
        "block that started has auto water, ports are at the trial's own Y_center",
        3: "a block's trial_count has its trials without end, too, as published",
        4: "a session that mixes protocols has that of most of its trials",
    },
)
