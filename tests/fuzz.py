"""Damages files of every format, and lakes, and sees that each is read or refused in good order.

``python tests/fuzz.py --report docs/fuzz.json --page docs/reliability.md`` does 24,000 cases over
all formats; given again it goes on where it was stopped (``--seconds`` stops it), and with another
``--seed`` or more ``--cases`` it goes further. ``--target`` names one format; what fails is kept
below ``--keep``. With the environment variable MAPLAKE_TEST_DATA, files of real rigs are damaged as
well. Cases follow from seed, format and number alone.

Each case is read in a process of its own kind, which ends after 10 s of its own time, after 60 s
by the clock, or at 2 GB more memory than it began with. Outcomes: ``rows``, ``skip`` (rows, and
records of what was left out), ``error`` (a maplake error), and failures: ``raised`` (another
exception), ``slow``, ``memory``, ``died`` (the process ended), ``warned`` (a value went wrong
silently, or a file stayed open), ``executed`` or ``wrote`` (outside of the lake; see
fuzz_guard.py), ``seed`` (a whole file was not read).
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

if not find_spec("maplake"):  # run from a checkout that is not installed
    sys.path.append(str(Path(__file__).resolve().parents[1]))

LIMIT_S = 10.0
#: How many times as long a case may take by the clock, on a machine that is busy with others.
WAITING = 6
LIMIT_BYTES = 2 << 30
_MEMORY = Path("/proc/self/statm")  # Linux
FAILURES = ("raised", "slow", "memory", "died", "warned", "executed", "wrote", "seed")
#: Cases that a process does in a row.
_RANGE = 50
#: How much larger a share of the cases a format gets.
_SHARES = {"kilosort": 2.0, "delay_response": 1.5, "lake_ingest": 0.4, "lake_write": 0.6,
           "lake_check": 0.6, "lake_query": 1.5, "lake_status": 0.6}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a case: see the top of this module."""

    target: str
    number: int
    kind: str
    detail: str = ""

    @property
    def failed(self) -> bool:
        return self.kind in FAILURES


# --------------------------------------------------------------------------- the child's side


def _limit_memory(*, for_lakes: bool) -> None:
    """Limit what this process may address; DuckDB reserves much that it never uses."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = int(_MEMORY.read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + LIMIT_BYTES * (6 if for_lakes else 1)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _peak() -> int:
    """Return the most memory that this process has had (bytes), 0 if that is unknown."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _serve() -> None:
    """Read cases (a line of JSON each: target, folder, entry), answer with kind and detail."""
    import fuzz_lake
    from fuzz_guard import Guard
    from fuzz_targets import TARGETS

    # What libraries print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    guard, base = Guard(), 0
    for line in sys.stdin:
        name, folder, entry = json.loads(line)
        # The first case of all tells that imports and threads are there; then memory is limited.
        if name == "limit":
            base = _peak()
            if _MEMORY.exists():
                _limit_memory(for_lakes=bool(entry))
            answer = ("rows", "")
        elif name == "settle":
            fuzz_lake.settle(Path(folder))
            answer = ("rows", "")
        else:
            answer = _case(guard, TARGETS[name], Path(folder), Path(entry))
            if base and _peak() > base + LIMIT_BYTES:
                answer, base = ("memory", f"{_peak() - base:,} bytes"), 0
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _case(guard: Any, target: Any, folder: Path, entry: Path) -> tuple[str, str]:
    lake = folder / "lake" if target.in_lake else None
    before = _listing(folder, lake)
    with guard.watching(folder, lake):
        answer = _read(target, entry)
    if _listing(folder, lake) != before:
        return ("wrote", str(folder))
    if guard.wrote or guard.executed:
        return ("executed" if guard.executed else "wrote", f"{guard.executed} {guard.wrote}")
    if leftover := [*Path(tempfile.gettempdir()).iterdir()]:
        for path in leftover:
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
        return ("wrote", f"{leftover} stayed in the temporary folder; {answer}")
    return answer


def _listing(folder: Path, lake: Path | None) -> list[tuple[str, int]]:
    """Return every file beside the lake, if there is one, and of the folder above."""
    inside = [] if lake is not None else [*folder.rglob("*")]
    beside = [p for p in folder.glob("*") if lake is not None and p != lake]
    above = [*folder.parent.glob("*")] if lake is None else []
    return sorted((str(p), p.lstat().st_mtime_ns if p not in above else 0)
                  for p in [*inside, *beside, *above])  # fmt: skip


def _read(target: Any, path: Path) -> tuple[str, str]:
    from fuzz_mutate import CANARY

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = target.read(path)
            answer = ("skip" if getattr(found, "skipped", None) else "rows", "")
        except target.refuses as error:
            text = f"{type(error).__name__}: {error}"
            answer = ("memory" if _wants_memory(text) else "error", text)
        except BaseException:
            answer = ("raised", traceback.format_exc())
    if Path(CANARY).exists():
        Path(CANARY).rmdir()
        return ("executed", CANARY)
    # A warning on the way to an error does no harm; beside rows, a value went wrong unseen.
    for one in caught:
        if answer[0] in ("rows", "skip") or issubclass(one.category, ResourceWarning):
            place = f"{one.filename}:{one.lineno}"
            return ("warned", f"{one.category.__name__}: {one.message} at {place}; {answer}")
    return answer


