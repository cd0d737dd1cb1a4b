"""What is remembered of raw files and of the lake's records never hides a change."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime
from importlib.metadata import EntryPoint

import pytest
from labs import copied, ingest, lake_root, statuses

from maplake import readers
from maplake.config import load
from maplake.ingest import cache, find_behavior, find_tracking, index, seen
from maplake.ingest.index import read_index
from maplake.ingest.sources import Found, Part, Source
from maplake.ingest.state import print_of, read_all, stat_files
from maplake.ingest.status import status
from maplake.layout import Layout
from maplake.query import catalog
from maplake.simulate.foraging import simulate_foraging
from maplake.simulate.multi_target_licking import simulate_mtl


@pytest.fixture
def lab(tmp_path):
    made = copied(tmp_path, animals=1, sessions=1, probes=1, trials=12, units=4)
    ingest(made)
    return made


def kinds(report, kind="ephys"):
    return [status for (found, _), status in statuses(report).items() if found == kind]


def folder(lab):
    return next((lab.directory / "ephys").rglob("spike_times.npy")).parent


def test_a_second_ingest_finds_everything_unchanged(lab):
    assert (lake_root(lab) / ".maplake" / "cache" / "found.json").exists()
    assert kinds(ingest(lab)) == ["unchanged"]


def test_a_file_that_comes_later_is_seen(lab):
    ingest(lab)
    (folder(lab) / "cluster_remark.tsv").write_text("cluster_id\tremark\n0\tnice\n", "utf-8")
    assert kinds(ingest(lab)) == ["waiting"]  # sorted again: replaced on request only


def test_a_file_that_has_gone_is_seen(lab):
    ingest(lab)
    next((lab.directory / "ephys").rglob("*bitcode.mat")).unlink()
    assert kinds(ingest(lab)) == ["failed"]


def test_what_is_in_the_lake_is_listed_though_it_is_not_found_any_more(lab):
    ingest(lab)
    before = [(s.kind, s.name, s.rows) for s in status(load(lab.config)) if s.status == "in"]
    for name in ("ephys", "behavior"):
        shutil.rmtree(next((lab.directory / name).iterdir()))
        found = [s for s in status(load(lab.config)) if s.status == "in"]
        assert [(s.kind, s.name, s.rows) for s in found] == before
        gone = [s.kind for s in found if s.reason and "not found" in s.reason]
        assert gone == (["ephys"] if name == "ephys" else ["behavior", "ephys"])


@pytest.mark.parametrize("content", ["", "[]", '{"readers": 1}', '{"folders": []}'])
def test_a_damaged_memory_is_none(lab, content):
    file = lake_root(lab) / ".maplake" / "cache" / "found.json"
    file.write_text(content, "utf-8")
    assert kinds(ingest(lab)) == ["unchanged"]


def test_a_record_that_makes_no_sense_is_searched_again(lab):
    layout, made_from = Layout(lake_root(lab)), seen._readers_print()
    found = cache.load(layout, "found.json", made_from)
    for entry in found["folders"].values():
        entry["ephys"] = [{"kind": "ephys"}]
    cache.save(layout, "found.json", made_from, found)
    assert kinds(ingest(lab)) == ["unchanged"]


def test_a_few_changes_are_remembered_beside_what_was_known(lab, monkeypatch):
    memory = lake_root(lab) / ".maplake" / "cache"
    before = (memory / "found.json").read_bytes()
    change_in_place(folder(lab) / "spike_times.npy")
    assert kinds(ingest(lab)) == ["waiting"]
    assert (memory / "found.json").read_bytes() == before
    assert (memory / "found_since.json").exists()
    searched = []
    monkeypatch.setattr(seen, "_searched", lambda place, search: searched.append(place) or [])
    assert kinds(ingest(lab)) == ["waiting"]
    assert not searched
    monkeypatch.undo()

    # What came since belongs to one edition of the whole; of another it says nothing.
    (memory / "found.json").unlink()
    assert kinds(ingest(lab)) == ["waiting"]
    assert (memory / "found.json").read_bytes() != before
    os.utime(folder(lab) / "spike_times.npy")
    monkeypatch.setattr(seen, "_MANY", 0)
    monkeypatch.setattr(seen, "_PART", 1000)
    again = (memory / "found.json").read_bytes()
    assert kinds(ingest(lab)) == ["waiting"]
    assert (memory / "found.json").read_bytes() != again  # too many to stand beside


def change_in_place(file):
    """Write another content of the same length into a file; its folder's time stays."""
    before = file.parent.stat().st_mtime_ns
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    with file.open("r+b") as stream:
        stream.write(content)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000_000))
    assert file.parent.stat().st_mtime_ns == before


