"""Every raw format: MB/s of raw input, and the ratio to the least that must be done.

Reads files of a simulated lab with maplake's readers and writes what they hold to Parquet or Zarr.
The floor reads the same files with the format's own library and writes as many bytes, unpacked
from nothing and checked for nothing. The best of several runs counts.

    python benchmarks/bench_formats.py [--trials 400] [--units 100] [--repeat 3] [--only NAME]
        [--folder DIR] [--json FILE]
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import h5py
import nrrd
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from harness import Figure, save
from scipy.io import loadmat

from maplake import simulate
from maplake.config import load
from maplake.readers import (
    bitcode,
    ccf_annotation,
    channel_locations,
    deeplabcut,
    delay_response,
    foraging,
    jrclust_v3,
    jrclust_v4,
    kilosort,
    lfp,
    multi_target_licking,
    nidq,
    site_info,
    spikeglx,
    xa_bitcodes,
)
from maplake.readers.base import (
    HistologyContext,
    ProbeSites,
    Records,
    SortingContext,
    TrackingContext,
)
from maplake.simulate.whole import WholeLab
from maplake.tables import get
from maplake.writers import lfp as lfp_writer
from maplake.writers import parquet
from maplake.writers.ccf import write_volume


@dataclass(frozen=True)
class Case:
    """One format: its files, what maplake does with them, and what its own library does."""

    name: str
    files: list[Path]
    ours: Callable[[Path], None]
    floor: Callable[[], None]


def write_records(records: Records, folder: Path) -> None:
    """Write a reader's tables and arrays."""
    for name, data in records.tables.items():
        table = get(name)
        if set(table.file_schema.names) <= set(data.column_names):
            parquet.write(table, parquet.conform(table, data), folder / f"{name}.parquet")
    columns = {name: a for name, a in records.arrays.items() if a.ndim == 1}
    by_length: dict[int, dict[str, Any]] = {}
    for name, array in columns.items():
        by_length.setdefault(len(array), {})[name] = np.ascontiguousarray(array)
    for length, found in by_length.items():
        pq.write_table(pa.table(found), folder / f"arrays{length}.parquet", compression="zstd")


def reading(read: Callable[[], Records]) -> Callable[[Path], None]:
    """Read, then write."""
    return lambda folder: write_records(read(), folder)


def hdf5(path: Path) -> None:
    """Read every array of an HDF5 file."""

    def visit(_: str, item: Any) -> None:  # anything returned would end the visit
        if isinstance(item, h5py.Dataset):
            item[()]

    with h5py.File(path) as file:
        file.visititems(visit)


def text(path: Path) -> None:
    """Read the rows of a pybpod file."""
    with path.open(encoding="utf-8", newline="") as file:
        list(csv.reader(file, delimiter=";", quotechar="|"))


def each(read: Callable[[Path], Any], files: list[Path]) -> Callable[[], None]:
    """Read several files."""

    def run() -> None:
        for file in files:
            read(file)

    return run


def cases(lab: WholeLab) -> Iterator[Case]:
    """Yield the formats."""
    yield from behavior_cases(lab)
    yield from ephys_cases(lab)
    yield from board_cases(lab)
    yield from tracking_cases(lab)
    yield from brain_cases(lab)


def behavior_cases(lab: WholeLab) -> Iterator[Case]:
    """Sessions of the three tasks."""
    context = load(lab.config).behavior_context
    file = lab.sessions[0].file
    read = reading(lambda: delay_response.read(file, context))
    yield Case("delay response .mat", [file], read, each(loadmat, [file]))
    target = lab.licking[1].session.file
    read_target = reading(lambda: multi_target_licking.read(target))
    yield Case("multi-target .mat", [target], read_target, each(loadmat, [target]))
    files = [bpod.path for bpod in lab.foraging[0].bpod]
    yield Case("foraging .csv", files, reading(lambda: foraging.read(files)), each(text, files))


def ephys_cases(lab: WholeLab) -> Iterator[Case]:
    """Three sorters, and trial starts."""
    probe = lab.probes[0]
    folder = probe.sorting_folder
    arrays = sorted(folder.glob("*.npy"))
    context = sorting_context(probe.folder)
    read = reading(lambda: kilosort.READER.read(folder, context))
    yield Case("Kilosort folder", sorted(folder.iterdir()), read, each(np.load, arrays))
    for name, reader, number in (("v4", jrclust_v4, 0), ("v3", jrclust_v3, 1)):
        place = lab.sessions[2].probes[number].folder
        (file,) = reader.READER.find(place)
        run = sorting_reader(reader.READER.read, file, sorting_context(place))
        yield Case(f"JRCLUST {name}", [file], run, each(hdf5, [file]))
    codes = next(probe.folder.glob("*bitcode.mat"))
    yield Case("bitcode.mat", [codes], reading(lambda: bitcode.read(codes, 30_000.0)),
               each(loadmat, [codes]))  # fmt: skip
    (starts,) = xa_bitcodes.find(lab.licking[0].session.probes[0].folder)
    files = list(xa_bitcodes.READER.files(starts))
    yield Case("XA texts", files, reading(lambda: xa_bitcodes.read(starts, 30_000.0)),
               each(np.loadtxt, files))  # fmt: skip


def sorting_context(folder: Path) -> SortingContext:
    """Return what sorters are told about a recording."""
    recording = spikeglx.read(next(folder.glob("*.ap.meta")))
    info, arrays = recording.info, recording.arrays
    return SortingContext(
        info["sampling_rate"], info["uv_per_bit"], arrays["electrode"], arrays["position"],
        info["saved_channels"],
    )  # fmt: skip


