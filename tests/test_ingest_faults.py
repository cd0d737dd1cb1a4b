"""Raw files with a fault, and labs and lakes that an ingest refuses."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from labs import content, ingest, lake_root, reasons, small

from maplake.config import load
from maplake.errors import (
    ConfigError,
    LakeLockedError,
    LakeVersionError,
    MissingFileError,
    NotFoundError,
)
from maplake.ingest import pipeline
from maplake.ingest.animals import load_animals
from maplake.ingest.lakes import init
from maplake.ingest.status import status
from maplake.readers import kilosort
from maplake.writers.lock import write_lock


def _truncate(path, keep=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def _shorten(name):
    def damage(session, probe):
        path = probe.sorting_folder / name
        np.save(path, np.load(path)[:-5])

    return damage


def _label(session, probe):
    path = probe.sorting_folder / "cluster_KSLabel.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("good", "splendid"), encoding="utf-8")


def _meta(change):
    def damage(session, probe):
        path = next(probe.folder.rglob("*.ap.meta"))
        if change is None:
            path.unlink()
        else:
            path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")

    return damage


def _foreign_bitcodes(session, probe):
    other = small(probe.folder / "other", seed=99)
    path = next(probe.folder.glob("*bitcode.mat"))
    shutil.copy(next(other.probes[0].folder.glob("*bitcode.mat")), path)
    shutil.rmtree(probe.folder / "other")


def _rename_day(session, probe):
    name = session.file.name.split("_")
    name[-2] = "20290101"
    session.file.rename(session.file.with_name("_".join(name)))


def _second_sorting(session, probe):
    shutil.copytree(probe.sorting_folder, probe.folder / "another_ks2")


FAULTS = {
    "truncated behavior": (lambda s, p: _truncate(s.file), "truncated|damaged|corrupt"),
    "empty behavior": (lambda s, p: s.file.write_bytes(b""), "empty"),
    "behavior is text": (lambda s, p: s.file.write_text("hello " * 99), "MATLAB"),
    "another day in the name": (_rename_day, "2029-01-01"),
    "spike arrays of unequal length": (_shorten("spike_clusters.npy"), "length"),
    "amplitudes of unequal length": (_shorten("amplitudes.npy"), "length"),
    "unknown cluster labels": (_label, "splendid"),
    "no metadata": (_meta(None), "ap.meta"),
    "unknown probe type": (_meta(("imDatPrb_type=0", "imDatPrb_type=987")), "987"),
    "bitcodes of another session": (_foreign_bitcodes, "bitcode"),
    "truncated bitcodes": (
        lambda s, p: _truncate(next(p.folder.glob("*bitcode.mat"))),
        "truncated|damaged|corrupt",
    ),
    "truncated array": (
        lambda s, p: _truncate(p.sorting_folder / "templates.npy"),
        "templates.npy",
    ),
    "two sortings": (_second_sorting, "another_ks2.*imec0_ks2"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Raw files without fault, and the content of the lake made from them."""
    lab = small(tmp_path_factory.mktemp("whole"), animals=1)
    copy = tmp_path_factory.mktemp("good") / "lab"
    shutil.copytree(lab.directory, copy)
    config = load(copy / "lake.toml")
    assert not pipeline.run(config).failed
    return lab, content(config.lake.root)


def moved(lab, directory):
    """Return the second session and its first probe, as copied to another folder."""
    session = lab.sessions[1]
    probe = session.probes[0]
    place = {
        name: directory / getattr(probe, name).relative_to(lab.directory)
        for name in ("folder", "sorting_folder")
    }
    there = directory / session.file.relative_to(lab.directory)
    return replace(session, file=there), replace(probe, **place)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_session_stays_out_whole_and_all_others_go_in(fault, tmp_path, whole):
    damage, message = FAULTS[fault]
    lab, good = whole
    shutil.copytree(lab.directory, tmp_path / "bad")
    config = load(tmp_path / "bad" / "lake.toml")
    session, probe = moved(lab, tmp_path / "bad")
    damage(session, probe)

    report = pipeline.run(config)

    assert report.failed
    failed = [s for s in report.sources if s.status == "failed"]
    assert len(failed) == 1
    assert re.search(message, failed[0].reason), failed[0].reason
    root = config.lake.root
    key = f"subject_id={session.subject_id}/session={session.number}/"
    found = content(root)
    assert not [name for name in found if key in name]
    expected = {n: h for n, h in good.items() if key not in n and "=" in n}
    assert {n: h for n, h in found.items() if "=" in n} == expected

    if fault == "another day in the name":
        return  # under its right name it is another session, with a number of its own
    # Once mended, the next run takes it in as if nothing had happened.
    for kind in ("behavior", "ephys"):
        shutil.rmtree(tmp_path / "bad" / kind)
        shutil.copytree(lab.directory / kind, tmp_path / "bad" / kind)
    assert not pipeline.run(config).failed
    assert content(root) == good


