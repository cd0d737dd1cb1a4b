"""Time of a report of one large session, again without changes, and again after a change.

    python benchmarks/bench_report.py [--workers 2] [--folder DIR]

Writes a simulated lab (2 probes x 150 units, 300 trials, about 4 million spikes) and takes it in,
unless the folder has it already. Prints s by the clock and s of processors.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from maplake import simulate
from maplake.simulate import Recording, Sorting

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def command(*args: object) -> None:
    line = [sys.executable, "-m", "cli", "--quiet", *map(str, args)]
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def timed(name: str, *args: object) -> None:
    before, started = os.times(), time.perf_counter()
    command(*args)
    seconds, after = time.perf_counter() - started, os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    print(f"{name:<28} {seconds:6.1f} s by the clock {spent:6.1f} s of processors", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lab = options.folder or Path(temporary) / "lab"
        config = lab / "lake.toml"
        if not (lab / "lake").exists():
            simulate.lab(
                lab, animals=1, sessions=1, probes=2, trials=300, units=150,
                recording=Recording(channels=96), sorting=Sorting(pc_features=False),
            )  # fmt: skip
            command("--config", config, "ingest")
        out = Path(temporary) / "report"
        report = ("--config", config, "report", "--out", out, "--workers", options.workers)
        timed("everything", *report)
        size = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
        print(f"{'':<28} {len(size)} files, {sum(size) / 1e6:.0f} MB")
        timed("again, nothing changed", *report)
        (out / "sessions/400001_1/probe1/drift-map.png").unlink()
        timed("again, a figure is missing", *report)


if __name__ == "__main__":
    main()
