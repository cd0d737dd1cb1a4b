"""The one way through: raw files of a simulated lab in, the truth out."""

from __future__ import annotations

import os
import shutil

import numpy as np
import polars as pl
import pytest
from labs import content, ingest, lake_root, reasons, sql, statuses, table

from maplake import simulate
from maplake.config import load
from maplake.ingest import pipeline

TASK = simulate.Task(free_water=0.05, skipped=(4,))
RECORDING = simulate.Recording(margin=0.2, starts_late=2, ends_early=3)


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

    def test_trials_begin_a_margin_after_their_recording(self, lab, root):
        found = sql(
            root,
            "SELECT min(late), max(late) FROM (SELECT (z.zero_sample - e.start_sample) "
            "/ z.sampling_rate AS late FROM ephys.trial_zero AS z JOIN ephys.ephys_trial AS e "
            "USING (subject_id, session, insertion_number, trial))",
        )
        assert found.row(0) == (pytest.approx(RECORDING.margin, abs=1e-3),) * 2

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

    def test_skipped_things_are_rows_with_a_reason(self, lab, root):
        found = sql(root, "FROM ingest.skipped WHERE item_type = 'trial'")
        assert set(found["item"]) == {"4"}
        assert found["reason"].str.len_chars().min() > 10
        # That trial was recorded all the same; without behavior the recording of it has no row.
        found = sql(root, "FROM ingest.skipped WHERE item_type = 'ephys trials'")
        assert found["item"].to_list() == ["1"] * len(lab.probes)

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
