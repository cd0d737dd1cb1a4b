"""Damages raw files of every format and sees that readers either read them or say what is wrong.

Run ``python tests/fuzz.py --cases 20000`` for a long search (all formats in turn; ``--target`` for
one, ``--seed`` for others). What fails is kept below ``--keep`` to be looked into. With the
environment variable MAPLAKE_TEST_DATA, files of real rigs are damaged as well.

Each case is read in a process of its own kind, which ends after 10 s or at 2 GB more memory than
it began with. Outcomes: ``ok`` (read), ``error`` (a maplake error), and failures: ``raised``
(another exception), ``slow``, ``memory``, ``died`` (the process ended), ``warned`` (a value went
wrong silently, or a file stayed open), ``executed`` or ``wrote`` (a reader must do neither).
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

LIMIT_S = 10.0
LIMIT_BYTES = 2 << 30
_MEMORY = Path("/proc/self/statm")  # Linux
FAILURES = ("raised", "slow", "memory", "died", "warned", "executed", "wrote")


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


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = int(_MEMORY.read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _serve() -> None:
    """Read cases (a line of JSON each: target, folder), answer with kind and detail."""
    from fuzz_targets import TARGETS

    for line in sys.stdin:
        name, folder, entry = json.loads(line)
        # The first case of all tells that imports and threads are there; then memory is limited.
        if name == "limit":
            if _MEMORY.exists():
                _limit_memory()
            answer = ("ok", "")
        else:
            before = _listing(Path(folder))
            answer = _read(TARGETS[name].read, Path(entry))
            if _listing(Path(folder)) != before:
                answer = ("wrote", folder)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(p), p.stat().st_mtime_ns) for p in folder.rglob("*"))


def _read(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    from fuzz_mutate import CANARY

    from maplake.errors import SourceError  # what readers may raise

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            read(path)
            answer = ("ok", "")
        except SourceError as error:
            text = f"{type(error).__name__}: {error}"
            answer = ("memory" if _wants_memory(text) else "error", text)
        except BaseException:
            answer = ("raised", traceback.format_exc())
    if Path(CANARY).exists():
        Path(CANARY).rmdir()
        return ("executed", "")
    # A warning on the way to an error does no harm; beside rows, a value went wrong unseen.
    for one in caught:
        if answer[0] == "ok" or issubclass(one.category, ResourceWarning):
            place = f"{one.filename}:{one.lineno}"
            return ("warned", f"{one.category.__name__}: {one.message} at {place}; {answer}")
    return answer


def _wants_memory(text: str) -> bool:
    return "MemoryError" in text or "Unable to allocate" in text


# -------------------------------------------------------------------------- the parent's side


class Child:
    """A process that reads one case after the other, and is replaced when it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        here = Path(__file__).resolve().parent
        paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths),
                       "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, str(here / "fuzz.py"), "--serve"],
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

    def ask(self, target: str, folder: Path, entry: Path, limit: float) -> tuple[str, str]:
        """Let one case be read."""
        if self.process is None:
            self.process = self._start()
        if self.process.stdin is None:
            raise RuntimeError("no way to talk to the process")
        self.process.stdin.write(json.dumps([target, str(folder), str(entry)]) + "\n")
        self.process.stdin.flush()
        try:
            line = self.answers.get(timeout=limit)
        except queue.Empty:
            self.stop()
            return ("slow", f"over {limit:g} s")
        if not line:
            words = "".join(self.last_words)
            self.stop()
            return ("died", words)
        kind, detail = json.loads(line)
        return (kind, detail)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def search(
    folder: Path, names: list[str], cases: int, seed: int = 0, keep: Path | None = None
) -> Iterator[Outcome]:
    """Read ``cases`` damaged seeds of each named target; the seeds lie below ``folder``."""
    from fuzz_mutate import mutate
    from fuzz_targets import TARGETS, entry_of

    child = Child(folder)
    try:
        for name in names:
            seeds = sorted((folder / "seeds" / name).iterdir())
            for number in range(-len(seeds), cases):
                rng = Random(f"{seed} {name} {number}")  # noqa: S311 - it hides nothing
                place = folder / "case" / f"{name}-{number}"
                shutil.copytree(seeds[number % len(seeds)], place)
                entry = entry_of(TARGETS[name], place)
                if number >= 0:  # the first ones are whole: they warm up the child
                    files = sorted(place.iterdir())
                    for file in rng.sample(files, min(len(files), rng.choice((1, 1, 1, 2)))):
                        mutate(file, rng)
                        if rng.random() < 0.02:
                            file.unlink()
                fresh = child.process is None
                kind, detail = child.ask(name, place, entry, 120.0 if fresh else LIMIT_S)
                if fresh and child.process is not None:
                    child.ask("limit", place, entry, 60.0)
                outcome = Outcome(name, number, kind, detail)
                if outcome.failed and keep is not None:
                    shutil.copytree(place, keep / f"{name}-{seed}-{number}", dirs_exist_ok=True)
                shutil.rmtree(place)
                yield outcome
    finally:
        child.stop()


def main() -> int:
    """Search and tell; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--cases", type=int, default=2000, help="in all, over the targets")
    parser.add_argument("--target", action="append", help="one format only; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    if options.serve:
        _serve()
        return 0
    from fuzz_targets import TARGETS, make_seeds

    names = options.target or list(TARGETS)
    real = os.environ.get("MAPLAKE_TEST_DATA")
    say = sys.stdout.write
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_seeds(folder, Path(real) / "real" if real else None)
        for name in names:
            begin, counts = time.monotonic(), Counter()
            each = -(-options.cases // len(names))
            for outcome in search(folder, [name], each, options.seed, options.keep):
                counts[outcome.kind] += 1
                # Whole files must read; that shows that the harness itself is right.
                if outcome.failed or (outcome.number < 0 and outcome.kind != "ok"):
                    failed += 1
                    say(f"--- {name} {outcome.number} {outcome.kind}\n{outcome.detail}\n")
            told = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
            say(f"{name}: {told} ({time.monotonic() - begin:.0f} s)\n")
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
