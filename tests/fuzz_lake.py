"""A lake of its own whose records, tables and arrays ``fuzz.py`` damages, and what is then asked.

The lab lies at one place all the while, as a lake knows where it is; after each case, what the case
changed is put back from a copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_mutate import BYTES, NUMBERS, TEXT, WORDS, mutate

SUBJECT, SESSION = 400001, 1
_TABLES = ("lab.water_restriction", "experiment.session", "experiment.behavior_trial",
           "experiment.trial_event", "ephys.unit", "ephys.trial_spikes", "ephys.unit_waveform",
           "ephys.cluster_metric", "psth.trial_condition", "ingest.source",
           "ingest.skipped")  # fmt: skip


# ---------------------------------------------------------------------------------- the seed


def make_lab(folder: Path) -> None:
    """Write a lab with a lake that has every kind of record: snapshot, compact, log, computed."""
    import maplake
    from maplake import simulate
    from maplake.compute import run as compute
    from maplake.config import load
    from maplake.ingest import compact, pipeline, snapshot

    lab = simulate.lab(
        folder, animals=1, sessions=1, probes=1, trials=10, units=3, rate_hz=2.0,
        recording=simulate.Recording(channels=16),
        sorting=simulate.Sorting(metrics=True, pc_features=False),
    )  # fmt: skip
    config = load(lab.config)
    report = pipeline.run(config)
    if report.failed:
        raise RuntimeError(str(report.failed))
    compute.run(config)
    snapshot.take(config, "paper", "as it was")
    compact.compact(config)
    with maplake.open(config.lake.root) as lake:
        lake.conditions.add("mine", "outcome = 'hit'", "what I like")
        unit = lake.spikes(SUBJECT, SESSION, 1).units[0]
    (folder / "unit").write_text(str(unit), encoding="ascii")


def settle(folder: Path) -> None:
    """Let the lake know its new place."""
    from maplake.config import load
    from maplake.ingest import pipeline

    pipeline.run(load(folder / "lake.toml"))


class Place:
    """A lab that is damaged and put right again, case after case."""

    def __init__(self, seed: Path, folder: Path, settled: Callable[[Path], object]) -> None:
        self.lab, self._whole = folder / "lab", folder / "whole"
        if not self._whole.exists():
            shutil.copytree(seed, self.lab)
            settled(self.lab)
            shutil.copytree(self.lab, self._whole)
        self.restore()
        self._files = [
            name
            for name, stamp in sorted(_stamps(self._whole).items())
            if stamp is not None and name.startswith("lake/")
        ]

    def restore(self) -> None:
        """Put back what the last case changed."""
        there, whole = _stamps(self.lab), _stamps(self._whole)
        for name in there.keys() - whole.keys():
            place = self.lab / name
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)
        for name, stamp in sorted(whole.items()):
            if name not in there or there[name] != stamp:
                self._put_back(name, is_folder=stamp is None)

    def _put_back(self, name: str, *, is_folder: bool) -> None:
        place = self.lab / name
        if is_folder:
            if place.exists() and not place.is_dir():
                place.unlink()
            place.mkdir(parents=True, exist_ok=True)
        else:
            if place.is_dir():
                shutil.rmtree(place)
            shutil.copy2(self._whole / name, place)

    def damage(self, target: str, rng: Random) -> None:
        """Damage one file of the lake, or two; which kinds depends on the target."""
        kind = rng.choice(_KINDS[target])
        some = [name for name in self._files if _kind(name) == kind] or self._files
        for name in rng.sample(some, min(len(some), rng.choice((1, 1, 1, 2)))):
            damage_file(self.lab / name, rng)


def _stamps(top: Path) -> dict[str, tuple[int, int] | None]:
    """Return size and time of every file below a folder, None for folders."""
    found: dict[str, tuple[int, int] | None] = {}
    for folder, folders, names in os.walk(top):
        base = os.path.relpath(folder, top)
        for name in folders:
            found[os.path.normpath(f"{base}/{name}").replace(os.sep, "/")] = None
        for name in names:
            info = os.lstat(f"{folder}/{name}")
            key = os.path.normpath(f"{base}/{name}").replace(os.sep, "/")
            found[key] = (info.st_size, info.st_mtime_ns)
    return found


# -------------------------------------------------------------------------------- the damage

_KINDS = {
    "lake_query": ("record", "parquet", "parquet", "zarr", "catalog"),
    "lake_frames": ("parquet",),
    "lake_check": ("record", "parquet", "zarr", "catalog"),
    "lake_status": ("record",),
    "lake_ingest": ("record", "record", "parquet"),
    "lake_write": ("record", "record", "parquet", "zarr"),
}


def _kind(name: str) -> str:
    if name.endswith(".parquet"):
        return "parquet"
    if "/arrays/" in f"/{name}" or ".zarr/" in name:
        return "zarr"
    if name.endswith((".duckdb", ".sql")):
        return "catalog"
    return "record"


def damage_file(path: Path, rng: Random) -> None:
    """Damage a file of a lake knowingly, or byte by byte."""
    if rng.random() < 0.03:
        path.unlink()
        return
    known = path.suffix == ".parquet" or path.suffix == ".json"
    try:
        if known and rng.random() < 0.7:
            (_parquet if path.suffix == ".parquet" else _record)(path, rng)
        elif path.suffix == ".sql":
            rng.choice(TEXT)(path, rng)
        else:
            mutate(path, rng)
    except Exception:
        rng.choice(BYTES)(path, rng)


def _record(path: Path, rng: Random) -> None:
    """Change a record at any depth; half of them are sealed again, as if meant so."""
    from maplake.seal import sealed

    content = json.loads(path.read_bytes())
    inner = json.loads(content["body"]) if "body" in content else content
    place = inner
    while True:
        key = rng.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
        if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        break
    way = rng.random()
    if way < 0.15:
        del place[key]
    elif way < 0.3 and isinstance(place, dict):
        place[rng.choice(WORDS)] = place.pop(key)
    else:
        place[key] = rng.choice((None, True, -1, 10**30, 10**400, 1.5, float("nan"), float("inf"),
                                 "x", [], {}, [[]], -(2**63), {"a": 1}, "../x", "/etc/passwd",
                                 rng.choice(WORDS), rng.choice(NUMBERS)))  # fmt: skip
    if "body" in content:
        body = json.dumps(inner)
        content = {"body": body, "sha256": hashlib.sha256(body.encode()).hexdigest()}
    elif "sha256" in content and rng.random() < 0.5:
        content = sealed(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _parquet(path: Path, rng: Random) -> None:
    """Write a table anew with a column that is another, or with other rows."""
    data = pq.ParquetFile(path).read()
    at = rng.randrange(data.num_columns)
    name, column = data.schema.names[at], data.column(at)
    way = rng.randrange(7)
    if way == 0:
        data = data.drop_columns([name])
    elif way == 1:
        names = list(data.schema.names)
        names[at] = rng.choice([word for word in WORDS if word.isprintable()])
        data = data.rename_columns(names)
    elif way == 2:
        other = pa.array([rng.choice(WORDS).replace("\x00", "") for _ in range(len(column))])
        data = data.set_column(at, name, other)
    elif way == 3:
        data = data.set_column(at, name, pa.nulls(len(column), column.type))
    elif way == 4:
        values = np.full(len(column), rng.choice((np.nan, np.inf, -1.0, 1e308)))
        data = data.set_column(at, name, pa.array(values))
    elif way == 5:
        data = pa.concat_tables([data, data])
    else:
        data = data.slice(0, rng.choice((0, 1)))
    pq.write_table(data, path)


# --------------------------------------------------------------------------- what is asked


def _each(steps: Iterator[Callable[[], object]]) -> None:
    """Do every step; the first error of maplake is raised at the end."""
    from maplake.errors import MaplakeError

    first: MaplakeError | None = None
    for step in steps:
        try:
            step()
        except MaplakeError as error:
            first = first or error
    if first is not None:
        raise first


def query(config: Path) -> None:
    """Ask a lake as an analyst does."""
    import maplake

    with maplake.open(config.parent / "lake") as lake:
        unit = int(config.with_name("unit").read_text(encoding="ascii"))
        steps = [
            lake.sessions,
            lake.tables,
            lambda: lake._repr_html_(),
            lambda: lake.psth(SUBJECT, SESSION),
            lambda: lake.raster(SUBJECT, SESSION, 1, unit),
            lambda: _arrays(lake),
            lambda: lake.conditions.list(),
            *(lambda name=name: lake.sql(f"FROM {name}").pl() for name in _TABLES),
        ]
        _each(iter(steps))


def _arrays(lake) -> None:
    spikes = lake.spikes(SUBJECT, SESSION, 1)
    names = ("units", "unit", "sample", "time", "site", "depth", "amplitude", "waveform")
    _each(lambda name=name: getattr(spikes, name) for name in names)


def frames(config: Path) -> None:
    """Read tables as polars frames."""
    import maplake

    with maplake.open(config.parent / "lake") as lake:
        _each(lambda name=name: lake.table(name).collect() for name in _TABLES)


def check(config: Path) -> None:
    """Hold a lake against its records."""
    from maplake.ingest.snapshot import snapshots
    from maplake.query.check import check as checked
    from maplake.query.log import commits

    root = config.parent / "lake"

    def told() -> None:
        for commit in commits(root):
            _ = commit.headline, [*commit.lines(rows=True)]

    _each(iter([lambda: checked(root, deep=True), told, lambda: snapshots(root)]))


def status(config: Path) -> None:
    """Say where every source stands."""
    from maplake.config import load
    from maplake.ingest.status import status as told

    told(load(config))


def ingest(config: Path) -> None:
    """Take in what is new: nothing."""
    from maplake.config import load
    from maplake.ingest import pipeline

    pipeline.run(load(config))


def write(config: Path) -> None:
    """Change a lake, in one of the ways that there are."""
    from maplake.compute import run as compute
    from maplake.config import load
    from maplake.ingest import compact, delete, rebuild, snapshot
    from maplake.ingest.lakes import update_catalog

    loaded = load(config)
    way = int(config.with_name("number").read_text(encoding="ascii")) % 7
    steps = [
        lambda: delete.delete(loaded, delete.Target(SUBJECT, SESSION)),
        lambda: compact.compact(loaded),
        lambda: compute.run(loaded),
        lambda: rebuild.rebuild_session(loaded, SUBJECT, SESSION),
        lambda: snapshot.take(loaded, "again"),
        lambda: update_catalog(loaded, force=True),
        lambda: snapshot.delete(loaded, "paper"),
    ]
    steps[way]()


OPERATIONS = {
    "lake_query": query,
    "lake_frames": frames,
    "lake_check": check,
    "lake_status": status,
    "lake_ingest": ingest,
    "lake_write": write,
}
