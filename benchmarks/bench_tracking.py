"""Tracking of a session: 400 trials, 3 cameras, 6 features, about 20 million positions.

Run: ``python benchmarks/bench_tracking.py [--folder DIR] [--json FILE]``. The floor is polars
reading the same files and writing what they hold.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import numpy as np
import polars as pl
from harness import Figure, save

from maplake.readers import deeplabcut
from maplake.readers.base import TrackingContext
from maplake.simulate.tracking import simulate_camera, tracking_folder, write_camera
from maplake.tables import get
from maplake.writers import parquet

TRIALS, FRAMES = 400, 2777


def write(root: Path, trials: int) -> Path:
    rng = np.random.default_rng(0)
    folder = tracking_folder(root, "RRig", "MK001", date(2021, 3, 1), 1, "side")
    if folder.exists():
        return folder
    for position, interval in (("side", 0.0034), ("bottom", 0.0034), ("body", 0.01)):
        lengths = dict.fromkeys(range(1, trials + 1), (FRAMES + 0.5) * interval)
        write_camera(folder, "MK001", simulate_camera(rng, position, lengths))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--folder", type=Path, help="keep the files here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    root = options.folder or Path(tempfile.mkdtemp())
    folder = write(root, options.trials)
    files = sorted(folder.glob("*.csv"))
    mb = sum(file.stat().st_size for file in files) / 1e6
    begin = time.perf_counter()
    for file in files:
        pl.read_csv(file, skip_rows=3, has_header=False, infer_schema_length=2)
    floor = time.perf_counter() - begin
    print(f"{len(files)} files, {mb:.0f} MB; polars reads them in {floor:.2f} s")
    context = TrackingContext("MK001", "RRig", list(range(1, options.trials + 1)))
    rows = read_s = write_s = size = 0.0
    for path in deeplabcut.find(folder):
        begin = time.perf_counter()
        records = deeplabcut.read(path, context)
        read_s += time.perf_counter() - begin
        begin = time.perf_counter()
        for name, table in records.tables.items():
            target = root / "part.parquet"
            checked = parquet.conform(get(name), table, is_sorted=True)
            parquet.write(get(name), checked, target)
            rows += table.num_rows if name.endswith("position") else 0
            size += target.stat().st_size
        write_s += time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"read {rows / 1e6:.1f} M positions in {read_s:.2f} s: {mb / read_s:.0f} MB/s,")
    print(f"{read_s / floor:.2f} times polars; Parquet in {write_s:.2f} s, {size / 1e6:.0f} MB;")
    print(f"peak memory {peak:.2f} GB")
    what = f"tracking of {rows / 1e6:.0f} M positions, read"
    save([Figure(what, read_s, "polars reading the same files", floor)], options.json)


if __name__ == "__main__":
    main()
