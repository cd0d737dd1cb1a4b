"""How long ingest takes beside its floor, and how much memory.

The floor reads the same raw arrays, sorts the spikes by unit and writes the same columns with zstd.
Each measurement runs in a process of its own; the ratio is taken within one run.

    python benchmarks/bench_ingest.py [--trials 400] [--units 300] [--repeat 3] [--features 0|12|32]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import Figure, save


def simulate(directory: Path, trials: int, units: int, features: int) -> int:
    from maplake import simulate

    lab = simulate.lab(
        directory,
        animals=1,
        sessions=1,
        probes=2,
        trials=trials,
        units=units,
        rate_hz=3.3,
        sorting=simulate.Sorting(pc_features=features > 0, pc_channels=features or 12),
    )
    return sum(len(p.spike_sample) for p in lab.probes)


def floor(directory: Path) -> None:
    """Read, sort, write: what no ingest can do without."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = directory / "floor"
    out.mkdir(exist_ok=True)
    for place, folder in enumerate(sorted((directory / "ephys").rglob("*_ks2"))):
        arrays = {
            name: np.load(folder / f"{name}.npy").reshape(-1)
            for name in ("spike_times", "spike_clusters", "spike_templates", "amplitudes")
        }
        features = folder / "pc_features.npy"
        if features.exists():
            first = np.load(features, mmap_mode="r")
            for start in range(0, len(first), 100_000):
                first[start : start + 100_000].sum()
        order = np.argsort(arrays["spike_clusters"].astype(np.uint16), kind="stable")
        columns = {name: array[order] for name, array in arrays.items()}
        pq.write_table(
            pa.table(
                {
                    "unit": columns["spike_clusters"].astype(np.int32),
                    "spike_sample": columns["spike_times"].astype(np.int64),
                }
            ),
            out / f"{place}.parquet",
            compression="zstd",
            use_dictionary=["unit"],
            column_encoding={"spike_sample": "DELTA_BINARY_PACKED"},
        )
        store = pa.table(
            {
                "template": columns["spike_templates"].astype(np.int32),
                "depth": columns["amplitudes"] * 1.5,
                "amplitude": columns["amplitudes"],
                "sample": columns["spike_times"].astype(np.int64),
            }
        )
        pq.write_table(
            store, out / f"{place}-store.parquet", compression="zstd", use_dictionary=False
        )


def ingest(directory: Path) -> None:
    from maplake.config import load
    from maplake.ingest import pipeline

    report = pipeline.run(load(directory / "lake.toml"))
    if report.failed:
        sys.exit(str([s.reason for s in report.sources if s.reason]))


def measured(what: str, directory: Path) -> dict[str, float]:
    """Run one measurement in a fresh process; imports are not counted.

    What ingest imports late is, but compiled already, as where maplake is installed.
    """
    installed = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, __file__, "--child", what, "--directory", str(directory)],
        check=True,
        capture_output=True,
        text=True,
        env=installed,
    )
    return json.loads(done.stdout.splitlines()[-1])


def child(what: str, directory: Path) -> None:
    import maplake.ingest.pipeline
    import maplake.ingest.stage  # noqa: F401 - imports numpy and pyarrow, as the floor does

    begin, busy = time.perf_counter(), time.process_time()
    {"floor": floor, "ingest": ingest}[what](directory)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu_s": cpu, "peak_mib": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--units", type=int, default=300)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--child")
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--folder", type=Path, help="keep the raw files here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    if options.child:
        child(options.child, options.directory)
        return
    directory = options.folder or Path(tempfile.mkdtemp(prefix="maplake-bench-"))
    spikes = simulate(directory, options.trials, options.units, options.features)
    rows = []
    for _ in range(options.repeat):
        shutil.rmtree(directory / "lake", ignore_errors=True)
        rows.append((measured("floor", directory), measured("ingest", directory)))
    ratios = [b["seconds"] / a["seconds"] for a, b in rows]
    result = {
        "spikes": spikes,
        "features per spike": options.features,
        "floor_s": statistics.median(a["seconds"] for a, _ in rows),
        "ingest_s": statistics.median(b["seconds"] for _, b in rows),
        # Of all threads: says more than seconds where others keep the machine busy.
        "floor_cpu_s": statistics.median(a["cpu_s"] for a, _ in rows),
        "ingest_cpu_s": statistics.median(b["cpu_s"] for _, b in rows),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "ingest_peak_mib": max(b["peak_mib"] for _, b in rows),
    }
    print(json.dumps(result, indent=1))
    fastest = [min(row[i]["seconds"] for row in rows) for i in (0, 1)]
    what = f"ingest of two probes, {spikes / 1e6:.1f} M spikes"
    save([Figure(what, fastest[1], "reading, sorting and writing the arrays", fastest[0])],
         options.json)  # fmt: skip
    if not options.folder:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
