"""The sheet of insertions, again and again: what changed is read, and what is wrong is said."""

import re
from dataclasses import replace

import pyarrow.compute as pc
import pytest
from labs import copied, ingest, lake_root, rows, sql, statuses

from maplake import readers, simulate
from maplake.config import load
from maplake.ingest import locations, outdated, seen
from maplake.ingest.rebuild import rebuild_outdated
from maplake.readers import insertion_locations
from maplake.readers.base import Records

KIND = "insertion_location"


@pytest.fixture
def lab(tmp_path):
    made = copied(tmp_path, animals=2, sessions=1, probes=2, trials=12, units=4)
    ingest(made)
    return made


@pytest.fixture
def read(monkeypatch):
    """The animals whose rows are turned into values."""
    animals = []
    convert = insertion_locations.convert

    def noted(row, fields):
        animals.append(row.cells["water_restriction_number"])
        return convert(row, fields)

    monkeypatch.setattr(insertion_locations, "convert", noted)
    return animals


def change(lab, line, old, new):
    lines = lab.insertions_file.read_text("utf-8").splitlines()
    assert old in lines[line]
    lines[line] = lines[line].replace(old, new, 1)
    lab.insertions_file.write_text("\n".join(lines) + "\n", "utf-8")


def reasons(report):
    return [s.reason for s in report.sources if s.kind == KIND and s.reason]


def depths(lab):
    return sorted(sql(lake_root(lab), "FROM ephys.insertion_location")["depth"].to_list())


def test_only_the_rows_of_an_animal_that_changed_are_read(lab, read):
    change(lab, 3, "-2900.0", "-2800.0")
    ingest(lab)
    assert set(read) == {"MK002"}
    assert depths(lab) == [-2900.0, -2900.0, -2900.0, -2800.0]
    read.clear()
    lines = lab.insertions_file.read_text("utf-8").splitlines()
    lab.insertions_file.write_text("\n".join([lines[0], *lines[3:], *lines[1:3]]), "utf-8")
    ingest(lab)  # in another order
    assert not read


def test_what_is_changed_while_a_sheet_is_read_is_not_taken_for_read(lab, monkeypatch):
    change(lab, 3, "-2900.0", "-2800.0")
    load_rows = insertion_locations.load_rows

    def read_before_the_next_change(path, required):
        found = load_rows(path, required)
        change(lab, 4, "-2900.0", "-2700.0")
        return found

    with monkeypatch.context() as during:
        during.setattr(insertion_locations, "load_rows", read_before_the_next_change)
        ingest(lab)
    assert depths(lab) == [-2900.0, -2900.0, -2900.0, -2800.0]
    ingest(lab)
    assert depths(lab) == [-2900.0, -2900.0, -2800.0, -2700.0]


def test_a_faulty_row_is_said_each_time_and_taken_in_when_it_is_mended(lab, read):
    change(lab, 4, "right,", "rihgt,")
    for _ in range(2):
        (reason,) = reasons(ingest(lab))
        assert "row 5" in reason
        assert "hemisphere" in reason
    assert set(read) == {"MK002"}
    change(lab, 4, "rihgt,", "right,")
    change(lab, 4, "-2900.0", "-2700.0")
    assert not reasons(ingest(lab))
    assert depths(lab) == [-2900.0, -2900.0, -2900.0, -2700.0]


def test_a_row_that_fits_no_session_waits_and_keeps_nobody_from_being_known(lab, read):
    change(lab, 1, "2021-03-01", "2021-03-09")
    for _ in range(2):
        read.clear()
        (reason,) = reasons(ingest(lab))
        assert "no session" in reason
    assert set(read) == {"MK001"}


def test_a_row_that_repeats_an_insertion_is_said_whichever_of_them_has_the_time(lab):
    lines = lab.insertions_file.read_text("utf-8").splitlines()
    column = lines[0].split(",").index("behaviour_time")
    session = next(s for s in lab.sessions if s.animal.h2o in lines[1])
    cells = lines[1].replace("-2900.0", "-2100.0").split(",")
    cells[column] = f"{session.start:%H%M%S}"
    lab.insertions_file.write_text("\n".join([*lines, ",".join(cells)]) + "\n", "utf-8")
    for _ in range(2):
        (reason,) = reasons(ingest(lab))
        assert reason.endswith("row 6: repeats the insertion of row 2")
    assert depths(lab) == [-2900.0] * 4


def test_of_two_sheets_that_contradict_each_other_the_first_counts_and_the_row_is_said(lab):
    text = lab.insertions_file.read_text("utf-8")
    other = lab.insertions_file.with_name("more.csv")
    other.write_text(text.replace("-2900.0", "-2800.0", 1), "utf-8")  # the others are the same
    settings = lab.config.read_text("utf-8")
    lab.config.write_text(settings.replace('"insertions.csv"]', '"insertions.csv", "more.csv"]'))
    for _ in range(2):
        report = ingest(lab)
        assert [s.status for s in report.sources if s.name == "insertions.csv"] == ["unchanged"]
        (reason,) = reasons(report)
        assert reason.endswith(
            "more.csv, row 2: insertions.csv has other values for this insertion"
        )
        assert depths(lab) == [-2900.0] * 4
    lab.insertions_file.write_text(text.splitlines()[0] + "\n", "utf-8")
    ingest(lab)
    assert depths(lab) == [-2900.0] * 3 + [-2800.0]


