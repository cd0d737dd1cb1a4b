"""The catalog: what any DuckDB client finds in lake.duckdb and views.sql."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import numpy as np
import pytest
from lakefiles import (
    finish,
    make_probe,
    make_session,
    small_lake,
    write_lab,
    write_session,
    write_table,
)

import maplake
from maplake.errors import LakeError
from maplake.layout import Layout
from maplake.query import catalog, views
from maplake.query.check_catalog import check_catalog
from maplake.query.sqltext import literal, sql_type
from maplake.tables import TABLES

pytestmark = pytest.mark.usefixtures("whole_catalogs")

CLI = shutil.which("duckdb", path=str(Path(sys.executable).parent)) or shutil.which("duckdb")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("lake")
    small_lake(path, conditions={"Late": "trial > 20"})
    return path


def attached(root):
    con = duckdb.connect(str(Layout(root).catalog), read_only=True)
    con.execute("SET threads = 2")
    return con


@pytest.mark.parametrize("name", list(TABLES))
def test_every_declared_table_has_its_columns_types_and_comments(root, name):
    table = TABLES[name]
    con = attached(root)
    found = con.sql(f"FROM {name} LIMIT 0")
    assert found.columns == [c.name for c in table.all_columns]
    assert [str(t) for t in found.types] == [sql_type(c.kind) for c in table.all_columns]
    comments = dict(
        con.execute(
            "SELECT column_name, comment FROM duckdb_columns() WHERE schema_name = ? AND "
            "table_name = ?",
            [table.schema, table.name],
        ).fetchall()
    )
    for column in table.all_columns:
        assert column.comment in comments[column.name]
        assert column.unit in comments[column.name]


@pytest.mark.parametrize("name", list(TABLES))
def test_polars_has_the_same_columns_and_rows(root, name):
    with maplake.open(root) as lake:
        frame = lake.table(name).collect()
        assert frame.columns == [c.name for c in TABLES[name].all_columns]
        relation = lake.sql(f"FROM {name}")
        assert len(frame) == len(relation)
        assert frame.schema == relation.pl().schema


def test_polars_of_an_empty_lake_has_types(tmp_path):
    Layout(tmp_path).meta.mkdir()
    Layout(tmp_path).format_file.write_text('{"format_version": 1}')
    catalog.build(tmp_path)
    with maplake.open(tmp_path) as lake:
        for name in TABLES:
            frame, relation = lake.table(name).collect(), lake.sql(f"FROM {name}")
            assert frame.schema == relation.pl().schema
        assert "0 sessions" in repr(lake)


def scanned(con, query):
    plan = con.execute(f"EXPLAIN ANALYZE {query}").fetchall()[0][1]
    return [line for line in plan.splitlines() if "Scanning Files" in line]


@pytest.mark.parametrize(
    "source",
    [
        "psth.unit_psth",
        "psth.psth('good_noearlylick_hit')",
        "psth.raster('good_noearlylick_hit')",
        "psth.trial_counts('good_noearlylick_hit')",
        "ephys.trial_spikes",
        "ephys.spike",
        "ephys.unit_stat",
        "psth.condition_trial",
        "ephys.unit_trial",
        "psth.psth('good_noearlylick_hit', event := 'next_trial_start')",
    ],
)
def test_keys_in_where_leave_out_files(root, source):
    """Of 6 spike files and 3 behavior files, those of one session only are opened."""
    con = attached(root)
    lines = scanned(con, f"SELECT * FROM {source} WHERE subject_id = 101 AND session = 2")
    assert lines
    for line in lines:
        found, total = (int(n) for n in line.split("Scanning Files: ")[1].split()[0].split("/"))
        assert found <= (1 if total == 3 else 2), line


def test_one_insertion_opens_one_spike_file(root):
    con = attached(root)
    for source in ("psth.unit_psth", "psth.psth('good_noearlylick_hit')"):
        lines = scanned(
            con,
            f"FROM {source} WHERE subject_id = 101 AND session = 2 AND "
            "insertion_number = 1 AND unit = 10",
        )
        assert all("1/" in line for line in lines)


@pytest.mark.skipif(CLI is None, reason="the duckdb command line (duckdb-cli) is not installed")
def test_an_older_client_in_another_folder_reads_it(root, tmp_path):
    queries = [
        "SELECT count(*) FROM psth.unit_psth",
        "SELECT sum(count) FROM psth.psth('GOOD_noearlylick_hit', bin := 0.1) WHERE unit = 50",
        "SELECT count(*) FROM psth.raster('late', event := 'go_cue', start := -9)",
        "SELECT count(*) FROM psth.trial_counts('late', event := 'delay') WHERE unit = 10",
        "SELECT count(*) FROM ephys.unit_stat",
        "SELECT count(*) FROM psth.condition_trial WHERE trial_condition_name = 'LATE'",
        """SELECT md5(string_agg(unit_psth::VARCHAR, ','
        ORDER BY subject_id, session, insertion_number, unit, trial_condition_name))
        FROM psth.unit_psth""",
    ]
    with maplake.open(root) as lake:
        expected = [lake.sql(query).fetchall()[0][0] for query in queries]
    for file, extra in ((Layout(root).catalog, []), (":memory:", [f".read {Layout(root).views}"])):
        arguments = [CLI, *(["-readonly"] if file != ":memory:" else []), "-json", str(file)]
        for query, value in zip(queries, expected, strict=True):
            text = "\n".join([*extra, query + ";"])
            done = subprocess.run(
                arguments,
                input=text,
                capture_output=True,
                text=True,
                cwd=tmp_path,
                check=True,
                timeout=60,
            )
            assert str(next(iter(json.loads(done.stdout)[0].values()))) == str(value), query


@pytest.mark.parametrize(
    "folder",
    [
        "it's",
        "50% [a] {b}",
        "a*b",
        "Größe µ 脳",
        'say "x"',
        "a=b",
        "~x; --",
        "$HOME",
    ],
)
def test_any_folder_name_works(tmp_path, folder):
    root = tmp_path / folder
    try:
        root.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    rng = np.random.default_rng(0)
    for number in (1, 2):
        s = make_session(rng, 1, number)
        s.probes[1] = make_probe(rng, s, 1)
        write_session(root, s)
    write_lab(root, [1])
    finish(root)
    with maplake.open(root) as lake:
        assert lake.psth(1, 1, 1, 50).count.sum() > 0
        assert len(lake.raster(1, 1, 1, 50)) > 0
        assert lake.table("ephys.unit").collect().height == 12
        assert len(lake.spikes(1, 1, 1)) > 0


@pytest.mark.parametrize("folder", ["session=9", "what?"])
def test_a_folder_that_queries_would_misread_is_refused(tmp_path, folder):
    root = tmp_path / folder
    try:
        root.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    rng = np.random.default_rng(0)
    write_session(root, make_session(rng, 1, 1))
    with pytest.raises(LakeError, match="rename that folder"):
        catalog.build(root)


def test_a_moved_lake_is_found_and_can_be_rebuilt(root, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    shutil.rmtree(moved / "tables" / "experiment" / "behavior_trial" / "subject_id=102")
    with maplake.open(moved) as lake:  # before any rebuild: its own files, and its conditions
        rows = lake.sql("SELECT DISTINCT subject_id FROM experiment.behavior_trial").fetchall()
        assert rows == [(101,)]
        assert lake.psth(101, 1, condition="late").count.sum() > 0
    assert not catalog.is_current(moved, conditions={"Late": "trial > 20"})
    catalog.build(moved, conditions={"Late": "trial > 20"})
    assert catalog.is_current(moved, conditions={"Late": "trial > 20"})
    assert attached(moved).execute(
        "SELECT count(DISTINCT subject_id) FROM experiment.behavior_trial"
    ).fetchone() == (1,)


def test_is_current_notices_what_matters(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    options = {"conditions": {"Late": "trial > 20"}}
    catalog.build(copy, **options)
    assert catalog.is_current(copy, **options)
    assert not catalog.is_current(copy)
    assert not catalog.is_current(copy, conditions={"Late": "trial > 21"})
    assert not catalog.is_current(copy, align_types={"x": ("go", 0, 0.0, -1.0, 1.0)}, **options)
    write_table(
        copy, "ephys.unit_note", {"subject_id": 101, "session": 1, "insertion_number": 1}, unit=[10]
    )
    assert not catalog.is_current(copy, **options)
    catalog.build(copy, **options)
    Layout(copy).catalog.unlink()
    assert not catalog.is_current(copy, **options)
    with maplake.open(copy) as lake:  # views.sql does without
        assert lake.sql("FROM ephys.unit_note").fetchall()[0][4] == 10


def test_a_catalog_of_another_maplake_is_not_used(root, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    options = {"conditions": {"Late": "trial > 20"}}
    with monkeypatch.context() as older:  # a maplake without a macro that this one asks for
        older.setattr(catalog, "made_by", lambda: "older")
        made = views.statements
        older.setattr(
            catalog,
            "statements",
            lambda *args: [t for t in made(*args) if "MACRO psth.raster" not in t],
        )
        catalog.build(copy, **options)
    assert not catalog.is_current(copy, **options)
    with pytest.raises(duckdb.Error, match="raster"):
        attached(copy).execute("FROM psth.raster('late')")
    with maplake.open(copy) as lake:
        assert lake.sql("SELECT count(*) FROM experiment.session").fetchall() != [(0,)]
        lake.sql("FROM psth.raster('late')").fetchall()
        assert lake.psth(101, 1, condition="late").count.sum() > 0  # the lab's own are kept
    catalog.build(copy, **options)
    assert catalog.is_usable(copy, catalog.read_settings(copy))
    attached(copy).execute("FROM psth.raster('late')")


def test_the_header_of_an_older_catalog_is_read(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    catalog.build(copy, conditions={"Late": "trial > 20"})
    script = Layout(copy).views
    script.write_text(
        re.sub(r', "made_by": "\w+"', "", script.read_text(encoding="utf-8")), encoding="utf-8"
    )
    settings = catalog.read_settings(copy)
    assert settings is not None
    assert settings.made_by == ""
    assert not catalog.is_usable(copy, settings)
    with maplake.open(copy) as lake:
        assert lake.psth(101, 1, condition="late").count.sum() > 0


def test_a_header_without_conditions_is_a_problem_of_the_catalog(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    catalog.build(copy)
    script = Layout(copy).views
    first, rest = script.read_text(encoding="utf-8").split("\n", 1)
    settings = json.loads(first.removeprefix("-- maplake catalog "))
    del settings["conditions"]
    text = f"-- maplake catalog {json.dumps(settings)}\n{rest}"
    script.write_text(text, encoding="utf-8")
    assert any("views.sql" in str(problem) for problem in check_catalog(copy))
    catalog.build(copy)
    assert list(check_catalog(copy)) == []


def test_sources_come_from_the_state_files(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    state = Layout(copy).meta / "state"
    state.mkdir()
    source = {
        "kind": "ephys",
        "name": "a'b",
        "status": "failed",
        "reason": "why",
        "reader": "x",
        "reader_version": 1,
        "fingerprint": "f",
        "subject_id": 101,
        "session": None,
        "insertion_number": None,
        "files": [["p", 1, 2]],
        "more": {"any": "thing"},
    }
    for number in (1, 2):
        (state / f"101_{number}.json").write_text(json.dumps({"sources": [source] * number}))
    catalog.build(copy)
    with maplake.open(copy) as lake:
        rows = lake.sql(
            "SELECT kind, name, status, reason, subject_id, session FROM ingest.source"
        ).fetchall()
    assert rows == [("ephys", "a'b", "failed", "why", 101, None)] * 3


def test_a_writer_replaces_the_catalog_under_readers(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    catalog.build(copy, conditions={"one": "true"})
    script = textwrap.dedent(f"""
        from pathlib import Path
        from maplake.query import catalog, views
        catalog.build(Path({str(copy)!r}), conditions={{"two": "true"}})
    """)
    with maplake.open(copy) as lake:
        assert lake.psth(101, 1, condition="one").count.sum() > 0
        done = subprocess.run(
            [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert lake.psth(101, 1, condition="two").count.sum() > 0
        assert len(lake.raster(101, 1, 1, 50, "two")) > 0
    left = [p.name for p in copy.iterdir() if p.name.startswith(".") and p.name != ".maplake"]
    assert left == []


def test_a_client_that_opens_the_catalog_to_write_stands_in_nobodys_way(root, tmp_path):
    """As ``duckdb lake.duckdb`` does without ``-readonly``; what it wrote is not seen later."""
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    catalog.build(copy)
    database = Layout(copy).catalog
    script = textwrap.dedent(f"""
        import duckdb, os, sys
        con = duckdb.connect({str(database)!r})
        con.execute("CREATE TABLE mine AS SELECT 1 AS x")
        print("open", flush=True)
        sys.stdin.read()
        os._exit(9)
    """)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as client:
        assert client.stdout.readline() == "open\n"
        with maplake.open(copy) as lake:
            assert lake.sql("SELECT count(*) FROM ephys.unit").fetchall()[0][0] > 0
        assert list(check_catalog(copy)) == []
        catalog.build(copy)
        client.stdin.close()
    assert not database.with_name("lake.duckdb.wal").exists()
    with attached(copy) as con, pytest.raises(duckdb.CatalogException):
        con.execute("FROM mine")


def test_a_broken_file_is_named_when_building(tmp_path):
    rng = np.random.default_rng(3)
    s = make_session(rng, 1, 1)
    write_session(tmp_path, s)
    (tmp_path / "tables/experiment/session/subject_id=1/session=1/part.parquet").write_bytes(b"x")
    with pytest.raises(LakeError, match=r"experiment.*session"):
        catalog.build(tmp_path)


def test_literals():
    con = duckdb.connect()
    for value in ("it's", "", "a\\b\n%", 1, -2, 0.1, 1e300, True, False, None, ["a'", "b"], [1]):
        assert con.sql(f"SELECT {literal(value)}").fetchall()[0][0] == value
    assert str(con.sql(f"SELECT {literal(float('nan'))}").fetchall()[0][0]) == "nan"
