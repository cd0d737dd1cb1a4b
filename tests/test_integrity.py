"""Whatever is damaged: check says whose it is, and the command that it names repairs it."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from computelabs import copy_lab
from labs import content
from typer.testing import CliRunner

import maplake
from maplake import readers
from maplake.compute.run import run as compute
from maplake.config import load
from maplake.errors import IntegrityError, MissingFileError, NotFoundError
from maplake.ingest import outdated
from maplake.ingest.rebuild import rebuild_outdated, rebuild_session
from maplake.ingest.state import SourceState, state_json
from maplake.ingest.status import status
from maplake.layout import Layout, spare_file
from maplake.query.check import check
from maplake.query.log import commits
from maplake.seal import sealed

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
SESSION = "subject_id={}/session=1"


@pytest.fixture
def lab(computed_lab, tmp_path):
    return copy_lab(computed_lab, tmp_path / "lab")


@pytest.fixture
def root(lab):
    return load(lab.config).lake.root


def cli(lab, *words):
    app = import_module(f"{PACKAGE}.main").app
    return CliRunner().invoke(app, ["--config", str(lab.config), *words])


def told(lab):
    """What check says, as scripts see it."""
    found = cli(lab, "check", "--deep", "--json")
    assert found.exit_code in (0, 7), found.output
    return json.loads(found.stdout)


def flip(file, place=0.5):
    data = bytearray(file.read_bytes())
    data[int(len(data) * place)] ^= 4
    before = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def edit(file):
    """Write a Parquet file anew without its last row, as somebody with a notebook would."""
    table = pq.ParquetFile(file).read()
    pq.write_table(table.slice(0, table.num_rows - 1), file)


def halve(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def remove(file):
    shutil.rmtree(file) if file.is_dir() else file.unlink()


def stray(file):
    shutil.copy(file, file.with_name("part-2.parquet"))


def other_number(file):
    numbers = json.loads(file.read_text())
    for names in numbers.values():
        for name in names:
            names[name] += 5
    file.write_text(json.dumps(numbers))


def one_number(file):
    numbers = json.loads(file.read_text())
    for names in numbers.values():
        for name in names:
            names[name] = 1
    file.write_text(json.dumps(numbers))


UNIT = "tables/ephys/unit/{s}/insertion_number=1/part.parquet"
TRIAL = "tables/experiment/behavior_trial/{s}/part.parquet"
STORE = "arrays/ephys/{s}/insertion_number=2/*.zarr"

#: Groups of damages that are done at once: what, where, the command that repairs it.
DAMAGES = {
    "session": [
        (flip, UNIT, "rebuild ephys"),
        (edit, "tables/ephys/ephys_trial/{s}/insertion_number=1/part.parquet", "rebuild ephys"),
        (remove, "tables/ephys/spike/{s}/insertion_number=2/part.parquet", "rebuild ephys"),
        (halve, "tables/ephys/unit_waveform/{s}/insertion_number=2/part.parquet", "rebuild ephys"),
        (flip, STORE + "/spike_sample/c/0", "rebuild ephys"),
        (remove, STORE + "/waveform", "rebuild ephys"),
        (edit, TRIAL, "rebuild behavior"),
        (stray, "tables/experiment/session_trial/{s}/part.parquet", "check --set-aside"),
        (edit, "tables/ephys/unit_cell_type/{s}/insertion_number=1/part.parquet", "--again"),
    ],
    "lake": [
        (flip, "tables/ephys/insertion_location/{s}/insertion_number=1/part.parquet", "--spare"),
        (edit, "tables/lab/subject/part.parquet", "--spare"),
        (remove, "tables/lab/electrode_config_electrode/part.parquet", "--spare"),
        (flip, ".maplake/spare/tables/lab/person/part.parquet", "--spare"),
        (remove, ".maplake/state/lake.json", "--spare"),
        (other_number, ".maplake/sessions.json", "--spare"),
    ],
    "register": [(halve, ".maplake/sessions.json", "--spare")],
    "lake's manifest": [(halve, ".maplake/manifest/lake.json", "--spare")],
    "manifest": [(halve, ".maplake/manifest/{name}.json", "rebuild --subject")],
    "no manifest": [(remove, ".maplake/manifest/{name}.json", "rebuild --subject")],
    "state": [(flip, ".maplake/state/{name}.json", "rebuild --subject")],
    "no state": [(remove, ".maplake/state/{name}.json", "rebuild --subject")],
    "catalog": [(halve, "views.sql", "catalog"), (halve, "lake.duckdb", "catalog")],
}


def place(lab, root, pattern):
    subject = lab.sessions[0].subject_id
    pattern = pattern.format(s=SESSION.format(subject), name=f"{subject}_1")
    found = sorted(root.glob(pattern))
    assert found, pattern
    return found[0]


def repaired(lab, found):
    """Follow what check says until there is nothing to repair."""
    for _ in range(3):  # a repair may bring to light what hung on it
        for text in found["repairs"]:
            done = cli(lab, *shlex.split(text)[1:])
            assert done.exit_code == 0, (text, done.output)
        found = told(lab)
        if not found["problems"]:
            break
    assert found["problems"] == []


@pytest.mark.parametrize("group", DAMAGES)
def test_what_check_names_repairs(lab, root, group):
    before = content(root)
    numbers = json.loads(Layout(root).session_registry.read_bytes())
    for damage, where, _ in DAMAGES[group]:
        damage(place(lab, root, where))
    found = told(lab)
    for _, where, command in DAMAGES[group]:
        assert any(command in text for text in found["repairs"]), (where, found["repairs"])
    for problem in found["problems"]:
        if "session=1" in problem["partition"]:
            assert (problem["subject_id"], problem["session"]) == (lab.sessions[0].subject_id, 1)
    repaired(lab, found)
    compute(load(lab.config))
    assert content(root) == before
    assert json.loads(Layout(root).session_registry.read_bytes()) == numbers


def test_a_hand_edited_table_is_told_from_a_damaged_one(lab, root):
    edit(place(lab, root, UNIT))
    flip(place(lab, root, TRIAL))
    found = {p.table: p for p in check(root, deep=True) if p.kind in ("bytes", "checksum")}
    assert "edited by hand" in found["ephys.unit"].message
    assert found["ephys.unit"].insertion_number == 1
    assert "edited by hand" not in found["experiment.behavior_trial"].message


def test_nothing_is_built_upon_a_damaged_lake_wide_table(lab, root):
    edit(root / "tables/lab/subject/part.parquet")
    animals = lab.directory / "more.csv"
    animals.write_text(lab.animals_file.read_text().replace("400001", "400009").replace(
        "MK001", "MK009"), encoding="utf-8")  # fmt: skip
    done = cli(lab, "load-animal", str(animals))
    assert done.exit_code == 7
    assert "rebuild --spare" in done.output
    remove(root / "tables/lab/subject/part.parquet")
    assert cli(lab, "init").exit_code == 0  # does not make it anew, without the animals
    assert not (root / "tables/lab/subject/part.parquet").exists()
    assert cli(lab, "rebuild", "--spare").exit_code == 0
    assert told(lab)["problems"] == []


@pytest.mark.parametrize(
    ("damage", "where"),
    [
        (remove, ".maplake/sessions.json"),
        (other_number, ".maplake/sessions.json"),
        (one_number, ".maplake/sessions.json"),
        (remove, ".maplake/manifest/lake.json"),
        (remove, ".maplake/state/lake.json"),
    ],
)
def test_no_ingest_writes_a_record_anew_that_was_lost(lab, root, damage, where):
    """Sessions would get other numbers, and files of the lake would be nobody's."""
    known, before = said(root / where), content(root)
    damage(root / where)
    done = cli(lab, "ingest")
    assert done.exit_code == 7, done.output
    assert "maplake rebuild --spare" in done.output
    assert content(root) == before
    assert cli(lab, "rebuild", "--spare").exit_code == 0
    assert cli(lab, "ingest").exit_code == 0
    assert told(lab)["problems"] == []
    assert content(root) == before
    assert said(root / where) == known


