"""Rows that are deleted from a sheet: what goes with them, and what stays and is told of."""

from __future__ import annotations

import pytest
from labs import content, copied, ingest, lake_root, rows, statuses

from maplake.config import load
from maplake.ingest.delete import Target, delete
from maplake.ingest.locations import load_insertion_location
from maplake.query.check import check

LOCATIONS = (
    "SELECT subject_id, session, insertion_number FROM ephys.insertion_location ORDER BY ALL"
)


@pytest.fixture
def lab(tmp_path):
    made = copied(tmp_path, animals=2, sessions=1, probes=2, trials=12, units=4)
    ingest(made)
    return made


def without(file, *lines):
    """Leave lines out of a sheet; return all of it."""
    text = file.read_text("utf-8")
    kept = [line for n, line in enumerate(text.splitlines()) if n not in lines]
    file.write_text("\n".join(kept) + "\n", "utf-8")
    return text


def of_sheet(report, file):
    (found,) = [s for s in report.sources if s.name == file.name]
    return found


def test_a_location_goes_with_its_row_and_comes_back_with_it(lab):
    root, file = lake_root(lab), lab.insertions_file
    before, all_rows = content(root), rows(root, LOCATIONS)
    text = without(file, 1)
    for options, status in (({"dry_run": True}, "planned"), ({}, "in")):
        said = of_sheet(ingest(lab, **options), file)
        assert said.status == status
        assert f"session 1 of {all_rows[0][0]}, insertion 1" in said.reason
    assert rows(root, LOCATIONS) == all_rows[1:]
    assert check(root, deep=True) == []
    assert of_sheet(ingest(lab), file).status == "unchanged"
    file.write_text(text, "utf-8")
    ingest(lab)
    assert content(root) == before


def test_all_of_an_animal_go_but_not_while_a_row_fits_none(lab):
    root, file = lake_root(lab), lab.insertions_file
    all_rows = rows(root, LOCATIONS)
    text = without(file, 3, 4)
    good = file.read_text("utf-8")
    wrong = text.splitlines()[3].replace("MK002", "MK0O2")
    file.write_text(good + wrong + "\n", "utf-8")
    assert of_sheet(ingest(lab), file).reason is None
    assert rows(root, LOCATIONS) == all_rows
    file.write_text(good, "utf-8")
    assert "insertion 2" in of_sheet(ingest(lab), file).reason
    assert rows(root, LOCATIONS) == all_rows[:2]


def test_what_another_sheet_has_stays(lab):
    root, file = lake_root(lab), lab.insertions_file
    all_rows = rows(root, LOCATIONS)
    other = file.with_name("by_hand.csv")
    text = without(file, 1)
    other.write_text("\n".join(text.splitlines()[:2]) + "\n", "utf-8")
    load_insertion_location(load(lab.config), other)
    assert of_sheet(ingest(lab), file).reason is None
    other.write_text(text.splitlines()[0] + "\n", "utf-8")
    load_insertion_location(load(lab.config), other)  # by hand no more than its rows are meant
    assert rows(root, LOCATIONS) == all_rows


def test_an_animal_whose_row_has_gone_stays_and_is_told_of(lab):
    root, file = lake_root(lab), lab.animals_file
    text = without(file, 2)
    for options in ({"dry_run": True}, {}, {}):  # until something is done about it
        found = statuses(ingest(lab, **options))
        assert found["animals", f"{file.name} MK002"] == "waiting"
    (said,) = [s for s in ingest(lab).sources if s.name.endswith("MK002") and s.kind == "animals"]
    assert f"maplake delete subject {said.subject_id}" in said.reason
    assert rows(root, "SELECT count(*) FROM lab.subject") == [(2,)]
    file.write_text(text, "utf-8")
    assert ("animals", f"{file.name} MK002") not in statuses(ingest(lab))
    without(file, 2)
    ingest(lab)
    delete(load(lab.config), Target(said.subject_id))
    assert ("animals", f"{file.name} MK002") not in statuses(ingest(lab))


def test_an_animal_may_move_to_another_sheet(lab):
    file = lab.animals_file
    other = file.with_name("more_animals.csv")
    text = without(file, 2).splitlines()
    other.write_text("\n".join([text[0], text[2]]) + "\n", "utf-8")
    settings = lab.config.read_text("utf-8")
    assert f'"{file.name}"' in settings
    lab.config.write_text(
        settings.replace(f'"{file.name}"', f'"{file.name}", "{other.name}"'), "utf-8"
    )
    assert ("animals", f"{file.name} MK002") not in statuses(ingest(lab))


def test_of_two_sheets_that_describe_an_animal_otherwise_the_first_counts(lab):
    file = lab.animals_file
    other = file.with_name("more_animals.csv")
    head, _, second = file.read_text("utf-8").splitlines()
    number, h2o, *more = second.split(",")
    settings = lab.config.read_text("utf-8")
    lab.config.write_text(
        settings.replace(f'"{file.name}"', f'"{file.name}", "{other.name}"'), "utf-8"
    )
    before = rows(lake_root(lab), "FROM lab.subject ORDER BY ALL")
    for cage, status in (("99", "failed"), ("", "unchanged")):
        other.write_text(f"{head}\n{','.join([number, h2o, more[0], cage, *more[2:]])}\n", "utf-8")
        for _ in range(2):
            report = ingest(lab)
            assert of_sheet(report, file).status == "unchanged"
            assert of_sheet(report, other).status == status
            assert rows(lake_root(lab), "FROM lab.subject ORDER BY ALL") == before
            if status == "failed":
                assert f"{number} in {file.name} (cage_number)" in of_sheet(report, other).reason
