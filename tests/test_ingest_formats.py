"""Every raw format, end to end: what the simulator knows is what SQL returns from the lake."""

from __future__ import annotations

import re

import h5py
import numpy as np
import polars as pl
import pytest
import zarr
from labs import ingest, lake_root, of, rows, small, sql

from maplake.config import load
from maplake.ingest.status import status
from maplake.query.check import check
from maplake.simulate.foraging import concatenated
from maplake.simulate.nidq import write_lfp

LFP_UV = 0.6 / 512 / 250 * 1e6  # uV per count


@pytest.fixture(scope="module")
def lab(whole_lab):
    return whole_lab


@pytest.fixture(scope="module")
def root(lab):
    return lake_root(lab)


class TestSessions:
    def test_every_task_is_there(self, lab, root):
        found = rows(
            root,
            "SELECT subject_id, session, session_datetime, task, rig, trial_count "
            "FROM experiment.session ORDER BY ALL",
        )
        tasks = {400_003: "multi-target-licking", 400_004: "foraging"}
        rigs = {400_003: "RRig-MTL", 400_004: "Ephys-Han"}
        expected = [
            (
                s.subject_id,
                s.number,
                s.start,
                tasks.get(s.subject_id, "audio delay"),
                rigs.get(s.subject_id, "RRig"),
                len(s.trials),
            )
            for s in lab.sessions
        ]
        expected[-1] = (*expected[-1][:3], "foraging 3lp", "Training-Tower-2", expected[-1][-1])
        assert found == sorted(expected)

    def test_trials(self, lab, root):
        for session in lab.sessions:
            trials = session.trials
            found = sql(
                root,
                "SELECT * FROM experiment.behavior_trial JOIN experiment.session_trial "
                f"USING (subject_id, session, trial) WHERE {of(session)} ORDER BY trial",
            )
            for name in (
                "trial",
                "trial_instruction",
                "early_lick",
                "outcome",
                "auto_water",
                "free_water",
            ):
                assert found[name].to_list() == getattr(trials, name).tolist(), name
            np.testing.assert_allclose(found["start_time"], trials.start_time, atol=1e-9)
            np.testing.assert_allclose(found["stop_time"], trials.stop_time, atol=1e-9)

    def test_events_and_licks(self, lab, root):
        for session in lab.sessions:
            for name, truth in (("trial", session.events), ("action", session.licks)):
                found = sql(
                    root,
                    f"FROM experiment.{name}_event WHERE {of(session)} "
                    f"ORDER BY trial, {name}_event_id",
                )
                assert found["trial"].to_list() == truth.trial.tolist()
                assert found[f"{name}_event_id"].to_list() == truth.id.tolist()
                assert found[f"{name}_event_type"].to_list() == truth.type.tolist()
                np.testing.assert_allclose(found[f"{name}_event_time"], truth.time, atol=1e-9)

    def test_bitcodes(self, lab, root):
        for session in lab.sessions:
            found = rows(
                root,
                "SELECT trial, trial_note FROM experiment.trial_note "
                f"WHERE {of(session)} AND trial_note_type = 'bitcode' ORDER BY trial",
            )
            trials = session.trials
            assert found == list(zip(trials.trial.tolist(), trials.bitcode.tolist(), strict=True))


