"""Times of the questions that a lake is asked most, as ratios to a bare scan of the same columns.

    python benchmarks/bench_query.py [--spikes 3500000] [--folder DIR] [--json FILE]

Writes a simulated lake (one session; by default 2 probes x 300 units x 3.5 million spikes, 400
trials) unless the folder has it already, and prints a table. All times are of one run, with one
connection on two threads, so that their ratios hold on a slow or busy machine, too.

    python benchmarks/bench_query.py --sessions 100 --spikes 175000

asks a lake of many sessions instead: all of them, one of them, and, for comparison, a lake that
has that one session only. Time per spike should not grow, nor that of the one session.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from lakefiles import METHOD, Probe, Session, finish, write_lab, write_session, write_table

import maplake
from maplake.tables import get

TRIALS = 400
UNITS = 300
REPEATS = 9
WHERE = "WHERE subject_id = 101 AND session = 1"
ONE = f"{WHERE} AND insertion_number = 1 AND unit = 17"
HIT = "'good_noearlylick_hit'"


def simulate(root: Path, spikes: int, sessions: int = 1) -> None:
    rng = np.random.default_rng(1)
    for session in range(1, sessions + 1):
        simulate_session(root, rng, session, spikes)
    write_lab(root, [101])
    finish(root)


def simulate_session(root: Path, rng, session_number: int, spikes: int) -> None:
    number = np.arange(1, TRIALS + 1)
    start = np.concatenate([[0], np.cumsum(rng.uniform(7, 9, TRIALS - 1))])
    columns = {
        "trial": number,
        "task": ["audio delay"] * TRIALS,
        "task_protocol": [1] * TRIALS,
        "trial_instruction": rng.choice(["left", "right"], TRIALS),
        "early_lick": rng.choice(["early", "no early"], TRIALS, p=[0.1, 0.9]),
        "outcome": rng.choice(["hit", "miss", "ignore"], TRIALS, p=[0.7, 0.25, 0.05]),
        "auto_water": [False] * TRIALS,
        "free_water": [False] * TRIALS,
        "start_time": start,
        "stop_time": start + 6,
    }
    chosen = rng.choice(number, TRIALS // 4, replace=False)
    sites = ["left alm", "right alm", "both alm"]
    session = Session(
        101, session_number, columns, {int(t): str(rng.choice(sites)) for t in chosen}
    )
    write_session(root, session)
    for insertion in (1, 2):
        write_probe(root, rng, session, insertion, spikes)


def write_probe(root: Path, rng, session: Session, insertion: int, spikes: int) -> None:
    from lakefiles import write_probe as write_small

    key = {**session.key, "insertion_number": insertion}
    rate = 30000.0 + insertion / 10
    start = np.round((session.columns["start_time"] + 1) * rate).astype(np.int64)
    go = start + np.round(rng.uniform(3, 3.4, TRIALS) * rate).astype(np.int64)
    share = rng.lognormal(0, 1, UNITS)
    counts = rng.multinomial(spikes, share / share.sum())
    unit = np.repeat(np.arange(UNITS, dtype=np.int32), counts)
    sample = rng.integers(0, int((session.columns["start_time"][-1] + 10) * rate), spikes)
    sample = sample[np.lexsort((sample, unit))]
    ends = np.cumsum(counts)
    quality = {u: "all" if u % 10 == 9 else "good" for u in range(UNITS)}
    probe = Probe(
        rate,
        session.columns["trial"],
        start,
        go,
        {u: sample[ends[u] - counts[u] : ends[u]] for u in range(UNITS)},
        quality,
    )
    write_small(root, session, insertion, probe)
    trial = probe.trial_of(sample).astype(np.int32)
    write_table(
        root,
        "ephys.spike",
        key,
        clustering_method=pa.array([METHOD]).take(pa.array(np.zeros(spikes, np.int8))),
        unit=unit,
        spike_sample=sample,
        trial=pa.array(trial, mask=trial == 0),
    )


def timed(work, repeats: int = REPEATS) -> dict[str, float]:
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return {"min_ms": min(times), "median_ms": statistics.median(times), "max_ms": max(times)}


def questions(lake):
    con = lake.connect()
    con.execute("SET threads = 2")

    def ask(query):
        return lambda: con.sql(query).to_arrow_table()

    spikes = f"FROM ephys.spike_file {WHERE}"
    yield (
        "bare scan: unit, trial, spike_sample",
        ask(f"SELECT max(unit), max(trial), max(spike_sample) {spikes}"),
    )
    yield (
        "bare scan: the same and clustering_method",
        ask(
            "SELECT max(unit), max(trial), max(spike_sample), count(DISTINCT clustering_method) "
            + spikes
        ),
    )
    yield "psth.unit_psth, all units x 17 conditions", ask(f"FROM psth.unit_psth {WHERE}")
    yield "psth.psth, all units, one condition", ask(f"FROM psth.psth({HIT}) {WHERE}")
    yield (
        "psth.psth, all units, aligned to delay",
        ask(f"FROM psth.psth({HIT}, event := 'delay') {WHERE}"),
    )
    yield (
        "psth.psth, all units, on the session's clock",
        ask(f"FROM psth.psth({HIT}, event := 'go_cue') {WHERE}"),
    )
    yield "ephys.unit_stat, all units", ask(f"FROM ephys.unit_stat {WHERE}")
    yield "psth.unit_psth, one unit", ask(f"FROM psth.unit_psth {ONE}")
    yield "psth.psth, one unit", ask(f"FROM psth.psth({HIT}) {ONE}")
    yield "psth.raster, one unit", ask(f"FROM psth.raster({HIT}) {ONE}")
    yield "ephys.trial_spikes, one unit", ask(f"FROM ephys.trial_spikes {ONE}")
    yield "lake.raster, one unit", lambda: lake.raster(101, 1, 1, 17)
    names = [row[0] for row in get("psth.trial_condition").rows if row[3] is None]
    yield (
        "lake.psth, all units x 17 conditions",
        lambda: lake.psth(101, 1, condition=names),
    )
    yield "lake.psth, one unit", lambda: lake.psth(101, 1, 1, 17)


def run(root: Path) -> dict[str, dict[str, float]]:
    with maplake.open(root) as lake:
        found = {name: timed(work) for name, work in questions(lake)}
    base = next(iter(found.values()))["median_ms"]
    for times in found.values():
        times["ratio"] = times["median_ms"] / base
    return found


def many(root: Path, spikes: int, sessions: int) -> dict[str, dict[str, float]]:
    """Ask a lake of many sessions, and one of a single session of the same size."""
    for folder, count in ((root / "one", 1), (root / "many", sessions)):
        if not (folder / "lake.duckdb").exists():
            folder.mkdir(parents=True, exist_ok=True)
            simulate(folder, spikes, count)
    found = {}
    for folder, where, count in (("one", WHERE, 1), ("many", WHERE, 1), ("many", "", sessions)):
        name = f"lake of {sessions if folder == 'many' else 1}, {'one' if where else 'all'}"
        with maplake.open(root / folder) as lake, lake.connect() as con:
            con.execute("SET threads = 2")
            for what, query in {
                "scan": "SELECT max(unit), max(trial), max(spike_sample) FROM ephys.spike_file",
                "unit_psth": "SELECT sum(trial_count), sum(unit_psth[75]) FROM psth.unit_psth",
                "unit_stat": "SELECT sum(firing_rate) FROM ephys.unit_stat",
            }.items():
                work = lambda text=f"{query} {where}": con.sql(text).to_arrow_table()  # noqa: E731
                times = timed(work, 3)
                times["ns_per_spike"] = times["min_ms"] * 1e6 / (2 * spikes * count)
                found[f"{name}: {what}"] = times
            text = f"EXPLAIN (ANALYZE, FORMAT json) FROM psth.unit_psth {where}"
            plan = json.loads(con.execute(text).fetchall()[0][1])
            found[f"{name}: unit_psth"]["rows_scanned"] = plan["query"]["total_rows_scanned"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, default=3_500_000, help="spikes of each probe")
    parser.add_argument("--sessions", type=int, default=1, help="ask a lake of so many, too")
    parser.add_argument("--folder", type=Path, help="keep the lake here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the times to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary) / "lake"
        if options.sessions > 1:
            found = many(root, options.spikes, options.sessions)
        else:
            if not (root / "lake.duckdb").exists():
                root.mkdir(parents=True, exist_ok=True)
                simulate(root, options.spikes)
            found = run(root)
    print(f"{'':48s}{'min':>9s}{'median':>9s}{'max':>9s}")
    for name, t in found.items():
        last = f"{t['ratio']:8.1f} x of the scan" if "ratio" in t else (
            f"{t['ns_per_spike']:8.1f} ns per spike {t.get('rows_scanned', '')}")  # fmt: skip
        print(
            f"{name:48s}{t['min_ms']:6.1f} ms{t['median_ms']:6.1f} ms{t['max_ms']:6.1f} ms {last}"
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
