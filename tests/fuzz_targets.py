"""What ``fuzz.py`` damages: small valid files of every raw format, and how each is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from openpyxl import Workbook

from maplake import readers, simulate, tables
from maplake.config.settings import PUBLISHED_PHOTOSTIM
from maplake.readers.base import (
    BehaviorContext,
    HistologyContext,
    ProbeSites,
    SortingContext,
    TrackingContext,
)
from maplake.readers.ccf_annotation import open_volume
from maplake.readers.ccf_tables import read_regions, read_surface
from maplake.readers.foraging_meta import day_tables, read_animal, read_lab
from maplake.readers.table_sheet import read as read_table_sheet

_RATE = 30_000.0  # Hz
_TRIALS = list(range(1, 11))
CHANNELS = 16  # of the sorted probe


@dataclass(frozen=True)
class Target:
    """A format: glob of what is damaged and read, in the folder of its seeds, and its reader.

    Each folder below the target's own is one seed; ``entry`` names what is read in it.
    """

    name: str
    entry: str
    read: Callable[[Path], object]


@cache
def _by_name() -> dict[str, readers.Reader]:
    return {reader.name: reader for reader in readers.all_readers()}


def _through(name: str, *context: Callable[[], Any]) -> Callable[[Path], object]:
    """Do with a path all that ingest does with a reader."""

    def read(path: Path) -> object:
        reader = _by_name()[name]
        reader.find(path.parent)
        reader.find(path)
        reader.files(path)
        if reader.identify is not None:
            reader.identify(path)
        for other in readers.of_kind(reader.kind):
            if other.recognise is not None and other.find(path):
                other.recognise(path)
        records = reader.read([path] if reader.joins else path, *(make() for make in context))
        for array in records.arrays.values():
            with np.errstate(all="ignore"):
                np.asarray(array).sum()
        if "lfp" in records.info:
            for counts in records.info["lfp"].counts():
                counts.sum()
        return records

    return read


def _behavior() -> BehaviorContext:
    return BehaviorContext({p.photo_stim: p for p in PUBLISHED_PHOTOSTIM})


def _sorting() -> SortingContext:
    electrode = np.arange(1, CHANNELS + 1)
    place = np.stack([16.0 * (electrode % 4), 20.0 * (electrode // 2)], axis=1)
    return SortingContext(_RATE, 2.34375, electrode, place, CHANNELS + 1)


def _tracking(rig: str) -> Callable[[], TrackingContext]:
    return lambda: TrackingContext("MK001" if rig == "RRig" else "MK003", rig, _TRIALS, 12)


def _histology(shanks: int) -> Callable[[], HistologyContext]:
    def make() -> HistologyContext:
        count = 960 if shanks == 1 else 1280 * shanks
        site = np.arange(count)
        shank, place = site // (count // shanks), site % (count // shanks)
        pitch = 20.0 if shanks == 1 else 15.0
        x = 32.0 * (place % 2) + (16.0 * ((place // 2) % 2 == 0) if shanks == 1 else 0.0)
        sites = ProbeSites(site + 1, shank + 1, x + 250.0 * shank, pitch * (place // 2))
        recorded = np.arange(1, 385)
        if shanks > 1:
            recorded = np.concatenate([np.arange(1, 97) + 1280 * s for s in range(shanks)])
        return HistologyContext(sites, recorded, 20.0, lambda ml, dv, ap: np.ones(len(ml), int))

    return make


def _volume(path: Path) -> int:
    return sum(int(plane.sum()) for plane in open_volume(path).planes(2))


def _days(path: Path) -> list[object]:
    days, _ = read_animal(path)
    return [day_tables(day) for day in days.values()]


def _sheet(name: str) -> Callable[[Path], object]:
    return lambda path: read_table_sheet(path, tables.get(name), {"MK001": 1})


TARGETS = {
    target.name: target
    for target in (
        Target("delay_response", "*.mat", _through("delay_response", _behavior)),
        Target("multi_target_licking", "*.mat", _through("multi_target_licking", _behavior)),
        Target("foraging", "*.csv", _through("foraging", _behavior)),
        Target("spikeglx", "*.ap.meta", _through("spikeglx")),
        Target("jrclust_v4", "*.ap_res.mat", _through("jrclust_v4", _sorting)),
        Target("jrclust_v3", "*_jrc.mat", _through("jrclust_v3", _sorting)),
        Target("kilosort", ".", _through("kilosort", _sorting)),
        Target("bitcode", "*bitcode.mat", _through("bitcode", lambda: _RATE)),
        Target("xa_bitcodes", "*.XA_0_0*.txt", _through("xa_bitcodes", lambda: _RATE)),
        Target("lfp", "*.lf.meta", _through("lfp")),
        Target("nidq", "*.nidq.meta",
               _through("nidq", lambda: np.arange(10.0), lambda: np.arange(1, 11))),
        Target("deeplabcut_csv", "side", _through("deeplabcut", _tracking("RRig"))),
        Target("deeplabcut_h5", "body", _through("deeplabcut", _tracking("RRig"))),
        Target("deeplabcut_mtl", "side", _through("deeplabcut", _tracking("RRig-MTL"))),
        Target("channel_locations", "locations", _through("channel_locations", _histology(1))),
        Target("channel_locations4", "locations", _through("channel_locations", _histology(4))),
        Target("site_info", "landmarks", _through("site_info", _histology(1))),
        Target("animals", "*.*", _through("animals")),
        Target("insertion_locations", "*.*", _through("insertion_locations")),
        Target("table_sheet", "*.*", _sheet("lab.surgery")),
        Target("ccf_annotation", "*.*", _volume),
        Target("region_csv", "regions.csv",
               lambda path: read_regions(path, path.with_name("hexcode.csv"), "v")),
        Target("surface_mesh", "*.mat", read_surface),
        Target("foraging_meta", "*.csv", _days),
        Target("lab_meta", ".", read_lab),
    )
}  # fmt: skip


def entry_of(target: Target, folder: Path) -> Path:
    """Return what is read of a seed's folder; names of histology are beginnings of file names."""
    if target.entry == ".":
        return folder
    if target.entry in ("side", "body"):  # cameras go by their place
        return folder / target.entry
    if target.entry == "locations":
        file = next(iter(sorted(folder.glob("*channel_locations*"))))
        return folder / f"{file.name.split('channel_locations')[0]}channel_locations"
    if target.entry == "landmarks":
        return folder / next(iter(sorted(folder.glob("*.csv")))).stem
    return next(iter(sorted(folder.glob(target.entry))))


