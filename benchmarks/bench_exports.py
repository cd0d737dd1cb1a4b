"""Time and peak memory of the exports of one large session.

    python benchmarks/bench_exports.py [--spikes 3500000] [--folder DIR]

Writes a simulated lake (2 probes x 300 units x 3.5 million spikes, 400 trials) unless the folder
has it already; then runs each export in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_query import simulate

ROOT = Path(__file__).parents[1]
EXPORTS = {
    "export mat, one probe": ["mat", "--subject", "101", "--insertion", "1"],
    "export nwb, the session": ["nwb", "--subject", "101"],
    "export parquet, every spike": ["parquet", "--table", "ephys.spike"],
    "export lake, the session": ["lake", "--subject", "101"],
}
CHILD = (
    "import sys; sys.path.insert(0, {root!r})\n"
    "from {package}.main import main\n"
    "sys.argv = ['maplake', '--lake', {lake!r}, 'export', *{args!r}]\n"
    "try:\n    main()\nfinally:\n"
    "    import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 'KiB')\n"
)


def run(lake: Path, out: Path, args: list[str]) -> tuple[float, float, int]:
    """Return seconds, peak memory (MB) and bytes written."""
    place = out / "x.parquet" if args[0] == "parquet" else out / args[0]
    text = CHILD.format(
        root=str(ROOT), package="cli", lake=str(lake), args=[*args, "--out", str(place)]
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.stderr)
    memory = int(done.stdout.split()[-2]) / 1024
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    return seconds, memory, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spikes", type=int, default=3_500_000, help="per probe")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lake = (options.folder or Path(temporary)) / "lake"
        if not (lake / "lake.duckdb").exists():
            simulate(lake, options.spikes)
        for name, args in EXPORTS.items():
            out = Path(temporary) / "out"
            out.mkdir()
            seconds, memory, size = run(lake, out, args)
            print(f"{name:<30} {seconds:6.1f} s {memory:8.0f} MB peak {size / 1e6:8.1f} MB written")
            shutil.rmtree(out)


if __name__ == "__main__":
    main()
