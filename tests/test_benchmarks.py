"""What is held against earlier runs of the benchmarks, and the page that tells of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import run as benchmarks
from harness import WORSE, worsened

HERE, THERE = {"processor": "one", "cores": 2}, {"processor": "another", "cores": 2}


def ran(ratio, name="a query", *, machine=HERE, quick=False, **more):
    figure = {"name": name, "ratio": ratio, "seconds": 1.0, "floor": "the floor", "limit": None}
    figure |= {"suite": "scale", "command": "python benchmarks/bench_scale.py"}
    return {"machine": machine, "quick": quick, "figures": [figure], **more}


PAST = [ran(2.0), ran(9.0), ran(2.1), ran(1.9), ran(0.1)]  # the median is 2


def test_a_ratio_that_grew_by_a_third_is_told():
    (told,) = worsened(ran(2.0 * WORSE + 0.01), PAST)
    assert told == "a query: 2.68 x, was 2.00 x"


@pytest.mark.parametrize("ratio", [0.5, 2.0, 2.0 * WORSE - 0.01])
def test_one_that_grew_by_less_is_not(ratio):
    assert worsened(ran(ratio), PAST) == []


def test_other_kinds_of_machines_do_not_count():
    assert worsened(ran(9.0), [ran(1.0, machine=THERE)]) == []
    assert worsened(ran(9.0), [ran(1.0, machine=THERE), ran(1.0)])


def test_quick_runs_are_held_against_quick_ones_alone():
    assert worsened(ran(9.0), [ran(1.0, quick=True)]) == []
    assert worsened(ran(9.0, quick=True), [ran(1.0)]) == []
    assert worsened(ran(9.0, quick=True), [ran(1.0, quick=True)])


def test_what_is_new_or_has_no_floor_is_not_told():
    assert worsened(ran(9.0), []) == []
    assert worsened(ran(9.0, "a new one"), PAST) == []
    assert worsened(ran(None), PAST) == []
    assert worsened(ran(9.0), [ran(None)]) == []


def whole(ratio, **more):
    told = {"processor": "one", "cores": 2, "system": "Linux", "python": "3.11"}
    return ran(ratio, machine=told, date="2026-01-01T00:00:00", versions={"duckdb": "2"}, **more)


def test_the_page_tells_of_the_suites_that_ran_and_no_others():
    text = benchmarks.page(benchmarks.latest([whole(2.0, code="abc"), whole(9.0, quick=True)]))
    assert "## Scale" in text
    assert "2.00 × the floor" in text
    assert "commit abc" in text
    assert text.count("\n## ") == 1 < len(benchmarks.SUITES)


@pytest.mark.parametrize("name", benchmarks.SUITES)
def test_every_suite_is_a_benchmark_that_can_be_run(name):
    words = benchmarks.command(name, quick=True)
    assert (Path(benchmarks.HERE.parent) / words[1]).exists()


def test_every_benchmark_is_of_the_suites():
    found = {p.stem.removeprefix("bench_") for p in benchmarks.HERE.glob("bench_*.py")}
    assert found == set(benchmarks.SUITES)