def make_seeds(folder: Path, real: Path | None = None) -> None:
    """Write the seeds: ``folder/<target>/<number>/``; ``real`` is a folder with files of rigs."""
    lab = simulate.whole_lab(folder / "whole", trials=10, units=3, rate_hz=2.0)
    recording = simulate.Recording(channels=CHANNELS)
    for name, sorting in {
        "metrics": simulate.Sorting(metrics=True, jrclust=(3, 4)),
        "plain": simulate.Sorting(phy_log=True, jrclust=(3, 4)),
    }.items():
        simulate.lab(folder / name, animals=1, sessions=1, probes=1, trials=10, units=4,
                     rate_hz=2.0, recording=recording, sorting=sorting)  # fmt: skip
    whole = lab.directory
    seeds = _Seeds(folder)
    seeds.each("delay_response", whole.glob("behavior/MK00[12]/*/*/*0302_*.mat"))
    seeds.each("multi_target_licking", whole.glob("behavior_mtl/*/*.mat"))
    seeds.each("foraging", whole.glob("foraging/**/*.csv"))
    seeds.each("spikeglx", whole.glob("ephys/MK00[12]/20210302/1/*.ap.meta"))
    seeds.each("bitcode", whole.glob("ephys/MK00[14]/**/*bitcode.mat"))
    seeds.one("xa_bitcodes", whole.glob("ephys/*/*/*.XA_*.txt"))
    seeds.one("lfp", whole.glob("ephys/MK001/20210301/1/*.lf.*"))
    seeds.one("nidq", whole.glob("ephys/MK003/catgt*/*.nidq.[bm]*"))
    for sorted_by in ("metrics", "plain"):
        seeds.each("jrclust_v4", (folder / sorted_by).glob("ephys/**/*_res.mat"))
        seeds.each("jrclust_v3", (folder / sorted_by).glob("ephys/**/*_jrc.mat"))
        seeds.one("kilosort", (folder / sorted_by).glob("ephys/**/imec0_ks2/*"))
    seeds.one("deeplabcut_csv", whole.glob("tracking/*/*/*_side_[123]-*.csv"))
    seeds.one("deeplabcut_h5", whole.glob("tracking/*/*/*_body_[123]-*.h5"))
    seeds.one("deeplabcut_mtl", whole.glob("tracking_mtl/side/*/*/*_[123].csv"))
    seeds.one("channel_locations", whole.glob("histology/MK001/*/*.json"))
    seeds.one("channel_locations4", whole.glob("histology/MK002/*/*.json"))
    seeds.one("site_info", whole.glob("histology/MK001/*/landmarks*"))
    for name, file in (("animals", lab.animals_file), ("insertion_locations", lab.insertions_file)):
        seeds.each(name, [file, _as_workbook(file)])
    surgery = folder / "surgery.csv"
    surgery.write_text("water_restriction_number,surgery_id,username,start_time,end_time,"
                       "surgery_description\nMK001,1,ada,2021-01-01,2021-01-02 10:00,x\n",
                       encoding="utf-8")  # fmt: skip
    seeds.each("table_sheet", [surgery, _as_workbook(surgery)])
    seeds.each("ccf_annotation", [*whole.glob("ccf/*.nrrd"), _as_tiff(folder / "volume.tif")])
    regions = [shutil.copy(next(whole.glob("ccf/mouse*.csv")), folder / "regions.csv")]
    seeds.one("region_csv", [*regions, *whole.glob("ccf/hexcode.csv")])
    seeds.each("surface_mesh", whole.glob("ccf/*.mat"))
    seeds.each("foraging_meta", whole.glob("metadata/*.csv"))
    seeds.one("lab_meta", whole.glob("metadata/lab/*.csv"))
    if real is not None:
        seeds.each("spikeglx", sorted((real / "spikeglx_meta").rglob("*.ap.meta"))[::4])
        seeds.each("bitcode", real.rglob("*_bitcode.mat"))
        seeds.each("delay_response", (real / "bpod_mat").rglob("dl25*.mat"))


class _Seeds:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def one(self, target: str, files: Any) -> None:
        """Add one seed of several files."""
        here = self.folder / "seeds" / target
        place = here / str(len(list(here.glob("*"))))
        place.mkdir(parents=True)
        for file in [*files]:
            shutil.copyfile(file, place / Path(file).name)
        if not any(place.iterdir()):
            raise FileNotFoundError(target)

    def each(self, target: str, files: Any) -> None:
        """Add a seed for each file."""
        for file in [*files]:
            self.one(target, [file])


def _as_workbook(file: Path) -> Path:
    book = Workbook()
    for line in file.read_text(encoding="utf-8").splitlines():
        book.active.append(line.replace('"', "").split(",")[:21])
    target = file.with_suffix(".xlsx")
    book.save(target)
    return target


def _as_tiff(path: Path) -> Path:
    import tifffile

    pages = np.arange(6 * 8 * 10, dtype=np.uint16).reshape(6, 8, 10)
    tifffile.imwrite(path, pages, photometric="minisblack")
    return path
