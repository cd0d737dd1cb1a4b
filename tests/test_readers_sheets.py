"""Spreadsheets of animals and insertions, as .xlsx and .csv."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    MissingFileError,
    SourceError,
    SpreadsheetError,
    UnreadableFileError,
)
from maplake.readers import animals, cells, insertion_locations, sheets
from maplake.readers.cells import to_date, to_number, to_time
from maplake.readers.insertion_locations import parse_good_periods
from maplake.tables import TABLES

ANIMAL = {
    "Subject ID": 432998,
    "Water Restriction Number": "dl25",
    "username": "ann",
    "cage_number": 148861,
    "date_of_birth": dt.date(2017, 8, 7),
    "sex": "M",
    "animal_source": "Jackson labs",
    "wr_start_date": dt.date(2018, 1, 10),
    "wr_start_weight": 23.4,
}
INSERTION = {
    "subject_id": 432998,
    "water_restriction_number": "dl25",
    "session_date": dt.date(2018, 2, 25),
    "insertion_number": 1,
    "skull_reference": "Bregma",
    "ap_location": 2500,
    "ml_location": -1500.5,
    "depth": -2900,
    "theta": 15,
    "phi": 0,
    "beta": 90,
    "brain_area": "ALM",
    "hemisphere": "Left",
}


def as_csv(file: Path, rows, delimiter=",", encoding="utf-8") -> Path:
    def cell(value) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if set(text) & set(',;"\n') else text

    lines = [delimiter.join(map(cell, row)) for row in rows]
    file.write_bytes("\r\n".join(lines).encode(encoding))
    return file


def as_xlsx(file: Path, rows) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    book.save(file)
    return file


@pytest.fixture(params=["csv", "xlsx"])
def sheet(request, tmp_path):
    """Write rows (dictionaries) as a sheet of either kind."""

    def sheet(*rows: dict, blank_above: int = 0) -> Path:
        header = list(dict.fromkeys(key for row in rows for key in row))
        grid = [[] for _ in range(blank_above)]
        grid += [header, *([row.get(name) for name in header] for row in rows)]
        write = as_csv if request.param == "csv" else as_xlsx
        return write(tmp_path / f"sheet.{request.param}", grid)

    return sheet


def mistakes(read, file: Path) -> SpreadsheetError:
    with pytest.raises(SpreadsheetError) as caught:
        read(file)
    assert caught.value.file == str(file)
    return caught.value


# ------------------------------------------------------------------------------- animals


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


# ------------------------------------------------------------------------------- cells


@pytest.mark.parametrize(
    "text", ["2018-02-25", "20180225", "2018-02-25 00:00:00", "2018-02-25T10:25:08", "2/25/2018",
             "02/25/2018 10:25", "2018-2-25", "2018/02/25", "2018/2/25 10:25"],
)  # fmt: skip
def test_dates(text):
    assert to_date(text) == dt.date(2018, 2, 25)


@pytest.mark.parametrize("text", ["25/2/2018", "2018-02-30", "25.2.2018", "2/25/18", "43156", "x"])
def test_bad_dates(text):
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        to_date(text)


@pytest.mark.parametrize(
    "text",
    [
        *("092508", "92508", "92508.0", "9:25:08", "1899-12-31 09:25:08", "09:25:08.000"),
        *("9:25:08 AM", "09:25:08am", "9:25:08 a.m."),
    ],
)
def test_times(text):
    assert to_time(text) == dt.time(9, 25, 8)


@pytest.mark.parametrize(
    ("text", "hour"), [("12:25:08 AM", 0), ("12:25:08 PM", 12), ("1:25:08 PM", 13)]
)
def test_halves_of_the_day(text, hour):
    assert to_time(text) == dt.time(hour, 25, 8)


@pytest.mark.parametrize("text", ["13:25:08 PM", "0:25:08 AM"])
def test_hours_that_no_half_of_the_day_has(text):
    with pytest.raises(ValueError, match="HHMMSS"):
        to_time(text)


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "1,5", "1_000", "0x10", "", "-", "١"])
def test_bad_numbers(text):
    with pytest.raises(ValueError, match="number"):
        to_number(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read_back(value):
    assert to_number(repr(value)) == value


def test_time_and_truth_cells_of_a_workbook(tmp_path):
    row = INSERTION | {"behaviour_time": dt.time(10, 25, 8), "drift_presence": True}
    file = as_xlsx(tmp_path / "a.xlsx", [list(row), list(row.values())])
    (read,) = insertion_locations.read(file).info["rows"]
    assert read.behaviour_time == dt.time(10, 25, 8)
    assert read.drift_presence is True


def with_formula_that_failed(file: Path, cell: str, error: str) -> Path:
    book = openpyxl.Workbook()
    book.active.append(list(ANIMAL))
    book.active.append(list(ANIMAL.values()))
    book.active[cell].value = error
    book.active[cell].data_type = "e"
    book.save(file)
    return file


@pytest.mark.parametrize("error", ["#DIV/0!", "#REF!", "#NAME?", "#VALUE!", "#NUM!", "#NULL!"])
@pytest.mark.parametrize("cell", ["C2", "G2", "I2"])  # username, animal_source, a weight
def test_failed_formula_is_a_mistake(tmp_path, cell, error):
    file = with_formula_that_failed(tmp_path / "a.xlsx", cell, error)
    assert mistakes(animals.read, file).found == repr(error)


def test_what_a_formula_did_not_find_is_blank(tmp_path):
    file = with_formula_that_failed(tmp_path / "a.xlsx", "D2", "#N/A")  # cage_number
    (subject,) = animals.read(file).tables["lab.subject"].to_pylist()
    assert subject["cage_number"] is None
    file = with_formula_that_failed(tmp_path / "a.xlsx", "G2", "#N/A")  # animal_source
    (subject,) = animals.read(file).tables["lab.subject"].to_pylist()
    assert subject["animal_source"] is None


def test_the_sheet_with_the_columns_is_taken(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["read me"])
    for row in (list(ANIMAL), list(ANIMAL.values())):
        if "animals" not in book.sheetnames:
            book.create_sheet("animals")
        book["animals"].append(row)
    book.save(tmp_path / "a.xlsx")
    assert animals.read(tmp_path / "a.xlsx").tables["lab.subject"].num_rows == 1


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_a_hidden_sheet_is_taken_only_where_no_other_fits(tmp_path, state):
    book = openpyxl.Workbook()
    book.active.sheet_state = state
    book.active.append(list(ANIMAL))
    book.active.append(list((ANIMAL | {"Subject ID": 1}).values()))
    shown = book.create_sheet("animals")
    shown.append(list(ANIMAL))
    shown.append(list(ANIMAL.values()))
    book.save(tmp_path / "a.xlsx")
    (subject,) = animals.read(tmp_path / "a.xlsx").tables["lab.subject"].to_pylist()
    assert subject["subject_id"] == 432998
    shown["A1"] = "something else"
    book.save(tmp_path / "a.xlsx")
    (subject,) = animals.read(tmp_path / "a.xlsx").tables["lab.subject"].to_pylist()
    assert subject["subject_id"] == 1


def test_boxes_that_are_not_ticked_make_no_row(sheet):
    boxes = [{"done": "FALSE"}] * 20
    file = sheet(ANIMAL | {"done": "TRUE"}, *boxes)
    assert animals.read(file).tables["lab.subject"].num_rows == 1


def with_part(file: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(file, "a") as book:
        book.writestr(name, content)
    return file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("xl/drawings/vmlDrawing1.vml", b"<xml><div>a button<br></div></xml>"),
        ("xl/embeddings/note.docx", b"PK\x03\x04"),
        ("xl/media/image1.webp", b"RIFF"),
        ("xl/model/item.data", b"\0\1\2"),
        ("[trash]/0000.dat", b"\xff"),
    ],
)
def test_what_is_no_sheet_may_be_anything(tmp_path, name, content):
    file = as_xlsx(tmp_path / "a.xlsx", [list(ANIMAL), list(ANIMAL.values())])
    assert animals.read(with_part(file, name, content)).tables["lab.subject"].num_rows == 1


@pytest.mark.parametrize("target", ["worksheets/a.png", "/xl/worksheets/A.png", "../xl/a.png"])
def test_a_far_cell_is_found_whatever_its_part_is_called(tmp_path, target):
    sheet = b'<worksheet><sheetData><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    sheet += b'<row r="1"><c r="A1"><v>1</v></c></row></sheetData></worksheet>'
    relations = f'<Relationships><Relationship Target="{target}"/></Relationships>'.encode()
    part = "xl/" + target.rpartition("xl/")[2]
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as book:
        book.writestr("xl/_rels/workbook.xml.rels", relations)
        book.writestr(part, sheet)
    with pytest.raises(CorruptFileError, match="17179869184 cells"):
        animals.read(tmp_path / "a.xlsx")


# ------------------------------------------------------------------------------- files


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_delimiters_and_encodings(tmp_path, delimiter, encoding):
    row = ANIMAL | {"username": "müller", "animal_source": "a\nb, c"}
    file = as_csv(tmp_path / "a.csv", [list(row), list(row.values())], delimiter, encoding)
    (subject,) = animals.read(file).tables["lab.subject"].to_pylist()
    assert subject["username"] == "müller"
    assert subject["animal_source"] == "a\nb, c"


def test_dashes_and_quotes_of_windows(tmp_path):
    row = INSERTION | {"good_period": "0–200", "insertion_comment": "the mouse’s, 5 €"}
    file = as_csv(tmp_path / "a.csv", [list(row), list(row.values())], encoding="cp1252")
    (read,) = insertion_locations.read(file).info["rows"]
    assert read.good_periods == ((0.0, 200.0),)
    assert read.insertion_comment == "the mouse’s, 5 €"


def test_day_or_month_first_is_not_guessed(tmp_path):
    """Programs that part cells by semicolons run where the day is written first."""
    row = ANIMAL | {"date_of_birth": "03/02/2018"}
    grid = [list(row), list(row.values())]
    (subject,) = animals.read(as_csv(tmp_path / "a.csv", grid)).tables["lab.subject"].to_pylist()
    assert subject["date_of_birth"] == dt.date(2018, 3, 2)
    error = mistakes(animals.read, as_csv(tmp_path / "a.csv", grid, ";"))
    assert error.found == "'03/02/2018'"
    assert "day or month first" in str(error)


def test_rows_count_as_in_the_sheet_not_as_lines(tmp_path):
    first = ANIMAL | {"animal_source": "two\nlines"}
    bad = ANIMAL | {"sex": "?"}
    grid = [list(ANIMAL), list(first.values()), [], list(bad.values())]
    assert "row 4, column sex" in str(mistakes(animals.read, as_csv(tmp_path / "a.csv", grid)))


def test_a_row_that_ends_before_the_animals_name(tmp_path):
    header = [name for name in INSERTION if name != "water_restriction_number"]
    grid = [[*header, "water_restriction_number"], [INSERTION[name] for name in header]]
    (skipped,) = insertion_locations.read(as_csv(tmp_path / "a.csv", grid)).skipped
    assert skipped.item == "2"
    assert "water_restriction_number: found nothing" in skipped.reason


def test_more_cells_than_headers(tmp_path):
    grid = [list(ANIMAL), [*ANIMAL.values(), "", "oops"]]
    error = mistakes(animals.read, as_csv(tmp_path / "a.csv", grid))
    assert error.place == "row 2"


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.xlsx", b"", CorruptFileError),
        ("a.csv", b"", CorruptFileError),
        ("a.csv", b"\n ,\n", SpreadsheetError),
        ("a.xlsx", b"PK\x03\x04rest", CorruptFileError),
        ("a.csv", b"a\0b", FileFormatError),
        ("a.csv", b'subject_id,"open\nquote', CorruptFileError),
        ("a.csv", b'a,"' + b"x" * 200_000 + b'"', CorruptFileError),
        ("a.ods", b"x", FileFormatError),
    ],
)
def test_files_that_are_no_sheets(tmp_path, name, data, error):
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(error) as caught:
        animals.read(file)
    assert caught.value.file == str(file)


def test_empty_workbook(tmp_path):
    assert "is empty" in str(mistakes(animals.read, as_xlsx(tmp_path / "a.xlsx", [])))


def test_missing_and_unreadable(tmp_path):
    with pytest.raises(MissingFileError):
        animals.read(tmp_path / "a.csv")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(UnreadableFileError):
        animals.read(tmp_path / "b.csv")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_forbidden(tmp_path):
    file = as_csv(tmp_path / "a.csv", [list(ANIMAL)])
    file.chmod(0)
    with pytest.raises(UnreadableFileError):
        animals.read(file)


def test_any_truncation_is_a_maplake_error(tmp_path):
    whole = as_xlsx(tmp_path / "whole.xlsx", [list(ANIMAL), list(ANIMAL.values())]).read_bytes()
    file = tmp_path / "a.xlsx"
    for size in range(0, len(whole) - 1, 97):
        file.write_bytes(whole[:size])
        with pytest.raises(SourceError):
            animals.read(file)


@given(st.binary(max_size=60))
def test_any_bytes_are_rows_or_a_maplake_error(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_bytes(data)
    with contextlib.suppress(SourceError):
        sheets.load_rows(file, ())


def test_found_by_name(tmp_path):
    file = as_csv(tmp_path / "A.CSV", [["x"]])
    assert animals.READER.find(file) == [file]
    assert animals.READER.find(tmp_path) == []
    assert animals.READER.kind == "animals"
    assert insertion_locations.READER.kind == "insertion_locations"


def test_a_far_styled_cell_is_no_reason_to_refuse_a_workbook(tmp_path):
    from openpyxl.styles import Font

    book = openpyxl.Workbook()
    book.active.append(["a", "b"])
    book.active.append(["1", "2"])
    book.active["XFD1048576"].font = Font(bold=True)
    book.save(tmp_path / "styled.xlsx")
    assert [row.cells for row in sheets.load_rows(tmp_path / "styled.xlsx", ["a"])] == [
        {"a": "1", "b": "2"}
    ]


@pytest.mark.parametrize(
    ("name", "number"), [("MK001", 1), ("mk001", 1), ("Dl25", None), ("dl25", 2), ("ZZ9", None)]
)
def test_an_animal_is_meant_in_capitals_or_not_where_that_is_one(name, number):
    assert sheets.animal_named(name, {"MK001": 1, "dl25": 2, "DL25": 3}) == number


@pytest.mark.parametrize("name", ["", "/", "xl/worksheets/"])
def test_a_workbook_with_a_part_without_a_name_is_read_or_refused(tmp_path, name):
    file = as_xlsx(tmp_path / "a.xlsx", [list(ANIMAL), list(ANIMAL.values())])
    with zipfile.ZipFile(file, "a") as book:
        book.writestr(zipfile.ZipInfo(name), b"")
    assert animals.read(file).tables["lab.subject"].num_rows == 1
    content = file.read_bytes()  # the name of its first part, in the zip's directory
    place = content.index(b"PK\x01\x02") + 28
    file.write_bytes(content[:place] + b"\0\0" + content[place + 2 :])
    with pytest.raises(CorruptFileError, match="damaged"):
        animals.read(file)
