"""A lake of the size of a whole project: what must not grow with the number of sessions.

    python benchmarks/bench_scale.py [--sessions 1000] [--folder DIR] [--json FILE]

Each time is held against a floor of the same run: for ingest and status, asking the file system for
every raw file; for queries, one read of one Parquet file. Commands run in processes of their own,
their modules compiled as ``pip install`` leaves them.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import big_lake
import duckdb
import pyarrow.parquet as pq
from harness import Figure, save, shortest, took

import maplake
from cli.main import GC_THRESHOLD
from maplake.compute.registry import built_in
from maplake.config import Config
from maplake.ingest import compact, pipeline
from maplake.ingest.status import status
from maplake.query import catalog
from maplake.query.lake import Lake

CONDITION = "good_noearlylick_hit"
WALK = "a look at every raw file"
READ = "reading one Parquet file"


def look(folder: Path) -> int:
    """Ask for size and time of every file below a folder, without more."""
    count = 0
    todo = [os.fspath(folder)]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    todo.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count


def python(*arguments: str) -> Callable[[], object]:
    """Return work that a Python of its own does."""
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def whole(config: Config, repeat: int) -> list[Figure]:
    """Commands over all sessions, in this process and as a user runs them."""
    folder = config.lake.root.parent
    maplake = ("-m", "cli", "--config", str(config.file))
    times = shortest(
        {
            WALK: lambda: [look(folder / "ephys"), look(folder / "behavior")],
            "ingest again, nothing new": lambda: pipeline.run(config),
            "status": lambda: status(config),
            "`maplake ingest --no-compute`, nothing new": python(
                *maplake, "ingest", "--no-compute"
            ),
            "`maplake status`": python(*maplake, "status"),
        },
        repeat,
    )
    floor = times.pop(WALK)
    return [Figure(name, t, WALK, floor, limit=1.0) for name, t in times.items()]


def started(root: Path, repeat: int) -> list[Figure]:
    """Import and opening, in new processes, less the start of Python.

    Of the libraries it needs, maplake imports none before it needs it, and duckdb with the first
    query: a program waits for that import, whoever is said to take the time. What is promised of
    opening is held against it alone and, duckdb imported, together with the first query.
    """
    lake = f"import maplake; maplake.open({str(root)!r}).sql('SELECT 1').fetchall()"
    bare = "import duckdb; duckdb.connect().execute('SELECT 1').fetchall()"
    times = shortest(
        {
            "pass": python("-c", "pass"),
            "bare": python("-c", bare),
            "import": python("-c", "import maplake"),
            "open": python("-c", lake),
        },
        repeat,
    )
    rest = {name: times[name] - times["pass"] for name in times}
    floor, opened = "importing duckdb, SELECT 1", rest["open"] - rest["import"]
    ready = "import duckdb, maplake"
    opening = f"maplake.open({str(root)!r})"
    alone = min(_timed_inside("import maplake", opening) for _ in range(repeat))
    answered, connected = (
        min(_timed_inside(ready, work) for _ in range(repeat))
        for work in (lake.partition("; ")[2], bare.partition("; ")[2])
    )
    return [
        Figure("`import maplake`", rest["import"], floor, rest["bare"], limit=0.5),
        Figure("then opening the lake", alone, floor, rest["bare"], limit=0.15),
        Figure("then opening the lake, first query", opened, floor, rest["bare"]),
        Figure(
            "the same where duckdb is imported", answered, "connecting, SELECT 1", connected, 0.15
        ),
        Figure("both, from a new process to its first answer", rest["open"], floor, rest["bare"]),
    ]


def _timed_inside(before: str, work: str) -> float:
    """Return how long work takes (s) in a Python of its own, after what is done before it."""
    code = f"import time; {before}; t = time.perf_counter(); {work}; print(time.perf_counter() - t)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return float(done.stdout)


def questions(root: Path, sessions: int, repeat: int) -> list[Figure]:
    """Questions about one unit and about all."""
    step = max(1, sessions // 50)
    units = [
        _asked_for(root, n) for first in range(min(3, step)) for n in range(first, sessions, step)
    ]
    file = _unit_file(root, *units[0][0])
    places = itertools.cycle(units)
    with maplake.open(root) as lake, duckdb.connect() as con:

        def psth(place: tuple[tuple[int, int], int]) -> None:
            lake.psth(*place[0], 1, place[1], CONDITION)

        def ask(query: str) -> Callable[[], object]:
            return lambda: lake.sql(query).fetchall()

        first = next(places)
        psth(first)
        others = [took(lambda place=place: psth(place)) for place in units]
        times = shortest(
            {
                READ: lambda: con.sql(
                    f"SELECT * FROM read_parquet('{file.as_posix()}')"
                ).fetchall(),
                "one unit's PSTH by key, of another session each time": lambda: psth(next(places)),
                "one unit's PSTH by key, of the same session": lambda: psth(first),
                **{name: ask(query) for name, query in _queries(units[0]).items()},
            },
            repeat,
        )
        each = range(0, len(others), len(range(0, sessions, step)))
        times["one unit's PSTH by key, of another session, the median"] = min(
            statistics.median(others[begin : begin + each.step]) for begin in each
        )
    floor = times.pop(READ)
    limits = (("one unit's", 0.03), ("count of", 0.1))
    return [
        Figure(name, t, READ, floor, next((s for w, s in limits if name.startswith(w)), None))
        for name, t in times.items()
    ]


def _queries(place: tuple[tuple[int, int], int]) -> dict[str, str]:
    """Return questions in SQL over the views of all sessions, some about one unit."""
    (subject, session), unit = place
    key = f"subject_id = {subject} AND session = {session}"
    psth = f"WHERE {key} AND insertion_number = 1 AND unit = {unit}"
    return {
        "count of all units": "SELECT count(*) FROM ephys.unit",
        "one session's units by SQL": f"FROM ephys.unit WHERE {key}",
        "count of all trials": "SELECT count(*) FROM experiment.session_trial",
        "PSTHs of one unit by SQL, `psth.unit_psth`": f"FROM psth.unit_psth {psth}",
        "PSTH of one unit by SQL, `psth.psth`": f"FROM psth.psth('{CONDITION}') {psth}",
    }


def _unit_file(root: Path, subject: int, session: int) -> Path:
    name = f"subject_id={subject}/session={session}/insertion_number=1/part.parquet"
    return root / "tables/ephys/unit" / name


def _asked_for(root: Path, number: int) -> tuple[tuple[int, int], int]:
    """Return the key of one of the sessions, and a unit of its first probe that is not noise."""
    key = (400_001 + number // big_lake.PER_ANIMAL, 1 + number % big_lake.PER_ANIMAL)
    columns = ["unit", "unit_quality"]
    rows = pq.ParquetFile(_unit_file(root, *key)).read(columns).to_pylist()
    return key, next(row["unit"] for row in rows if row["unit_quality"] != "all")


def merged(config: Config, repeat: int) -> list[Figure]:
    """Questions over all sessions with no table merged, and with all small ones.

    In the end those are merged that a new lake merges.
    """
    root = config.lake.root
    file = next((root / "tables/ephys/unit").rglob("part.parquet"))
    queries = _queries(_asked_for(root, 0))
    figures = []

    def ask(state: str) -> None:
        with maplake.open(root) as lake, duckdb.connect() as con:
            works: dict[str, Callable[[], object]] = {
                READ: lambda: con.sql(f"SELECT * FROM read_parquet('{file.as_posix()}')").fetchall()
            }
            for name, query in queries.items():
                works[f"{name}, {state}"] = lambda query=query: lake.sql(query).fetchall()
            times = shortest(works, repeat)
        floor = times.pop(READ)
        figures.extend(Figure(name, t, READ, floor) for name, t in times.items())

    places = [root / ".maplake" / name for name in ("compact", "compact.json")]
    with tempfile.TemporaryDirectory(dir=root.parent) as kept:
        for place in places:
            shutil.move(place, kept)
        try:
            catalog.build(root)
            ask("no table merged")
            compact.compact(config)
            ask("after `maplake compact`")
            compact.undo(config)
        finally:
            for place in places:
                shutil.move(Path(kept) / place.name, place)
            catalog.build(root)
    return figures


def marginal(few: Config, many: Config, repeat: int) -> list[Figure]:
    """What one more session costs in a small lake and in a large one, less a look for new ones.

    Both are differences of two times, so noise counts twice. They are measured in pairs, one after
    the other, of which the median is taken. In the end the new sessions are removed.
    """
    lakes: list[tuple[Config, list[float], list[Path]]] = [(few, [], []), (many, [], [])]
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLD)
    try:
        for _ in range(repeat):
            for config, cost, added in lakes:
                added.append(big_lake.add_raw(config.lake.root.parent))
                times = [took(lambda config=config: pipeline.run(config)) for _ in range(2)]
                cost.append(times[0] - times[1])
    finally:
        gc.set_threshold(*before)
        for config, _, added in lakes:
            big_lake.remove_raw(config, added)
    small, large = (statistics.median(cost) for _, cost, _ in lakes)
    return [Figure("one more session, in the full lake", large, "the same with 10 sessions", small)]


def computed(few: Config, many: Config, repeat: int) -> list[Figure]:
    """What it costs to compute all built-in tables of one session."""

    def work(config: Config) -> Callable[[], object]:
        def compute() -> None:
            with Lake(config.lake.root) as lake:
                for computation in built_in().values():
                    key = {"subject_id": 400_001, "session": 1, "insertion_number": 1}
                    computation(lake, {name: key[name] for name in computation.levels})

        return compute

    t = shortest({"few": work(few), "many": work(many)}, repeat)
    name = "tables computed of one session, in the full lake"
    return [Figure(name, t["many"], "the same with 10 sessions", t["few"])]


def built(few: Config, many: Config) -> list[Figure]:
    """What the catalog costs."""
    t = shortest({n: lambda c=c: catalog.build(c.lake.root) for n, c in
                  (("few", few), ("many", many))}, 2)  # fmt: skip
    return [Figure("catalog, written anew", t["many"], "the same with 10 sessions", t["few"])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the lakes here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(temporary) / "compiled")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        folder = options.folder or Path(temporary)
        size = {"units": 150, "spikes": 50_000 * options.sessions}
        many = big_lake.config_of(folder / "all", sessions=options.sessions, **size)
        few = big_lake.config_of(folder / "ten", sessions=10, units=150, spikes=500_000)
        for config in (many, few):  # a kept lake may have the catalog of another version
            if not catalog.is_usable(config.lake.root, catalog.read_settings(config.lake.root)):
                catalog.build(config.lake.root)
        figures = [
            *started(many.lake.root, max(10, options.repeat)),
            *questions(many.lake.root, options.sessions, max(20, options.repeat)),
            *whole(many, options.repeat),
            *marginal(few, many, 4 * options.repeat),
            *computed(few, many, options.repeat),
            *built(few, many),
            *merged(many, max(20, options.repeat)),
        ]
        save(figures, options.json)


if __name__ == "__main__":
    main()
