"""Spreadsheets of animals and insertions, as .xlsx and .csv."""

from __future__ import annotations

import datetime as dt

import pytest
from sheetfiles import ANIMAL, INSERTION, as_csv, mistakes, sheet

from maplake.readers import animals, cells, insertion_locations
from maplake.readers.insertion_locations import parse_good_periods
from maplake.tables import TABLES

# ------------------------------------------------------------------------------- animals

__all__ = ["sheet"]  # fixture


def test_animals(sheet):
    second = ANIMAL | {
        "Subject ID": "7.0",
        "Water Restriction Number": "SC022",
        "username": None,
        "cage_number": None,
        "sex": "female",
        "date_of_birth": "8/7/2017",
        "wr_start_weight": "21",
    }
    records = animals.read(sheet(ANIMAL, {}, second, blank_above=2))
    for name in ("lab.subject", "lab.water_restriction", "lab.person"):
        assert records.tables[name].schema.equals(TABLES[name].file_schema, check_metadata=True)
    assert records.tables["lab.subject"].to_pylist() == [
        {
            "subject_id": 432998,
            "username": "ann",
            "cage_number": 148861,
            "date_of_birth": dt.date(2017, 8, 7),
            "sex": "M",
            "animal_source": "Jackson labs",
        },
        {
            "subject_id": 7,
            "username": None,
            "cage_number": None,
            "date_of_birth": dt.date(2017, 8, 7),
            "sex": "F",
            "animal_source": "Jackson labs",
        },
    ]
    water = records.tables["lab.water_restriction"].to_pylist()
    assert [row["water_restriction_number"] for row in water] == ["dl25", "SC022"]
    assert [row["wr_start_weight"] for row in water] == [23.4, 21.0]
    assert records.tables["lab.person"].to_pylist() == [{"username": "ann", "fullname": None}]


def test_only_the_header(sheet):
    records = animals.read(sheet(dict.fromkeys(ANIMAL)))
    assert records.tables["lab.subject"].num_rows == 0


def test_all_mistakes_are_listed_with_row_and_column(sheet):
    bad = ANIMAL | {"Subject ID": "x", "sex": "male?", "wr_start_weight": -1, "cage_number": 1.5}
    other = ANIMAL | {"Water Restriction Number": "", "date_of_birth": "7.8.2017"}
    text = str(mistakes(animals.read, sheet(bad, {}, other)))
    for part in (
        "6 cells cannot be used",
        "row 2, column subject_id: found 'x'; expected a whole number",
        "row 2, column sex: found 'male?'; expected one of M, F, Unknown",
        "row 2, column wr_start_weight: found '-1'; expected a weight",
        "row 2, column cage_number: found '1.5'",
        "row 4, column water_restriction_number: found nothing",
        "row 4, column date_of_birth: found '7.8.2017'; expected a date as YYYY-MM-DD",
    ):
        assert part in text


def test_one_mistake_has_its_place(sheet):
    error = mistakes(animals.read, sheet(ANIMAL | {"sex": "X"}))
    assert error.place == "row 2, column sex"
    assert error.found == "'X'"
    assert error.exit_code == 4


@pytest.mark.parametrize("same", ["Subject ID", "Water Restriction Number"])
def test_animals_given_twice(sheet, same):
    other = ANIMAL | {"Subject ID": 1, "Water Restriction Number": "x1"}
    other[same] = str(ANIMAL[same]).upper()
    error = mistakes(animals.read, sheet(ANIMAL, {}, other))
    assert error.place.startswith("row 4")
    assert error.expected == "another value than in row 2"


def test_a_sheet_with_a_row_per_insertion_names_animals_again(sheet):
    short = {name: ANIMAL[name] for name in ("Subject ID", "Water Restriction Number")}
    other = ANIMAL | {"Subject ID": 7, "Water Restriction Number": "SC022"}
    records = animals.read(sheet(ANIMAL, ANIMAL | {"Insertion Number": 2}, other, short))
    assert records.tables["lab.subject"]["subject_id"].to_pylist() == [432998, 7]
    error = mistakes(animals.read, sheet(ANIMAL, ANIMAL | {"cage_number": 5}))
    assert "row 3, column subject_id: found 432998; expected another value" in str(error)


def test_missing_and_double_headers(tmp_path):
    names = list(ANIMAL)[:-2]
    error = mistakes(animals.read, as_csv(tmp_path / "a.csv", [names]))
    assert "columns are missing: wr_start_date, wr_start_weight" in error.message
    twice = as_csv(tmp_path / "b.csv", [[*ANIMAL, "SEX ", "Notes", "notes"]])
    assert "columns are there twice: notes, sex" in mistakes(animals.read, twice).message


