"""A probe's folder that was renamed is not taken in a second time without a word."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from labs import ingest, lake_root, rows, small

from maplake.config import load
from maplake.ingest.delete import Target, delete
from maplake.ingest.status import status

INSERTIONS = "SELECT insertion_number FROM ephys.probe_insertion ORDER BY ALL"


@pytest.fixture
def lab(tmp_path):
    lab = small(tmp_path, animals=1, sessions=1)
    ingest(lab)
    return lab


def told(sources, folder, kind="ephys"):
    (found,) = [s for s in sources if s.kind == kind and s.path == str(folder)]
    return found.status, found.reason or ""


def sorted_again(folder):
    file = next(folder.rglob("spike_clusters.npy"))
    clusters = np.load(file)
    clusters[0] = clusters[1] = clusters[clusters != clusters[0]][0]
    np.save(file, clusters)


def test_the_same_files_wait_and_both_folders_are_named(lab):
    old = lab.probes[0].folder
    new = old.rename(old.with_name("2"))
    for sources in (
        ingest(lab, dry_run=True).sources, ingest(lab).sources, status(load(lab.config))
    ):  # fmt: skip
        word, reason = told(sources, new)
        assert word == "waiting"
        assert "same files" in reason
        assert str(old) in reason
        assert f"maplake delete insertion {lab.sessions[0].subject_id} 1 1" in reason
    assert rows(lake_root(lab), INSERTIONS) == [(1,)]
    delete(load(lab.config), Target(lab.sessions[0].subject_id, 1, 1))
    assert told(ingest(lab).sources, new)[0] == "in"
    assert rows(lake_root(lab), INSERTIONS) == [(2,)]


def test_its_old_name_is_all_it_takes(lab):
    old = lab.probes[0].folder
    old.rename(old.with_name("2"))
    ingest(lab)
    old.with_name("2").rename(old)
    assert {s.status for s in ingest(lab).sources} == {"unchanged"}


def test_a_renamed_session_folder_does_not_replace_what_was_sorted_from_it(lab):
    old = lab.probes[0].folder
    day = old.parent.name
    new = old.parent.rename(old.parent.with_name(f"{day[:4]}-{day[4:6]}-{day[6:]}")) / old.name
    assert told(ingest(lab).sources, new)[0] == "waiting"
    sorted_again(new)
    word, reason = told(ingest(lab).sources, new)
    assert word == "waiting"
    assert "the lake has its place" in reason


def test_another_probe_goes_in_with_a_remark(lab):
    old = lab.probes[0].folder
    new = old.with_name("2")
    shutil.copytree(old, new)
    shutil.rmtree(old)
    sorted_again(new)
    for sources, expected in (
        (status(load(lab.config)), "waiting"),
        (ingest(lab).sources, "in"),
    ):
        word, reason = told(sources, new)
        assert word == expected
        assert str(old) in reason
        assert "maplake delete insertion" in reason
    assert rows(lake_root(lab), INSERTIONS) == [(1,), (2,)]


def test_a_second_probe_beside_the_first_needs_no_remark(lab):
    old = lab.probes[0].folder
    shutil.copytree(old, old.with_name("2"))
    assert told(ingest(lab).sources, old.with_name("2")) == ("in", "")
