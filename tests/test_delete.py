"""Deleting sessions, insertions and animals: everything goes, nothing dangles, nothing returns."""

from __future__ import annotations

import json
from importlib.util import find_spec

import polars as pl
import pytest
from computelabs import copy_lab
from labs import content, ingest, sql, statuses
from typer.testing import CliRunner

import maplake
from maplake.compute.run import run
from maplake.config import load
from maplake.errors import IntegrityError, NotFoundError
from maplake.ingest import status as ingest_status
from maplake.ingest.delete import Target, delete, undelete
from maplake.layout import Layout
from maplake.query.check import check
from maplake.query.overview import manifest_files, table_name

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"


@pytest.fixture
def lab(computed_lab, tmp_path):
    return copy_lab(computed_lab, tmp_path / "lab")


@pytest.fixture
def root(lab):
    return load(lab.config).lake.root


def rows_below(root, **key):
    """Rows by table of the files whose folders name a key."""
    counts = {}
    for files in manifest_files(root).values():
        for path, entry in files.items():
            here = all(f"{name}={value}" in path.split("/") for name, value in key.items())
            if here and entry["rows"] is not None:
                name = table_name(path)
                counts[name] = counts.get(name, 0) + entry["rows"]
    return counts


def test_of_a_session_whose_manifest_is_lost_nothing_stays_behind(lab, root):
    config, subject = load(lab.config), lab.sessions[0].subject_id
    before = content(root)
    (root / f".maplake/manifest/{subject}_1.json").unlink()
    with pytest.raises(IntegrityError, match="manifest of the lake is missing"):
        delete(config, Target(subject))
    assert content(root) == before


def test_a_session(lab, root):
    config, subject = load(lab.config), lab.sessions[0].subject_id
    target = Target(subject, 1)
    before, expected = content(root), rows_below(root, subject_id=subject, session=1)
    dry = delete(config, target, dry_run=True)
    assert content(root) == before
    assert dry.rows == expected
    assert dry.arrays > 0
    assert expected["ephys.unit_cell_type"] > 0
    assert delete(config, target).rows == expected
    left = content(root)
    assert left == {p: h for p, h in before.items() if "session=1/" not in p.replace("\\", "/")}
    assert check(root, deep=True) == []
    assert sql(root, "FROM experiment.session")["session"].to_list() == [2]
    log = [json.loads(json.loads(p.read_bytes())["body"]) for p in Layout(root).log.iterdir()]
    assert sum(entry["note"]["command"] == "delete" for entry in log) == 1


def test_a_deleted_session_stays_away_until_undone(lab, root):
    config, subject = load(lab.config), lab.sessions[0].subject_id
    before = content(root)
    delete(config, Target(subject, 1))
    after = content(root)
    report = ingest(lab)
    assert content(root) == after
    found = [s for s in report.sources if s.session == 1]
    assert {s.kind for s in found} >= {"behavior", "ephys"}
    assert {s.status for s in found} == {"deleted"}
    assert all("was deleted on" in s.reason for s in found)
    assert not any("failed" in s for s in statuses(ingest(lab)).values())
    assert any("deleted" in (s.reason or "") for s in ingest_status.status(config))
    assert len(undelete(config, Target(subject, 1))) == 3
    ingest(lab)
    run(config)
    assert content(root) == before
    assert sql(root, "FROM experiment.session ORDER BY session")["session"].to_list() == [1, 2]


def test_an_insertion(lab, root):
    config, subject = load(lab.config), lab.sessions[0].subject_id
    expected = rows_below(root, subject_id=subject, session=2, insertion_number=1)
    found = delete(config, Target(subject, 2, 1))
    counted = {name: n for name, n in found.rows.items() if name != "ingest.skipped"}
    assert counted == expected
    assert check(root, deep=True) == []
    units = sql(root, "SELECT DISTINCT session, insertion_number FROM ephys.unit ORDER BY ALL")
    assert units.rows() == [(1, 1), (1, 2), (2, 2)]
    ingest(lab)
    assert check(root) == []
    assert (
        units.rows()
        == sql(
            root, "SELECT DISTINCT session, insertion_number FROM ephys.unit ORDER BY ALL"
        ).rows()
    )
    undelete(config, Target(subject, 2, 1))
    ingest(lab)
    assert len(sql(root, "SELECT DISTINCT session, insertion_number FROM ephys.unit")) == 4
    assert check(root) == []


def test_an_animal(lab, root):
    config, subject = load(lab.config), lab.sessions[0].subject_id
    found = delete(config, Target(subject))
    assert found.rows["experiment.session"] == 2
    assert found.rows["lab.subject"] == 1
    assert check(root, deep=True) == []
    for table in ("lab.subject", "lab.water_restriction", "experiment.session", "ephys.spike"):
        assert len(sql(root, f"FROM {table}")) == 0
    assert not any("subject_id=" in path for path in content(root))
    ingest(lab)
    assert len(sql(root, "FROM experiment.session")) == 0
    assert check(root) == []


