"""Time and peak memory of the exports of one large session.

    python benchmarks/bench_exports.py [--spikes 3500000] [--folder DIR] [--json FILE]

Writes a simulated lake (2 probes x 300 units x 3.5 million spikes, 400 trials) unless the folder
has it already; then runs each export in a process of its own, so that its peak memory is its own.
The floor is DuckDB copying every spike to one file, in a process of its own, too.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from bench_query import simulate
from harness import Figure, save, took

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


def copy(lake: Path, out: Path) -> None:
    """Copy every spike: what the floor does."""
    text = (
        "import duckdb, sys\n"
        "query = \"COPY (FROM read_parquet('{}')) TO '{}' (COMPRESSION zstd)\"\n"
        "duckdb.sql(query.format(*sys.argv[1:]))"
    )
    files = lake / "tables/ephys/spike/**/part.parquet"
    subprocess.run([sys.executable, "-c", text, files, out / "floor.parquet"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spikes", type=int, default=3_500_000, help="per probe")
    parser.add_argument("--folder", type=Path, help="keep the lake here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lake = (options.folder or Path(temporary)) / "lake"
        if not (lake / "lake.duckdb").exists():
            lake.mkdir(parents=True, exist_ok=True)
            simulate(lake, options.spikes)
        floor = min(took(lambda: copy(lake, Path(temporary))) for _ in range(3))
        figures = []
        for name, args in EXPORTS.items():
            out = Path(temporary) / "out"
            out.mkdir()
            seconds, memory, size = run(lake, out, args)
            print(f"{name:<30} {seconds:6.1f} s {memory:8.0f} MB peak {size / 1e6:8.1f} MB written")
            shutil.rmtree(out)
            figures.append(Figure(name, seconds, "DuckDB copying every spike", floor))
        save(figures, options.json)


if __name__ == "__main__":
    main()