def sorting_reader(
    read: Callable[..., Records], file: Path, context: SortingContext
) -> Callable[[Path], None]:
    """Read a sorting, then write."""
    return reading(lambda: read(file, context))


def board_cases(lab: WholeLab) -> Iterator[Case]:
    """Streams: the board's traces and local field potentials."""
    probe = lab.licking[1].session.probes[0]
    board = next(probe.folder.parent.glob("*.nidq.meta"))
    starts, trials = probe.start_sample / probe.sampling_rate, probe.ephys_trial
    samples = board.with_suffix(".bin")
    yield Case("nidq.bin", [samples], reading(lambda: nidq.read_traces(board, starts, trials)),
               each(lambda path: np.fromfile(path, "<i2"), [samples]))  # fmt: skip
    meta = next(lab.probes[0].folder.glob("*.lf.meta"))

    def potentials(folder: Path) -> None:
        found = lfp.open_lfp(meta)
        lfp_writer.write(
            folder / "lfp.zarr", found.counts(), found.samples, found.uv_per_bit, found.channel,
            found.used, found.sampling_rate,
        )  # fmt: skip

    samples = meta.with_suffix(".bin")
    yield Case("lf.bin", [samples], potentials,
               each(lambda path: np.fromfile(path, "<i2"), [samples]))  # fmt: skip


def tracking_cases(lab: WholeLab) -> Iterator[Case]:
    """DeepLabCut, csv and HDF5."""
    session = lab.tracked[0].session
    context = TrackingContext(session.h2o, "RRig", session.trials.trial.tolist())
    folder = next((lab.directory / "tracking" / session.h2o).iterdir())
    for name, position, read in (
        ("DeepLabCut .csv", "side", lambda path: pl.read_csv(path, skip_rows=3, has_header=False)),
        ("DeepLabCut .h5", "body", hdf5),
    ):
        path = folder / position
        files = list(deeplabcut.files(path))
        yield Case(name, files, tracking_reader(path, context), each(read, files))


def tracking_reader(path: Path, context: TrackingContext) -> Callable[[Path], None]:
    """Read a camera, then write."""
    return reading(lambda: deeplabcut.read(path, context))


def brain_cases(lab: WholeLab) -> Iterator[Case]:
    """Histology in both formats, and the annotation volume."""
    for name, reader, number in (
        ("siteInfo", site_info, 0),
        ("channel_locations", channel_locations, 1),
    ):
        probe = lab.located[number].probe
        tail = "_channel_locations" if number else ""
        head = "" if number else "landmarks_"
        session = probe.session
        stem = f"{head}{session.h2o}_{session.start:%Y%m%d}_{probe.insertion_number}{tail}"
        path = lab.directory / "histology" / session.h2o / "histology" / stem
        files = [file for file in reader.files(path) if file.suffix != ".csv"]
        read = (lambda p: json.loads(p.read_bytes())) if number else loadmat
        yield Case(f"histology {name}", files, histology_reader(reader, path, probe.folder),
                   each(read, files))  # fmt: skip
    volume = next((lab.directory / "ccf").glob("*.nrrd"))

    def annotation(folder: Path) -> None:
        size = lab.framework.voxel_um
        write_volume(folder / "ccf.zarr", ccf_annotation.open_volume(volume), size, "bench")

    yield Case(
        "annotation .nrrd", [volume], annotation, each(lambda p: nrrd.read(str(p)), [volume])
    )


def histology_reader(reader: Any, path: Path, folder: Path) -> Callable[[Path], None]:
    """Read a probe's histology, then write."""
    recording = spikeglx.read(next(folder.glob("*.ap.meta")))
    sites = recording.tables["lab.probe_type_electrode"]
    columns = ("electrode", "shank", "x_coord", "y_coord")
    geometry = ProbeSites(*(sites[name].to_numpy() for name in columns))
    context = HistologyContext(geometry, recording.arrays["electrode"])
    return reading(lambda: reader.read(path, context))


def measure(case: Case, folder: Path, repeat: int) -> Figure:
    """Print a line; return the figure."""
    ours, floor, size = [], [], 0
    for _ in range(repeat):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        begin = time.perf_counter()
        case.ours(folder)
        ours.append(time.perf_counter() - begin)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        content = bytes(size)
        begin = time.perf_counter()
        case.floor()
        (folder / "floor").write_bytes(content)
        floor.append(time.perf_counter() - begin)
    mb = sum(file.stat().st_size for file in case.files if file.is_file()) / 1e6
    print(
        f"{case.name:28} {mb:8.2f} MB {min(ours) * 1e3:9.1f} ms {mb / min(ours):8.1f} MB/s "
        f"{min(ours) / min(floor):7.2f} times its library ({min(floor) * 1e3:.1f} ms), "
        f"{size / 1e6:.2f} MB written"
    )
    return Figure(case.name, min(ours), "its library", min(floor))


def main() -> None:
    """Simulate, then measure each format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--folder", type=Path, help="keep the raw files here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        raw = (options.folder or Path(name)) / "raw"
        shutil.rmtree(raw, ignore_errors=True)  # what is simulated is not told from files alone
        lab = simulate.whole_lab(raw, trials=options.trials, units=options.units)
        wanted = [c for c in cases(lab) if options.only.lower() in c.name.lower()]
        save([measure(case, Path(name) / "out", options.repeat) for case in wanted], options.json)


if __name__ == "__main__":
    main()
