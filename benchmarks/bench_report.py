"""Time of a report of one large session, again without changes, and again after a change.

    python benchmarks/bench_report.py [--units 150] [--trials 300] [--workers 2] [--folder DIR]
        [--json FILE]

Writes a simulated lab (2 probes x 150 units, 300 trials, about 4 million spikes) and takes it in,
unless the folder has it already. Prints s by the clock and s of processors. The floor is a command
that opens the lake and counts the rows of its tables.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from harness import Figure, save, took

from maplake import simulate
from maplake.simulate import Recording, Sorting

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def command(*args: object) -> None:
    line = [sys.executable, "-m", "cli", "--quiet", *map(str, args)]
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def timed(name: str, *args: object) -> float:
    before, started = os.times(), time.perf_counter()
    command(*args)
    seconds, after = time.perf_counter() - started, os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    print(f"{name:<28} {seconds:6.1f} s by the clock {spent:6.1f} s of processors", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--units", type=int, default=150, help="per probe")
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="keep the lab here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lab = options.folder or Path(temporary) / "lab"
        config = lab / "lake.toml"
        if not (lab / "lake").exists():
            simulate.lab(
                lab, animals=1, sessions=1, probes=2, trials=options.trials,
                units=options.units,
                recording=Recording(channels=96), sorting=Sorting(pc_features=False),
            )  # fmt: skip
            command("--config", config, "ingest")
        out = Path(temporary) / "report"
        report = ("--config", config, "report", "--out", out, "--workers", options.workers)
        floor = min(took(lambda: command("--config", config, "tables")) for _ in range(3))
        times = {"report, everything": timed("everything", *report)}
        size = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
        print(f"{'':<28} {len(size)} files, {sum(size) / 1e6:.0f} MB")
        times["report again, nothing changed"] = timed("again, nothing changed", *report)
        (out / "sessions/400001_1/probe1/drift-map.png").unlink()
        times["report again, a figure is missing"] = timed("again, a figure is missing", *report)
    what = "`maplake tables`"
    save([Figure(name, seconds, what, floor) for name, seconds in times.items()], options.json)


if __name__ == "__main__":
    main()
