"""The foraging lab's list of surgeries: which animals it enters, and what it says of the others."""

from __future__ import annotations

import csv
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maplake import errors
from maplake.readers import animals
from maplake.readers.foraging_surgery import animals_named, read_surgeries
from maplake.tables import TABLES

# As the published pipeline's notebook saves it: the index of the row first, other columns between.
HEAD = ["", "status", "project", "animal#", "ID", "cage#", "DOB", "sex", "experimenter",
        "surgery date (1)"]  # fmt: skip
ROW = {
    "status": "training",
    "project": "foraging",
    "animal#": "471234.0",
    "ID": "HH09",
    "cage#": "7001.0",
    "DOB": "2019-11-02",
    "sex": "M",
    "experimenter": "Han",
    "surgery date (1)": "2020-01-15",
}
DAYS = [["2020-05-04", "22.5"], ["2020-05-05", "22.1"]]
DAY_HEAD = ["Date", "Time", "Weight", "Training type"]


def write_list(folder, *changes):
    """Write Surgery.csv with a row per dictionary of what differs from ROW."""
    rows = [[number, *(({**ROW, **change})[name] for name in HEAD[1:])]
            for number, change in enumerate(changes)]  # fmt: skip
    with (folder / "Surgery.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    return folder / "Surgery.csv"


def write_days(folder, h2o, days=DAYS):
    with (folder / f"{h2o}.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [DAY_HEAD, *([day, "10:00", weight, "foraging"] for day, weight in days)]
        )


def told(records):
    return [(item.item_type, item.item, item.reason) for item in records.skipped]


def test_animals_come_out_as_of_a_sheet_of_animals(tmp_path):
    for h2o in ("HH09", "HH10"):
        write_days(tmp_path, h2o)
    second = {"animal#": "471235", "ID": "HH10", "status": "Sacrificed", "sex": "", "cage#": "",
              "DOB": "11/2/2019", "experimenter": ""}  # fmt: skip
    records = read_surgeries(write_list(tmp_path, {}, second))
    assert not records.skipped
    assert records.tables["lab.subject"].to_pylist() == [
        {
            "subject_id": 471234,
            "username": "Han",
            "cage_number": 7001,
            "date_of_birth": date(2019, 11, 2),
            "sex": "M",
            "animal_source": None,
        },
        {
            "subject_id": 471235,
            "username": None,
            "cage_number": None,
            "date_of_birth": date(2019, 11, 2),
            "sex": "Unknown",
            "animal_source": None,
        },
    ]
    assert records.tables["lab.water_restriction"].to_pylist()[0] == {
        "subject_id": 471234,
        "water_restriction_number": "HH09",
        "cage_number": 7001,
        "wr_start_date": date(2020, 5, 4),
        "wr_start_weight": 22.5,
    }
    sheet = tmp_path / "animals.csv"
    sheet.write_text(
        "subject_id,water_restriction_number,username,cage_number,date_of_birth,sex,animal_source,"
        "wr_start_date,wr_start_weight\n"
        "471234,HH09,Han,7001,2019-11-02,M,,2020-05-04,22.5\n"
        "471235,HH10,,,2019-11-02,,,2020-05-04,22.5\n",
        encoding="utf-8",
    )
    same = animals.read(sheet)
    assert records.tables == same.tables
    for name, data in records.tables.items():
        assert data.schema.equals(TABLES[name].file_schema, check_metadata=True)


@pytest.mark.parametrize(
    ("days", "start"),
    [
        ([["", "nan"], ["nan", "22.0"], ["2020-05-05", "21.0"]], (date(2020, 5, 5), 22.0)),
        ([["2020-05-04 00:00:00", ""]], (date(2020, 5, 4), None)),
        ([["2020/5/4", "21"]], (date(2020, 5, 4), 21.0)),
        ([], (None, None)),
    ],
)
def test_the_first_date_and_the_first_weight_start_the_water_restriction(tmp_path, days, start):
    write_days(tmp_path, "HH09", days)
    records = read_surgeries(write_list(tmp_path, {}))
    (row,) = records.tables["lab.water_restriction"].to_pylist()
    assert (row["wr_start_date"], row["wr_start_weight"]) == start


@pytest.mark.parametrize(
    "change",
    [
        {"project": "delayed response"},
        {"project": ""},
        {"status": "surgery"},
        {"status": ""},
        {"project": "other", "animal#": "?", "DOB": "spring"},
    ],
)
def test_others_projects_and_states_are_no_faults(tmp_path, change):
    write_days(tmp_path, "HH10")
    records = read_surgeries(
        write_list(tmp_path, change, {"animal#": "471235", "ID": "HH10"}, dict.fromkeys(ROW, ""))
    )
    assert records.skipped == []
    assert records.tables["lab.subject"]["subject_id"].to_pylist() == [471235]


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({"ID": ""}, "animal", "the animal has no ID yet"),
        ({"ID": "nan", "animal#": "nan"}, "animal", "no animal# and no ID yet"),
        ({"animal#": ""}, "animal", "no animal# yet"),
        ({"ID": "HH11"}, "animal", "there is no HH11.csv beside Surgery.csv yet"),
        ({"animal#": "-3"}, "row", "column animal#: found '-3'"),
        ({"DOB": "2.11.2019"}, "row", "column dob: found '2.11.2019'"),
        ({"DOB": "2.11.2019", "ID": ""}, "row", "column dob"),
        ({"sex": "both"}, "row", "column sex"),
        ({"cage#": "1.5"}, "row", "column cage#"),
        ({"ID": "../HH09"}, "row", "a name that files can have"),
        ({"ID": "#REF!"}, "row", "column id"),
        ({"ID": "Surgery"}, "row", "columns are missing: date, weight"),
        ({"animal#": "471235"}, "row", "repeats animal# of row 2, which counts"),
        ({"ID": "hh10"}, "row", "repeats ID of row 2, which counts"),
        ({"ID": "BAD1"}, "row", "BAD1.csv, row 2, column date: the cell cannot be used"),
        ({"ID": "BAD2"}, "row", "BAD2.csv, row 3, column weight"),
        ({"ID": "BAD3"}, "row", "the file is empty"),
        ({"ID": "B" * 300}, "row", "cannot be read"),
    ],
)
def test_rows_that_cannot_be_used_are_told_and_the_others_go_in(tmp_path, change, kind, reason):
    for h2o in ("HH09", "HH10"):
        write_days(tmp_path, h2o)
    write_days(tmp_path, "BAD1", [["4 May", "22"], ["2020-05-05", "22"]])
    write_days(tmp_path, "BAD2", [["2020-05-04", ""], ["2020-05-05", "heavy"]])
    (tmp_path / "BAD3.csv").write_bytes(b"")
    good = {"animal#": "471235", "ID": "HH10"}
    records = read_surgeries(write_list(tmp_path, good, change))
    assert records.tables["lab.subject"]["subject_id"].to_pylist() == [471235]
    ((found, row, why),) = told(records)
    assert (found, row) == (kind, "3")
    assert reason in why


