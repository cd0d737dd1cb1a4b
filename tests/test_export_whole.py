"""Exports of a lab with everything: NWB, histology and videos in MATLAB, viewer, smaller lakes."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from labs import lake_root, sql, statuses
from scipy.io import loadmat

import maplake
from maplake.config import load
from maplake.exports.lake import export_lake
from maplake.exports.lake_keys import choose
from maplake.exports.nwb import export_nwb, zone_of
from maplake.exports.recording import export_recording
from maplake.exports.select import Selection, insertions, sessions
from maplake.exports.viewer import export_viewer
from maplake.ingest import pipeline
from maplake.query.check import check


@pytest.fixture(scope="module")
def lab(whole_lab):
    return whole_lab


@pytest.fixture(scope="module")
def lake(lab):
    with maplake.open(lake_root(lab)) as lake:
        yield lake


def only(lake, session):
    (found,) = sessions(lake, Selection([str(session.subject_id)], [session.number]))
    return found


# ---------------------------------------------------------------------------------------- NWB

#: With everything; without light and histology; with targets and videos; foraging with and without
#: a probe.
NWB = {(400001, 1), (400002, 1), (400003, 2), (400004, 1), (400004, 2)}


@pytest.fixture(scope="module")
def pynwb():
    return pytest.importorskip("pynwb", reason="needs pynwb: pip install 'maplake[nwb]'")


@pytest.fixture(scope="module")
def files(lake, pynwb, tmp_path_factory):
    from maplake.exports.nwb_frame import Facts

    folder = tmp_path_factory.mktemp("nwb")
    facts = Facts(UTC, "an institute", "a lab")
    return {
        (s.subject_id, s.session): export_nwb(lake, s, folder, facts=facts)
        for s in sessions(lake, Selection())
        if (s.subject_id, s.session) in NWB
    }


def read(pynwb, path, use):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pynwb, about its own older types
        with pynwb.NWBHDF5IO(str(path), mode="r") as io:
            return use(io.read())


def lead_of(file):
    return (file.session_start_time - file.timestamps_reference_time).total_seconds()


def test_nwbinspector_finds_no_fault(files):
    inspector = pytest.importorskip("nwbinspector", reason="needs nwbinspector")
    worst = inspector.Importance.BEST_PRACTICE_VIOLATION
    assert set(files) == NWB
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in files.values():
            found = list(inspector.inspect_nwbfile(nwbfile_path=path))
            serious = [
                (m.check_function_name, m.message)
                for m in found
                if m.importance.value >= worst.value
            ]
            assert serious == []


def test_the_schema_holds(files, pynwb):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in list(files.values())[::2]:
            assert pynwb.validate(path=str(path)) == []


def test_names_are_those_of_the_archive(lab, files):
    names = {key: path.name for key, path in files.items()}
    s = lab.sessions[0]
    start = f"{s.start:%Y%m%dT%H%M%S}"
    assert names[s.subject_id, s.number] == f"sub-400001_ses-{start}_behavior+ecephys+ogen.nwb"
    assert sum("ogen" in name for name in names.values()) == 1
    assert names[400004, 2].endswith("_behavior.nwb")
    assert all(path.parent.name == path.name.split("_")[0] for path in files.values())


def test_spikes_are_exact(lab, files, pynwb):
    for session in lab.sessions:
        if not session.probes or (session.subject_id, session.number) not in NWB:
            continue
        path = files[session.subject_id, session.number]
        read(pynwb, path, lambda file, session=session: _check_spikes(session, file))


def _check_spikes(session, file):
    lead = lead_of(file)
    units = file.units
    starts = dict(zip(file.trials["trial"][:].tolist(), file.trials["start_time"][:], strict=True))
    for probe in session.probes:
        mine = np.flatnonzero(units["insertion_number"][:] == probe.insertion_number)
        known = np.unique(probe.spike_unit[np.isin(probe.spike_unit, probe.units.id)])
        assert sorted(units["unit"][:][mine].tolist()) == known.tolist()
        order = np.argsort(probe.start_sample)
        trial, sample = probe.ephys_trial[order], probe.start_sample[order]
        matched = np.isin(trial, list(starts))
        trial, sample = trial[matched], sample[matched]
        begin = np.array([starts[t] for t in trial.tolist()])
        for row in mine.tolist():
            spikes = np.sort(probe.spike_sample[probe.spike_unit == units["unit"][row]])
            np.testing.assert_array_equal(np.sort(units["spike_samples"][row]), spikes)
            place = np.maximum(np.searchsorted(sample, spikes, side="right") - 1, 0)
            expected = begin[place] + (spikes - sample[place]) / probe.sampling_rate
            found = units["spike_times"][row]
            np.testing.assert_allclose(found, np.sort(expected), rtol=0, atol=1e-9)
            assert (np.diff(found) >= 0).all()
            ((start, stop),) = units["obs_intervals"][row]
            assert start <= found[0]
            assert found[-1] <= stop
    assert lead >= 0
    assert min(times[0] for times in units["spike_times"][:] if len(times)) >= 0


def test_trials_are_exact(lab, files, pynwb):
    for session in (s for s in lab.sessions[:4] if (s.subject_id, s.number) in NWB):
        path = files[session.subject_id, session.number]
        read(pynwb, path, lambda file, session=session: _check_trials(session, file))


def _check_trials(session, file):
    lead, trials = lead_of(file), session.trials
    table = file.trials.to_dataframe()
    assert lead == int(lead)
    assert table["trial"].tolist() == trials.trial.tolist()
    for name in ("start_time", "stop_time"):
        np.testing.assert_allclose(table[name] - lead, getattr(trials, name), rtol=0, atol=1e-9)
    for name in ("trial_instruction", "early_lick", "outcome"):
        assert table[name].tolist() == getattr(trials, name).tolist()
    for name in ("auto_water", "free_water"):
        assert table[name].astype(bool).tolist() == trials.__dict__[name].astype(bool).tolist()
    if "photostim_onset" in table:
        np.testing.assert_allclose(table["photostim_onset"], trials.photostim_onset)
        stim = np.where(trials.photo_stim == 0, np.nan, trials.photo_stim)
        np.testing.assert_array_equal(table["photo_stim"], stim)
    else:
        assert not trials.photo_stim.any()
    _check_events(session, file, lead)


def _check_events(session, file, lead):
    begin = dict(zip(session.trials.trial.tolist(), session.trials.start_time, strict=True))
    series = file.acquisition["BehavioralEvents"].time_series
    for events, ending in ((session.events, "_start_times"), (session.licks, "_times")):
        for kind in np.unique(events.type).tolist():
            mine = events.type == kind
            trial = events.trial[mine]
            time = np.array([begin[t] for t in trial.tolist()]) + events.time[mine] + lead
            found = series[f"{kind.replace(' ', '_')}{ending}"]
            order = np.argsort(time, kind="stable")
            np.testing.assert_allclose(found.timestamps[:], time[order], rtol=0, atol=1e-9)
            assert found.data[:].tolist() == trial[order].tolist()


def test_light_animal_and_sites(lab, files, pynwb):
    session = lab.sessions[0]

    def use(file):
        assert (file.subject.species, file.subject.sex) == ("Mus musculus", session.animal.sex)
        age = session.start.date() - session.animal.date_of_birth
        assert file.subject.age == f"P{age.days}D"
        assert file.session_start_time == session.start.replace(tzinfo=UTC)
        used = set(session.trials.photo_stim.tolist()) - {0}
        assert {int(name.rsplit("_", 1)[1]) for name in file.ogen_sites} == used
        for number in used:
            made = file.stimulus[f"photostim_{number}"]
            count = int((session.trials.photo_stim == number).sum())
            assert (made.data[:] > 0).sum() == count
            assert (made.data[:] < 1).all()  # W
        table = file.electrodes.to_dataframe()
        for located in lab.located[:2]:
            mine = table[table.insertion_number == located.probe.insertion_number]
            assert mine["electrode"].tolist() == sorted(located.probe.electrode.tolist())
            spots = located.position()
            for row in mine.itertuples():
                position, _, known = spots[row.electrode]
                if known and not np.isnan(row.x):
                    assert np.abs(np.array([row.x, row.y, row.z]) - position).max() <= 50
        assert "source_files" in file.scratch

    read(pynwb, files[session.subject_id, session.number], use)


def test_videos_and_potentials(lab, files, pynwb):
    session = lab.sessions[0]

    def use(file):
        lead = lead_of(file)
        series = file.acquisition["BehavioralTimeSeries"].time_series
        begin = dict(zip(session.trials.trial.tolist(), session.trials.start_time, strict=True))
        for tracked in (t for t in lab.tracked if t.session is session):
            camera = tracked.camera
            for place, feature in enumerate(camera.features):
                word = "".join(w[:1].upper() + w[1:] for w in feature.split("_"))
                name = f"{tracked.device.replace(' ', '')}_{camera.position}_{word}Tracking"
                if name not in series:
                    continue
                trials = [
                    t for t in camera.trial.tolist() if t in begin and t not in tracked.missing
                ]
                values = [
                    camera.values[n][:, place]
                    for n, t in enumerate(camera.trial.tolist())
                    if t in trials
                ]
                np.testing.assert_allclose(series[name].data[:], np.concatenate(values))
                assert len(series[name].timestamps) == sum(map(len, values))
                assert series[name].timestamps[0] == pytest.approx(begin[trials[0]] + lead)
        (potentials,) = [p for p in lab.potentials if p.probe.session is session]
        (lfp,) = file.processing["ecephys"]["LFP"].electrical_series.values()
        np.testing.assert_array_equal(lfp.data[:], potentials.counts)
        first = file.units["obs_intervals"][0][0]
        assert 0 <= lfp.starting_time <= first[0]

    read(pynwb, files[session.subject_id, session.number], use)


def test_labels_of_other_tasks(files, pynwb):
    foraging = read(pynwb, files[400004, 1], lambda file: file.trials.to_dataframe())
    assert {"block", "water_port", "reward_probability_left", "note_bitcode"} & set(foraging) >= {
        "block",
        "water_port",
        "reward_probability_left",
    }
    licking = read(pynwb, files[400003, 2], lambda file: file.trials.to_dataframe())
    assert {"block", "block_trial_number", "water_port", "position_x"} <= set(licking)


def test_a_file_is_the_same_session_each_time(lake, lab, pynwb, tmp_path):
    session = only(lake, lab.sessions[-1])
    names = [
        read(pynwb, export_nwb(lake, session, tmp_path / str(n)), lambda file: file.identifier)
        for n in (1, 2)
    ]
    assert names[0] == names[1]
    with pytest.raises(maplake.errors.QueryError, match="--force"):
        export_nwb(lake, session, tmp_path / "1")


def test_time_zones():
    assert zone_of("") is None
    assert zone_of("America/New_York").utcoffset(datetime(2021, 1, 1)) == timedelta(hours=-5)
    for wrong in ("Mars/Olympus", "../../etc/passwd"):
        with pytest.raises(maplake.errors.QueryError, match="time zone"):
            zone_of(wrong)


# ------------------------------------------------------------------- MATLAB, viewer, smaller lake


def test_every_recording_opens_in_the_documented_shape(lake, tmp_path):
    for insertion in insertions(lake, Selection()):
        found = loadmat(export_recording(lake, insertion, tmp_path))
        count = found["task_stimulation"].shape[0]
        units = len(found["neuron_unit_info"])
        assert found["neuron_single_units"].shape == (units, 1)
        assert found["neuron_unit_waveforms"].shape == (units, 1)
        assert all(cell.shape == (count, 1) for cell in found["neuron_single_units"][:, 0])
        assert found["behavior_report"].shape == (1, count)
        assert found["task_cue_time"].shape == (2, count)


def test_videos_and_histology_in_matlab(lab, lake, tmp_path):
    session = lab.sessions[0]
    first = insertions(lake, Selection([session.h2o], [session.number], [1]))[0]
    found = loadmat(export_recording(lake, first, tmp_path))
    cameras = found["tracking"][0, 0]
    assert set(cameras.dtype.names) == {"camera_0_side", "camera_1_bottom", "camera_2_body"}
    side = cameras["camera_0_side"][0, 0]
    (tracked,) = [t for t in lab.tracked if t.session is session and t.camera.position == "side"]
    camera = tracked.camera
    for place, trial in enumerate(side["trialNum"][0].astype(int).tolist()):
        where = camera.trial.tolist().index(trial)
        assert side["Nframes"][0, place] == camera.frames[where]
        for feature in ("tongue", "jaw"):
            column = camera.features.index(feature)
            for axis, name in enumerate(("x", "y", "likelihood")):
                values = side[f"{feature}_{name}"][0, place]
                assert values.shape == (1, camera.frames[where])
                np.testing.assert_allclose(values[0], camera.values[where][:, column, axis])
    places = found["histology"][0, 0]
    spots = lab.located[0].position()
    probe = lab.located[0].probe
    for place, unit in enumerate(places["unit"][0].astype(int).tolist()):
        position, _, _ = spots[int(probe.units.electrode[probe.units.row(unit)])]
        got = [places[f"ccf_{axis}"][0, place] for axis in "xyz"]
        assert np.abs(np.array(got) - position).max() <= 50
    lighter = export_recording(lake, first, tmp_path, force=True, with_tracking=False)
    assert loadmat(lighter)["tracking"].shape == (0, 0)


def test_viewer(lab, lake, tmp_path):
    session = lab.sessions[0]
    first = insertions(lake, Selection([session.h2o], [session.number], [1]))[0]
    with np.load(export_viewer(lake, first, tmp_path)) as found:
        count = len(found["unit_id"])
        assert count > 0
        assert found["ccf_coord"].shape == (count, 3)
        assert found["unit_psth"].shape == (count + 1, 149)
        np.testing.assert_allclose(found["unit_psth"][0, [0, -1]], [-2.96, 2.96])
        assert found["waveform"].shape == (count, 82)
        spots = lab.located[0].position()
        units = session.probes[0].units
        for unit, (ap, dv, right) in zip(found["unit_id"], found["ccf_coord"], strict=True):
            x, y, z = spots[int(units.electrode[units.row(unit)])][0]
            assert np.abs(np.array([ap - z, dv - y, 11400 - right - x])).max() <= 50
        psth = lake.psth(*first.key.values(), condition="good_noearlylick_hit", start=-3, stop=2.97)
        assert psth.rate.shape[1] == 149
    other = insertions(lake, Selection(["400003"], [1]))[0]
    with pytest.raises(maplake.errors.NotFoundError, match="CCF"):
        export_viewer(lake, other, tmp_path)


def test_a_region_and_a_later_ingest(lab, lake, tmp_path):
    region = sql(lake.root, "SELECT region_name FROM ephys.unit_ccf WHERE region_name IS NOT NULL")
    keys = choose(lake, Selection(["400001"]), [region["region_name"][0].upper()])
    assert keys.subjects == {400001}
    root = export_lake(lake, keys, tmp_path / "new").root
    assert check(root, deep=True) == []
    kinds = set(sql(root, "SELECT DISTINCT kind FROM ingest.source").to_series())
    assert {"behavior", "ephys", "histology", "ccf"} <= kinds
    log = [json.loads(path.read_bytes()) for path in (root / ".maplake" / "log").iterdir()]
    assert any("export lake" in json.dumps(entry) for entry in log)
    config = load(lab.config)
    moved = replace(config, lake=replace(config.lake, root=root))
    report = pipeline.run(moved, subject="MK001")
    assert not report.failed
    kept = statuses(report)
    assert kept["behavior", lab.sessions[0].file.stem] == "unchanged"
    assert check(root, deep=True) == []
    where = "WHERE subject_id = 400001"
    query = f"SELECT session, session_datetime FROM experiment.session {where} ORDER BY ALL"
    assert sql(root, query).equals(sql(lake.root, query))
    count = f"SELECT count(*) FROM ephys.spike {where}"
    assert sql(root, count).item() == sql(lake.root, count).item()
