"""Files of sheets as Excel and other programs leave them, whole and damaged."""

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
from sheetfiles import ANIMAL, INSERTION, as_csv, as_xlsx, mistakes, sheet

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    MissingFileError,
    SourceError,
    SpreadsheetError,
    UnreadableFileError,
)
from maplake.readers import animals, insertion_locations, sheets

__all__ = ["sheet"]  # fixture


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
