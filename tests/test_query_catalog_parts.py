"""The catalog is changed in part where that is enough, and says what a whole one would."""

import re
import shutil
from pathlib import Path

import duckdb
import pytest
from labs import lake_root
from lakefiles import small_lake, write_table

import maplake
from maplake.layout import Layout
from maplake.query import catalog, views

pytestmark = pytest.mark.usefixtures("whole_catalogs")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("lake")
    small_lake(path, conditions={"Late": "trial > 20"})
    return path


@pytest.fixture
def carried_out(monkeypatch):
    """The statements of every catalog that is written."""
    found = []
    run = catalog.run
    monkeypatch.setattr(catalog, "run", lambda con, made: (found.append(made), run(con, made)))
    return found


def in_part(made):
    """Whether statements change the catalog that is there."""
    return any("error('another catalog')" in text for text in made)


def said(root):
    """Everything that a catalog says, but for the order of what has none."""
    queries = (
        "SELECT schema_name, view_name, comment, sql FROM duckdb_views()",
        "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns()",
        "SELECT schema_name, function_name, macro_definition FROM duckdb_functions()",
    )
    with duckdb.connect(str(Layout(root).catalog), read_only=True) as con:
        rows = [
            r for query in queries for r in con.execute(f"{query} WHERE NOT internal").fetchall()
        ]
    return sorted(re.sub(r"EXCLUDE \([^)]*\)", "EXCLUDE", str(row)) for row in rows)


def broken(path):
    path.write_bytes(path.read_bytes()[:50_000])


def without_a_view(path):
    with duckdb.connect(str(path)) as con:
        con.execute("DROP VIEW psth.unit_psth; DROP VIEW ingest.catalog")
        con.execute("CREATE VIEW ingest.catalog AS SELECT 'of another' AS signature")


@pytest.mark.parametrize("lost", [False, True])
def test_the_catalog_of_a_moved_lake_gets_other_views_of_files(root, tmp_path, carried_out, lost):
    options = {"conditions": {"Late": "trial > 20"}}
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    if lost:  # a view that reads files must become an empty one
        shutil.rmtree(copy / "tables" / "experiment" / "behavior_trial")
    catalog.build(copy, **options)
    assert in_part(carried_out[-1])
    assert catalog.is_current(copy, **options)
    changed, script = said(copy), Layout(copy).views.read_bytes()
    assert str(copy) in str(changed)
    assert f"{root}/" not in str(changed)
    catalog.build(copy, **options)  # nothing to change: all of it
    assert len(carried_out[-1]) > 100
    assert changed == said(copy)
    assert script == Layout(copy).views.read_bytes()


@pytest.mark.parametrize("other", ["itself", "empty", "of other conditions", "broken"])
def test_a_catalog_made_of_another_lakes_says_the_same(ingested_lab, tmp_path, carried_out, other):
    root, copy, like = lake_root(ingested_lab), tmp_path / "copy", tmp_path / "like"
    shutil.copytree(root, copy)
    Layout(copy).catalog.unlink()
    Layout(copy).views.unlink()
    like.mkdir()
    if other in ("itself", "broken"):
        shutil.copytree(root, like, dirs_exist_ok=True)
    else:
        catalog.build(like, conditions={"Late": "trial > 20"} if other != "empty" else {})
    if other == "broken":
        broken(Layout(like).catalog)
    catalog.build(copy, like=like)
    is_copied = in_part(carried_out[-1])
    assert is_copied == (other != "broken")
    assert catalog.is_current(copy)
    found, script = said(copy), Layout(copy).views.read_bytes()
    assert str(copy) in str(found)
    assert f"{root}/" not in str(found)
    assert f"{like}/" not in str(found)
    catalog.build(copy)
    assert len(carried_out[-1]) > 100
    assert found == said(copy)
    assert script == Layout(copy).views.read_bytes()


@pytest.mark.parametrize("options", [
    {},
    {"conditions": {"Late": "trial > 21"}},
    {"conditions": {"Late": {"predicate": "trial > 20", "description": "of the second half"},
                    "all": "trial < 5 -- ;\n"}},
    {"align_types": {"own": ("go", 0, 0.5, -1.0, 1.0)}},
])  # fmt: skip
def test_other_conditions_and_alignments_change_the_catalog_that_is_there(
    root, tmp_path, carried_out, options
):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    catalog.build(copy, **options)
    assert in_part(carried_out[-1])
    found, script = said(copy), Layout(copy).views.read_bytes()
    assert ("trial > 20" in str(found)) == ("of the second half" in str(found))
    catalog.build(copy, **options)
    assert len(carried_out[-1]) > 100
    assert found == said(copy)
    assert script == Layout(copy).views.read_bytes()
    with maplake.open(copy) as lake:
        names = lake.sql("SELECT trial_condition_name FROM psth.trial_condition").pl()
        assert ("Late" in names["trial_condition_name"]) == ("conditions" in options)


@pytest.mark.parametrize("harm", [None, Path.unlink, broken, without_a_view])
def test_a_table_with_its_first_file_is_added_to_the_catalog_that_is_there(
    root, tmp_path, carried_out, harm
):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    catalog.build(copy, conditions={"Late": "trial > 20"})
    probe = {"subject_id": 101, "session": 1, "insertion_number": 1}
    write_table(copy, "ephys.unit_note", probe, unit=[10])
    write_table(copy, "ephys.good_trial", probe, trial=[1, 2])
    if harm:
        harm(Layout(copy).catalog)
    catalog.build(copy, conditions={"Late": "trial > 20"})
    assert (len(carried_out[-1]) < 40) == (harm is None)
    added, script = said(copy), Layout(copy).views.read_bytes()
    catalog.build(copy, conditions={"Late": "trial > 20"})  # nothing to add: all of it
    assert len(carried_out[-1]) > 100
    assert added == said(copy)
    assert script == Layout(copy).views.read_bytes()


@pytest.mark.parametrize("name", ["foraging.block_stats", "psth.event_types"])
def test_any_other_statement_that_changed_makes_it_whole(
    root, tmp_path, monkeypatch, carried_out, name
):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    options = {"conditions": {"Late": "trial > 20"}}
    made = catalog.statements
    catalog.build(copy, **options)
    expected = said(copy)
    with monkeypatch.context() as other:  # of a maplake that says this one thing otherwise
        other.setattr(
            catalog,
            "statements",
            lambda *args: [
                text.replace("s.block,", "s.block + 1 AS block,", 1).replace("'go'", "'stop'")
                if views.created(text) == name
                else text
                for text in made(*args)
            ],
        )
        catalog.build(copy, **options)
        assert not in_part(carried_out[-1])
        assert said(copy) != expected
    catalog.build(copy, **options)
    assert not in_part(carried_out[-1])
    assert said(copy) == expected