def said(record):
    """What a record of the whole lake holds; not where files were when they were last seen."""
    found = json.loads(record.read_bytes())
    return {Path(s["name"]).name for s in found["sources"]} if "sources" in found else found


def test_what_macos_leaves_beside_the_records_of_a_lake_is_none(lab, root):
    """On disks of other systems each file with attributes gets a ``._…`` beside it."""
    assert cli(lab, "snapshot", "paper").exit_code == 0
    for record in [
        *root.glob(".maplake/**/state/*.json"),
        *root.glob(".maplake/**/manifest/*.json"),
    ]:
        record.with_name(f"._{record.name}").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    assert cli(lab, "ingest").exit_code == 0
    assert cli(lab, "status").exit_code == 0
    assert told(lab)["problems"] == []
    with maplake.open(root, snapshot="paper") as lake:
        assert lake.sql("SELECT count(*) FROM ingest.source").fetchall()[0][0] > 0
    with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as con:
        assert con.sql("SELECT count(*) FROM ingest.source").fetchall()[0][0] > 0


@pytest.mark.parametrize("book", ["lake", "{subject}_1"])
def test_files_of_a_lost_manifest_are_not_set_aside(lab, root, book):
    before = content(root)
    remove(root / f".maplake/manifest/{book.format(subject=lab.sessions[0].subject_id)}.json")
    assert cli(lab, "check", "--set-aside").exit_code == 7
    assert content(root) == before


