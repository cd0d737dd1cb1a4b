"""What ``fuzz.py`` damages: small valid files of every raw format, and how each is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fuzz_lake
import numpy as np
from openpyxl import Workbook

from maplake import config, readers, simulate, tables
from maplake.config.settings import PUBLISHED_PHOTOSTIM
from maplake.errors import ConfigError, MaplakeError, SourceError
from maplake.ingest.load_table import loadable
from maplake.publication.verify import _listing
from maplake.readers.base import (
    BehaviorContext,
    HistologyContext,
    ProbeSites,
    SortingContext,
    TrackingContext,
)
from maplake.readers.ccf_annotation import open_volume
from maplake.readers.ccf_tables import read_regions, read_surface
from maplake.readers.dlc_csv import read_csv
from maplake.readers.dlc_files import read_trial_map
from maplake.readers.dlc_h5 import read_h5
from maplake.readers.foraging_meta import day_tables, read_animal, read_lab
from maplake.readers.foraging_surgery import read_surgeries
from maplake.readers.matlab import load as read_matlab
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
    refuses: type[MaplakeError] = SourceError
    in_lake: bool = False  # what is damaged is a lake, see fuzz_lake.py


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


def _sheet(path: Path) -> object:
    """Read a sheet of ``maplake load`` into the table that its name begins with."""
    return read_table_sheet(path, tables.get(path.stem), {"MK001": 1})


def _settings(path: Path) -> object:
    found = config.load(path)
    return found.lake, found.align_types, found.conditions, list(found.photostim)


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
        Target("table_sheet", "*.*", _sheet),
        Target("ccf_annotation", "*.*", _volume),
        Target("region_csv", "regions.csv",
               lambda path: read_regions(path, path.with_name("hexcode.csv"), "v")),
        Target("surface_mesh", "*.mat", read_surface),
        Target("foraging_meta", "*.csv", _days),
        Target("lab_meta", ".", read_lab),
        Target("foraging_surgery", "Surgery.csv", read_surgeries),
        Target("trial_map", "*.txt", read_trial_map),
        Target("dlc_csv_file", "*.csv", read_csv),
        Target("dlc_h5_file", "*.h5", read_h5),
        Target("matlab", "*.mat", read_matlab),
        Target("verify_listing", "*.*", lambda path: _listing(path, "/MAP")("MK001/x.bin")),
        Target("lake_toml", "*.toml", _settings, ConfigError),
        *(Target(name, "lake.toml", ask, MaplakeError, in_lake=True)
          for name, ask in fuzz_lake.OPERATIONS.items()),
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
    seeds.each("table_sheet", _sheets(folder / "sheets"))
    seeds.each("ccf_annotation", [*whole.glob("ccf/*.nrrd"), _as_tiff(folder / "volume.tif")])
    regions = [shutil.copy(next(whole.glob("ccf/mouse*.csv")), folder / "regions.csv")]
    seeds.one("region_csv", [*regions, *whole.glob("ccf/hexcode.csv")])
    seeds.each("surface_mesh", whole.glob("ccf/*.mat"))
    seeds.each("foraging_meta", whole.glob("metadata/*.csv"))
    seeds.one("lab_meta", whole.glob("metadata/lab/*.csv"))
    surgeries = _text(folder / "Surgery.csv", SURGERIES)
    seeds.one("foraging_surgery", [surgeries, *whole.glob("metadata/*.csv")])
    seeds.each("trial_map", [_text(folder / "MK001_0_side.txt", "0\t1\n1\t2\n2\t4\n")])
    seeds.each("dlc_csv_file", sorted(whole.glob("tracking/*/*/*.csv"))[:1])
    seeds.each("dlc_h5_file", sorted(whole.glob("tracking/*/*/*.h5"))[:1])
    seeds.each("matlab", sorted(folder.glob("plain/ephys/**/*.mat"))[:3])
    seeds.each("matlab", sorted(whole.glob("behavior*/**/*.mat"))[:3])
    seeds.each("verify_listing", _listings(folder))
    example = Path(__file__).resolve().parents[1] / "lake.toml.example"
    settings = [_text(folder / "lake.toml", SETTINGS), lab.config]
    seeds.each("lake_toml", [*settings, shutil.copy(example, folder / "example.toml")])
    fuzz_lake.make_lab(folder / "seeds" / "lake")
    if real is not None:
        _real_seeds(seeds, real)


def _real_seeds(seeds: _Seeds, real: Path) -> None:
    """Add files of rigs; what is of no format of maplake's may be refused when whole."""
    seeds.each("spikeglx", sorted((real / "spikeglx_meta").rglob("*.ap.meta"))[::4])
    seeds.each("bitcode", real.rglob("*_bitcode.mat"))
    seeds.each("delay_response", (real / "bpod_mat").rglob("dl25*.mat"))
    seeds.foreign = True
    seeds.each("matlab", _small(real.rglob("*.mat")))
    seeds.each("dlc_csv_file", _small((real / "pose_dlc").rglob("*.csv")))
    seeds.each("dlc_h5_file", _small((real / "pose_dlc").rglob("*.h5")))
    seeds.one("kilosort", (real / "kilosort_phy").glob("*/*"))
    seeds.one("nidq", (real / "spikeglx_bin" / "NP2_with_sync").glob("*.nidq.*"))
    atlas = real / "ccf_atlas" / "map-ephys"
    regions = seeds.folder / "real" / "regions.csv"
    regions.parent.mkdir()
    shutil.copyfile(atlas / "mousebrainontology_2.csv", regions)
    seeds.one("region_csv", [regions, atlas / "hexcode.csv"])