def test_animals_are_meant_in_capitals_or_not(lab, read):
    change(lab, 3, "MK002", "mk002")
    change(lab, 3, "-2900.0", "-2600.0")
    assert not reasons(ingest(lab))
    assert depths(lab) == [-2900.0, -2900.0, -2900.0, -2600.0]
    read.clear()
    assert not reasons(ingest(lab))
    assert not read


def test_the_word_none_is_no_blank_cell(lab):
    change(lab, 1, '"left ALM, as planned"', "")
    ingest(lab)
    change(lab, 1, "yes,,", "yes,None,")
    ingest(lab)
    found = sql(lake_root(lab), "FROM ephys.insertion_note")["insertion_note"].to_list()
    assert "None" in found


def test_good_trials_follow_a_corrected_behavior_reader(lab, monkeypatch):
    def good():
        return rows(lake_root(lab), "SELECT subject_id, count(*) FROM ephys.good_trial GROUP BY 1")

    change(lab, 1, "0-", "1-")  # the first trial begins at 0
    ingest(lab)
    before = dict(good())

    def read(path, context):
        """Find that all trials began 2 s later."""
        records = old.read(path, context)
        trials = records.tables["experiment.session_trial"]
        for name in ("start_time", "stop_time"):
            late = pc.add(trials[name], 2.0)
            trials = trials.set_column(trials.column_names.index(name), name, late)
        records.tables["experiment.session_trial"] = trials
        return records

    (old,) = (r for r in readers.all_readers() if r.name == "delay_response")
    new = replace(old, read=read, version=old.version + 1, changes={old.version + 1: "late"})
    corrected = tuple(new if r is old else r for r in readers.all_readers())
    for module in (readers, outdated):
        monkeypatch.setattr(module, "all_readers", lambda: corrected)
    monkeypatch.setattr(seen, "_readers_print", lambda: "another")
    rebuild_outdated(load(lab.config))
    assert not reasons(ingest(lab))
    assert dict(good()) == before | {400001: before[400001] + 1}


def test_rows_of_an_animal_that_was_renamed_are_said_to_fit_none(lab):
    text = lab.animals_file.read_text("utf-8")
    lab.animals_file.write_text(text.replace("MK002", "MK022"), "utf-8")
    for _ in range(2):
        found = reasons(ingest(lab))
        assert len(found) == 2
        assert all("no animal has the water restriction number 'MK002'" in f for f in found)
    lab.animals_file.write_text(text, "utf-8")
    assert not reasons(ingest(lab))


def test_a_sheet_of_another_package_needs_no_more_than_rows(lab, monkeypatch):
    ours = insertion_locations.READER

    def plain(path, _context):
        return Records(info={"rows": ours.read(path).info["rows"]})

    def faulty(path):
        raise AssertionError(path)

    for depth, read, status in (
        ("-2800.0", plain, "in"),
        ("-2700.0", faulty, "failed"),
        ("-2800.0", plain, "unchanged"),
    ):
        theirs = replace(ours, name="theirs", read=read)
        monkeypatch.setattr(locations, "sheet_reader", lambda *_, found=theirs: found)
        text = lab.insertions_file.read_text("utf-8")
        lab.insertions_file.write_text(re.sub(r"-2[789]00\.0", depth, text, count=1), "utf-8")
        assert statuses(ingest(lab))[KIND, "insertions.csv"] == status
    assert depths(lab) == [-2900.0, -2900.0, -2900.0, -2800.0]


def test_a_period_to_the_end_of_a_recording_that_ended_before_is_empty(lab):
    change(lab, 2, '"right ALM, as planned",', '"right ALM, as planned",0-20;9999-end')
    assert not reasons(ingest(lab))
    found = sql(lake_root(lab), "FROM ephys.good_period WHERE insertion_number = 2")
    periods = found.select("good_period_start", "good_period_end").rows()
    assert sorted(periods) == [(0.0, 20.0), (9999.0, 9999.0)]


def test_a_sheet_may_name_the_time_of_any_bpod_session_of_a_foraging_session(tmp_path):
    lab = simulate.whole_lab(tmp_path, trials=14, units=4, seed=5)
    second = sorted(lab.directory.glob("foraging/**/20210320-*.csv"))[1]
    head, *lines = lab.insertions_file.read_text("utf-8").splitlines()
    cells = next(line for line in lines if ",MK004," in line).split(",")
    cells[head.split(",").index("behaviour_time")] = second.stem.partition("-")[2]
    lab.insertions_file.write_text(f"{head}\n{','.join(cells)}\n", "utf-8")
    planned = ingest(lab, subject="MK004", dry_run=True)
    assert not reasons(planned)
    assert not reasons(ingest(lab, subject="MK004"))
    found = sql(lake_root(lab), "FROM ephys.insertion_location WHERE subject_id = 400004")
    assert found.height == 1
