"""What discovery remembers of folders never hides a change."""

import json

import pytest
from labs import ingest, lake_root, statuses

from maplake import simulate


@pytest.fixture
def lab(tmp_path):
    made = simulate.lab(tmp_path, animals=1, sessions=1, probes=1, trials=12, units=4)
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


@pytest.mark.parametrize("content", ["", "[]", '{"readers": 1}', '{"folders": []}'])
def test_a_damaged_memory_is_none(lab, content):
    file = lake_root(lab) / ".maplake" / "cache" / "found.json"
    file.write_text(content, "utf-8")
    assert kinds(ingest(lab)) == ["unchanged"]


def test_a_record_that_makes_no_sense_is_searched_again(lab):
    file = lake_root(lab) / ".maplake" / "cache" / "found.json"
    found = json.loads(file.read_text("utf-8"))
    for entry in found["folders"].values():
        entry["ephys"] = [{"kind": "ephys"}]
    file.write_text(json.dumps(found), "utf-8")
    assert kinds(ingest(lab)) == ["unchanged"]
