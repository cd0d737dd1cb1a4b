"""Which behavior sessions lie below the configured roots, and which files make up one of them."""

from __future__ import annotations

import shutil
from datetime import datetime

import pytest

from maplake import readers
from maplake.config import load
from maplake.ingest import find_behavior
from maplake.ingest.seen import Seen
from maplake.layout import Layout
from maplake.readers import Reader, foraging
from maplake.simulate.foraging import ForagingOptions, simulate_foraging

START = datetime(2020, 5, 4, 10, 0, 0)
LATER = datetime(2020, 5, 4, 14, 30, 0)


@pytest.fixture
def config(tmp_path):
    """A configuration with the pybpod projects of two towers."""
    for tower in ("Tower-2", "Tower-3"):
        (tmp_path / tower).mkdir()
    path = tmp_path / "lake.toml"
    path.write_text(
        "[lake]\nroot = 'lake'\n[foraging]\nprojects = ['Tower-2', 'Tower-3']\n",
        encoding="utf-8",
    )
    return load(path)


def found_in(config, tmp_path):
    return find_behavior.find(config, Seen(Layout(tmp_path)))


def test_an_animal_that_changes_the_project_within_a_day_has_one_session(config, tmp_path):
    second = simulate_foraging(tmp_path / "Tower-2", "HH09", LATER, seed=5)
    tower_3 = ForagingOptions(setup="Tower-3")
    first = simulate_foraging(tmp_path / "Tower-3", "HH09", START, tower_3, seed=4)
    other = simulate_foraging(tmp_path / "Tower-3", "HH10", START, seed=6)
    found = found_in(config, tmp_path)
    assert not found.skipped
    assert [(s.h2o, s.start, s.parts[0].paths) for s in found.sources] == [
        ("HH09", START, [first.path, second.path]),
        ("HH10", START, [other.path]),
    ]
    session = found.sources[0]
    assert session.stat_print is not None
    assert found_in(config, tmp_path).sources[0].stat_print == session.stat_print
    records = foraging.read(session.parts[0].paths)
    head = records.tables["experiment.session"].to_pylist()[0]
    assert head["session_datetime"] == first.trials[0].start
    assert (head["rig"], head["trial_count"]) == ("Training-Tower-3", 60)


def test_a_file_that_is_there_twice_is_taken_once_from_the_first_project(config, tmp_path):
    kept = simulate_foraging(tmp_path / "Tower-2", "HH09", START)
    copy = tmp_path / "Tower-3" / "copy"
    shutil.copytree(tmp_path / "Tower-2" / "experiments", copy)
    found = found_in(config, tmp_path)
    assert [s.parts[0].paths for s in found.sources] == [[kept.path]]
    ((source, reason),) = found.skipped
    assert source.path == next(copy.rglob("*.csv"))
    assert reason == f"the same was found first at {kept.path}"


@pytest.mark.parametrize("joins", [False, True])
def test_a_reader_of_another_package_that_fails_stops_no_other(
    config, tmp_path, joins, monkeypatch
):
    kept = simulate_foraging(tmp_path / "Tower-2", "HH09", START)
    (tmp_path / "Tower-2" / "odd.dat").touch()
    text = config.file.read_text("utf-8")
    rigs = "[behavior]\nmin_file_kib = 0\nrigs = [{name = 'RRig', path = 'Tower-2'}]\n"
    config.file.write_text(text + rigs, "utf-8")

    def find(path):
        if path.suffix == ".dat":
            raise KeyError(path)
        return []

    odd = Reader("odd", "behavior", find=find, read=find, identify=foraging.identify, joins=joins)
    every = (*readers.all_readers(), odd)
    monkeypatch.setattr(readers, "all_readers", lambda: every)
    found = found_in(load(config.file), tmp_path)
    assert [source.path for source in found.sources if source.problem is None] == [kept.path]
    assert [source.path.name for source in found.sources if source.problem] == ["odd.dat"]