# ------------------------------------------------------------------------------- insertions


def test_insertion(sheet):
    full = INSERTION | {
        "behaviour_time": 92508,
        "project": "map",
        "drift_presence": "Yes",
        "alignment_confidence": "no",
        "number_of_landmarks": 12,
        "insertion_comment": "fine; really",
        "good_period": "0-200;230-290;400-end",
    }
    bare = INSERTION | {"subject_id": None, "insertion_number": 2, "theta": None}
    records = insertion_locations.read(sheet(full, bare))
    first, second = records.info["rows"]
    assert records.skipped == []
    assert first == insertion_locations.InsertionRow(
        2, 432998, "dl25", dt.date(2018, 2, 25), 1, dt.time(9, 25, 8), "map", "Bregma", 2500.0,
        -1500.5, -2900.0, 15.0, 0.0, 90.0, "ALM", "left", True, False, 12, "fine; really",
        ((0.0, 200.0), (230.0, 290.0), (400.0, None)),
    )  # fmt: skip
    assert second.row == 3
    assert (second.subject_id, second.theta, second.behaviour_time) == (None, None, None)
    assert second.good_periods == ()


def test_bad_rows_are_skipped_and_the_others_go_on(sheet):
    rows = [
        INSERTION,
        INSERTION | {"insertion_number": 0, "hemisphere": "up"},
        {},
        INSERTION | {"insertion_number": 2, "good_period": "200-0"},
        INSERTION,
        INSERTION | {"insertion_number": 3, "skull_reference": "bregma"},
        INSERTION | {"insertion_number": 4, "behaviour_time": "250000"},
        INSERTION | {"insertion_number": 5, "depth": "1,500"},
    ]
    records = insertion_locations.read(sheet(*rows))
    assert [(row.row, row.insertion_number) for row in records.info["rows"]] == [(2, 1), (7, 3)]
    assert records.info["rows"][1].skull_reference == "Bregma"
    reasons = {skip.item: skip.reason for skip in records.skipped}
    assert list(reasons) == ["3", "5", "6", "8", "9"]
    assert "insertion_number: found '0'" in reasons["3"]
    assert "hemisphere: found 'up', expected one of left, right, both" in reasons["3"]
    assert "end after they start" in reasons["5"]
    assert reasons["6"] == "repeats the insertion of row 2"
    assert "HHMMSS" in reasons["8"]
    assert "point as decimal mark" in reasons["9"]


def test_cells_that_say_that_there_is_nothing_are_blank(sheet):
    blank = {"theta": "N/A", "behaviour_time": "nan", "number_of_landmarks": "None",
             "drift_presence": "NA", "good_period": "n/a", "insertion_comment": "NA"}  # fmt: skip
    records = insertion_locations.read(sheet(INSERTION | blank, INSERTION | {"depth": "NA"}))
    (row,) = records.info["rows"]
    assert (row.theta, row.behaviour_time, row.number_of_landmarks) == (None, None, None)
    assert (row.drift_presence, row.good_periods, row.insertion_comment) == (None, (), "NA")
    assert [skip.reason for skip in records.skipped] == [
        "column depth: found nothing, expected a value"
    ]


def test_a_word_that_a_column_allows_is_not_blank():
    row = cells.Row(2, {"side": "None", "task": "n/a", "depth": "none"})
    fields = [
        cells.Field("side", cells.one_of("left", "none"), required=True),
        cells.Field("task", cells.one_of("hit", "N/A")),
        cells.Field("depth", cells.to_number),
    ]
    assert cells.convert(row, fields) == ({"side": "none", "task": "N/A", "depth": None}, [])


def test_insertion_headers_missing(tmp_path):
    error = mistakes(insertion_locations.read, as_csv(tmp_path / "a.csv", [["subject_id"]]))
    assert "hemisphere" in error.message
    assert "theta" in error.message
    assert "project" not in error.message


@pytest.mark.parametrize(
    ("text", "periods"),
    [
        ("0-200;230-290;400-end", ((0, 200), (230, 290), (400, None))),
        ("0-200, 230-290,400-End", ((0, 200), (230, 290), (400, None))),
        (" 230.5 - 290 ; 0-200; ", ((0, 200), (230.5, 290))),
        ("0\u2013END", ((0, None),)),
        ("0-1;1-2", ((0, 1), (1, 2))),
    ],
)
def test_good_periods(text, periods):
    assert parse_good_periods(text) == periods


@pytest.mark.parametrize(
    "text", ["1", "5-5", "9-3", "0-10;5-20", "0-end;5-6", "a-b", "-5-3", "0-1e3"]
)
def test_bad_good_periods(text):
    with pytest.raises(ValueError, match="period"):
        parse_good_periods(text)
