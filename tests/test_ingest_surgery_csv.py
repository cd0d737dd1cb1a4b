"""Animals of ``Surgery.csv``: a source of animals like a sheet, which any sheet goes before."""

from __future__ import annotations

import datetime as dt

import pytest
from labs import content, copied, ingest, lake_root, reasons, rows, statuses

from maplake.config import load
from maplake.ingest.delete import Target, delete
from maplake.query.check import check

HEAD = "status,project,animal#,ID,cage#,DOB,sex,experimenter\n"
SECOND = "training,foraging,400002,MK002,7100,2020-12-01,F,Han\n"
SUBJECTS = "SELECT subject_id, username, cage_number FROM lab.subject ORDER BY 1"
LIST = ("animals", "Surgery.csv")


@pytest.fixture
def lab(tmp_path):
    """A lab whose second animal is in Surgery.csv alone."""
    made = copied(tmp_path, animals=2, sessions=1, probes=1, trials=12, units=4)
    sheet = made.animals_file
    sheet.write_text("\n".join(sheet.read_text("utf-8").splitlines()[:2]) + "\n", "utf-8")
    settings = made.config.read_text("utf-8")
    made.config.write_text(settings + '\n[foraging]\nmeta_dir = "meta"\n', "utf-8")
    (tmp_path / "meta").mkdir()
    days(made)
    enter(made, SECOND)
    return made


def enter(lab, *lines):
    (lab.directory / "meta/Surgery.csv").write_text(HEAD + "".join(lines), "utf-8")


def days(lab, h2o="MK002", weight="24.5"):
    head = "Date,Time,Time-end,Weight,Water during training,Extra water,Notes,Training type\n"
    text = f"{head}2021-02-01,,,{weight},,1,,restriction\n2021-02-02,,,23,,1,,restriction\n"
    (lab.directory / f"meta/{h2o}.csv").write_text(text, "utf-8")


def entered(lab, **options):
    """Take in what people enter, and no recordings, which all wait."""
    report = ingest(lab, kinds=["lab", "animals"], **options)
    report.sources = [source for source in report.sources if source.kind != "behavior"]
    return report


def commits(root):
    """Names and contents of what every commit adds to."""
    files = (path for top in ("log", "state") for path in (root / ".maplake" / top).rglob("*"))
    return {path: path.read_bytes() for path in files if path.is_file()}


def test_the_animal_goes_in_with_its_session_and_once(lab):
    root = lake_root(lab)
    foreseen = ingest(lab, dry_run=True)
    assert statuses(foreseen)[LIST] == "planned"
    report = ingest(lab)
    assert statuses(report)[LIST] == "in"
    assert {(s.kind, s.name) for s in report.sources if s.status == "in"} == {
        (s.kind, s.name) for s in foreseen.sources if s.status == "planned"
    }
    assert not {"waiting", "failed"} & set(statuses(report).values())
    assert rows(root, SUBJECTS)[1] == (400002, "Han", 7100)
    assert rows(root, "FROM lab.water_restriction WHERE subject_id = 400002") == [
        (400002, "MK002", 7100, dt.date(2021, 2, 1), 24.5)
    ]
    assert rows(root, "SELECT subject_id FROM experiment.session ORDER BY 1")[-1] == (400002,)
    assert rows(root, "SELECT count(*) FROM lab.person WHERE username = 'Han'") == [(1,)]
    assert check(root, deep=True) == []
    before, done = content(root), commits(root)
    assert set(statuses(ingest(lab)).values()) == {"unchanged"}
    assert content(root) == before
    assert done
    assert commits(root) == done


def test_it_belongs_to_the_lists_of_the_lab(lab):
    assert LIST not in statuses(ingest(lab, kinds=["animals"]))
    assert set(statuses(ingest(lab, kinds=["lab"]))) >= {LIST}
    assert [row[0] for row in rows(lake_root(lab), SUBJECTS)] == [400001, 400002]


def test_what_is_corrected_in_the_list_or_the_days_is_corrected(lab):
    entered(lab)
    enter(lab, SECOND.replace("7100", "7200"))
    days(lab, weight="25")
    assert statuses(entered(lab))[LIST] == "in"
    root = lake_root(lab)
    assert rows(root, SUBJECTS)[1][2] == 7200
    weight = "SELECT wr_start_weight FROM lab.water_restriction WHERE subject_id = 400002"
    assert rows(root, weight) == [(25.0,)]


