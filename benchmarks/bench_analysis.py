"""Times of the analyses, on the lake of bench_query.py, as ratios to a bare scan of the spikes.

    python benchmarks/bench_analysis.py [--folder DIR] [--json FILE]

The peers are a plain numpy loop and, where it is installed, pynapple: the same PSTH of one
condition for all units of a probe, from spike times that are in memory already.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import bench_query as base

import maplake
from maplake.query import catalog

EDGES = np.arange(-3, 3, 0.04)
CONDITION = "good_noearlylick_hit"


def add_events(root: Path) -> None:
    """Give the trials what selectivity asks for: sample, a delay of 1.2 s, go."""
    trials = base.TRIALS
    base.write_table(
        root,
        "experiment.trial_event",
        {"subject_id": 101, "session": 1},
        trial=np.repeat(np.arange(1, trials + 1), 3),
        trial_event_id=np.tile(np.arange(3, dtype=np.int32), trials),
        trial_event_type=["sample", "delay", "go"] * trials,
        trial_event_time=np.tile([0.9, 2.0, 3.2], trials),
        duration=[0.65, 1.2, 0.1] * trials,
    )
    catalog.build(root)


def by_numpy(lake):
    spikes, go, rate = lake.spikes(101, 1, 1), *aligned(lake)
    time, unit = spikes.sample / rate, spikes.unit
    starts = np.searchsorted(unit, spikes.units)
    trains = np.split(time, starts[1:])

    def work():
        out = np.empty((len(trains), len(EDGES) - 1))
        for row, train in enumerate(trains):
            near = [train[slice(*np.searchsorted(train, (g - 3, g + 3)))] - g for g in go]
            out[row] = np.histogram(np.concatenate(near), EDGES)[0] / len(go) / 0.04
        return out

    return work


def by_pynapple(lake):
    import pynapple as nap

    _, rate = aligned(lake)
    first = lake.sql("SELECT first_trial_sample FROM ephys.probe_insertion "
                     "WHERE insertion_number = 1").fetchall()[0][0]  # fmt: skip
    group = lake.to_pynapple(101, 1, 1)
    events = nap.Ts(np.sort(aligned(lake)[0]) - first / rate)
    return lambda: nap.compute_perievent(group, events, (-3, 3))


def aligned(lake):
    rows = lake.sql(
        f"SELECT e.go_sample, i.sampling_rate FROM ephys.ephys_trial AS e JOIN "
        f"ephys.probe_insertion AS i USING (subject_id, session, insertion_number) "
        f"JOIN psth.condition_trial AS c USING (subject_id, session, trial) "
        f"WHERE e.insertion_number = 1 AND c.trial_condition_name = '{CONDITION}'"
    ).fetchall()
    return np.array([go / rate for go, rate in rows]), rows[0][1]


def questions(lake):
    con = lake.connect()
    con.execute("SET threads = 2")
    scan = "SELECT max(unit), max(trial), max(spike_sample) FROM ephys.spike_file " + base.WHERE
    nostim = "all_noearlylick_nostim"
    yield "bare scan: unit, trial, spike_sample", lambda: con.sql(scan).to_arrow_table()
    yield "selectivity, 2 probes x 3 periods", lambda: lake.selectivity(101, 1)
    yield "trial_counts, 1 probe", lambda: lake.trial_counts(101, 1, 1, condition=nostim)
    yield "trial_counts, 2 probes", lambda: lake.trial_counts(101, 1, condition=nostim)
    yield "coding_direction, 2 probes", lambda: lake.coding_direction(101, 1)
    yield "photostim_effect, 1 probe", lambda: lake.photostim_effect(101, 1, 1, window=(0, 1))
    yield "event_times", lambda: lake.event_times(101, 1, "delay", occurrence="last")
    yield "psth, 1 unit", lambda: lake.psth(101, 1, 1, 17)
    yield "psth, 1 probe", lambda: lake.psth(101, 1, 1)
    yield f"numpy {np.__version__}, loop over units and trials, 1 probe", by_numpy(lake)
    try:
        import pynapple
    except ImportError:
        return
    yield f"pynapple {pynapple.__version__} perievent, 1 probe", by_pynapple(lake)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, default=3_500_000, help="spikes of each probe")
    parser.add_argument("--folder", type=Path, help="keep the lake here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the times to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary) / "lake"
        if not (root / "lake.duckdb").exists():
            root.mkdir(parents=True, exist_ok=True)
            base.simulate(root, options.spikes)
        add_events(root)
        with maplake.open(root) as lake:
            found = {name: base.timed(work, 5) for name, work in questions(lake)}
    scan = next(iter(found.values()))["min_ms"]
    for name, t in found.items():
        t["ratio"] = t["min_ms"] / scan
        print(f"{name:58s}{t['min_ms']:8.1f} ms{t['median_ms']:8.1f} ms{t['ratio']:8.1f} x")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