def test_a_recording_changed_in_place_is_seen(lab):
    change_in_place(folder(lab) / "spike_times.npy")
    assert kinds(ingest(lab)) == ["waiting"]  # sorted again


def test_a_behavior_file_changed_in_place_is_seen(lab):
    file = next((lab.directory / "behavior").rglob("*.mat"))
    content = file.read_bytes()
    # The text at the head of a MATLAB file is free.
    file.write_bytes(content[:60] + b"another" + content[67:])
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000_000))
    assert kinds(ingest(lab), "behavior") == ["in"]


def test_a_camera_changed_in_place_is_seen(tmp_path):
    folder = tmp_path / "tracking" / "MK001" / "20210301" / "tracking"
    folder.mkdir(parents=True)
    for number in (1, 2):
        (folder / f"MK001_side_{number}-0000.csv").write_text("a", "utf-8")
    (tmp_path / ".maplake").mkdir()
    config = tmp_path / "lake.toml"
    config.write_text("[tracking]\nrigs = [{name = 'RRig', path = 'tracking'}]\n", "utf-8")

    def find():
        memory = seen.Seen(Layout(tmp_path))
        (source,) = find_tracking.find(load(config), memory).sources
        memory.save()
        return source

    first = find()
    assert first.stat_print is None  # it was searched
    known = find()
    assert (known, known.rig, known.nth) == (first, "RRig", 1)
    assert known.stat_print == print_of(stat_files(known.files()))
    change_in_place(folder / "MK001_side_2-0000.csv")
    assert find().stat_print is None
    assert find().stat_print not in (None, known.stat_print)


def test_two_of_one_name_in_a_folder_are_both_told(tmp_path):
    (tmp_path / ".maplake").mkdir()
    day = seen.Folder(tmp_path, tmp_path / "day", "MK001", date(2021, 3, 1))
    day.path.mkdir()
    for name in ("a", "b"):
        (day.path / name).write_text("", "utf-8")

    def search(place, found):
        for path in (place.path / "a", place.path / "b"):
            parts = (Part("recording", "spikeglx", path),)
            found.add(Source("nidq", place.name, path, place.h2o, place.day, parts=parts))

    for _ in range(2):
        memory, found = seen.Seen(Layout(tmp_path)), Found()
        memory.find_in("nidq", [day], search, found)
        assert [source.path.name for source in found.sources] == ["a"]
        assert [source.path.name for source, _ in found.skipped] == ["b"]
        memory.save()


def test_a_touched_file_is_the_same_file(lab):
    os.utime(folder(lab) / "spike_times.npy")
    assert kinds(ingest(lab)) == ["unchanged"]
    state = read_all(Layout(lake_root(lab)))
    assert state == {name: dict(whole(s)) for name, s in read_index(Layout(lake_root(lab))).items()}


def test_another_reader_searches_again(lab, monkeypatch):
    monkeypatch.setattr(seen, "_readers_print", lambda: "another")
    assert kinds(ingest(lab)) == ["unchanged"]
    assert cache.load(Layout(lake_root(lab)), "found.json", "another") is not None


