"""Foraging sessions as pybpod writes them, with the truth about every trial."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ForagingOptions", "ForagingSession", "ForagingTrial", "simulate_foraging"]

_LETTERS = {"left": "L", "right": "R", "middle": "M"}
_PC_LAG = 0.004  # s by which the computer's clock lags behind bpod
_TICKS = 10_000  # per s: bpod's clock
_EXIT = "exit"
_BETWEEN = timedelta(seconds=0.05)  # from the end of a trial to the start of the next one


@dataclass(frozen=True, kw_only=True)
class ForagingOptions:
    """How the rig is set up.

    ``print_first`` = newer protocols, which print block and bitcode before a trial runs; older ones
    print the block after it, and no bitcode. ``quoted`` False leaves out the quote rule. ``no_go``
    are the places, from 1, of trials without a go cue: not even one that was not reached.
    """

    trials: int = 30
    blocks: int = 4
    ports: int = 2
    experiment: str = "Foraging_homecage"
    setup: str = "Tower-2"
    username: str = "Han"
    print_first: bool = True
    quoted: bool = True
    no_go: tuple[int, ...] = ()
    update_at: int = 12
    noise_lines: bool = False
    extra_events: int = 0


@dataclass(frozen=True)
class ForagingTrial:
    """A trial as it is true; times of events in s from its start.

    It is over at ``ended``, and lasts until ``stop``: the next one's start, or the end of the file.
    """

    start: datetime
    ended: datetime
    stop: datetime
    bitcode: str
    block: int
    has_go: bool
    choice: str | None
    outcome: str
    early: bool
    auto_water: tuple[str, ...]
    licks: list[tuple[float, str]]
    events: list[tuple[float, str, float]]
    open_duration: dict[str, float]
    motors: tuple[float, float, float]
    available: dict[str, bool]


@dataclass
class ForagingSession:
    """A bpod session: its file, and what is in it."""

    h2o: str
    username: str
    path: Path
    ports: tuple[str, ...]
    probabilities: dict[str, list[float]]
    seed: int
    trials: list[ForagingTrial] = field(default_factory=list)

    @property
    def kept(self) -> list[ForagingTrial]:
        """Trials with a go cue."""
        return [trial for trial in self.trials if trial.has_go]


def simulate_foraging(
    project: Path,
    h2o: str,
    start: datetime,
    options: ForagingOptions | None = None,
    seed: int = 0,
) -> ForagingSession:
    """Write a bpod session below a pybpod project's folder."""
    options = options or ForagingOptions()
    rng = np.random.default_rng(seed)
    name = f"{start:%Y%m%d-%H%M%S}"
    folder = project / "experiments" / options.experiment / "setups" / options.setup / "sessions"
    ports = ("left", "right", "middle")[: options.ports]
    probabilities = {
        port: [round(float(p), 3) for p in rng.permutation(options.blocks) / 10 + 0.05]
        for port in ports
    }
    session = ForagingSession(
        h2o, options.username, folder / name / f"{name}.csv", ports, probabilities, seed + 17
    )
    clock = start + timedelta(seconds=2, microseconds=int(rng.integers(1, 999_999)))
    available = dict.fromkeys(ports, False)
    for place in range(options.trials):
        trial, available = _trial(rng, options, session, place, clock, available)
        session.trials.append(trial)
        clock = trial.stop
    _write(session, start, options)
    return session