class TestRefusals:
    def test_a_missing_root(self, tmp_path):
        lab = small(tmp_path)
        shutil.rmtree(tmp_path / "ephys")
        with pytest.raises(ConfigError, match="ephys"):
            ingest(lab)
        assert not (lake_root(lab) / "tables").exists()

    def test_an_empty_probe_folder(self, tmp_path):
        lab = small(tmp_path)
        probe = lab.probes[0]
        shutil.rmtree(probe.folder)
        probe.folder.mkdir()
        report = ingest(lab)
        assert "empty" in reasons(report)[probe.folder.relative_to(tmp_path / "ephys").as_posix()]

    def test_small_files_are_aborted_sessions(self, tmp_path):
        lab = small(tmp_path)
        text = lab.config.read_text(encoding="utf-8")
        lab.config.write_text(
            text.replace("min_file_kib = 0", "min_file_kib = 5000"), encoding="utf-8"
        )
        report = ingest(lab)
        skipped = [s for s in report.sources if s.kind == "behavior"]
        assert {s.status for s in skipped} == {"skipped"}
        assert all("5000" in s.reason for s in skipped)
        assert not report.failed

    def test_a_newer_lake(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        file = lake_root(lab) / ".maplake" / "format.json"
        file.write_text('{"format_version": 999}', encoding="utf-8")
        with pytest.raises(LakeVersionError, match="999"):
            ingest(lab)

    def test_a_locked_lake(self, tmp_path):
        lab = small(tmp_path)
        lab.config.write_text(
            lab.config.read_text(encoding="utf-8").replace(
                'root = "lake"', 'root = "lake"\nlock_timeout_s = 0.1'
            ),
            encoding="utf-8",
        )
        init(load(lab.config))
        before = content(lake_root(lab))
        with write_lock(lake_root(lab)), pytest.raises(LakeLockedError):
            ingest(lab)
        assert content(lake_root(lab)) == before

    def test_an_unknown_kind(self, tmp_path):
        lab = small(tmp_path)
        with pytest.raises(NotFoundError, match="behavior"):
            ingest(lab, kinds=["behaviour"])

    def test_a_sheet_row_for_no_session(self, tmp_path):
        lab = small(tmp_path)
        text = lab.insertions_file.read_text(encoding="utf-8")
        lab.insertions_file.write_text(text.replace("2021-03-01", "2020-01-01"), encoding="utf-8")
        report = ingest(lab)
        waiting = [s for s in report.sources if s.kind == "insertion_location" and s.reason]
        assert waiting
        assert all("row" in s.reason and "no session" in s.reason for s in waiting)


@pytest.mark.parametrize("stray", [-1, 3_000])
def test_spikes_of_a_unit_that_the_reader_does_not_describe_are_refused(
    stray, tmp_path, monkeypatch
):
    made = kilosort._spike_arrays

    def with_a_stray(*args):
        arrays = made(*args)
        unit = arrays["spike_unit"].copy()
        unit[7] = stray
        return arrays | {"spike_unit": unit}

    monkeypatch.setattr(kilosort, "_spike_arrays", with_a_stray)
    config = load(small(tmp_path, animals=1, sessions=1).directory / "lake.toml")
    failed = [s for s in pipeline.run(config).sources if s.status == "failed"]
    assert failed
    assert all(re.search(f"does not describe.*{stray}", s.reason) for s in failed)


def test_status_tells_where_every_source_stands(tmp_path):
    lab = small(tmp_path)
    config = load(lab.config)
    ingest(lab, kinds=["animals"])
    assert {s.status for s in status(config)} == {"waiting", "absent"}
    _truncate(lab.sessions[0].file)
    ingest(lab)
    found = {(s.kind, s.name): s for s in status(config)}
    failed = found["behavior", lab.sessions[0].file.stem]
    assert failed.status == "failed"
    assert failed.reason
    others = [s for s in found.values() if s.subject_id == 400002]
    assert {s.status for s in others} == {"in"}
    assert {s.kind for s in others} == {"behavior", "ephys", "insertion_location"}


def test_an_animal_that_nobody_knows_is_named(tmp_path):
    lab = small(tmp_path, sessions=1)
    report = ingest(lab, subject="mk002")  # in any case, and before it is in the lake
    assert {s.h2o for s in report.sources if s.kind == "behavior"} == {"MK002"}
    for dry_run in (True, False):
        with pytest.raises(NotFoundError, match="MK001, MK002"):
            ingest(lab, subject="MK009", dry_run=dry_run)


def test_a_sheet_that_is_not_there_is_missing(tmp_path):
    lab = small(tmp_path, sessions=1)
    with pytest.raises(MissingFileError):
        load_animals(load(lab.config), tmp_path / "none.xlsx")
