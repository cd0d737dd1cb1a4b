"""Kills maplake's commands at every point where they touch the file system, and makes disks fail.

``python tests/crash.py --all --report docs/reliability.json`` does everything, which takes hours;
``--points 12`` spreads so many over the calls of each command under each fault, and ``--command``
and ``--fault`` choose. ``python tests/crash.py --write docs/reliability.json
docs/reliability.md`` puts the figures into the page.

Each case starts from the same lake at the same place, runs the command in a fork of this process
with every call watched (see :mod:`faults`), and ends or fails it at one call. Then the lake is
opened, first by a reader in one half of the cases and by a writer in the other, and must be

* exactly what it was after one of the commits of an undisturbed run, byte for byte (times apart);
* without a problem that ``maplake check --deep`` knows;
* the same to SQL (``lake.duckdb`` alone), polars and a plain glob;
* and the same command, given again, must end where the undisturbed run ended.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if not find_spec("maplake"):  # run from a checkout that is not installed
    sys.path.append(str(Path(__file__).resolve().parents[1]))

import faults
from crash_bench import FAULTS, KILLS, POWER, Bench, Failure, warm_up
from crash_commands import COMMANDS
from tried import commit

#: What a sample tries; the last one under every fault.
_SAMPLE = ("ingest", "ingest --replace", "compute", "rebuild", "compact", "delete session")
_BEGIN, _END = "<!-- crash:begin -->", "<!-- crash:end -->"


@dataclass
class Tally:
    """Cases and failures of one command under one fault, and the commit that was tried."""

    command: str
    fault: str
    points: int
    cases: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    code: str = field(default_factory=commit)
    seed: int = 0

    @property
    def draw(self) -> str:
        """What the points are drawn by; empty = spread evenly."""
        return f"{self.seed} {self.command} {self.fault}" if self.seed else ""


def attack(bench: Bench, fault: str, most: int | None = None, seed: int = 0) -> Tally:
    """Try a fault at every point of a command, or at some."""
    points = bench.points(fault)
    tally = Tally(bench.name, fault, len(points), seed=seed)
    begin = time.perf_counter()
    for number in bench.sample(points, most, tally.draw):
        run = bench.case(fault, number)
        if not bench.is_hit:  # processes side by side took turns otherwise
            continue
        tally.cases += 1
        try:
            bench.verify(run, fault, number)
        except AssertionError as error:
            tally.failures.append(bench.failure(fault, number, error))
    tally.seconds = round(time.perf_counter() - begin, 1)
    return tally


def cut_power(bench: Bench, most: int | None = None, seed: int = 0) -> Tally:
    """Cut the power before every call of a command that changes names or syncs, or before some."""
    kinds = {"sync", "rename", "remove", "mkdir"}
    points = [op.number for op in bench.ops if op.kind in kinds]
    tally = Tally(bench.name, POWER, len(points), seed=seed)
    begin = time.perf_counter()
    images = bench.folder.with_name(f"{bench.folder.name}.images")
    numbers = set(bench.sample(points, most, tally.draw))
    for number, kind, image in bench.cut(numbers, images):
        shutil.rmtree(bench.root, ignore_errors=True)
        image.rename(bench.root)
        tally.cases += 1
        try:
            bench.recovers(reader_first=number % 2 == 0)
        except AssertionError as error:
            tally.failures.append(bench.failure(f"{POWER} ({kind})", number, error))
    shutil.rmtree(images, ignore_errors=True)
    tally.seconds = round(time.perf_counter() - begin, 1)
    return tally


def runs(
    folder: Path, wanted: dict[str, list[str]], most: int | None, seed: int
) -> Iterator[Tally]:
    """Yield a tally per command and fault."""
    for place, (name, kinds) in enumerate(wanted.items()):
        bench = Bench(name, COMMANDS[name], folder / f"lab{place}")
        bench.prepare()
        for fault in kinds:
            if fault == POWER:
                yield cut_power(bench, most, seed)
            else:
                yield attack(bench, fault, most, seed)
        shutil.rmtree(bench.folder)
        shutil.rmtree(bench.kept)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_report(file: Path, tallies: list[Tally]) -> None:
    """Write the figures as JSON; those of other commands, faults and commits stay."""
    known = json.loads(file.read_text(encoding="utf-8"))["tallies"] if file.exists() else []
    new = [asdict(tally) for tally in tallies]
    key = ("command", "fault", "code", "seed")
    rows = {tuple(row.get(name, 0) for name in key): row for row in [*known, *new]}
    order = list(COMMANDS)
    found = {
        "date": date.today().isoformat(),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "tallies": sorted(rows.values(), key=lambda row: order.index(row["command"])),
    }
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def write_page(report: Path, page: Path) -> None:
    """Put the figures of a report into a page, between its marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    found = json.loads(report.read_text(encoding="utf-8"))
    block = "\n".join([_BEGIN, *_lines(found), _END])
    page.write_text(f"{before}{block}{after}", encoding="utf-8", newline="\n")


