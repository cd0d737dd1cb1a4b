"""The sheet of insertions, again and again: what changed is read, and what is wrong is said."""

import pytest
from labs import ingest, lake_root, sql

from maplake import simulate
from maplake.readers import insertion_locations

KIND = "insertion_location"


@pytest.fixture
def lab(tmp_path):
    made = simulate.lab(tmp_path, animals=2, sessions=1, probes=2, trials=12, units=4)
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