def test_a_change_in_somebody_elses_reader_is_noticed_without_running_it(tmp_path, monkeypatch):
    package = tmp_path / "their_rig"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("theirs", "their_rig.reader:READER", "maplake.readers")
    gone = EntryPoint("gone", "no_such_package.reader:READER", "maplake.readers")
    monkeypatch.setattr(seen, "entry_points", lambda **_: [point, gone])
    before = seen._readers_print()
    assert seen._readers_print() == before
    (package / "reader.py").write_text("VERSION = 2\n", "utf-8")
    assert seen._readers_print() != before


def test_a_change_in_a_reader_of_one_file_is_noticed(tmp_path, monkeypatch):
    module = tmp_path / "their_only_file.py"
    module.write_text("raise RuntimeError\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("theirs", "their_only_file:READER", "maplake.readers")
    monkeypatch.setattr(seen, "entry_points", lambda **_: [point])
    before = seen._readers_print()
    assert seen._readers_print() == before
    module.write_text("VERSION = 2\n", "utf-8")
    assert seen._readers_print() != before


def test_a_file_beside_a_behavior_file_is_seen_when_it_comes(lab, monkeypatch):
    """A reader of somebody else may open more than the file that it is found by."""

    def files(path):
        return [path, *(p for p in [path.with_suffix(".txt")] if p.is_file())]

    theirs = tuple(
        replace(r, files=files) if r.kind == "behavior" else r for r in readers.all_readers()
    )
    monkeypatch.setattr(readers, "all_readers", lambda: theirs)
    monkeypatch.setattr(seen, "_readers_print", lambda: "theirs")
    for _ in range(2):
        assert kinds(ingest(lab), "behavior") == ["unchanged"]
    file = next((lab.directory / "behavior").rglob("*.mat"))
    file.with_suffix(".txt").write_text("more", "utf-8")
    assert kinds(ingest(lab), "behavior") == ["in"]


def test_a_file_below_the_roots_of_two_tasks_tells_each_what_it_asks(tmp_path):
    simulate_foraging(tmp_path / "raw", "MK001", datetime(2021, 3, 1, 10))
    simulate_mtl(tmp_path / "raw" / "mtl", "MK002", datetime(2021, 3, 1, 12))
    config = tmp_path / "lake.toml"
    config.write_text(
        "[behavior]\nrigs = [{name = 'RRig', path = 'raw'}]\n[foraging]\nprojects = ['raw']\n",
        "utf-8",
    )
    (tmp_path / ".maplake").mkdir()
    for _ in range(2):
        memory = seen.Seen(Layout(tmp_path))
        names = [s.name for s in find_behavior.find(load(config), memory).sources]
        assert names == ["MK002_MTL_20210301_120000", "MK001_foraging_20210301"]
        memory.save()


def test_status_knows_of_corrected_readers_from_memory(lab, monkeypatch):
    config = load(lab.config)
    status(config)
    layout, made_from = Layout(lake_root(lab)), seen._readers_print()
    found = cache.load(layout, "found.json", made_from)
    found["editions"] = [[n, v + 1, [[v + 1, "why"]]] for n, v, _ in found["editions"]]
    cache.save(layout, "found.json", made_from, found)
    monkeypatch.setattr(readers, "all_readers", None)  # need not be asked
    reasons = [s.reason for s in status(config) if s.status == "outdated"]
    assert reasons
    assert all("why" in reason for reason in reasons)


def whole(states):
    """Return states of the index as the state file tells them."""
    return {
        key: index.SourceState(
            **{name: getattr(state, name) for name in vars(index.SourceState(*key, ""))}
        )
        for key, state in states.items()
    }


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A lab that tests of the index leave as it is."""
    folder = tmp_path_factory.mktemp("known")
    made = copied(folder, animals=1, sessions=1, probes=1, trials=12, units=4)
    ingest(made)
    return made


@pytest.fixture
def forgotten(monkeypatch):
    """Let every reading of the index be the first of its process."""
    monkeypatch.setattr(index, "_LAST", {})
    return index._LAST.clear


def index_file(lab):
    return lake_root(lab) / ".maplake" / "cache" / "states" / "400001.json"


def test_the_index_says_what_the_state_files_say(known, forgotten):
    layout = Layout(lake_root(known))
    for _ in range(2):
        found = read_index(layout)
        assert {name: whole(states) for name, states in found.items()} == read_all(layout)
        forgotten()


def test_the_index_is_read_instead_of_the_state_files(known, forgotten, monkeypatch):
    layout = Layout(lake_root(known))
    read_index(layout)
    forgotten()
    monkeypatch.setattr(index, "parse_state", None)
    assert read_index(layout).keys() == read_all(layout).keys()


@pytest.mark.parametrize("content", [b"", b"[]", b"0\n{}", b"\xff", "half"])
def test_a_torn_index_is_made_anew(known, forgotten, content):
    layout = Layout(lake_root(known))
    read_index(layout)
    forgotten()
    file = index_file(known)
    sound = file.read_bytes()
    file.write_bytes(sound[: len(sound) // 2] if content == "half" else content)
    assert {name: whole(states) for name, states in read_index(layout).items()} == read_all(layout)
    assert file.read_bytes() == sound


def test_a_stale_index_is_noticed(lab, forgotten):
    layout = Layout(lake_root(lab))
    read_index(layout)
    forgotten()
    (file,) = (layout.meta / "state").glob("4*.json")
    record = json.loads(file.read_bytes())
    record["sources"][0]["fingerprint"] = "f" * 64
    file.write_text(json.dumps(record), "utf-8")
    found = {s.fingerprint for s in read_index(layout)[file.stem].values()}
    assert "f" * 64 in found
    file.unlink()
    forgotten()
    assert file.stem not in read_index(layout)


def test_an_index_of_another_lake_is_none(lab, forgotten, tmp_path):
    """A copied folder has other files of the same names."""
    layout = Layout(lake_root(lab))
    read_index(layout)
    for file in (layout.meta / "state").glob("*.json"):
        content = file.read_bytes().replace(b'"in"', b'"xx"')
        file.unlink()
        file.write_bytes(content)
    forgotten()
    assert {s.status for states in read_index(layout).values() for s in states.values()} == {"xx"}


def test_an_index_that_cannot_be_written_is_no_fault(lab, forgotten):
    index_file(lab).unlink(missing_ok=True)
    index_file(lab).mkdir()
    assert read_index(Layout(lake_root(lab)))
    assert kinds(ingest(lab)) == ["unchanged"]


def test_status_makes_no_lake(tmp_path):
    made = copied(tmp_path, animals=1, sessions=1, probes=1, trials=12, units=4)
    assert status(load(made.config))
    assert not lake_root(made).exists()


def test_nothing_large_is_imported_to_find_nothing_new(lab):
    heavy = ["numpy", "pyarrow", "polars", "duckdb", "h5py", "zarr", "scipy"]
    code = (
        "import sys\nfrom maplake.config import load\nfrom maplake.ingest import pipeline\n"
        "from maplake.ingest.status import status\n"
        f"config = load({str(lab.config)!r})\nassert not pipeline.run(config).changed\n"
        f"status(config)\nprint([name for name in {heavy} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(2):  # the first one has the readers of other tests to forget
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.strip() == "[]"


def test_readers_see_at_a_glance_that_the_catalog_is_of_the_last_commit(lab):
    layout = Layout(lake_root(lab))
    folder(lab).joinpath("spike_times.npy").touch()
    ingest(lab)  # a commit of a state file
    assert layout.catalog.stat().st_mtime_ns >= layout.log.stat().st_mtime_ns
    assert not catalog.is_due(layout.root)