def _trial(
    rng: np.random.Generator,
    options: ForagingOptions,
    session: ForagingSession,
    place: int,
    start: datetime,
    available: dict[str, bool],
) -> tuple[ForagingTrial, dict[str, bool]]:
    ports = session.ports
    has_go = place + 1 not in options.no_go
    go = _ticks(rng.uniform(0.4, 1.5))
    choice = str(rng.choice([*ports, ""], p=[0.85 / len(ports)] * len(ports) + [0.15])) or None
    choice = choice if has_go else None
    early = bool(rng.random() < 0.2)
    hit = choice is not None and bool(rng.random() < 0.5)
    licks, events, end = _course(rng, choice, early, hit, go, has_go)
    watered = tuple(port for port in ports if rng.random() < 0.1)
    for extra in range(options.extra_events):
        licks.append((_ticks(end + 0.001 * extra), ports[extra % len(ports)]))
    ended = start + timedelta(seconds=round(end + 1.0, 4))
    left = {p: (not (hit and p == choice)) and bool(rng.random() < 0.4) for p in ports}
    trial = ForagingTrial(
        start=start,
        ended=ended,
        stop=ended if place + 1 == options.trials else ended + _BETWEEN,
        bitcode="".join(map(str, rng.integers(0, 2, 20))),
        block=min(place * options.blocks // options.trials, options.blocks - 1) + 1,
        has_go=has_go,
        choice=choice,
        outcome="ignore" if choice is None else "hit" if hit else "miss",
        early=early,
        auto_water=watered,
        licks=sorted(licks),
        events=sorted(events),
        open_duration=dict.fromkeys(ports, 0.04 if place < options.update_at else 0.055),
        motors=(float(200_000 + place), 150_000.0, 0.0),
        available=dict(available),
    )
    return trial, left


def _ticks(time: float) -> float:
    return round(time * _TICKS) / _TICKS


def _course(
    rng: np.random.Generator, choice: str | None, early: bool, hit: bool, go: float, has_go: bool
) -> tuple[list[tuple[float, str]], list[tuple[float, str, float]], float]:
    """Return licks, states that are events (time, state, duration), and the end."""
    licks = [(_ticks(go / 2), "left")] if early else []
    events = [(0.1, "Start", 0.03), (0.2, "DelayStart", _ticks(go - 0.2))]
    end = _ticks(go + 2.0)
    if has_go:
        events.append((go, "GoCue", 0.01))
    if choice:
        answer = _ticks(go + rng.uniform(0.05, 0.5))
        licks += [(answer, choice), (_ticks(answer + 0.15), choice)]
        events.append((answer, f"Choice_{_LETTERS[choice]}", 0.0))
        if hit:
            events.append((_ticks(answer + 0.0001), f"Reward_{_LETTERS[choice]}", 0.04))
        if rng.random() < 0.2:
            events.append((_ticks(answer + 0.5), "Double_dipped", 0.0))
    events += [(end, "ITI", 0.01), (_ticks(end + 0.5), "ITIAfterVideoOff", 0.5)]
    return licks, events, end


class _Writer:
    """Rows of a pybpod file; the computer's clock has microseconds, left out when they are 0."""

    def __init__(self, out: Any, quoted: bool) -> None:
        self._csv = (
            csv.writer(out, delimiter=";", lineterminator="\n", quotechar="|")
            if quoted
            else csv.writer(
                out, delimiter=";", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
            )
        )

    def row(self, kind: str, time: datetime | None, *cells: object) -> None:
        first, last, msg, info = (*cells, "", "", "", "")[:4]
        self._csv.writerow([kind, "" if time is None else str(time), first, last, msg, info])

    def plain(self, *cells: object) -> None:
        self._csv.writerow(cells)

    def printed(self, time: datetime, *texts: object) -> None:
        """Write what ``print`` of several values leaves: a row each."""
        for text in texts:
            self.row("stdout", time, "", "", str(text))


def _write(session: ForagingSession, start: datetime, options: ForagingOptions) -> None:
    session.path.parent.mkdir(parents=True, exist_ok=True)
    with session.path.open("w", encoding="utf-8", newline="") as out:
        writer = _Writer(out, options.quoted)
        _write_head(writer, session, start, options)
        for place, trial in enumerate(session.trials):
            _write_trial(writer, session, options, place, trial)
            if options.noise_lines and options.quoted:
                writer.printed(trial.ended, "\n")
                out.write("During handling of the above exception, another exception occurred:\n")
                out.write("|\n")
        writer.row("INFO", session.trials[-1].ended, "", "", "SESSION-ENDED", start)


def _write_head(
    writer: _Writer, session: ForagingSession, start: datetime, options: ForagingOptions
) -> None:
    writer.plain("__UUID4__", "c0ffee00-0000-4000-8000-000000000000")
    writer.plain("__CREATED-ON__", str(start))
    writer.plain("__DEF-URL__", "http://pybpod-api.readthedocs.org")
    writer.plain("__DEF-TEXT__", "This file contains data recorded during a session")
    writer.plain("__SOFTWARE__", "PyBpod API v1.8.1")
    writer.plain("__HAS-HEADER__", "")
    writer.plain("TYPE", "PC-TIME", "BPOD-INITIAL-TIME", "BPOD-FINAL-TIME", "MSG", "+INFO")
    facts = {
        "BPOD-API-VERSION": "1.8.1",
        "SESSION-NAME": session.path.stem,
        "SESSION-STARTED": start,
        "PROTOCOL-NAME": "foraging_bari_cohen",
        "CREATOR-NAME": f'["{session.username}"]',
        "PROJECT-NAME": "Foraging",
        "EXPERIMENT-NAME": options.experiment,
        "BOARD-NAME": "Board 1",
        "SETUP-NAME": options.setup,
        "SUBJECT-NAME": f"['{session.h2o}', 'b0a7', 'Mouse']",
    }
    for name, value in facts.items():
        writer.row("INFO", start, "", "", name, value)
    writer.printed(start, "Random seed:", session.seed, "Variables:", _variables(session, 0.04))


def _variables(session: ForagingSession, open_time: float) -> dict[str, Any]:
    found: dict[str, Any] = {"lickport_number": len(session.ports), "accumulate_reward": True}
    for number, port in enumerate(session.ports, start=1):
        letter = _LETTERS[port]
        found[f"WaterPort_{letter}_ch_in"] = f"Port{number}In"
        found[f"ValveOpenTime_{letter}"] = open_time
        found[f"reward_probabilities_{letter}"] = session.probabilities[port]
    return found


def _write_trial(
    writer: _Writer,
    session: ForagingSession,
    options: ForagingOptions,
    place: int,
    trial: ForagingTrial,
) -> None:
    before = trial.start - timedelta(seconds=0.02)
    if place == options.update_at:
        writer.printed(before, "Variables updated:", _variables(session, 0.055))
    if options.print_first:
        writer.printed(before, "Blocknumber:", trial.block, "Trialnumber:", place + 1)
        writer.printed(before, "TrialBitCode: ", trial.bitcode)
    writer.row("TRIAL", trial.start, "", "", "New trial", "")
    _write_live(writer, session, trial)
    writer.row("END-TRIAL", trial.ended, "", "", "The trial ended", "")
    length = (trial.ended - trial.start).total_seconds()
    writer.row("INFO", trial.ended, "", "", "TRIAL-BPOD-TIME", length)
    _write_states(writer, trial)
    if not options.print_first:
        writer.printed(trial.ended, "Blocknumber:", trial.block, "Trialnumber:", place + 1)
    following = session.trials[place + 1 : place + 2]
    left = following[0].available if following else dict.fromkeys(session.ports, False)
    for port in session.ports:
        writer.printed(trial.ended, f"reward_{_LETTERS[port]}_accumulated:", left[port])
    names = ("LickPort_Lateral_pos", "LickPort_RostroCaudal_pos", "LickPort_DorsoVentral_pos")
    motors = dict(zip(names, map(int, trial.motors), strict=True))
    writer.printed(trial.ended, "LickportMotors:", motors)


def _write_live(writer: _Writer, session: ForagingSession, trial: ForagingTrial) -> None:
    rows: list[tuple[float, str, tuple[object, ...]]] = []
    for time, port in trial.licks:
        number = session.ports.index(port) + 1
        rows.append((time, "EVENT", (time, "", 2 * number, f"Port{number}In")))
        rows.append((time + 0.01, "EVENT", (round(time + 0.01, 4), "", 2 * number + 1, "Out")))
    rows += [(time, "TRANSITION", (time, "", state)) for time, state, _ in trial.events]
    rows.append((1e6, "TRANSITION", ("", "", "End")))
    for time, kind, cells in sorted(rows, key=lambda row: row[0]):
        length = (trial.ended - trial.start).total_seconds()
        lag = min(time + _PC_LAG, length)
        writer.row(kind, trial.start + timedelta(seconds=round(lag, 6)), *cells)


def _write_states(writer: _Writer, trial: ForagingTrial) -> None:
    visited = [(state, time, duration) for time, state, duration in trial.events]
    visited += [(f"Auto_Water_{_LETTERS[port]}", 0.35, 0.04) for port in trial.auto_water]
    for state, time, duration in visited:
        writer.row("STATE", trial.ended, time, time + duration, state, duration)
    seen = {state for state, _, _ in visited} | (set() if trial.has_go else {"GoCue"})
    states = [f"{s}_{x}" for s in ("Choice", "Reward", "Auto_Water") for x in _LETTERS.values()]
    for state in (*states, "GoCue", "ITIBeforeVideoOn", "Double_dipped", _EXIT):
        if state not in seen:
            writer.row("STATE", trial.ended, "nan", "nan", state, "nan")


def concatenated(sessions: Sequence[ForagingSession]) -> list[ForagingTrial]:
    """Return the trials, with go cue, of all bpod sessions of a day in their order."""
    ordered = sorted(sessions, key=lambda session: session.path.stem)
    return [trial for session in ordered for trial in session.kept]