def _lines(found: dict[str, Any]) -> Iterator[str]:
    cases: dict[str, Counter[str]] = defaultdict(Counter)
    calls: dict[str, int] = {}
    bad = 0
    for row in found["tallies"]:
        cases[row["command"]][row["fault"]] += row["cases"]
        calls[row["command"]] = max(calls.get(row["command"], 0), row["points"])
        bad += len(row["failures"])
    kinds = [*FAULTS, POWER]
    total = sum(sum(counts.values()) for counts in cases.values())
    kills = sum(counts[kind] for counts in cases.values() for kind in KILLS)
    yield "`python tests/crash.py --points N --seed SEED --report docs/reliability.json`,"
    yield f"{found['date']},"
    yield f"{found['system']}:"
    yield f"**{total:,} cases** ({kills:,} kills), **{bad} of them with anything"
    nothing = ", rows lost 0, sessions half-visible 0." if not bad else "."
    yield f"but the state before or after a commit**{nothing}"
    yield ""
    yield f"| command | calls | {' | '.join(kinds)} |"
    yield f"|---|{'---:|' * (len(kinds) + 1)}"
    for command, counts in cases.items():
        numbers = " | ".join(f"{counts[kind]:,}" for kind in kinds)
        yield f"| {command} | {calls[command]:,} | {numbers} |"
    yield ""
    yield f"Cases by the commit that was tried: {_by_commit(found['tallies'])}."


def _by_commit(rows: list[dict[str, Any]]) -> str:
    total: Counter[str] = Counter()
    kills: Counter[str] = Counter()
    for row in rows:
        total[row["code"]] += row["cases"]
        kills[row["code"]] += row["cases"] * (row["fault"] in KILLS)
    return "; ".join(f"{code} {n:,} ({kills[code]:,} kills)" for code, n in total.items())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every point of every command")
    parser.add_argument("--command", action="append", choices=list(COMMANDS), help="only these")
    parser.add_argument("--fault", action="append", choices=[*FAULTS, POWER], help="only these")
    parser.add_argument("--sample", action="store_true", help="some seconds of it, for tests")
    parser.add_argument("--points", type=int, help="at most so many per command and fault")
    parser.add_argument("--seed", type=int, default=0, help="draw the points; 0 = evenly spread")
    parser.add_argument("--report", type=Path, help="write the figures to this file, as JSON")
    parser.add_argument(
        "--write", type=Path, nargs=2, metavar=("JSON", "PAGE"), help="put figures into a page"
    )
    return parser.parse_args()


def main() -> int:
    options = _options()
    commit()  # now, as it may change meanwhile
    if options.write:
        write_page(*options.write)
        return 0
    why = faults.why_not()
    if why:
        say(why)
        return 2
    warm_up()
    most = None if options.all else options.points or (2 if options.sample else 10)
    kinds = options.fault or [*FAULTS, POWER]
    wanted = dict.fromkeys(options.command or COMMANDS, kinds)
    if options.sample:
        wanted = {name: ["kill"] for name in _SAMPLE} | {"delete session": [*FAULTS, POWER]}
    tallies = []
    memory = Path("/dev/shm")  # noqa: S108  (syncing is watched, not measured)
    where = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="maplake-crash-", dir=where) as folder:
        for tally in runs(Path(folder), wanted, most, options.seed):
            tallies.append(tally)
            if options.report:
                write_report(options.report, tallies)
            counts = f"{tally.cases:5} of {tally.points:5} points"
            bad = f"{len(tally.failures):3} failures {tally.seconds:7.1f} s"
            say(f"{tally.command:27} {tally.fault:20} {counts} {bad}")
            for failure in tally.failures[:8]:
                say(f"   {failure.fault}: {failure.op}\n      {failure.message[:500]}")
    return int(any(t.failures for t in tallies))


if __name__ == "__main__":
    sys.exit(main())