def _small(files: Iterable[Path]) -> list[Path]:
    return [file for file in sorted(files) if 0 < file.stat().st_size < 300_000]


SURGERIES = """\
status,project,animal#,ID,cage#,DOB,sex,experimenter
training,foraging,400004,MK004,7004,2021-01-05,M,Han
training,foraging,400005.0,MK004,,1/6/2021,F,Han
surgery,other,,,,,,
"""
SETTINGS = r"""
[lake]
root = "lake"
[behavior]
rigs = [{ name = "RRig", path = "rigs", priority = 0 }]
min_file_kib = 0
[ephys]
paths = ["ephys", 'C:\data']
[ccf]
version_name = "CCF_2017"
resolution_um = 20
[conditions]
mine = "outcome = 'hit' AND trial > 3"
other = { predicate = "true", description = "all" }
[align_types]
far = { event = "go", trial_offset = 1, time_offset = 0.5, start = -1.0, stop = 2.0 }
[publish]
source = { endpoint = "1111", path = "/rigs", local = "rigs" }
[publish.destinations]
archive = { endpoint = "2222", path = "/MAP" }
[logging]
level = "INFO"
[dask]
scheduler = "tcp://x:8786"
"""


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _listings(folder: Path) -> list[Path]:
    digest = "0123456789abcdef" * 4
    sums = f"{digest}  MAP/MK001/x.bin\n{digest} *MAP/MK001/y.bin\n"
    table = f"file_path,bytes,sha256\nMK001/x.bin,12,{digest}\nMK001/y.bin,,{digest}\n"
    items = [{"name": "MAP/MK001/x.bin", "size": 12, "type": "file"}, {"name": "a", "type": "dir"}]
    return [_text(folder / "sums.txt", sums), _text(folder / "table.csv", table),
            _text(folder / "globus.json", json.dumps({"DATA": items}))]  # fmt: skip


def _sheets(folder: Path) -> list[Path]:
    """Return a sheet for each table that sheets are loaded into, as CSV and some as workbooks."""
    folder.mkdir()
    found = []
    for number, name in enumerate(loadable()):
        columns = tables.get(name).columns
        cells = [_cell(column) for column in columns]
        lines = [",".join(column.name for column in columns), ",".join(cells)]
        sheet = _text(folder / f"{name}.csv", "\n".join(lines) + "\n")
        try:
            _sheet(sheet)
        except MaplakeError:
            continue
        found += [sheet, *([_as_workbook(sheet)] if number % 5 == 0 else [])]
    return found


def _cell(column: tables.Column) -> str:
    if column.values:
        return str(column.values[0])
    kind = str(column.type)
    for part, cell in {"int": "1", "float": "1.5", "double": "1.5", "date": "2021-01-01",
                       "timestamp": "2021-01-01 10:00", "time": "10:00",
                       "bool": "true"}.items():  # fmt: skip
        if part in kind and "dictionary" not in kind:
            return cell
    return "x"


class _Seeds:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.foreign = False  # whether what comes now need not be of the format

    def one(self, target: str, files: Any) -> None:
        """Add one seed of several files."""
        here = self.folder / "seeds" / target
        place = here / f"{'foreign' if self.foreign else ''}{len(list(here.glob('*')))}"
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
