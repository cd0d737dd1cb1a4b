"""The one way through: raw files of a simulated lab in, the truth out."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from labs import content, ingest, lake_root, reasons, sql, statuses, table
from scipy.io import loadmat, savemat

from maplake import simulate
from maplake.config import load
from maplake.errors import ConfigError, LakeLockedError, LakeVersionError, NotFoundError
from maplake.ingest import pipeline
from maplake.ingest.archive import archived, restore
from maplake.ingest.lakes import init
from maplake.ingest.status import status
from maplake.query.check import check
from maplake.writers.lock import write_lock

TASK = simulate.Task(free_water=0.05, skipped=(4,))
RECORDING = simulate.Recording(margin=0.2, starts_late=2, ends_early=3)


def small(directory, **options):
    defaults = {"animals": 2, "sessions": 2, "probes": 1, "trials": 30, "units": 6, "seed": 3}
    defaults |= {
        "sorting": simulate.Sorting(pc_features=False),
        "recording": simulate.Recording(channels=48),
    }
    return simulate.lab(directory, **(defaults | options))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = simulate.lab(
        tmp_path_factory.mktemp("lab"),
        animals=2,
        sessions=2,
        probes=2,
        trials=60,
        units=8,
        seed=1,
        task=TASK,
        recording=RECORDING,
        sorting=simulate.Sorting(metrics=True, phy_log=True),
    )
    report = ingest(lab)
    assert not report.failed, reasons(report)
    return lab


@pytest.fixture(scope="module")
def root(lab):
    return lake_root(lab)


class TestTruth:
    def test_sessions(self, lab, root):
        found = sql(root, "FROM experiment.session ORDER BY ALL")
        expected = sorted((s.subject_id, s.number, s.start) for s in lab.sessions)
        assert (
            list(zip(found["subject_id"], found["session"], found["session_datetime"], strict=True))
            == expected
        )
        assert found["trial_count"].to_list() == [
            len(s.trials) for s in sorted(lab.sessions, key=lambda s: (s.subject_id, s.number))
        ]

    def test_trials(self, lab, root):
        for session in lab.sessions:
            key = {"subject_id": session.subject_id, "session": session.number}
            trials = session.trials
            found = (
                table(root, "experiment.behavior_trial", **key)
                .join(table(root, "experiment.session_trial", **key), on="trial")
                .sort("trial")
            )
            for name in (
                "trial",
                "trial_instruction",
                "early_lick",
                "outcome",
                "auto_water",
                "free_water",
            ):
                assert (
                    found[name]
                    .cast(pl.String if found[name].dtype == pl.Categorical else found[name].dtype)
                    .to_list()
                    == getattr(trials, name).tolist()
                ), name
            np.testing.assert_allclose(found["start_time"], trials.start_time, atol=1e-9)
            np.testing.assert_allclose(found["stop_time"], trials.stop_time, atol=1e-9)

    def test_events_and_licks(self, lab, root):
        for session in lab.sessions:
            key = {"subject_id": session.subject_id, "session": session.number}
            for name, truth, kind in (
                ("experiment.trial_event", session.events, "trial_event"),
                ("experiment.action_event", session.licks, "action_event"),
            ):
                found = table(root, name, **key).sort("trial", f"{kind}_id")
                assert found["trial"].to_list() == truth.trial.tolist()
                assert found[f"{kind}_id"].to_list() == truth.id.tolist()
                assert found[f"{kind}_type"].cast(pl.String).to_list() == truth.type.tolist()
                np.testing.assert_allclose(found[f"{kind}_time"], truth.time, atol=1e-9)

    def test_notes_keep_leading_zeros(self, lab, root):
        for session in lab.sessions:
            key = {"subject_id": session.subject_id, "session": session.number}
            found = (
                table(root, "experiment.trial_note", **key)
                .filter(pl.col("trial_note_type").cast(pl.String) == "bitcode")
                .sort("trial")
            )
            assert found["trial_note"].to_list() == session.trials.bitcode.tolist()
        assert any(code.startswith("0") for s in lab.sessions for code in s.trials.bitcode)

    def test_photostim(self, lab, root):
        for session in lab.sessions:
            lit = session.trials.photo_stim > 0
            found = sql(
                root,
                "FROM experiment.photostim_event "
                f"WHERE subject_id = {session.subject_id} AND session = {session.number} "
                "ORDER BY trial",
            )
            assert found["trial"].to_list() == session.trials.trial[lit].tolist()
            assert found["photo_stim"].to_list() == session.trials.photo_stim[lit].tolist()
            np.testing.assert_allclose(
                found["photostim_event_time"], session.trials.photostim_onset[lit], atol=1e-9
            )
        assert any((s.trials.photo_stim > 0).any() for s in lab.sessions)

    def test_every_spike_its_trial_and_its_alignment(self, lab, root):
        for probe in lab.probes:
            key = {
                "subject_id": probe.session.subject_id,
                "session": probe.session.number,
                "insertion_number": probe.insertion_number,
            }
            found = table(root, "ephys.spike", **key)
            order = np.lexsort((probe.spike_sample, probe.spike_unit))
            assert found["unit"].to_list() == probe.spike_unit[order].tolist()
            assert found["spike_sample"].to_list() == probe.spike_sample[order].tolist()
            assert found["trial"].fill_null(0).to_list() == probe.spike_trial()[order].tolist()
            trial = table(root, "ephys.ephys_trial", **key).sort("trial")
            assert trial["trial"].to_list() == probe.trials.tolist()
            place = np.searchsorted(probe.ephys_trial, probe.trials)
            assert trial["start_sample"].to_list() == probe.start_sample[place].tolist()
            assert trial["go_sample"].fill_null(-1).to_list() == probe.go_sample[place].tolist()

    def test_units(self, lab, root):
        for probe in lab.probes:
            found = sql(
                root,
                f"FROM ephys.unit WHERE subject_id = {probe.session.subject_id} AND session = "
                f"{probe.session.number} AND insertion_number = {probe.insertion_number} "
                "ORDER BY unit",
            )
            ids, counts = np.unique(probe.spike_unit, return_counts=True)
            assert found["unit"].to_list() == ids.tolist()
            assert found["spike_count"].to_list() == counts.tolist()
            rows = [probe.units.row(unit) for unit in ids]
            assert found["unit_quality"].to_list() == probe.units.quality[rows].tolist()
            assert found["electrode"].to_list() == probe.units.electrode[rows].tolist()
            types = [
                t if q != "all" else None
                for t, q in zip(probe.units.cell_type[rows], probe.units.quality[rows], strict=True)
            ]
            assert found["cell_type"].to_list() == types

    def test_skipped_things_are_rows_with_a_reason(self, root):
        found = sql(root, "FROM ingest.skipped WHERE item_type = 'trial'")
        assert set(found["item"]) == {"4"}
        assert found["reason"].str.len_chars().min() > 10

    def test_psth_equals_numpy_through_sql(self, lab, root):
        found = sql(root, "FROM psth.unit_psth")
        probes = {
            (p.session.subject_id, p.session.number, p.insertion_number): p for p in lab.probes
        }
        checked = 0
        for row in found.iter_rows(named=True):
            probe = probes[row["subject_id"], row["session"], row["insertion_number"]]
            trials = probe.condition_trials(row["trial_condition_name"])
            assert row["trial_count"] == len(trials)
            if not len(trials):
                assert row["unit_psth"] is None
                continue
            spikes = np.concatenate([probe.trial_spikes(row["unit"], t) for t in trials])
            count, _ = np.histogram(spikes, np.arange(-3, 3, 0.04))
            rate = np.asarray(row["unit_psth"])
            np.testing.assert_array_equal(np.round(rate * len(trials) * 0.04), count)
            np.testing.assert_allclose(rate, count / len(trials) / 0.04, rtol=1e-12)
            checked += 1
        units = sum(
            (p.units.quality[np.isin(p.units.id, p.spike_unit)] != "all").sum() for p in lab.probes
        )
        assert found.height == units * 17
        assert checked > found.height / 3

    def test_locations_and_good_trials(self, lab, root):
        assert sql(root, "FROM ephys.insertion_location").height == len(lab.probes)
        for probe in lab.probes:
            found = sql(
                root,
                "SELECT trial FROM ephys.good_trial WHERE subject_id = "
                f"{probe.session.subject_id} AND session = {probe.session.number} AND "
                f"insertion_number = {probe.insertion_number} ORDER BY trial",
            )["trial"].to_list()
            assert found == (probe.good_trials().tolist() if probe.good_periods else [])
            ends = sql(
                root,
                "SELECT good_period_end, max(stop_time) FROM ephys.good_period JOIN "
                "experiment.session_trial USING (subject_id, session) WHERE subject_id = "
                f"{probe.session.subject_id} AND session = {probe.session.number} AND "
                f"insertion_number = {probe.insertion_number} GROUP BY ALL ORDER BY ALL",
            ).rows()
            given = [end for _, end in probe.good_periods]
            assert [end for end, _ in ends] == [
                last if end is None else end for end, (_, last) in zip(given, ends, strict=True)
            ]


class TestPromises:
    def test_a_second_ingest_changes_nothing_and_says_so(self, lab, root):
        before = content(root)
        report = ingest(lab)
        assert set(statuses(report).values()) == {"unchanged"}
        assert not report.changed
        assert content(root) == before

    def test_same_in_same_out(self, lab, root, tmp_path):
        """Another place, another order of commits, two workers, files touched: the same bytes."""
        shutil.copytree(lab.directory, tmp_path / "copy", ignore=shutil.ignore_patterns("lake"))
        config = load(tmp_path / "copy" / "lake.toml")
        for path in (tmp_path / "copy").rglob("*.mat"):
            os.utime(path, (1, 1))
        report = pipeline.run(config, workers=2)
        assert not report.failed, reasons(report)
        mine, theirs = content(config.lake.root), content(root)
        assert mine.keys() == theirs.keys()
        assert [name for name in mine if mine[name] != theirs[name]] == []

    def test_kinds_one_after_the_other_give_the_same(self, lab, root, tmp_path):
        shutil.copytree(lab.directory, tmp_path / "copy", ignore=shutil.ignore_patterns("lake"))
        config = load(tmp_path / "copy" / "lake.toml")
        for kind in pipeline.KINDS:
            pipeline.run(config, kinds=[kind])
        assert content(config.lake.root) == content(root)

    def test_rebuild_gives_the_same(self, lab, root, tmp_path):
        shutil.copytree(lab.directory, tmp_path / "copy", ignore=shutil.ignore_patterns("lake"))
        config = load(tmp_path / "copy" / "lake.toml")
        pipeline.run(config)
        shutil.rmtree(config.lake.root / "tables" / "ephys")
        report = pipeline.rebuild(config)
        assert not report.failed
        assert content(config.lake.root) == content(root)


class TestChanges:
    def test_a_touched_file_is_read_but_nothing_changes(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        root = lake_root(lab)
        before = content(root)
        os.utime(lab.sessions[0].file, (1, 1))
        ingest(lab)
        assert content(root) == before
        assert set(statuses(ingest(lab)).values()) == {"unchanged"}

    def test_a_new_sorting_replaces_the_old_one_on_request_only(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        config = load(lab.config)
        root = lake_root(lab)
        before = content(root)
        probe = lab.probes[0]
        name = probe.folder.relative_to(lab.directory / "ephys").as_posix()
        clusters = np.load(probe.sorting_folder / "spike_clusters.npy")
        clusters[0] = clusters[1] = clusters[clusters != clusters[0]][0]
        np.save(probe.sorting_folder / "spike_clusters.npy", clusters)

        report = ingest(lab)
        assert statuses(report)["ephys", name] == "waiting"
        assert "--replace" in reasons(report)[name]
        assert content(root) == before

        report = ingest(lab, replace=True)
        assert [k for k, v in statuses(report).items() if v == "in"] == [("ephys", name)]
        assert "identical" in reasons(report)[next(n for n in reasons(report) if n != name)]
        after = content(root)
        session = f"subject_id={probe.session.subject_id}/session={probe.session.number}/"
        assert all(session in path for path in after if after[path] != before.get(path))
        found = sql(root, "FROM ephys.archived_clustering_spike")
        assert found.height == len(probe.spike_sample)
        assert not check(root, deep=True)

        # The old one comes back whole, the new one takes its place in the archive.
        (old,) = archived(config)
        label = old.name.split(" ")[-1]
        restore(config, probe.session.subject_id, probe.session.number, 1, label)
        living = {path: digest for path, digest in content(root).items() if "archive" not in path}
        assert living == before
        assert len(archived(config)) == 1
        assert not check(root, deep=True)
        assert statuses(ingest(lab))["ephys", name] == "waiting"
        with pytest.raises(NotFoundError, match="kilosort2_"):
            restore(config, probe.session.subject_id, probe.session.number, 1, "kilosort9_x")

    def test_corrected_bitcodes_are_taken_without_being_asked(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        probe = lab.probes[0]
        file = next(probe.folder.glob("*bitcode.mat"))
        values = {k: v for k, v in loadmat(file).items() if not k.startswith("__")}
        savemat(file, values | {"goCue": values["goCue"] + 30})
        ingest(lab)
        found = table(
            lake_root(lab),
            "ephys.ephys_trial",
            subject_id=probe.session.subject_id,
            session=probe.session.number,
        ).sort("trial")
        assert found["go_sample"].to_list() == (probe.go_sample + 30).tolist()

    def test_changed_behavior_takes_its_probes_along(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        other = small(tmp_path / "other", task=simulate.Task(skipped=(9,)))
        shutil.copy(other.sessions[0].file, lab.sessions[0].file)
        report = ingest(lab)
        again = [k for k, v in statuses(report).items() if v == "in"]
        assert [kind for kind, _ in again[:2]] == ["behavior", "ephys"]

    def test_new_sessions_keep_the_old_numbers(self, tmp_path):
        lab = small(tmp_path, sessions=3)
        first = min((lab.directory / "behavior" / "MK001").rglob("*.mat"))
        aside = tmp_path / first.name
        first.rename(aside)
        ingest(lab)
        aside.rename(first)
        ingest(lab)
        found = sql(lake_root(lab), "FROM experiment.session WHERE subject_id = 400001")
        numbers = dict(
            zip(found["session_date"].sort(), found.sort("session_date")["session"], strict=True)
        )
        assert list(numbers.values()) == [3, 1, 2]

    def test_raw_files_may_go_once_they_are_in(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        before = content(lake_root(lab))
        for session in lab.sessions:
            session.file.unlink()
        report = ingest(lab)
        assert not report.failed
        assert content(lake_root(lab)) == before

    def test_selecting_one_session(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab, subject="MK002", session=2)
        found = sql(lake_root(lab), "SELECT subject_id, session FROM experiment.session").rows()
        assert found == [(400002, 2)]

    def test_dry_run_writes_nothing(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab, kinds=["animals"])
        before = {p: p.stat().st_mtime_ns for p in lake_root(lab).rglob("*") if p.is_file()}
        report = ingest(lab, dry_run=True)
        assert "planned" in statuses(report).values()
        assert before == {p: p.stat().st_mtime_ns for p in lake_root(lab).rglob("*") if p.is_file()}

    def test_animals_not_entered_yet_make_sessions_wait(self, tmp_path):
        lab = small(tmp_path)
        sheet = lab.animals_file.read_text(encoding="utf-8").splitlines()
        lab.animals_file.write_text("\n".join(sheet[:2]) + "\n", encoding="utf-8")
        report = ingest(lab)
        assert not report.failed
        waiting = [s for s in report.sources if s.status == "waiting" and s.kind == "behavior"]
        assert {s.h2o for s in waiting} == {"MK002"}
        assert all("load-animal" in s.reason for s in waiting)
        lab.animals_file.write_text("\n".join(sheet) + "\n", encoding="utf-8")
        assert "waiting" not in statuses(ingest(lab)).values()


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
    lab = small(tmp_path_factory.mktemp("whole"))
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
