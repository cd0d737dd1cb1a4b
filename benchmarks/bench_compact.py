"""What `maplake compact` saves: queries through the views before and after.

    python benchmarks/bench_compact.py LAKE

LAKE is the folder of a lake with many sessions, such as the one that big_lake.py makes. Its
merged files are removed and made again.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import maplake
from maplake.config import Config
from maplake.ingest.compact import compact, undo

QUERIES = {
    "count of all trials": "SELECT count(*) FROM experiment.behavior_trial",
    "trials by outcome": "SELECT outcome, count(*) FROM experiment.behavior_trial GROUP BY ALL",
    "count of all units": "SELECT count(*) FROM ephys.unit",
    "trials of one session": "SELECT * FROM experiment.behavior_trial "
    "WHERE subject_id = $subject_id AND session = $session",
    "trials with their conditions": "SELECT count(*) FROM psth.trial_set",
}


def milliseconds(work, repeats=5):
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times)


def measure(root):
    with maplake.open(root) as lake:
        keys = lake.sql("SELECT subject_id, session FROM experiment.session LIMIT 1").fetchall()
        key = dict(zip(("subject_id", "session"), keys[0], strict=True))
        found = {
            name: milliseconds(lambda q=query: lake.sql(q, key if "$" in q else None).fetchall())
            for name, query in QUERIES.items()
        }
        found["lake.sessions()"] = milliseconds(lake.sessions)
    return found


def main():
    root = Path(sys.argv[1]).resolve()
    config = dataclasses.replace(Config(), lake=dataclasses.replace(Config().lake, root=root))
    undo(config)
    before = measure(root)
    begin = time.perf_counter()
    done = compact(config)
    seconds = time.perf_counter() - begin
    after = measure(root)
    files, merged = sum(d.files for d in done), sum(d.merged for d in done)
    print(f"{files} files of {len(done)} tables merged into {merged} in {seconds:.1f} s\n")
    print(f"{'':30}{'before, ms':>12}{'after, ms':>12}{'ratio':>8}")
    for name, old in before.items():
        print(f"{name:30}{old:12.1f}{after[name]:12.1f}{old / after[name]:8.1f}")


if __name__ == "__main__":
    main()
