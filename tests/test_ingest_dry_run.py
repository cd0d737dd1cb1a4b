"""A dry run says what a run would do: of raw files, of sheets and of what is loaded as a whole."""

from __future__ import annotations

import pytest
from labs import content, ingest, lake_root, small, statuses

from maplake import simulate

SHEETS = {"animals", "insertion_location"}


def done(report, status):
    """What is taken in, with the number of rows of sheets."""
    return {
        (s.kind, s.name, s.rows if s.kind in SHEETS else None)
        for s in report.sources
        if s.status == status
    }


def is_as_foreseen(lab, **options):
    """Run dry and then really; return what was done."""
    before = content(lake_root(lab))
    foreseen = ingest(lab, dry_run=True, **options)
    assert content(lake_root(lab)) == before
    report = ingest(lab, **options)
    assert done(foreseen, "planned") == done(report, "in")
    others = {"waiting", "failed", "skipped"}
    assert {k: s for k, s in statuses(foreseen).items() if s in others} == {
        k: s for k, s in statuses(report).items() if s in others
    }
    return {kind for kind, *_ in done(report, "in")}


def change(file, old, new):
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


@pytest.fixture
def lab(tmp_path):
    return small(tmp_path)


def test_the_first_run(lab):
    assert is_as_foreseen(lab) == {"animals", "behavior", "ephys", "insertion_location"}
    assert is_as_foreseen(lab) == set()


def test_sheets_that_were_edited(lab):
    ingest(lab)
    change(lab.animals_file, ",7000,", ",8000,")
    assert is_as_foreseen(lab) == {"animals"}
    change(lab.insertions_file, "-2900.0", "-2800.0")
    assert is_as_foreseen(lab) == {"insertion_location"}
    change(lab.insertions_file, "-2800.0", "deep")
    assert is_as_foreseen(lab) == set()
    assert "failed" in statuses(ingest(lab, dry_run=True)).values()


def test_an_animal_that_comes_later(lab):
    sheet = lab.animals_file.read_text("utf-8")
    lab.animals_file.write_text("\n".join(sheet.splitlines()[:2]) + "\n", "utf-8")
    is_as_foreseen(lab)
    lab.animals_file.write_text(sheet, "utf-8")
    assert is_as_foreseen(lab) == {"animals", "behavior", "ephys", "insertion_location"}


def test_one_animal_alone(lab):
    is_as_foreseen(lab, subject="MK002")


def test_every_kind(tmp_path):
    lab = simulate.whole_lab(tmp_path, trials=14, units=4, seed=5)
    assert is_as_foreseen(lab) >= {"ccf", "lab", "animals", "session_meta", "histology"}
    assert is_as_foreseen(lab) == set()