def _wants_memory(text: str) -> bool:
    return "MemoryError" in text or "Unable to allocate" in text


# -------------------------------------------------------------------------- the parent's side


class Child:
    """A process that reads one case after the other, and is replaced when it ends."""

    command = (sys.executable, str(Path(__file__).resolve()), "--serve")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        here = Path(__file__).resolve().parent
        paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
        scratch = self.folder / f"tmp-{os.getpid()}"
        scratch.mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(scratch),
                       "PYTHONDONTWRITEBYTECODE": "1", "POLARS_MAX_THREADS": "2",
                       "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            encoding="utf-8", cwd=self.folder, env=environment,
        )  # fmt: skip
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        threading.Thread(target=self._drain, args=(process,), daemon=True).start()
        self.last_words: list[str] = []
        return process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self.answers.put(line)
        self.answers.put("")

    def _drain(self, process: subprocess.Popen[str]) -> None:
        for line in process.stderr or ():
            self.last_words = [*self.last_words[-5:], line]

    def ask(self, target: str, folder: Path, entry: Path | str, limit: float) -> tuple[str, str]:
        """Let one case be read."""
        if self.process is None:
            self.process = self._start()
        if self.process.stdin is None:
            raise RuntimeError("no way to talk to the process")
        self.process.stdin.write(json.dumps([target, str(folder), str(entry)]) + "\n")
        self.process.stdin.flush()
        line, why = self._answer(limit)
        if line is None:
            self.stop()
            return ("slow", why)
        if not line:
            words = "".join(self.last_words)
            self.stop()
            return ("died", words)
        kind, detail = json.loads(line)
        return (kind, detail)

    def _answer(self, limit: float) -> tuple[str | None, str]:
        """Wait for an answer; None and the reason if there is none.

        Where the processor is shared, the process's own time counts. One that sleeps, or waits for
        a lock, spends none: for that there is a limit by the clock.
        """
        begin, spent = time.monotonic(), self._processor_time()
        while True:
            try:
                return self.answers.get(timeout=limit), ""
            except queue.Empty:
                if self._processor_time() - spent >= 0.9 * limit or not spent:
                    return None, f"over {limit:g} s"
                if time.monotonic() - begin >= WAITING * limit:
                    return None, f"over {WAITING * limit:g} s by the clock"

    def _processor_time(self) -> float:
        """Return the seconds that the process has run; 0 if that is unknown."""
        try:
            text = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
            user, system = text.rpartition(")")[2].split()[11:13]
            return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        except (OSError, AttributeError, ValueError):
            return 0.0

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def search(
    folder: Path, names: list[str], cases: int, seed: int = 0, keep: Path | None = None
) -> Iterator[Outcome]:
    """Read every seed whole, then ``cases`` damaged ones, of each named target."""
    bench = Bench(folder, seed, keep)
    try:
        for name in names:
            for number in range(-len(bench.seeds(name)), cases):
                yield bench.case(name, number)
    finally:
        bench.close()