def test_what_has_lost_both_copies_is_told(lab, root):
    for file in ("tables/lab/subject/part.parquet", "tables/lab/person/part.parquet"):
        flip(root / file)
    flip(root / spare_file("tables/lab/subject/part.parquet"))
    done = cli(lab, "rebuild", "--spare")
    assert done.exit_code == 7
    assert "backup" in done.output
    assert {p["table"] for p in told(lab)["problems"]} == {"lab.subject"}


# ------------------------------------------------------------------------ a session's rebuild


@pytest.mark.parametrize("odd", [["x"], {"kind": "behavior", "session": 1}, {"name": [1]}, "x", 3])
def test_a_record_that_holds_something_else_is_damage(root, odd):
    path = min((root / ".maplake" / "state").glob("4*.json"))
    record = json.loads(path.read_bytes())
    record["sources"].append(odd)
    path.write_text(json.dumps(sealed(record)), encoding="utf-8")
    assert any("not what was written" in problem.message for problem in check(root))


@pytest.mark.parametrize("rows", [None, "12", -1, True, "missing"])
def test_a_manifest_that_counts_no_rows_is_damage(root, rows):
    path = min((root / ".maplake" / "manifest").glob("4*.json"))
    record = json.loads(path.read_bytes())
    table = next(name for name in record["files"] if name.startswith("tables/"))
    del record["files"][table]["rows"]
    if rows != "missing":
        record["files"][table]["rows"] = rows
    path.write_text(json.dumps(record), encoding="utf-8")
    with maplake.open(root) as lake, pytest.raises(IntegrityError, match=path.stem):
        lake.tables()
    assert any(path.name in problem.partition for problem in check(root))


def test_a_rebuild_of_one_session_leaves_the_others_alone(lab, root):
    config, h2o = load(lab.config), lab.sessions[0].h2o
    before = content(root)
    times = {p: p.stat().st_mtime_ns for p in root.glob("tables/**/session=2/**/*.parquet")}
    report = rebuild_session(config, h2o, 1)
    assert {s.session for s in report.sources if s.status == "in"} == {1}
    assert content(root) == before
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert commits(root)[0].changes[0]["why"] == ["again on request"]


