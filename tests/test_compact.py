"""Merged files: the views see the same rows in fewer files, whatever is committed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from computelabs import copy_lab
from labs import content, sql
from typer.testing import CliRunner

from maplake.compute.run import run as compute
from maplake.config import load
from maplake.errors import IntegrityError
from maplake.ingest import compact as module
from maplake.ingest import pipeline
from maplake.ingest.compact import compact, undo
from maplake.ingest.delete import Target, delete, undelete
from maplake.ingest.rebuild import rebuild_session
from maplake.layout import Layout
from maplake.query.check import check
from maplake.query.views import is_compact
from maplake.recordfile import read_files
from maplake.tables import stored
from maplake.writers import files

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"


@pytest.fixture
def lab(computed_lab, tmp_path):
    return copy_lab(computed_lab, tmp_path / "lab")


@pytest.fixture
def config(lab):
    return load(lab.config)


@pytest.fixture
def root(config):
    return config.lake.root


def merged(root):
    folder = root / ".maplake" / "compact"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("part.parquet")}


def everything(root):
    """Every row of every stored table as its view gives it, sorted."""
    with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as con:
        return {
            t.full_name: con.sql(f"FROM {t.full_name} ORDER BY ALL").fetchall() for t in stored()
        }


def sound(config):
    """Merged files are what merging anew would make, and hold what the tables hold."""
    root = config.lake.root
    before = merged(root)
    assert check(root, deep=True) == []
    assert all(one.written == 0 for one in compact(config))
    assert merged(root) == before


def test_a_new_lake_keeps_merged_what_is_asked_across_sessions(lab, config, root):
    names = {table.full_name for table in stored() if table.merged}
    assert {"ephys.unit", "experiment.session"} <= names
    assert {t.full_name for t in stored() if is_compact(root, t)} == names
    animals = {f"subject_id={s.subject_id}" for s in lab.sessions}
    assert {tuple(p.split("/")[1:4]) for p in merged(root)} == {
        (*name.split("."), animal) for name in names for animal in animals
    }
    file = root / f".maplake/compact/tables/ephys/unit/{min(animals)}/part.parquet"
    pq.write_table(pq.read_table(file).slice(0, 3), file)
    with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as con:
        # The views read the merged files, and nothing else.
        assert con.sql("SELECT count(*) FROM ephys.unit").fetchall() == [(3,)]
    assert {"maplake compact"} == {p.repair for p in check(root) if p.kind == "compact"}
    file.unlink()
    delete(config, Target(lab.sessions[0].subject_id, 1))  # takes in what it misses
    assert check(root, deep=True) == []


def test_a_lake_from_before_there_were_merged_files_stays_as_it_is(lab, config, root):
    undo(config)
    delete(config, Target(lab.sessions[0].subject_id, 1))
    undelete(config, Target(lab.sessions[0].subject_id, 1))
    pipeline.run(config)
    assert not merged(root)
    assert not any(is_compact(root, table) for table in stored())


def test_what_cannot_be_merged_anew_is_named(lab, config, root):
    subject = lab.sessions[0].subject_id
    (root / f".maplake/compact/tables/ephys/unit/subject_id={subject}/part.parquet").unlink()
    file = next((root / f"tables/ephys/unit/subject_id={subject}/session=2").rglob("part.parquet"))
    file.write_bytes(b"PAR1")
    before = content(root)
    with pytest.raises(IntegrityError, match="cannot be read") as caught:
        delete(config, Target(subject, 1))
    assert caught.value.file == str(file)
    assert content(root) == before


def test_views_see_the_same_rows_in_fewer_files(lab, config, root):
    before, rows = content(root), everything(root)
    some = merged(root)
    planned = compact(config, dry_run=True)
    assert merged(root) == some
    done = compact(config)
    assert [(d.table, d.files, d.merged) for d in done] == [
        (d.table, d.files, d.merged) for d in planned
    ]
    assert len(done) > 20
    assert sum(d.merged for d in done) < sum(d.files for d in done) / 2
    assert everything(root) == rows
    assert content(root) == before  # plain readers of tables/ find what they found
    units = pl.read_parquet(str(root / "tables/ephys/unit/**/part.parquet"))
    assert units.height == len(rows["ephys.unit"])
    plan = str(sql(root, "EXPLAIN SELECT * FROM ephys.unit").rows())
    assert "PARQUET" in plan.upper()
    sound(config)
    assert undo(config) > 0
    assert not merged(root)
    assert everything(root) == rows
    assert check(root, deep=True) == []
    assert undo(config) == 0


def test_every_commit_takes_the_merged_files_along(lab, config, root):
    compact(config)
    subject = lab.sessions[0].subject_id
    whole, rows = merged(root), everything(root)
    delete(config, Target(subject, 1))
    assert {row[1] for row in everything(root)["experiment.session"]} == {2}
    sound(config)
    delete(config, Target(subject, 2, 1))
    sound(config)
    undelete(config, Target(subject, 1))
    undelete(config, Target(subject, 2, 1))
    pipeline.run(config)
    compute(config)
    sound(config)
    assert everything(root) == rows
    assert merged(root) == whole  # whatever the order of sessions, the same bytes
    rebuild_session(config, subject, 1)
    assert merged(root) == whole


def test_what_is_staged_is_on_disk_by_name_before_a_commit_is_decided(config, root, monkeypatch):
    """Else a power cut keeps the commit's record and loses the merged files."""
    compact(config)
    staging, journal = Layout(root).staging, Layout(root).journal
    synced, missing = set(), []
    sync, replace = files.sync_dir, files.replace

    def note(folder):
        synced.add(folder)
        sync(folder)

    def look(source, target):
        if target.parent == journal:
            staged = [p for p in staging.rglob("*") if ".trash" not in p.parts]
            assert any("compact" in p.parts for p in staged)
            missing.extend(p for p in staged if p.parent not in {*synced, staging})
        replace(source, target)

    monkeypatch.setattr(files, "sync_dir", note)
    monkeypatch.setattr(files, "replace", look)
    delete(config, Target(400001, 1))
    assert synced
    assert missing == []


