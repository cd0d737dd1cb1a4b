"""A lake that holds nothing but a Common Coordinate Framework."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from maplake.layout import ccf_store, table_file
from maplake.query import catalog
from maplake.readers.ccf_annotation import open_volume
from maplake.readers.ccf_tables import read_regions, read_surface
from maplake.tables import get
from maplake.writers import parquet
from maplake.writers.ccf import write_volume

VERSION = "CCF_2017"


def real(path: str) -> Path:
    root = os.environ.get("MAPLAKE_TEST_DATA")
    if not root:
        pytest.skip("MAPLAKE_TEST_DATA is not set: no real files")
    return Path(root) / "real" / "ccf_atlas" / path


def build(root: Path, paths: dict[str, Path], resolution_um: int) -> Path:
    """Load the files of ``[ccf]`` into a lake at ``root``."""
    store = root / ccf_store(VERSION, resolution_um)
    store.parent.mkdir(parents=True)
    volume = open_volume(paths["annotation"])
    tables = {
        "ccf.annotation_run": write_volume(store, volume, resolution_um, VERSION),
        "ccf.ccf_brain_region": read_regions(paths["region_csv"], paths["hexcode_csv"], VERSION),
        "ccf.annotated_brain_surface": read_surface(paths["surface_mesh"]),
        "ccf.annotation_version": pa.table(
            {"annotation_version": [VERSION], "annotation_desc": pa.array([None], pa.string()),
             "resolution": [resolution_um]}
        ),
    }  # fmt: skip
    for name, data in tables.items():
        table = get(name)
        target = root / table_file(table, {"annotation_version": VERSION})
        target.parent.mkdir(parents=True)
        parquet.write(table, parquet.conform(table, data, is_sorted=False), target)
    catalog.build(root)
    return root
