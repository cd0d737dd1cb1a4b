"""Simulated labs and helpers that several tests share."""

from __future__ import annotations

import atexit
import copy
import hashlib
import shutil
import tempfile
from pathlib import Path

import duckdb
import polars as pl

from maplake import simulate
from maplake.config import load
from maplake.ingest import pipeline

_MADE: dict[str, simulate.Lab] = {}


def small(directory, **options):
    """Simulate raw files of two animals with two sessions of one probe each."""
    defaults = {"animals": 2, "sessions": 2, "probes": 1, "trials": 30, "units": 6, "seed": 3}
    defaults |= {
        "sorting": simulate.Sorting(pc_features=False),
        "recording": simulate.Recording(channels=48),
    }
    return copied(directory, **(defaults | options))


def copied(directory, **options):
    """Simulate a lab once in this process; return a copy of it in a folder."""
    name = repr(sorted(options.items()))
    if name not in _MADE:
        place = tempfile.mkdtemp(prefix="maplake-labs-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        _MADE[name] = simulate.lab(place, **options)
    lab = copy.deepcopy(_MADE[name])
    folder, made = Path(directory), lab.directory
    shutil.copytree(made, folder, dirs_exist_ok=True)
    for thing in (lab, *lab.sessions, *lab.probes):
        for field, path in vars(thing).items():
            if isinstance(path, Path):
                setattr(thing, field, folder / path.relative_to(made))
    return lab


def ingest(lab, **options):
    return pipeline.run(load(lab.config), **options)


def lake_root(lab):
    return load(lab.config).lake.root


def sql(root, query):
    """Query a lake as any other client does: through lake.duckdb alone."""
    with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as connection:
        return connection.sql(query).pl()


def rows(root, query):
    """The same as tuples."""
    return sql(root, query).rows()


def of(session, insertion=None):
    """SQL that picks the rows of a simulated session, or of one of its probes."""
    where = f"subject_id = {session.subject_id} AND session = {session.number}"
    return where if insertion is None else f"{where} AND insertion_number = {insertion}"


def table(root, name, **partition):
    """Read a table's files with polars alone."""
    schema, plain = name.split(".")
    levels = "/".join(f"{k}={v}" for k, v in partition.items())
    pattern = root / "tables" / schema / plain / levels / "**" / "part.parquet"
    return pl.read_parquet(str(pattern), hive_partitioning=False)


def content(root: Path) -> dict[str, str]:
    """Hash of every file that a reader of the lake can see."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for top in ("tables", "arrays")
        for path in sorted((root / top).rglob("*"))
        if path.is_file()
    }


def statuses(report):
    return {(s.kind, s.name): s.status for s in report.sources}


def reasons(report):
    return {s.name: s.reason for s in report.sources if s.reason}