def test_bad_lists_are_refused(tmp_path):
    file = tmp_path / "Surgery.csv"
    with pytest.raises(errors.MissingFileError):
        read_surgeries(file)
    file.write_bytes(b"")
    with pytest.raises(errors.CorruptFileError):
        read_surgeries(file)
    file.write_text("project,status,animal#,ID\n", encoding="utf-8")
    with pytest.raises(errors.SpreadsheetError, match="missing: cage#, dob, sex, experimenter"):
        read_surgeries(file)


def test_all_animals_of_the_list_are_known(tmp_path):
    rows = [{}, {"animal#": "5", "project": "other"}, {"animal#": "?"}, {"animal#": ""}]
    assert animals_named(write_list(tmp_path, *rows)) == {471234, 5}


_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "animal#": st.sampled_from(["1", "2.0", "3", "", "x"]),
            "ID": st.sampled_from(["HH1", "hh1", "HH2", "HH3", "", "NONE"]),
            "project": st.sampled_from(["foraging", "foraging", "other"]),
            "status": st.sampled_from(["training", "sacrificed", "retired"]),
            "DOB": st.sampled_from(["2019-11-02", "", "spring"]),
        }
    ),
    max_size=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=_ROWS)
def test_each_animal_of_the_project_goes_in_once_or_is_told(tmp_path, rows):
    for h2o in ("HH1", "hh1", "HH2"):
        write_days(tmp_path, h2o)
    records = read_surgeries(write_list(tmp_path, *rows))
    meant = [
        number
        for number, row in enumerate(rows, start=2)
        if row["project"] == "foraging" and row["status"] != "retired"
    ]
    water = records.tables["lab.water_restriction"].to_pylist()
    assert len(water) + len(records.skipped) == len(meant)
    assert {int(item.item) for item in records.skipped} <= set(meant)
    for column in ("subject_id", "water_restriction_number"):
        values = [str(row[column]).lower() for row in water]
        assert len(set(values)) == len(values)
