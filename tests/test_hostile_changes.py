"""Raw files that change, grow or vanish while they are read, and links and names that mislead."""

from __future__ import annotations

import shutil
import unicodedata

import numpy as np
import pytest
from labs import content, ingest, lake_root, sql
from test_hostile import assert_good_is_in, failed, first_file, first_probe, lab, link, raw

from maplake.readers import npy
from maplake.writers import lock

__all__ = ["lab", "raw"]  # fixtures


def _amid(monkeypatch, change):
    """Let a change happen when the first of a sorting's arrays was read, before the others are."""
    real, done = npy.load_flat, []

    def load_flat(path, *args):
        found = real(path, *args)
        if "MK001" in str(path) and not done:
            done.append(path)
            change(path.parent)
        return found

    monkeypatch.setattr(npy, "load_flat", load_flat)


def _none_of_it(lab):
    root = lake_root(lab)
    assert not sql(root, "FROM ephys.unit WHERE subject_id <> 400002").height


def _other_clusters(folder):
    clusters = np.load(folder / "spike_clusters.npy")
    np.save(folder / "spike_clusters.npy", np.roll(clusters, 1))


def _grown(folder):
    for path in folder.glob("*.npy"):
        array = np.load(path)
        if array.ndim <= 2 and len(array) > 100:
            np.save(path, np.concatenate([array, array[-5:]]))


def _sorted_anew(folder):
    """A sorter that writes its folder anew, by renaming another over it."""
    other = folder.with_name("aside")
    shutil.copytree(folder, other)
    _other_clusters(other)
    shutil.rmtree(folder)
    other.rename(folder)


def _gone(folder):
    (folder / "spike_clusters.npy").unlink()


@pytest.mark.parametrize("change", [_other_clusters, _grown, _sorted_anew, _gone])
def test_a_sorting_that_changes_amid_its_arrays_is_not_mixed(lab, monkeypatch, change):
    with monkeypatch.context() as patch:
        _amid(patch, change)
        report = ingest(lab)
    assert_good_is_in(lab, report)
    assert len(failed(report)) == 1, failed(report)
    _none_of_it(lab)
    if change is not _gone:  # when it holds still, it goes in as it is now
        clusters = np.load(first_probe(lab) / "imec0_ks2" / "spike_clusters.npy")
        assert not failed(ingest(lab))
        spikes = sql(
            lake_root(lab), "SELECT count(*) AS n FROM ephys.unit WHERE subject_id <> 400002"
        )
        assert 0 < spikes["n"][0] <= len(np.unique(clusters))


def test_links_in_a_sorting_lead_to_files_that_are_read_and_left_alone(lab, tmp_path):
    """Nothing is written through links: what they lead to stays as it was."""
    away = tmp_path / "away"
    folder = first_probe(lab) / "imec0_ks2"
    shutil.move(folder, away)
    folder.mkdir()
    for file in away.iterdir():
        link(folder / file.name, file)
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in away.iterdir()}
    report = ingest(lab)
    assert_good_is_in(lab, report)
    assert not failed(report)
    assert {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in away.iterdir()} == before


@pytest.mark.parametrize("target", ["/etc/passwd", "/dev/zero", "/dev/stdin", "loop"])
def test_links_to_what_is_no_data(lab, target):
    """To devices without end, to texts, to themselves: refused, in time."""
    for name in ("amplitudes.npy", "spike_times.npy", "params.py"):
        file = first_probe(lab) / "imec0_ks2" / name
        file.unlink(missing_ok=True)
        link(file, file if target == "loop" else target)
    report = ingest(lab)
    assert_good_is_in(lab, report)
    _none_of_it(lab)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_either_unicode_form(lab, form):
    """An accent in one sign or two: folders are found, and neither form is a path of the lake."""
    name = unicodedata.normalize(form, "Größe né")
    top = lab.directory / "ephys"
    first_probe(lab).joinpath("imec0_ks2").rename(first_probe(lab) / name)
    file = first_file(lab)
    file.parent.rename(file.parent.with_name(name))
    report = ingest(lab)
    assert_good_is_in(lab, report)
    assert not failed(report), failed(report)
    assert top.exists()
    assert all(path.isascii() for path in content(lake_root(lab)))


def test_a_link_over_the_lakes_lock_is_no_way_out(lab, tmp_path):
    """The lock of a lake that is a link to a file elsewhere: that file keeps its content."""
    ingest(lab, kinds=["animals"])
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    place = lake_root(lab) / ".maplake" / "lock"
    place.unlink(missing_ok=True)
    link(place, victim)
    with lock.write_lock(lake_root(lab)):
        pass
    assert victim.read_bytes() == b"mine"
