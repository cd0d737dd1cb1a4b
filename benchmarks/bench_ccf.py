"""The 10 um annotation volume (1320 x 800 x 1140 voxels, 4.8 GB unpacked) into a 20 um lake array.

Run: ``python benchmarks/bench_ccf.py [--folder DIR] [--json FILE]``; it needs 5 GB of disk at most,
none to keep. The floor is unpacking the same file plane by plane and doing nothing with it.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import numpy as np
from harness import Figure, save

from maplake.query.ccf import Ccf
from maplake.readers.ccf_annotation import open_volume
from maplake.writers.ccf import write_volume

SHAPE = (1320, 800, 1140)
_HEADER = """NRRD0004
type: unsigned int
dimension: 3
space: left-posterior-superior
sizes: 1320 800 1140
space directions: (10,0,0) (0,10,0) (0,0,10)
kinds: domain domain domain
endian: little
encoding: gzip
space origin: (0,0,0)

"""


def write(path: Path) -> None:
    """Write nested, wavy shells: about 600 regions with borders as long as real ones."""
    ap, dv = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
    angle = np.arctan2(dv, ap)
    pack = zlib.compressobj(6, wbits=31)
    with path.open("wb") as file:
        file.write(_HEADER.encode())
        for ml in np.linspace(-1, 1, SHAPE[2]):
            radius = np.sqrt(ap**2 + dv**2 + ml**2) * (1 + 0.1 * np.sin(6 * angle + 4 * ml))
            ids = 1 + (radius * 6).astype(int) * 60 + ((angle + np.pi) * 9).astype(int)
            plane = np.where(radius < 0.95, ids, 0).astype("<u4")
            file.write(pack.compress(plane.T.tobytes()))
        file.write(pack.flush())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keep the volume here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    root = options.folder or Path(tempfile.mkdtemp())
    root.mkdir(parents=True, exist_ok=True)
    source, target = root / "annotation_10.nrrd", root / "bench.zarr"
    if not source.exists():
        write(source)
    shutil.rmtree(target, ignore_errors=True)
    volume = open_volume(source)
    begin = time.perf_counter()
    for _ in volume.planes():
        pass
    floor = time.perf_counter() - begin
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    begin = time.perf_counter()
    runs = write_volume(target, volume, 20, "bench")
    taken = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) / 1e6
    print(f"{source.stat().st_size / 1e6:.0f} MB packed; unpacking alone {floor:.1f} s")
    print(
        f"loading {taken:.1f} s = {taken / floor:.2f} times; peak memory {peak:.2f} GB "
        f"({base:.2f} GB before); {size:.0f} MB of Zarr, {runs.num_rows / 1e6:.1f} M runs"
    )
    ccf = Ccf(target)
    points = np.random.default_rng(0).uniform(0, [11380, 7980, 13180], (1_000_000, 3)).T
    for name in ("first", "second"):
        begin = time.perf_counter()
        ccf.region_at(*points)
        print(f"{name} look-up of a million points {time.perf_counter() - begin:.2f} s")
    shutil.rmtree(target)
    what = "10 um annotation volume, packed, into a 20 um array and its runs"
    save([Figure(what, taken, "unpacking the file", floor)], options.json)


if __name__ == "__main__":
    main()
