"""A lab with three tables of its own: one of a function, one of SQL, one of the whole lake."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from computelabs import copy_lab
from typer.testing import CliRunner

from maplake.config import load

__all__ = ["config", "lab"]  # fixtures

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
OWN = """
import polars as pl
from maplake.compute import INT, METHOD, REAL, TO_UNIT, UNIT, Column, sql_table, table

FACTOR = 1

@table(
    "mylab.doubled",
    "spike counts",
    columns=(METHOD, UNIT, Column("doubled", INT, "twice the spikes")),
    key=("clustering_method", "unit"),
    refs=(TO_UNIT,),
    inputs=("ephys.unit",),
)
def doubled(lake, key):
    units = lake.table("ephys.unit").filter(**key)
    return units.select("clustering_method", "unit", doubled=pl.col("spike_count") * 2 * FACTOR)

per_session = sql_table(
    "mylab.per_session",
    "of a session",
    by="session",
    columns=(Column("total", INT, "sum"),),
    inputs=("mylab.doubled",),
    sql="SELECT sum(doubled) AS total FROM mylab.doubled "
        "WHERE subject_id = $subject_id AND session = $session",
)

@table(
    "mylab.whole",
    "of the lake",
    by="lake",
    columns=(Column("sessions", INT, "number"),),
    key=("sessions",),
    inputs=("mylab.per_session",),
)
def whole(lake, key):
    return [{"sessions": lake.table("mylab.per_session").collect().height}]
"""

RETURNED = OWN[OWN.index("return units") : OWN.index("\n\nper_session")]
MINE = ["mylab.whole"]


@pytest.fixture
def lab(ingested_lab, tmp_path):
    return copy_lab(ingested_lab, tmp_path / "lab")


@pytest.fixture
def config(lab):
    (lab.directory / "lake_tables.py").write_text(OWN, encoding="utf-8")
    return load(lab.config)


def edit(config, old, new):
    file = config.file.with_name("lake_tables.py")
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def cli(config, *words):
    app = __import__(f"{PACKAGE}.main", fromlist=["app"]).app
    return CliRunner().invoke(app, ["--config", str(config.file), *words])


def own(report):
    return [d for d in report.done if d.table.startswith("mylab.")]