class TestMultiTargetLicking:
    def test_blocks_and_ports(self, lab, root):
        for item in lab.licking:
            truth, where = item.truth, of(item.session)
            first = np.unique(truth.block, return_index=True)[1]
            start = truth.start_time - truth.start_time[0]
            found = sql(root, f"FROM experiment.mtl_session_block WHERE {where} ORDER BY block")
            assert found["block"].to_list() == truth.block[first].tolist()
            assert found["block_start_time"].to_list() == start[first].tolist()
            assert found["trial_count"].to_list() == np.bincount(truth.block)[1:].tolist()
            assert found["num_licks_for_reward"].to_list() == truth.licks_for_reward[first].tolist()
            assert found["roll_deg"].to_list() == truth.roll[first].tolist()
            ports = sql(root, f"FROM experiment.mtl_block_water_port WHERE {where} ORDER BY block")
            assert ports["water_port"].to_list() == [f"mtl-{t}" for t in truth.target[first]]
            assert ports["position_x"].to_list() == truth.x[first].tolist()
            assert set(ports["position_y"]) == {truth.y}
            assert ports["position_z"].to_list() == truth.z[first].tolist()
            trials = sql(root, f"FROM experiment.mtl_block_trial WHERE {where} ORDER BY trial")
            assert trials["block"].to_list() == truth.block.tolist()
            assert trials["block_trial_number"].to_list() == truth.order.tolist()

    def test_trials_that_never_started_are_named(self, lab, root):
        found = rows(
            root,
            f"SELECT item FROM ingest.skipped WHERE {of(lab.licking[0].session)} "
            "AND item_type = 'trial of the file'",
        )
        assert sorted(found) == [("3",), ("7",)]

    def test_traces_of_the_board(self, lab, root):
        for item in lab.licking:
            probe = item.session.probes[0]
            (told,) = probe.folder.parent.glob("*.XA_0_0*.txt")
            edges = np.floor(np.loadtxt(told) * item.rate).astype(int)
            edges = np.append(edges, len(item.counts))
            for name, channel in (("breathing", 2), ("piezoelectric", 3)):
                found = sql(root, f"FROM experiment.{name} WHERE {of(item.session)} ORDER BY trial")
                assert found["trial"].to_list() == probe.ephys_trial.tolist()
                assert set(found["sampling_rate"]) == {item.rate}
                for trace, first, last in zip(found[name], edges, edges[1:], strict=False):
                    expected = item.counts[first:last, channel] * np.float32(5000 / 32768)
                    np.testing.assert_array_equal(np.asarray(trace, np.float32), expected)

    def test_spikes_are_aligned_to_trial_starts(self, lab, root):
        probe = lab.licking[0].session.probes[0]
        place = 3
        trial, unit = int(probe.ephys_trial[place]), int(probe.units.id[0])
        found = rows(
            root,
            f"SELECT spike_time FROM ephys.trial_spikes WHERE {of(probe.session)} "
            f"AND trial = {trial} AND unit = {unit} ORDER BY 1",
        )
        start, end = probe.start_sample[place : place + 2]
        spikes = probe.spikes(unit)
        expected = (spikes[(spikes >= start) & (spikes < end)] - start) / probe.sampling_rate
        np.testing.assert_allclose([row[0] for row in found], expected, atol=1e-9)


class TestForaging:
    def test_choices_blocks_and_water(self, lab, root):
        for item in lab.foraging:
            trials, where = concatenated(item.bpod), of(item.session)
            numbered = list(enumerate(trials, 1))

            def table(name, columns, where=where):
                query = f"SELECT {columns} FROM experiment.{name} WHERE {where} ORDER BY trial"
                return rows(root, query)

            assert table("water_port_choice", "water_port") == [(t.choice,) for t in trials]
            opened = table("water_port_open_duration", "trial, water_port, open_duration")
            assert sorted(opened) == sorted(
                (n, p, d) for n, t in numbered for p, d in t.open_duration.items()
            )
            left = table("trial_available_reward", "trial, water_port, reward_available")
            assert sorted(left) == sorted(
                (n, p, has) for n, t in numbered for p, has in t.available.items()
            )
            motors = table("water_port_setting", "trial, COLUMNS('_pos$')")
            assert motors == [(n, *t.motors) for n, t in numbered]
            self._blocks(root, item, where)

    def _blocks(self, root, item, where):
        blocks, probabilities, number = [], [], 0
        for bpod in item.bpod:
            before = None
            for trial in bpod.kept:
                now = [bpod.probabilities[port][trial.block - 1] for port in bpod.ports]
                if now != before:
                    number += 1
                    probabilities += [(number, *pair) for pair in zip(bpod.ports, now, strict=True)]
                before = now
                blocks.append((number,))
        found = rows(root, f"SELECT block FROM experiment.block_trial WHERE {where} ORDER BY trial")
        assert found == blocks
        found = rows(
            root,
            "SELECT block, water_port, reward_probability "
            f"FROM experiment.block_reward_probability WHERE {where}",
        )
        assert sorted(found) == sorted(probabilities)

    def test_trials_without_go_cue_are_named(self, lab, root):
        item = lab.foraging[1]
        found = rows(root, f"SELECT item FROM ingest.skipped WHERE {of(item.session)}")
        assert sorted(found) == [(f"{item.bpod[0].path.stem}:{n}",) for n in (2, 5)]

    def test_events_on_the_recording_clock(self, lab, root):
        item = lab.foraging[0]
        for kind, truth in (("trial", item.events.markers), ("action", item.events.licks)):
            found = rows(
                root,
                f"SELECT trial, {kind}_event_id, {kind}_event_type, {kind}_event_time "
                f"FROM ephys.ephys_{kind}_event WHERE {of(item.session)} ORDER BY 1, 2",
            )
            assert [(row[0], row[2]) for row in found] == [row[:2] for row in truth]
            np.testing.assert_allclose([row[3] for row in found], [row[2] for row in truth])
            firsts = [
                row[1]
                for row, before in zip(found, [None, *found], strict=False)
                if before is None or before[0] != row[0]
            ]
            assert set(firsts) == {0}

    def test_camera_frames(self, lab, root):
        probe = lab.foraging[0].session.probes[0]
        found = sql(
            root,
            "SELECT trial, tracking_device, list(frame_time ORDER BY frame) AS t "
            f"FROM tracking.tracking_frame WHERE {of(probe.session)} GROUP BY ALL ORDER BY ALL",
        )
        assert set(found["tracking_device"]) == {"Camera 0", "Camera 1"}
        camera = found.filter(pl.col("tracking_device") == "Camera 1")
        assert camera["trial"].to_list() == probe.ephys_trial.tolist()
        starts = probe.start_sample / probe.sampling_rate
        np.testing.assert_allclose(np.array(camera["t"].to_list())[:, 2], starts + 2 * 0.0034)

    def test_what_people_noted(self, lab, root):
        item = lab.foraging[0]
        found = rows(
            root,
            "SELECT session_weight, session_water_earned, session_water_extra, session_comment "
            "FROM experiment.session_details JOIN experiment.session_comment "
            "USING (subject_id, session)",
        )
        day = item.day
        assert found == [(day.weight, day.water_earned, day.water_extra, day.notes)]
        people = dict(rows(root, "SELECT username, fullname FROM lab.person"))
        assert lab.people.items() <= people.items()
        rigs = dict(rows(root, "SELECT rig, rig_description FROM lab.rig"))
        assert lab.rigs.items() <= rigs.items()