class Bench:
    """Damages seeds, which lie below ``folder``, and has them read, one after the other."""

    def __init__(self, folder: Path, seed: int = 0, keep: Path | None = None) -> None:
        self.folder, self.seed, self.keep = folder, seed, keep
        self._children = {False: Child(folder), True: Child(folder)}  # lakes have one of their own
        self._lake: Any = None

    def seeds(self, name: str) -> list[Path]:
        """Return the seeds of a target."""
        from fuzz_targets import TARGETS

        if TARGETS[name].in_lake:
            return [self.folder / "seeds" / "lake"]
        return _listed(self.folder / "seeds" / name)

    def case(self, name: str, number: int) -> Outcome:
        """Do one case; negative numbers are whole seeds."""
        from fuzz_targets import TARGETS

        target = TARGETS[name]
        rng = Random(f"{self.seed} {name} {number}")  # noqa: S311 - it hides nothing
        make = self._lake_case if target.in_lake else self._file_case
        place, entry = make(name, number, rng)
        child = self._children[target.in_lake]
        if child.process is None:
            self._warm_up(child, name)
        kind, detail = child.ask(name, place, entry, LIMIT_S)
        seeds = self.seeds(name)
        foreign = not target.in_lake and seeds[number % len(seeds)].name.startswith("foreign")
        if number < 0 and kind not in ("rows", "skip") and not (foreign and kind == "error"):
            kind, detail = "seed", f"{kind}: {detail}"
        outcome = Outcome(name, number, kind, detail)
        if outcome.failed and self.keep is not None:
            shutil.copytree(place, self.keep / f"{name}-{self.seed}-{number}", dirs_exist_ok=True)
        if target.in_lake:
            self._lake.restore()
        else:
            shutil.rmtree(place)
        return outcome

    def _file_case(self, name: str, number: int, rng: Random) -> tuple[Path, Path]:
        from fuzz_mutate import mutate
        from fuzz_targets import TARGETS, entry_of

        seeds = self.seeds(name)
        place = self.folder / f"case-{os.getpid()}" / f"{name}-{number}"
        shutil.copytree(seeds[number % len(seeds)], place)
        entry = entry_of(TARGETS[name], place)
        if number >= 0:
            files = sorted(place.iterdir())
            for file in rng.sample(files, min(len(files), rng.choice((1, 1, 1, 2)))):
                mutate(file, rng)
                if len(files) > 1 and rng.random() < 0.02:
                    file.unlink()
        return place, entry

    def _lake_case(self, name: str, number: int, rng: Random) -> tuple[Path, Path]:
        from fuzz_lake import Place

        if self._lake is None:
            folder = self.folder / f"lake-{os.getpid()}"
            ask = lambda lab: self._children[True].ask("settle", lab, lab, 120.0)  # noqa: E731
            self._lake = Place(self.folder / "seeds" / "lake", folder, ask)
        lab = self._lake.lab
        (lab / "number").write_text(str(number), encoding="ascii")
        if number >= 0:
            self._lake.damage(name, rng)
        return lab, lab / "lake.toml"

    def _warm_up(self, child: Child, name: str) -> None:
        """Let a new child read something whole, before its memory is limited."""
        from fuzz_targets import TARGETS, entry_of

        in_lake = TARGETS[name].in_lake
        for known in () if in_lake else {"animals", name}:
            whole = self.seeds(known)[0]
            child.ask(known, whole, entry_of(TARGETS[known], whole), 120.0)
        child.ask("limit", self.folder, "lakes" if in_lake else "", 60.0)

    def close(self) -> None:
        """End the child."""
        for child in self._children.values():
            child.stop()


@cache
def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


_BENCH: Bench | None = None


def _search_range(folder: Path, seed: int, keep: Path, name: str, start: int) -> dict[str, Any]:
    """Search one range in a process of the pool, which keeps its child."""
    global _BENCH
    if _BENCH is None:
        _BENCH = Bench(folder, seed, keep)
    begin, counts = time.monotonic(), Counter()
    failures = []
    numbers = range(start, start + _RANGE)
    if start == 0:  # whole files first: they show that the harness itself is right
        numbers = range(-len(_BENCH.seeds(name)), _RANGE)
    for number in numbers:
        outcome = _BENCH.case(name, number)
        if outcome.failed:
            failures.append(asdict(outcome))
        elif number >= 0:
            counts[outcome.kind] += 1
    seconds = round(time.monotonic() - begin, 1)
    return {"counts": counts, "seconds": seconds, "failures": failures}


def search_all(folder: Path, tally: Any, options: argparse.Namespace, names: list[str]) -> None:
    """Search every range that the tally does not know, in several processes."""
    each = options.cases / sum(_SHARES.get(name, 1.0) for name in names)
    todo = [(start, name) for name in names
            for start in range(0, max(1, round(each * _SHARES.get(name, 1.0))), _RANGE)
            if not tally.has(f"{name} {options.seed} {start}")]  # fmt: skip
    todo.sort(reverse=True)  # all formats, before more of any
    end = time.monotonic() + options.seconds
    running: dict[Future[dict[str, Any]], str] = {}
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        while running or (todo and time.monotonic() < end):
            while todo and len(running) < options.workers and time.monotonic() < end:
                start, name = todo.pop()
                args = (folder, options.seed, options.keep, name, start)
                running[pool.submit(_search_range, *args)] = f"{name} {options.seed} {start}"
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                key, part = running.pop(done), done.result()
                tally.add(key, part)
                _say(key, part)


def _say(key: str, part: dict[str, Any]) -> None:
    told = ", ".join(f"{kind} {count}" for kind, count in sorted(part["counts"].items()))
    sys.stdout.write(f"{key}: {told} ({part['seconds']:.0f} s)\n")
    for one in part["failures"]:
        sys.stdout.write(f"--- {one['target']} {one['number']} {one['kind']}\n{one['detail']}\n")
    sys.stdout.flush()


def main() -> int:
    """Search and tell; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--cases", type=int, default=24_000, help="in all, over the targets")
    parser.add_argument("--target", action="append", help="one format only; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--report", type=Path, help="figures, and where to go on")
    parser.add_argument("--page", type=Path, help="page whose block is rewritten")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    if options.serve:
        _serve()
        return 0
    from fuzz_report import Tally, rewrite
    from fuzz_targets import TARGETS, make_seeds

    real = os.environ.get("MAPLAKE_TEST_DATA")
    tally = Tally(options.report)
    options.keep = options.keep.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        make_seeds(Path(scratch), Path(real) / "real" if real else None)
        search_all(Path(scratch), tally, options, options.target or list(TARGETS))
    if options.page is not None:
        rewrite(options.page, tally)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