def test_a_session_that_comes_first_or_last_makes_the_same_bytes(lab, config, root):
    subject = lab.sessions[0].subject_id
    delete(config, Target(subject, 1))
    compact(config)
    undelete(config, Target(subject, 1))
    pipeline.run(config)
    compute(config)
    step_by_step = merged(root)
    undo(config)
    compact(config)
    assert {p: step_by_step[p] for p in merged(root) if p in step_by_step} == {
        p: data for p, data in merged(root).items() if p in step_by_step
    }


def test_a_damaged_merged_file_is_found_and_mended(lab, config, root):
    compact(config)
    whole = merged(root)
    files = sorted((root / ".maplake/compact").rglob("part.parquet"))
    for file, keep in zip(files[:2], (100, 0), strict=True):
        file.write_bytes(file.read_bytes()[:keep])
    found = [p for p in check(root, deep=True) if p.kind == "compact"]
    assert {p.repair for p in found} == {"maplake compact"}
    assert compact(config)
    assert merged(root) == whole
    files[0].write_bytes(b"")
    rebuild_session(config, lab.sessions[0].h2o, 1)  # a commit mends what it comes upon
    compute(config)
    compact(config)
    assert merged(root) == whole


def test_merged_files_of_an_animal_that_has_gone_go(lab, config, root):
    """Left by an --undo that was killed between its commits, before the animal was deleted."""
    subject = lab.sessions[0].subject_id
    ghosts = {
        path: data
        for path, data in merged(root).items()
        if path.startswith("tables/ephys/unit/subject_id=")
    }
    ghosts = {path.replace(str(subject), "999"): data for path, data in ghosts.items()}
    for path, data in ghosts.items():
        file = root / ".maplake/compact" / path
        file.parent.mkdir()
        file.write_bytes(data)
    assert sql(root, "SELECT count(*) FROM ephys.unit WHERE subject_id = 999").item() > 0
    assert {"maplake compact"} == {p.repair for p in check(root) if p.kind == "compact"}
    compact(config)
    assert not ghosts.keys() & merged(root).keys()
    assert sql(root, "SELECT count(*) FROM ephys.unit WHERE subject_id = 999").item() == 0
    sound(config)


def test_a_flipped_bit_that_changes_no_row_is_found_and_mended(lab, config, root):
    file = min((root / ".maplake/compact/tables/ephys/unit").rglob("part.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"parquet-cpp-arrow", b"parquet-cpp-errow"))
    assert file.read_bytes() != whole
    path = file.relative_to(root).as_posix()
    found = check(root, deep=True)
    assert [(p.kind, p.partition, p.repair) for p in found] == [
        ("compact", path, "maplake compact")
    ]
    assert check(root) == []
    compact(config)
    assert file.read_bytes() == whole
    sound(config)


def test_what_is_recorded_of_merged_files_follows_and_is_mended(lab, config, root):
    compact(config)
    records = sorted((root / ".maplake/compact/manifest").glob("*.json"))
    known = {path for file in records for path in read_files(file)}
    assert known == {f".maplake/compact/{path}" for path in merged(root)}
    before = [file.read_bytes() for file in records]
    records[0].write_bytes(before[0].replace(b'"bytes": 1', b'"bytes": 2', 1))
    assert {(p.kind, p.repair) for p in check(root, deep=True)} == {("compact", "maplake compact")}
    compact(config)
    records[0].unlink()  # as in a lake of an earlier version
    assert check(root, deep=True) == []
    compact(config)
    assert [file.read_bytes() for file in records] == before
    session = lab.sessions[0]
    delete(config, Target(session.subject_id, session.number))
    assert {p for f in records for p in read_files(f)} == {
        f".maplake/compact/{path}" for path in merged(root)
    }
    sound(config)
    undo(config)
    assert not any((root / ".maplake/compact").rglob("*.json"))


def test_large_tables_stay_as_they_are(config, root, monkeypatch):
    undo(config)
    monkeypatch.setattr(module, "SMALL", 1)
    assert compact(config) == []
    assert not any(is_compact(root, table) for table in stored())


def test_the_command(lab, root):
    app = import_module(f"{PACKAGE}.main").app

    def cli(*words):
        done = CliRunner().invoke(app, ["--config", str(lab.config), *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "ephys.unit_waveform" in cli("compact", "--dry-run")
    assert "unit_waveform" not in Layout(root).compact_list.read_text("utf-8")
    assert "merged into" in cli("compact")
    assert "merged files were removed" in cli("compact", "--undo")