class TestEphys:
    def test_the_sorter_that_is_preferred(self, lab, root):
        found = rows(
            root,
            "SELECT DISTINCT subject_id, session, insertion_number, clustering_method "
            "FROM ephys.unit ORDER BY ALL",
        )
        assert found == sorted((*_key(probe), probe.clustering_method) for probe in lab.probes)
        assert {row[3] for row in found} == {"jrclust_v3", "jrclust_v4", "kilosort2"}

    def test_units(self, lab, root):
        for probe in lab.probes:
            units = probe.units
            fires = np.isin(units.id, probe.spike_unit)
            order = np.argsort(units.id[fires])
            found = sql(
                root,
                f"FROM ephys.unit WHERE {of(probe.session, probe.insertion_number)} ORDER BY unit",
            )
            assert found["unit"].to_list() == units.id[fires][order].tolist()
            for column, truth in (("unit_quality", units.quality), ("electrode", units.electrode)):
                assert found[column].to_list() == truth[fires][order].tolist()
            for column, truth in (("unit_posx", units.x), ("unit_posy", units.y)):
                np.testing.assert_allclose(found[column], truth[fires][order], atol=1e-4)
            counts = [len(probe.spikes(unit)) for unit in units.id[fires][order]]
            assert found["spike_count"].to_list() == counts
            if probe.clustering_method.startswith("jrclust"):
                np.testing.assert_allclose(found["unit_amp"], units.amplitude[fires][order])

    def test_spikes_and_their_trials(self, lab, root):
        for probe in lab.probes:
            found = sql(
                root,
                "SELECT unit, spike_sample, trial FROM ephys.spike "
                f"WHERE {of(probe.session, probe.insertion_number)} ORDER BY unit, spike_sample",
            )
            order = np.lexsort((probe.spike_sample, probe.spike_unit))
            assert found["spike_sample"].to_list() == probe.spike_sample[order].tolist()
            assert found["unit"].to_list() == probe.spike_unit[order].tolist()
            trial = probe.spike_trial()[order]
            assert found["trial"].fill_null(0).to_list() == trial.tolist()

    def test_recorded_trials(self, lab, root):
        for probe in lab.probes:
            found = sql(
                root,
                f"FROM ephys.ephys_trial WHERE "
                f"{of(probe.session, probe.insertion_number)} ORDER BY trial",
            )
            kept = np.isin(probe.ephys_trial, probe.trials)
            assert found["trial"].to_list() == probe.ephys_trial[kept].tolist()
            assert found["start_sample"].to_list() == probe.start_sample[kept].tolist()
            assert found["go_sample"].fill_null(-1).to_list() == probe.go_sample[kept].tolist()

    def test_curation_and_waveforms_of_jrclust(self, lab, root):
        probe = next(p for p in lab.probes if p.clustering_method == "jrclust_v4")
        where = of(probe.session, probe.insertion_number)
        ((time, curated),) = rows(
            root,
            f"SELECT clustering_time, manual_curation FROM ephys.clustering_label WHERE {where}",
        )
        logged = (probe.folder / "phy.log").exists()
        assert (str(time), curated) == ("2020-03-04 09:05:30", logged)
        file = next(probe.folder.glob("*.ap_res.mat"))
        with h5py.File(file) as data:  # with the library of the format
            snr = data["unitSNR"][()].ravel()
        found = sql(
            root,
            f"FROM ephys.unit JOIN ephys.unit_waveform USING (subject_id, session, "
            f"insertion_number, clustering_method, unit) WHERE {where} ORDER BY unit",
        )
        np.testing.assert_allclose(found["unit_snr"], snr)
        waves = np.array(found["waveform"].to_list())
        np.testing.assert_allclose(waves, probe.units.waveform, rtol=1e-5, atol=1e-4)

    def test_probes_of_four_shanks(self, lab, root):
        probe = lab.sessions[3].probes[0]
        found = sql(
            root,
            "SELECT electrode, shank, x_coord, y_coord FROM lab.electrode_config_electrode "
            "JOIN lab.probe_type_electrode USING (probe_type, electrode) "
            f"WHERE probe_type = '{probe.probe_type}' ORDER BY electrode",
        )
        order = np.argsort(probe.electrode)
        assert found["electrode"].to_list() == probe.electrode[order].tolist()
        assert set(found["shank"]) == {1, 2, 3, 4}
        position = found.select("x_coord", "y_coord").to_numpy()
        np.testing.assert_allclose(position, probe.position[order])

    def test_local_field_potentials(self, lab, root):
        (item,) = lab.potentials
        ((rate, samples, channels, path),) = rows(
            root,
            "SELECT lfp_sample_rate, sample_count, channel_count, array_path FROM ephys.lfp "
            f"WHERE {of(item.probe.session, 1)}",
        )
        assert (rate, samples, channels) == (2500.0, *item.counts.shape)
        group = zarr.open_group(str(root / path), mode="r")
        trace = group["trace"][:] * group["uv_per_bit"][:]
        np.testing.assert_allclose(trace, item.counts * LFP_UV)
        used = np.arange(channels) != item.reference
        assert group["used"][:].tolist() == used.tolist()
        np.testing.assert_allclose(group["mean"][:], item.counts.mean(axis=1) * LFP_UV)
        assert group["electrode"][:].tolist() == item.probe.electrode.tolist()

    def test_channels_that_were_not_saved(self, tmp_path):
        """AP 100 to 147 and LF 120 to 159 of 384 channels: 148 to 159 have no AP channel."""
        lab = small(tmp_path, animals=1, sessions=1)
        (probe,) = lab.probes
        (spikes,) = probe.folder.glob("*.ap.meta")
        counts = np.zeros((2500, 40), np.int16)
        potentials = write_lfp(spikes.with_name(spikes.name[:-8] + ".lf"), counts, [250] * 40)
        for path, band, first, last in ((spikes, 0, 100, 147), (potentials, 384, 120, 159)):
            sites = "".join(f"(0:{c % 2}:{c // 2}:1)" for c in range(first, last + 1))
            keys = {
                "acqApLfSy": "384,384,1",
                "snsSaveChanSubset": f"{band + first}:{band + last},768",
                "~imroTbl": "(0,384)" + "".join(f"({c} 0 0 500 250 1)" for c in range(384)),
                "~snsShankMap": f"(1,2,480){sites}",
            }
            text = path.read_text(encoding="utf-8")
            for key, value in keys.items():
                text = re.sub(rf"(?m)^{key}=.*$", f"{key}={value}", text)
            path.write_text(text, encoding="utf-8")
        assert not ingest(lab).failed
        root = lake_root(lab)
        ((place,),) = rows(root, "SELECT array_path FROM ephys.lfp")
        found = zarr.open_group(str(root / place), mode="r")["electrode"][:].tolist()
        assert found == [*range(121, 149), *[-1] * 12]


