"""One case of the crash harness: a lake, a command, a fault, and what must be true after it."""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import pkgutil
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import Any

if not find_spec("maplake"):  # run from a checkout that is not installed
    sys.path.append(str(Path(__file__).resolve().parents[1]))

import crash_commands
import power
from crash_commands import Command
from crash_state import State, data_of, reads_whole, state_of, views_agree
from faults import WORKERS, Decide, Op, Run, watch

CLI = "maplake_cli" if find_spec("maplake_cli") else "cli"

#: What is done at a call, by the name of the fault; and at which kinds of calls.
FAULTS: dict[str, tuple[str | int, tuple[str, ...]]] = {
    "kill": ("kill", ()),
    "torn write": ("torn", ("write",)),
    "torn journal": ("kill", ()),
    "ENOSPC": (errno.ENOSPC, ("write", "open", "sync", "rename", "mkdir", "truncate")),
    "ENOSPC from there on": (errno.ENOSPC, ("write", "open", "mkdir", "truncate")),
    "EIO on write": (errno.EIO, ("write",)),
    "EIO on fsync": (errno.EIO, ("sync",)),
    "EROFS from there on": (
        errno.EROFS,
        ("write", "open", "rename", "mkdir", "remove", "truncate", "link"),
    ),
}
POWER = "power cut"
#: The process is killed as soon as a commit is decided, and the end of its record is lost.
JOURNAL = "torn journal"
KILLS = {"kill", "torn write", JOURNAL}
_LASTING = {"ENOSPC from there on", "EROFS from there on"}
_MAY_EXIT = {0, 5}


def warm_up() -> None:
    """Import everything, so that forks need not."""
    for name in ("maplake", CLI):
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not found.name.endswith("__main__"):
                with suppress(ImportError):  # of an optional library
                    importlib.import_module(found.name)
    for name in ("duckdb", "polars", "pyarrow.parquet", "pyarrow.dataset", "scipy.io", "zarr"):
        importlib.import_module(name)


