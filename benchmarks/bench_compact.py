"""What `maplake compact` saves: queries through the views before and after.

    python benchmarks/bench_compact.py [LAKE] [--sessions 200] [--folder DIR] [--json FILE]

LAKE is the folder of a lake with many sessions; without it, big_lake.py makes one, unless the
folder has it already. Its merged files are removed and made again. Each query is held against
itself before that.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import big_lake
from harness import Figure, save, shortest, took

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


def measure(root):
    with maplake.open(root) as lake:
        keys = lake.sql("SELECT subject_id, session FROM experiment.session LIMIT 1").fetchall()
        key = dict(zip(("subject_id", "session"), keys[0], strict=True))
        works = {
            name: lambda q=query: lake.sql(q, key if "$" in q else None).fetchall()
            for name, query in QUERIES.items()
        }
        return shortest({**works, "lake.sessions()": lake.sessions}, 6)


def compared(root):
    config = dataclasses.replace(Config(), lake=dataclasses.replace(Config().lake, root=root))
    undo(config)
    before, done = measure(root), []
    seconds = took(lambda: done.extend(compact(config)))
    after = measure(root)
    files, merged = sum(d.files for d in done), sum(d.merged for d in done)
    print(f"{files} files of {len(done)} tables merged into {merged} in {seconds:.1f} s\n")
    return [Figure(f"{n}, all merged", t, "the same, nothing merged", before[n])
            for n, t in after.items()]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lake", type=Path, nargs="?", help="a lake with many sessions")
    parser.add_argument("--sessions", type=int, default=200, help="of a lake that is made")
    parser.add_argument("--folder", type=Path, help="keep that lake here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.lake
        if root is None:
            size = {"sessions": options.sessions, "units": 50, "spikes": 10_000 * options.sessions}
            root = big_lake.config_of(options.folder or Path(temporary), **size).lake.root
        save(compared(root.resolve()), options.json)


if __name__ == "__main__":
    main()
