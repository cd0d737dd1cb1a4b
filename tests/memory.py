"""Peak memory of commands over a lake of N sessions and one of 10 N of the same size.

    python tests/memory.py --page docs/reliability.md

Each command runs in a process of its own, whose peak (resident set) the system tells; that of a
lake ten times as large must not be larger by more than a fifth. Linux and macOS. This process stays
small, as the peak of a new process begins with what its parent has.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tried import commit

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
BEGIN, END = "<!-- memory:begin -->", "<!-- memory:end -->"
TIMES, MOST = 10, 1.2
PROBES, UNITS, RATE_HZ, TRIALS = 1, 60, 10.0, 120
SIMULATE = """
import sys
from maplake import simulate
folder, animals, sessions, probes, trials, units, rate = sys.argv[1:]
simulate.lab(
    folder, animals=int(animals), sessions=int(sessions), probes=int(probes), trials=int(trials),
    units=int(units), rate_hz=float(rate), sorting=simulate.Sorting(pc_features=False),
)
"""
COMMANDS = (
    ("ingest", "--no-compute"),
    ("compute",),
    ("compact",),
    ("check", "--deep"),
    ("status",),
    ("ingest",),
    ("rebuild",),
)


def peak_mb(*arguments):
    """Run the command line; return the most memory (MB) that its process had."""
    job = subprocess.Popen(
        [sys.executable, "-m", "cli", "--quiet", *arguments],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(job.pid, 0)
    job.returncode = os.waitstatus_to_exitcode(status)
    if job.returncode:
        raise RuntimeError(f"{arguments} ended with {job.returncode}")
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def peaks(folder, sessions):
    """Write a lab of so many sessions, all of one size; return the peak of each command."""
    per_animal = min(sessions, 5)
    numbers = (sessions // per_animal, per_animal, PROBES, TRIALS, UNITS, RATE_HZ)
    subprocess.run(
        [sys.executable, "-c", SIMULATE, str(folder), *map(str, numbers)],
        env=ENVIRONMENT, check=True,
    )  # fmt: skip
    config = str(folder / "lake.toml")
    found = [peak_mb("--config", config, *command) for command in COMMANDS]
    size = sum(p.stat().st_size for p in (folder / "lake").rglob("*") if p.is_file()) / 1e6
    return found, size


def as_page(few, small, large):
    """The figures as the block of the page; ``small`` and ``large``: peaks and size of the lake."""
    names = ["`maplake " + " ".join(command) + "`" for command in COMMANDS]
    many = f"{few * TIMES} sessions, lake of {large[1]:.0f} MB"
    command = f"`python tests/memory.py --page docs/reliability.md`, commit {commit()}."
    lines = [
        f"| peak memory of | {few} sessions, lake of {small[1]:.0f} MB | {many} | ratio |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {one:.0f} MB | {ten:.0f} MB | {ten / one:.2f} |"
            for name, one, ten in zip(names, small[0], large[0], strict=True)
        ),
        "",
        f"One probe of {UNITS} units and {TRIALS} trials each; one process. {command}",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="maplake-memory-") as folder:
        small = peaks(Path(folder) / "small", options.sessions)
        large = peaks(Path(folder) / "large", options.sessions * TIMES)
    text = as_page(options.sessions, small, large)
    sys.stdout.write(f"{text}\n")
    if options.page:
        old = options.page.read_text(encoding="utf-8")
        before, _, rest = old.partition(BEGIN)
        after = rest.partition(END)[2]
        new = f"{before}{BEGIN}\n{text}\n{END}{after}"
        options.page.write_text(new, encoding="utf-8", newline="\n")
    pairs = zip(small[0], large[0], strict=True)
    sys.exit(any(ten > MOST * one for one, ten in pairs))


if __name__ == "__main__":
    main()