def _key(probe):
    return probe.session.subject_id, probe.session.number, probe.insertion_number


class TestWhole:
    def test_nothing_is_wrong_with_the_lake(self, root):
        assert check(root, deep=True) == []

    def test_status_knows_every_source(self, lab, root):
        found = status(load(lab.config))
        known = {s.status for s in found}
        assert known == {"in", "absent"}
        counts = {
            kind: sum(s.kind == kind and s.status == "in" for s in found)
            for kind in {s.kind for s in found}
        }
        assert counts == {
            "behavior": 8,
            "ephys": 11,
            "lfp": 1,
            "nidq": 2,
            "tracking": 4,
            "histology": 4,
            "insertion_location": 11,
        }
        absent = {
            (s.h2o, s.session, s.kind, s.insertion_number) for s in found if s.status == "absent"
        }
        assert ("MK004", 2, "ephys", None) in absent
        assert ("MK003", 1, "histology", 1) in absent
        assert ("MK001", 1, "histology", 1) not in absent

    def test_the_reader_that_read_is_named(self, lab, root):
        found = rows(root, "SELECT DISTINCT kind, reader FROM ingest.source WHERE kind <> 'ephys'")
        assert {
            ("behavior", "delay_response"),
            ("behavior", "multi_target_licking"),
            ("behavior", "foraging"),
            ("histology", "site_info"),
            ("histology", "channel_locations"),
        } <= set(found)
