"""Sheets with a table's columns: what people enter, and correct by loading it again."""

from __future__ import annotations

import openpyxl
import pytest
from labs import content, ingest, lake_root, sql

from maplake import simulate
from maplake.config import load
from maplake.errors import NotFoundError, SpreadsheetError
from maplake.ingest.load_table import load_table, loadable
from maplake.query.check import check


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = simulate.lab(
        tmp_path_factory.mktemp("lab"),
        animals=1,
        sessions=1,
        probes=1,
        trials=20,
        units=4,
        sorting=simulate.Sorting(pc_features=False),
        recording=simulate.Recording(channels=48),
    )
    ingest(lab)
    return lab


def sheet(tmp_path, *lines):
    path = tmp_path / "sheet.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_surgeries_by_the_animals_short_name_and_their_correction(lab, tmp_path):
    config, root = load(lab.config), lake_root(lab)
    header = "water_restriction_number,surgery_id,start_time,surgery_description"
    first = sheet(tmp_path, header, "MK001,1,2021-02-01 10:00,headbar", "MK001,2,,virus")

    changes = load_table(config, "lab.surgery", first, dry_run=True)
    assert (changes.added, changes.changed) == (2, 0)
    assert sql(root, "FROM lab.surgery").is_empty()

    load_table(config, "lab.surgery", first)
    second = sheet(tmp_path, header, "mk001,2,,virus injection in ALM")
    changes = load_table(config, "lab.surgery", second)
    assert (changes.added, changes.changed) == (0, 1)
    assert "virus → virus injection in ALM" in "\n".join(changes.lines())
    found = sql(root, "FROM lab.surgery ORDER BY surgery_id")
    assert found["surgery_description"].to_list() == ["headbar", "virus injection in ALM"]
    assert load_table(config, "lab.surgery", second).unchanged == 1
    assert not check(root, deep=True)


def test_rows_of_an_insertion(lab, tmp_path):
    config, root = load(lab.config), lake_root(lab)
    header = "subject_id,session,insertion_number,brain_area,depth_upper,depth_lower"
    file = sheet(tmp_path, header, "400001,1,1,ALM,0,1000", "400001,1,1,Striatum,1000,2000")
    load_table(config, "ephys.brain_area_depth_criteria", file)
    more = sheet(tmp_path, header, "400001,1,1,Striatum,1000,2500")
    changes = load_table(config, "ephys.brain_area_depth_criteria", more)
    assert (changes.added, changes.changed) == (0, 1)
    found = sql(root, "FROM ephys.brain_area_depth_criteria ORDER BY brain_area")
    assert found["depth_lower"].to_list() == [1000.0, 2500.0]
    assert not check(root, deep=True)
    before = content(root)
    ingest(lab)
    assert content(root) == before


def test_projects_of_sessions(lab, tmp_path):
    config, root = load(lab.config), lake_root(lab)
    load_table(
        config,
        "experiment.project",
        sheet(tmp_path, "project_name,project_desc,publication", "Tongue,tongue movements,"),
    )
    load_table(
        config,
        "experiment.project_session",
        sheet(tmp_path, "subject_id,session,project_name", "400001,1,Tongue"),
    )
    found = sql(root, "FROM experiment.project_session")
    assert "Tongue" in found["project_name"].to_list()
    assert not check(root)


@pytest.mark.parametrize(
    ("table", "lines", "message"),
    [
        ("lab.surgery", ("subject_id,surgery_id", "999,1"), "lab.subject.*999"),
        ("lab.surgery", ("subject_id,surgery_id", "x,1"), "row 2, column subject_id"),
        ("lab.surgery", ("subject_id", "400001"), "surgery_id"),
        ("lab.surgery", ("water_restriction_number,surgery_id", "ZZ9,1"), "ZZ9"),
        (
            "lab.subject_gene_modification",
            ("subject_id,gene_modification,zygosity,type", "400001,Ai14,both,Transgene"),
            "zygosity",
        ),
        (
            "ephys.brain_area_depth_criteria",
            (
                "subject_id,session,insertion_number,brain_area,depth_upper,depth_lower",
                "400001,1,7,ALM,0,1",
            ),
            "probe_insertion",
        ),
        (
            "ephys.brain_area_depth_criteria",
            (
                "subject_id,session,insertion_number,brain_area,depth_upper,depth_lower",
                "400001,1,1,ALM,inf,1",
            ),
            "depth_upper",
        ),
    ],
)
def test_rows_that_cannot_be_used_change_nothing(lab, tmp_path, table, lines, message):
    before = content(lake_root(lab))
    with pytest.raises(SpreadsheetError, match=message):
        load_table(load(lab.config), table, sheet(tmp_path, *lines))
    assert content(lake_root(lab)) == before


def test_only_tables_that_people_fill(lab, tmp_path):
    with pytest.raises(NotFoundError, match="not filled from sheets"):
        load_table(load(lab.config), "ephys.unit", sheet(tmp_path, "unit"))
    assert {"lab.virus", "lab.surgery_procedure", "lab.rig", "lab.person"} <= set(loadable())


def test_the_sheet_of_a_workbook_that_has_the_columns(lab, tmp_path):
    config, file = load(lab.config), tmp_path / "a.xlsx"
    book = openpyxl.Workbook()
    book.active.append(["read me"])
    people, surgeries = book.create_sheet("people"), book.create_sheet("surgeries")
    for row in (["username", "fullname"], ["ben", "Ben Bitdiddle"]):
        people.append(row)
    for row in (["water_restriction_number", "surgery_id"], ["MK001", 77]):
        surgeries.append(row)
    book.save(file)
    load_table(config, "lab.person", file)
    load_table(config, "lab.surgery", file)
    root = lake_root(lab)
    assert ("ben", "Ben Bitdiddle") in sql(root, "FROM lab.person").rows()
    assert 77 in sql(root, "FROM lab.surgery")["surgery_id"].to_list()


def test_columns_that_are_missing_are_those_of_the_form_that_the_sheet_has(lab, tmp_path):
    config = load(lab.config)
    for column, rest in (("subject_id", "400001"), ("water_restriction_number", "MK001")):
        with pytest.raises(SpreadsheetError) as caught:
            load_table(config, "lab.surgery", sheet(tmp_path, column, rest))
        assert caught.value.message == "columns are missing: surgery_id"