def test_without_raw_files_nothing_is_lost(lab, root):
    config, before = load(lab.config), content(root)
    name = lab.sessions[0]
    shutil.rmtree(lab.directory / "ephys")
    (lab.directory / "ephys").mkdir()
    damaged = place(lab, root, TRIAL)
    edit(damaged)
    with pytest.raises(MissingFileError, match="raw files of ephys"):
        rebuild_session(config, name.h2o, 1)
    with pytest.raises(MissingFileError):
        rebuild_session(config, name.h2o, 1, ["ephys"])
    rebuild_session(config, name.h2o, 1, ["behavior"])  # what is there can be
    assert content(root) == before
    with pytest.raises(NotFoundError):
        rebuild_session(config, name.h2o, 7)
    with pytest.raises(NotFoundError, match="no kind"):
        rebuild_session(config, name.h2o, 1, ["lab"])
    assert cli(lab, "rebuild", "--session", "1").exit_code == 2


# ------------------------------------------------------------------------ corrected readers


@pytest.fixture
def corrected(monkeypatch):
    """Raise the version of a reader, as a new maplake would."""

    def correct(name, why):
        new = tuple(
            dataclasses.replace(r, version=r.version + 1, changes={r.version + 1: why})
            if r.name == name
            else r
            for r in readers.all_readers()
        )
        monkeypatch.setattr(readers, "all_readers", lambda: new)
        monkeypatch.setattr(outdated, "all_readers", lambda: new)

    return correct


def test_a_corrected_reader_marks_what_it_wrote(lab, root, corrected):
    config, before = load(lab.config), content(root)
    assert not rebuild_outdated(config).sources
    corrected("bitcode", "the last bit of codes was read twice")
    found = [s for s in status(config) if s.status == "outdated"]
    assert {(s.kind, s.session, s.insertion_number) for s in found} == {
        ("ephys", session, probe) for session in (1, 2) for probe in (1, 2)
    }
    assert all("version 1 to 2: the last bit" in s.reason for s in found)
    assert "outdated" in cli(lab, "status").output
    behavior = {p: p.stat().st_mtime_ns for p in root.glob("tables/experiment/**/*.parquet")}
    report = rebuild_outdated(config)
    assert {s.kind for s in report.sources if s.status == "in"} == {"ephys"}
    assert {p: p.stat().st_mtime_ns for p in behavior} == behavior
    assert content(root) == before
    assert not [s for s in status(config) if s.status == "outdated"]
    last = commits(root, limit=1)[0]
    change = last.changes[0]
    assert "version 1 to 2: the last bit" in change["why"][0]
    assert change["readers"]["bitcode"] == [1, 2]
    rows = change["rows"]["ephys.unit"]
    assert rows[0] == rows[1] > 0
    assert not rebuild_outdated(config).sources


def test_the_log_tells_what_happened(lab, root):
    found = commits(root)
    assert {c.command for c in found} >= {"ingest", "compute", "init"}
    assert [c.time for c in found] == sorted((c.time for c in found), reverse=True)
    assert all(c.maplake for c in found)
    mine = cli(lab, "log", "--subject", lab.sessions[0].h2o, "--session", "1", "-n", "100")
    assert "behavior" in mine.output
    assert "new" in mine.output
    assert "session 2" not in mine.output
    assert "ephys.unit: 0 > " in cli(lab, "log", "--rows", "-n", "100").output
    assert len(json.loads(cli(lab, "log", "--json", "-n", "2").stdout)["commits"]) == 2
    next(Layout(root).log.iterdir()).write_text("{")
    assert len(commits(root)) == len(found) - 1


def test_what_a_lake_remembers_does_not_depend_on_which_thread_was_first():
    one = SourceState("ephys", "a", "in", outputs=["spike", "unit"])
    other = SourceState("ephys", "a", "in", outputs=["unit", "spike"])
    assert state_json([one]) == state_json([other])