def test_a_sheet_goes_before_it(lab):
    enter(lab, SECOND, "training,foraging,400001,MK009,1,2020-12-01,M,nobody\n")
    days(lab, "MK009")
    root = lake_root(lab)
    for _ in range(2):
        report = entered(lab)
        assert not {"waiting", "failed"} & set(statuses(report).values())
        assert rows(root, SUBJECTS)[0][2] == 7000
        assert rows(root, "FROM lab.person WHERE username = 'nobody'") == []
    assert set(statuses(report).values()) == {"unchanged"}
    # A sheet that cannot be read now still has the word on its animals.
    sheet = lab.animals_file
    sheet.write_text(sheet.read_text("utf-8").replace(",7000,", ",many,"), "utf-8")
    entered(lab)
    assert rows(root, SUBJECTS)[0][2] == 7000


@pytest.mark.parametrize("is_dry", [True, False])
def test_a_name_of_another_animal_of_a_sheet_is_refused(lab, is_dry):
    enter(lab, SECOND, "training,foraging,5,mk001,1,2020-12-01,M,Han\n")
    days(lab, "mk001")
    report = entered(lab, dry_run=is_dry)
    assert statuses(report)["animals", "Surgery.csv mk001"] == "failed"
    assert "is the name of animal 400001" in reasons(report)["Surgery.csv mk001"]
    assert statuses(report)[LIST] == ("planned" if is_dry else "in")


def test_rows_that_wait_or_are_wrong_are_told_each_time(lab):
    enter(
        lab,
        SECOND,
        "training,foraging,5,MK005,1,2020-12-01,M,Han\n",
        "training,foraging,6,MK006,1,spring,M,Han\n",
        "retired,foraging,7,,,,,\n",
    )
    for again in (False, False, True):
        report = entered(lab, dry_run=again)
        found = {k: s for k, s in statuses(report).items() if s in ("waiting", "failed")}
        assert found == {
            ("animals", "Surgery.csv row 3"): "waiting",
            ("animals", "Surgery.csv row 4"): "failed",
        }
        told = reasons(report)
        assert told["Surgery.csv row 3"].endswith("there is no MK005.csv beside Surgery.csv yet")
        assert "Surgery.csv, row 4" in told["Surgery.csv row 4"]
    days(lab, "MK005")
    assert statuses(entered(lab))[LIST] == "in"


def test_a_list_that_cannot_be_read_stops_nothing_else(lab):
    (lab.directory / "meta/Surgery.csv").write_text("status,project\n", "utf-8")
    for is_dry in (True, False):
        report = ingest(lab, dry_run=is_dry)
        assert statuses(report)[LIST] == "failed"
    assert rows(lake_root(lab), "SELECT DISTINCT subject_id FROM experiment.session") == [(400001,)]


def test_an_animal_whose_row_has_gone_stays_and_is_told_of(lab):
    entered(lab)
    key = ("animals", "Surgery.csv MK002")
    enter(lab, SECOND.replace("training", "retired"))  # its row is there
    assert key not in statuses(entered(lab))
    enter(lab)
    for is_dry in (True, False, False):
        report = entered(lab, dry_run=is_dry)
        assert statuses(report)[key] == "waiting"
    assert "maplake delete subject 400002" in reasons(report)["Surgery.csv MK002"]
    delete(load(lab.config), Target(400002))
    assert key not in statuses(entered(lab))
    enter(lab, SECOND)
    assert statuses(entered(lab))[LIST] == "in"


def test_an_animal_may_move_between_the_list_and_a_sheet(lab):
    entered(lab)
    sheet = lab.animals_file
    first = sheet.read_text("utf-8")
    cells = first.splitlines()[1].replace("400001", "400002").replace("MK001", "MK002")
    sheet.write_text(f"{first}{cells}\n", "utf-8")
    enter(lab)
    assert "waiting" not in statuses(entered(lab)).values()
    sheet.write_text(first, "utf-8")
    enter(lab, SECOND)
    for is_dry in (True, False, False):
        assert "waiting" not in statuses(entered(lab, dry_run=is_dry)).values()


def test_without_the_list_nothing_happens(lab):
    (lab.directory / "meta/Surgery.csv").unlink()
    report = entered(lab)
    assert LIST not in statuses(report)
    assert not report.failed