def test_tables_over_sessions_follow(lab, root):
    (lab.directory / "lake_tables.py").write_text(
        "from maplake.compute import INT, Column, table\n"
        "from maplake.compute import Ref\n"
        "@table('mylab.seen', 'sessions', by='lake', key=('subject_id', 'session'),\n"
        "    columns=(Column('subject_id', INT, 'animal'), Column('session', INT, 'session')),\n"
        "    refs=(Ref(('subject_id', 'session'), 'experiment.session'),),\n"
        "    inputs=('experiment.session',))\n"
        "def seen(lake, key):\n"
        "    return lake.table('experiment.session').select('subject_id', 'session')\n",
        encoding="utf-8",
    )
    config = load(lab.config)
    run(config, ["mylab.seen"])
    assert len(sql(root, "FROM mylab.seen")) == 2
    found = delete(config, Target(lab.sessions[0].subject_id, 1))
    assert found.recomputed == ["mylab.seen"]
    assert found.rows["mylab.seen"] == 2
    assert check(root, deep=True) == []
    run(config, ["mylab.seen"])
    assert sql(root, "FROM mylab.seen")["session"].to_list() == [2]


OWN = """
from maplake.compute import INT, METHOD, TO_UNIT, UNIT, Column, Ref, sql_table, table

@table(
    "mylab.again", "units again", columns=(METHOD, UNIT), key=("clustering_method", "unit"),
    refs=(TO_UNIT,), inputs=("ephys.unit", "ephys.unit_cell_type"),
)
def again(lake, key):
    return lake.table("ephys.unit").filter(**key).select("clustering_method", "unit")

per_session = sql_table(
    "mylab.total", "units of a session", by="session", columns=(Column("total", INT, "units"),),
    inputs=("mylab.again",),
    sql="SELECT count(*) AS total FROM mylab.again "
        "WHERE subject_id = $subject_id AND session = $session",
)
whole = sql_table(
    "mylab.whole", "sessions", by="lake", key=("subject_id", "session"),
    columns=(Column("subject_id", INT, "animal"), Column("session", INT, "session")),
    refs=(Ref(("subject_id", "session"), "experiment.session"),), inputs=("mylab.total",),
    sql="SELECT subject_id, session FROM mylab.total",
)
"""


@pytest.mark.parametrize("number", [None, 1])
def test_own_tables_are_counted_and_go_along(lab, root, number):
    """What was made from rows that go is counted too, and made again from what is left."""
    (lab.directory / "lake_tables.py").write_text(OWN, encoding="utf-8")
    config, subject = load(lab.config), lab.sessions[0].subject_id
    assert not run(config).failed
    before, counts = content(root), rows_of(root)
    target = Target(subject, 2, number)
    dry = delete(config, target, dry_run=True)
    assert content(root) == before
    gone = {"mylab.again": 4 if number else 8, "mylab.total": 1, "mylab.whole": 2}
    assert {name: dry.rows[name] for name in gone} == gone
    assert dry.recomputed == ["mylab.total", "mylab.whole"][0 if number else 1 :]
    assert delete(config, target) == dry
    left = rows_of(root)
    kept = {n: c for n, c in counts.items() if n not in ("ingest.skipped", "ingest.source")}
    for name, count in kept.items():
        assert count - left.get(name, 0) == dry.rows.get(name, 0), name
    assert check(root, deep=True) == []
    assert not run(config).failed
    assert check(root, deep=True) == []
    totals = sql(root, "FROM mylab.total ORDER BY session")["total"].to_list()
    assert totals == ([8, 4] if number else [8])


def rows_of(root):
    with maplake.open(root) as lake:
        found = lake.tables().filter(pl.col("rows").is_not_null()).select("table", "rows")
    return dict(found.iter_rows())


@pytest.mark.parametrize("target", [Target(1), Target(400001, 9), Target(400001, 1, 9)])
def test_nothing_to_delete(lab, target):
    with pytest.raises(NotFoundError, match="the lake has no"):
        delete(load(lab.config), target, dry_run=True)
    with pytest.raises(NotFoundError, match="was deleted"):
        undelete(load(lab.config), target)


def test_command(lab, root):
    app = __import__(f"{PACKAGE}.main", fromlist=["app"]).app

    def cli(*args, **options):
        return CliRunner().invoke(app, ["--config", str(lab.config), *map(str, args)], **options)

    before = content(root)
    where = ("delete", "session", 400001, 1)
    dry = cli(*where, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "ephys.spike" in dry.stdout
    assert "would be deleted" in dry.stdout
    assert cli(*where, input="n\n").exit_code == 1
    assert content(root) == before
    assert cli("delete", "session", 400001).exit_code == 2
    assert cli("delete", "mouse", 400001).exit_code == 2
    asked = cli(*where, "--json")
    assert (asked.exit_code, json.loads(asked.stderr)["error"]) == (2, "UsageError")
    done = cli(*where, "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"]["experiment.session"] == 1
    assert cli("check").exit_code == 0
    undone = cli(*where, "--undo")
    assert "takes in 3 sources again" in undone.stdout