def forked(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns in a fork of this process (JSON); what it raises is raised."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with tempfile.TemporaryFile() as answer, Path(os.devnull).open("wb") as nowhere:
        child = os.fork()
        if not child:
            os.dup2(nowhere.fileno(), 1)
            try:
                found = {"value": work()}
            except BaseException as error:
                found = {"error": f"{type(error).__name__}: {error}"}
            answer.write(json.dumps(found).encode())
            answer.flush()
            os._exit(0)
        os.waitpid(child, 0)
        answer.seek(0)
        found = json.loads(answer.read() or b'{"error": "the checking process died"}')
    if "error" in found:
        raise AssertionError(found["error"])
    return found["value"]


def maplake(folder: Path, *arguments: str) -> int:
    """Run the command line in this process, which is a fork; return the exit code."""
    main = importlib.import_module(f"{CLI}.main").main
    os.chdir(folder)
    sys.argv = ["maplake", "--quiet", "--debug", "--config", str(folder / "lake.toml"), *arguments]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@dataclass
class Failure:
    """What went wrong in one case."""

    command: str
    fault: str
    op: str
    message: str


def _is_decision(op: Op) -> bool:
    """Whether a call decides a commit."""
    return op.kind == "rename" and op.other.startswith(".maplake/journal/")


def _is_of_journal(op: Op) -> bool:
    return op.path.endswith(".journal") or ".maplake/journal" in (op.path, op.other[:16])


@dataclass
class Bench:
    """A command's lab and lake, kept to start each case from.

    Attributes
    ----------
    name, command
        Which.
    folder
        Its lab; the lake is in it.
    states
        What the lake holds after each commit of an undisturbed run.
    ops
        The calls of that run.
    is_hit
        Whether the last case came to its fault.
    """

    name: str
    command: Command
    folder: Path
    states: list[State] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    is_hit: bool = False

    @property
    def root(self) -> Path:
        return self.folder / "lake"

    @property
    def kept(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.kept")

    def arguments(self) -> list[str]:
        if "{archived}" not in self.command.arguments:
            return list(self.command.arguments)
        path = next((self.root / "arrays").rglob("archive/*.zarr"))
        return [a.format(archived=path.stem) for a in self.command.arguments]

    def prepare(self) -> None:
        """Write the lab, bring the lake to where the command begins, and run it undisturbed."""

        def work() -> None:
            crash_commands.make_lab(self.folder)
            self.command.before(self.folder, lambda *a: forked(lambda: maplake(self.folder, *a)))

        forked(work)
        self.kept.mkdir()
        if self.root.exists():
            shutil.copytree(self.root, self.kept / "lake")
        arguments = self.arguments()
        self.states = [state_of(self.root)]

        def look(op: Op) -> None:
            if op.kind == "rename" and op.other.startswith(".maplake/log/"):
                self.states.append(state_of(self.root))

        run = self._watched(arguments, look)
        if run.code:
            raise RuntimeError(f"{self.name}: {run.text}")
        self.ops = run.ops
        end = state_of(self.root)
        self.restart()
        for others in permutations(self.command.also) if self.command.also else ():
            for other in others:
                watch(lambda other=other: maplake(self.folder, *other), self.root, look)
            if state_of(self.root) != end:
                raise AssertionError(f"{self.name}: {others} end elsewhere")
            self.restart()
        self.states.append(end)
        if run.outside:
            raise AssertionError(f"{self.name} writes outside the lake: {sorted(run.outside)}")

    def restart(self) -> None:
        """Put the lake back to where the command begins."""
        shutil.rmtree(self.root, ignore_errors=True)
        if (self.kept / "lake").exists():
            shutil.copytree(self.kept / "lake", self.root)

    def failure(self, fault: str, number: int, error: AssertionError) -> Failure:
        """Return what is told of a case that failed."""
        op = self.ops[number - 1]
        where = f"{number} {op.kind} {op.path} {op.other}".strip()
        return Failure(self.name, fault, where, str(error))

    def points(self, fault: str) -> list[int]:
        """Return the numbers of the calls at which a fault changes anything.

        Of the writes to one file in a row, the first and the last are taken.
        """
        if fault == JOURNAL:
            return [op.number + 1 for op in self.ops if _is_decision(op)]
        kinds = FAULTS[fault][1]
        chosen = []
        for place, op in enumerate(self.ops):
            inner = all(
                0 <= n < len(self.ops)
                and (self.ops[n].kind, self.ops[n].path) == (op.kind, op.path)
                for n in (place - 1, place + 1)
            )
            if not (op.kind == "write" and inner) and (not kinds or op.kind in kinds):
                chosen.append(op.number)
        return chosen

    def sample(self, numbers: list[int], most: int | None, seed: str = "") -> list[int]:
        """Return at most so many calls: half of them at what is visible, half at what is staged.

        They are spread evenly, and with a seed drawn from even shares; one of them at least is at
        the record of a commit.
        """
        draw = random.Random(seed)  # noqa: S311 - to try others than last time
        staged = ".maplake/staging/"
        inside = [n for n in numbers if self.ops[n - 1].path.startswith(staged)
                  and self.ops[n - 1].kind != "rename"]  # fmt: skip
        outside = sorted(set(numbers) - set(inside))
        if most is None or len(numbers) <= most:
            return numbers
        few = min(len(inside), len(outside), most // 2)
        shares = (few, most - few) if len(inside) < len(outside) else (most - few, few)
        chosen = {
            part[int((i + (draw.random() if seed else 0)) * len(part) / share)]
            for part, share in zip((inside, outside), shares, strict=True)
            for i in range(share)
        }
        decisive = [n for n in numbers if _is_of_journal(self.ops[n - 1])]
        if decisive and not chosen.intersection(decisive):
            chosen = {*sorted(chosen)[1:], decisive[len(decisive) // 2]}
        return sorted(chosen)

    def case(self, fault: str, number: int) -> Run:
        """Run the command with a fault at one call."""
        self.restart()
        arguments = self.arguments()
        action = FAULTS[fault][0]
        kinds = FAULTS[fault][1]
        self.is_hit = False

        def decide(op: Op) -> str | int | None:
            later = fault in _LASTING and op.number > number and op.kind in kinds
            self.is_hit |= op.number == number
            return action if op.number == number or later else None

        decide_on = self._after_decision(number) if fault == JOURNAL else decide
        run = self._watched(arguments, decide_on)
        if fault == JOURNAL:
            for record in (self.root / ".maplake" / "journal").glob("*.json"):
                os.truncate(record, record.stat().st_size * (number % 3) // 3)
        return run

    def _after_decision(self, number: int) -> Decide:
        """Kill right after a commit was decided, before its record is surely on the disk.

        One run makes a few calls more than another, as locks are signed again while time goes by:
        a call's number alone may lie amid what the commit carries out, when the record is safe.
        """
        left = self.points(JOURNAL).index(number) + 1

        def decide(op: Op) -> str | None:
            nonlocal left
            if left == 0 and not self.is_hit:
                self.is_hit = True
                return "kill"
            left -= _is_decision(op)
            return None

        return decide

    def cut(self, numbers: set[int], folder: Path) -> Iterator[tuple[int, str, Path]]:
        """Run the command once; yield what power cuts before some calls leave of the lake."""
        self.restart()
        arguments = self.arguments()
        disk = power.Disk(self.root)
        found = []

        def look(op: Op) -> None:
            if op.number in numbers:
                for kind in power.IMAGES:
                    target = folder / f"{op.number}-{kind}"
                    disk.image(kind, target)
                    found.append((op.number, kind, target))
            disk.follow(op)

        self._watched(arguments, look)
        yield from found

    def _watched(self, arguments: list[str], decide: Decide) -> Run:
        work = lambda: maplake(self.folder, *arguments)  # noqa: E731
        return watch(work, self.root, decide, self.command.whose)

    def verify(self, run: Run, fault: str, number: int) -> None:
        """See that the lake is as it was before or after; raise AssertionError if not."""
        if fault not in KILLS:
            self._told(run, _MAY_EXIT)
        elif self.command.whose == WORKERS:  # another one does its task
            self._told(run, {0})
        self.recovers(reader_first=number % 2 == 0)

    def _told(self, run: Run, may_exit: set[int]) -> None:
        if run.code not in may_exit:
            raise AssertionError(f"exit code {run.code}: {run.text[-3500:]}")
        if run.code == 0 and data_of(state_of(self.root)) != data_of(self.states[-1]):
            raise AssertionError(f"exit code 0, but it is not done: {run.text[-300:]}")
        if run.code and "lake" not in run.text:
            raise AssertionError(f"exit code {run.code} without a word: {run.text[-300:]}")

    def recovers(self, *, reader_first: bool) -> None:
        """Open the lake as a reader and as a writer; compare it with what it may be."""
        before = self._fingerprint()
        is_decided = any((self.root / ".maplake" / "journal").glob("*"))
        if (
            before in self.seen and not is_decided
        ):  # differs from a case before by what was staged alone
            forked(lambda: self._open("nobody"))
            self._is_tidy()
            if self._fingerprint() != before:
                raise AssertionError("clearing up changes the lake")
            return
        for who in ("reader", "writer") if reader_first else ("writer", "reader"):
            forked(lambda who=who: self._open(who))
        found = state_of(self.root)
        self._is_legal(found)
        self._is_tidy()
        digest = hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()
        if digest not in self.seen:
            forked(lambda: reads_whole(self.root))
            self._again(found)
            self.seen.add(digest)
        self.seen.add(before)

    def _is_tidy(self) -> None:
        """See that nothing stays staged; who died signing a lock counts as alive for 2 s."""
        staging = self.root / ".maplake" / "staging"
        for pause in (0.0, 2.5):
            if not any(staging.glob("*")):
                return
            time.sleep(pause)
            forked(lambda: self._open("nobody"))
        left = [p.name for p in staging.glob("*")]
        if left:
            raise AssertionError(f"left in staging: {left}")

    def _fingerprint(self) -> str:
        """Return a hash of everything but what is staged and logged."""
        lake = self.root / ".maplake"
        paths = [*(self.root / "lake.duckdb", self.root / "views.sql"), *lake.glob("journal/*")]
        rest = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths if p.exists()}
        return hashlib.sha256(
            json.dumps([state_of(self.root), rest], sort_keys=True).encode()
        ).hexdigest()

    def _open(self, who: str) -> None:
        import maplake as library

        if who == "nobody":
            from maplake.layout import Layout
            from maplake.writers.commit import recover
            from maplake.writers.lock import write_lock

            with write_lock(self.root):
                recover(Layout(self.root))
            return
        if who == "writer":
            code = maplake(self.folder, "init")
            if code:
                raise AssertionError(f"the next writer ends with {code}")
            views_agree(self.root)
            return
        existed = (self.root / ".maplake" / "format.json").exists()
        if not existed:
            return
        for _ in range(2):
            with library.open(self.root) as lake:
                lake.sessions()
            if not self._is_unsigned():
                break
            time.sleep(2.5)  # who died signing a lock counts as alive for 2 s
        self._is_legal(state_of(self.root))
        if (self.root / "lake.duckdb").exists():
            views_agree(self.root)

    def _is_unsigned(self) -> bool:
        try:
            json.loads((self.root / ".maplake" / "lock.json").read_bytes())
        except FileNotFoundError:
            return False
        except ValueError:
            return True
        return False

    def _is_legal(self, found: State) -> None:
        data = data_of(found)
        first = data_of(self.states[0])
        if not first and all(p.startswith("tables/") for p in data) and not data:
            return
        legal = [data_of(state) for state in self.states]
        # A writer that finds no lake makes one.
        if data not in legal and not (not first and self._is_new(data)):
            near = min(legal, key=lambda s: len(set(s.items()) ^ set(data.items())))
            odd = sorted({p for p, _ in set(near.items()) ^ set(data.items())})
            raise AssertionError(f"neither before nor after: {odd[:6]} of {len(odd)}")
        numbers = ".maplake/sessions.json"
        if found.get(numbers) not in {state.get(numbers) for state in self.states}:
            raise AssertionError("the registry of session numbers is neither old nor new")

    def _is_new(self, data: State) -> bool:
        return data == data_of(self.states[1])

    def _again(self, found: State) -> None:
        """Give the command again: it must end where the undisturbed run did."""
        done = data_of(found) == data_of(self.states[-1])
        if done and not self.command.again:
            return
        arguments = self.arguments()
        code = forked(lambda: maplake(self.folder, *arguments))
        if code:
            raise AssertionError(f"given again, it ends with {code}")
        if state_of(self.root) != self.states[-1]:
            odd = sorted({p for p, _ in set(state_of(self.root).items())
                          ^ set(self.states[-1].items())})  # fmt: skip
            raise AssertionError(f"given again, it ends elsewhere: {odd[:6]} of {len(odd)}")
        for lake in (self.root, *self.root.glob(".maplake/snapshots/*/lake")):
            forked(lambda lake=lake: views_agree(lake))
