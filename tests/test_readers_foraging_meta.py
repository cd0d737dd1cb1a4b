"""Animals' and lab metadata of the foraging task, as people enter them."""

from __future__ import annotations

import csv
from datetime import date, datetime

import pytest

from maplake import errors
from maplake.config import load
from maplake.ingest import session_meta
from maplake.ingest.session import PLANNED, SKIPPED, Item, SessionPlan
from maplake.ingest.sources import BEHAVIOR, Source
from maplake.readers import foraging_meta as meta
from maplake.tables import get
from maplake.writers import parquet

HEAD = ["Date", "Time", "Time-end", "Weight", "Water during training", "Extra water",
        "Notes", "Training type"]  # fmt: skip


def write(path, rows, head=HEAD):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def test_days_with_sessions_are_read_and_others_are_not(tmp_path):
    rows = [
        [
            "2020-05-04",
            "10:00",
            "11:00",
            "22.5",
            "0.75",
            "0.2",
            'a "fine" day;\nreally',
            "foraging",
        ],
        ["2020/05/05", "10:00", "11:00", "22.1", "0.5", "", "", "foraging"],
        ["2020-05-06", "", "", "22.0", "0.5", "0", "", "foraging"],
        ["2020-05-07", "10:00", "11:00", "22.0", "0", "1", "", "foraging"],
        ["2020-05-08", "10:00", "11:00", "22.0", "1", "0", "", "restriction"],
        ["2020-05-09", "10:00", "11:00", "22.0", "1", "0", "", "handling"],
        ["2020-05-10", "10:00", "11:00", "22.0", "1", "0", "", "freewater"],
        ["2020-05-11", "nan", "11:00", "22.0", "1", "0", "", "foraging"],
    ]
    days, skipped = meta.read_animal(write(tmp_path / "HH09.csv", rows))
    assert not skipped
    first = meta.AnimalDay("HH09", date(2020, 5, 4), 2, 22.5, 0.75, 0.2, rows[0][6])
    assert days[date(2020, 5, 4)] == first
    assert list(days) == [date(2020, 5, 4), date(2020, 5, 5), date(2020, 5, 7)]
    assert days[date(2020, 5, 7)].water_earned == 0
    second = days[date(2020, 5, 5)]
    assert (second.water_extra, second.notes) == (None, "")
    tables = meta.day_tables(first)
    assert tables["experiment.session_comment"].to_pylist() == [{"session_comment": rows[0][6]}]
    assert tables["experiment.session_details"].to_pylist() == [
        {"session_weight": 22.5, "session_water_earned": 0.75, "session_water_extra": 0.2}
    ]
    for name, data in tables.items():
        parquet.conform(get(name), data)
    assert list(meta.day_tables(second)) == ["experiment.session_details"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["4 May", "10", "11", "22", "1", "0", "", "foraging"], "date"),
        (["2020-05-05", "10", "11", "heavy", "1", "0", "", "foraging"], "weight"),
        (["2020-05-05", "10", "11", "22", "much", "0", "", "foraging"], "water"),
        (["2020-05-04", "10", "11", "22", "1", "0", "", "foraging"], "twice"),
        (["2020-05-05", "10", "11", "inf", "1", "0", "", "foraging"], "weight"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path, row, reason):
    good = ["2020-05-04", "10:00", "11:00", "22.5", "0.75", "0.2", "", "foraging"]
    days, skipped = meta.read_animal(write(tmp_path / "HH09.csv", [good, row]))
    assert list(days) == [date(2020, 5, 4)]
    assert skipped[0].item == "HH09.csv: 3"
    assert reason in skipped[0].reason


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(errors.MissingFileError):
        meta.read_animal(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(errors.SourceError):
        meta.read_animal(tmp_path / "empty.csv")
    with pytest.raises(errors.SpreadsheetError, match="training_type"):
        meta.read_animal(write(tmp_path / "x.csv", [], HEAD[:-1]))


def test_people_and_rigs_are_read(tmp_path):
    with pytest.raises(errors.MissingFileError):
        meta.read_lab(tmp_path)
    write(tmp_path / "Experimenter.csv", [["hh", "H. H."], ["mr", ""]], ["username", "fullname"])
    write(tmp_path / "Rig.csv", [["R1", "2W", "old"], ["R1", "2W", "new"]],
          ["rig", "room", "rig_description"])  # fmt: skip
    write(tmp_path / "Virus.csv", [["x"]], ["virus_id"])
    records = meta.read_lab(tmp_path)
    assert records.tables["lab.person"].to_pylist() == [
        {"username": "hh", "fullname": "H. H."},
        {"username": "mr", "fullname": None},
    ]
    assert records.tables["lab.rig"].to_pylist() == [
        {"rig": "R1", "room": "2W", "rig_description": "new"}
    ]
    assert [s.item for s in records.skipped] == ["Virus.csv"]
    write(tmp_path / "Rig.csv", [["", "2W", "old"]], ["rig", "room", "rig_description"])
    with pytest.raises(errors.SpreadsheetError, match="row 2"):
        meta.read_lab(tmp_path)


def test_an_ingest_tells_of_rows_that_cannot_be_used(tmp_path):
    days = [["2020-05-04", "10", "11", "22.5", "1", "0", "", "foraging"]]
    days += [["2020-05-05", "10", "11", "heavy", "1", "0", "", "foraging"]]
    write(tmp_path / "HH09.csv", days)
    config = tmp_path / "lake.toml"
    config.write_text("[lake]\nroot = 'lake'\n[foraging]\nmeta_dir = '.'\n", encoding="utf-8")
    start = datetime(2020, 5, 4, 10)
    source = Source(BEHAVIOR, "HH09", tmp_path, "HH09", start.date(), start=start)
    plan = SessionPlan(1, 1, "HH09", start, items=[Item(source, PLANNED)])
    reports = session_meta.of_config(load(config), [plan])
    assert [(report.name, report.status) for report in reports] == [
        ("HH09.csv: 3", SKIPPED),
        ("HH09.csv 2020-05-04", PLANNED),
    ]
    assert "weight" in (reports[0].reason or "")
