"""The simulated lab: its files open with plain tools, and its truth is what they hold."""

import ast
import csv
import hashlib
import os
import sys
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from probeinterface import read_spikeglx
from scipy.io import loadmat

from maplake import simulate
from maplake.simulate.conditions import CONDITIONS
from maplake.simulate.geometry import GENERATIONS
from maplake.simulate.kilosort import curated_at
from maplake.simulate.spikes import draw_spikes
from maplake.simulate.spreadsheets import animal_rows, write_xlsx

SMALL = {"animals": 1, "sessions": 1, "probes": 1, "trials": 30, "units": 8}
FEW = simulate.Recording(channels=64)
# Codes must differ for a test to tell trials apart by them.
LONG_CODES = simulate.Task(bits=20)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return simulate.lab(
        tmp_path_factory.mktemp("small"),
        sessions=2,
        **{k: v for k, v in SMALL.items() if k != "sessions"},
        recording=FEW,
        task=LONG_CODES,
    )


@pytest.fixture(scope="module")
def long_session(tmp_path_factory):
    lab = simulate.lab(
        tmp_path_factory.mktemp("long"),
        **(SMALL | {"trials": 300, "units": 12}),
        rate_hz=10.0,
        recording=FEW,
        sorting=simulate.Sorting(pc_features=False),
    )
    return lab.sessions[0]


def probe_of(directory, **changes):
    """The only probe of a small lab."""
    return simulate.lab(directory, **({"recording": FEW} | SMALL | changes)).probes[0]


def session_data(session):
    return loadmat(session.file, squeeze_me=True, struct_as_record=False)["SessionData"]


def load(probe, name):
    return np.load(probe.sorting_folder / f"{name}.npy", allow_pickle=False)


def meta_of(probe):
    (path,) = probe.folder.glob("*.ap.meta")
    lines = path.read_text(encoding="ascii").splitlines()
    return path, dict(line.split("=", 1) for line in lines)


def read_tsv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ---------------------------------------------------------------------------------------- the lab


def test_imports_nothing_else_of_maplake():
    libraries = {"h5py", "nrrd", "numpy", "polars", "scipy", "tifffile"}
    allowed = {*libraries, "__future__", *sys.stdlib_module_names}
    for path in Path(simulate.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.startswith("maplake.simulate") or name.split(".")[0] in allowed, path


def test_same_arguments_same_bytes(tmp_path):
    sorting = simulate.Sorting(metrics=True, phy_log=True)
    for name in ("a", "b"):
        simulate.lab(tmp_path / name, **SMALL, recording=FEW, sorting=sorting)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_other_seed_other_spikes(tmp_path):
    one, two = (probe_of(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    assert not np.array_equal(one.spike_sample, two.spike_sample)


def test_first_session_does_not_depend_on_what_follows(small, tmp_path):
    alone = simulate.lab(tmp_path, **SMALL, recording=FEW, task=LONG_CODES)
    ours, theirs = alone.sessions[0], small.sessions[0]
    assert ours.file.read_bytes() == theirs.file.read_bytes()
    np.testing.assert_array_equal(ours.probes[0].spike_sample, theirs.probes[0].spike_sample)


def test_configuration_names_what_is_there(small):
    config = tomllib.loads(small.config.read_text(encoding="utf-8"))
    rig = small.directory / config["behavior"]["rigs"][0]["path"]
    assert all(session.file.is_relative_to(rig) for session in small.sessions)
    (ephys,) = config["ephys"]["paths"]
    assert all(p.folder.is_relative_to(small.directory / ephys) for p in small.probes)
    sheets = config["spreadsheets"]
    assert (small.directory / sheets["animals"][0]) == small.animals_file
    assert (small.directory / sheets["insertion_locations"][0]) == small.insertions_file
    assert config["lake"]["root"] == "lake"
    assert config["behavior"]["min_file_kib"] == 0


def test_spreadsheets(small):
    with small.animals_file.open(encoding="utf-8", newline="") as file:
        animals = list(csv.DictReader(file))
    assert [row["water_restriction_number"] for row in animals] == [a.h2o for a in small.animals]
    with small.insertions_file.open(encoding="utf-8", newline="") as file:
        insertions = list(csv.DictReader(file))
    assert len(insertions) == len(small.probes)
    limited = [row for row in insertions if row["good_period"]]
    assert len(limited) == 1
    assert limited[0]["good_period"].endswith("-end")


def test_animals_as_xlsx(small, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    write_xlsx(tmp_path / "animals.xlsx", animal_rows(small.animals))
    header, row = openpyxl.load_workbook(tmp_path / "animals.xlsx").active.values
    assert header[1] == "Water restriction number"
    assert row[0] == small.animals[0].subject_id


def test_progress_names_sessions_and_probes(tmp_path):
    lines = []
    simulate.lab(tmp_path, **SMALL, recording=FEW, progress=lines.append)
    assert [line.split(":")[0] for line in lines] == [
        "MK001 session 1",
        "MK001 session 1 probe 1",
    ]


# ----------------------------------------------------------------------------------- the behavior


def test_behavior_file_has_what_real_ones_have(small):
    root = os.environ.get("MAPLAKE_TEST_DATA")
    if not root:
        pytest.skip("MAPLAKE_TEST_DATA does not name the real files")
    name = "real/bpod_mat/map-ephys/dl25_tw2_20180225_102508.mat"
    real, ours = loadmat(Path(root) / name), loadmat(small.sessions[0].file)
    real, ours = real["SessionData"], ours["SessionData"]
    assert set(real.dtype.names) == set(ours.dtype.names)
    for field in real.dtype.names:
        theirs, mine = real[0, 0][field], ours[0, 0][field]
        assert theirs.shape[0] == mine.shape[0], field
        if theirs.dtype.names:
            assert set(mine.dtype.names) == set(theirs.dtype.names), field
    assert (
        real[0, 0]["TrialSettings"][0, 0]["GUI"].dtype.names
        == ours[0, 0]["TrialSettings"][0, 0]["GUI"].dtype.names
    )
    for field in real[0, 0]["RawData"].dtype.names:
        theirs, mine = (x[0, 0]["RawData"][0, 0][field][0, 0] for x in (real, ours))
        assert (theirs.dtype, theirs.shape[0]) == (mine.dtype, mine.shape[0]), field


def test_file_says_what_the_truth_says(small):
    session = small.sessions[0]
    data, trials = session_data(session), session.trials
    names = [list(names) for names in data.RawData.OriginalStateNamesByNumber]
    starts = data.TrialStartTimestamp - data.TrialStartTimestamp[0]
    np.testing.assert_array_equal(starts[trials.trial - 1], trials.start_time)
    for row, number in enumerate(trials.trial):
        states = [names[number - 1][k - 1] for k in data.RawData.OriginalStateData[number - 1]]
        times = data.RawData.OriginalStateTimestamps[number - 1]
        gui = data.TrialSettings[number - 1].GUI
        assert len(times) == len(states) + 1
        assert gui.randomID == trials.bitcode[row]
        assert times[states.index("ResponseCue")] == trials.go_time[row]
        end = times[states.index("TrialEnd")]
        assert starts[number - 1] + end == trials.stop_time[row]
        left = (data.TrialTypes[number - 1] == 1) == (gui.Reversal == 1)
        assert trials.trial_instruction[row] == ("left" if left else "right")
        assert ("Reward" in states) == (trials.outcome[row] == "hit")
        assert ("NoResponse" in states) == (trials.outcome[row] == "ignore")
        early = {"EarlyLickSample", "EarlyLickDelay"} & set(states)
        assert (trials.early_lick[row] == "early") == bool(early)
        water = gui.Autowater == 1 or data.TrialSettings[number - 1].GaveFreeReward[:2].any()
        assert trials.auto_water[row] == water
        go = data.RawEvents.Trial[number - 1].States.ResponseCue
        assert go[0] == trials.go_time[row]


def test_info_is_the_start(small):
    session = small.sessions[1]
    info = session_data(session).Info
    assert info.SessionDate == "02-Mar-2021"
    assert info.SessionStartTime_UTC == f"{session.start:%H:%M:%S}"
    assert session.start.strftime("%Y%m%d") in session.file.name


def test_events_and_licks_match_the_file(small):
    session = small.sessions[0]
    raw = session_data(session).RawData
    for number in session.trials.trial:
        codes, times = raw.OriginalEventData[number - 1], raw.OriginalEventTimestamps[number - 1]
        mine = session.licks.trial == number
        np.testing.assert_array_equal(session.licks.time[mine], times[np.isin(codes, (69, 71))])
        left = session.licks.type[mine] == "left lick"
        np.testing.assert_array_equal(left, codes[np.isin(codes, (69, 71))] == 69)
        np.testing.assert_array_equal(session.licks.id[mine], np.arange(mine.sum()))
        events = session.events.trial == number
        assert np.all(np.diff(session.events.time[events]) > 0)
        last = session.events.type[events][-1]
        assert last == "trialend"


def test_times_have_the_resolution_of_bpod(small):
    time = small.sessions[0].licks.time * 1e4
    np.testing.assert_allclose(time, np.round(time), atol=1e-6)


def test_every_kind_of_trial_occurs(long_session):
    trials = long_session.trials
    assert set(trials.trial_instruction) == {"left", "right"}
    assert set(trials.outcome) == {"hit", "miss", "ignore"}
    assert set(trials.early_lick) == {"early", "no early"}
    assert set(trials.photo_stim) == {0, 4, 5, 6}
    assert trials.auto_water.any()
    assert any(code.startswith("0") for code in trials.bitcode)
    lengths = set(map(len, trials.bitcode))
    assert len(lengths) == 1
    assert 10 <= lengths.pop() <= 20


def test_warm_up_trials_with_a_stim_number_have_no_light(long_session):
    data = session_data(long_session)
    warm = long_session.trials.autolearn == 1
    assert data.StimTrials[long_session.trials.trial[warm] - 1].any()
    assert not long_session.trials.photo_stim[warm].any()


def test_light_comes_with_the_last_delay(long_session):
    trials, events = long_session.trials, long_session.events
    for row in np.flatnonzero(trials.photo_stim):
        delays = (events.trial == trials.trial[row]) & (events.type == "delay")
        assert trials.photostim_onset[row] == events.time[delays][-1]
        assert events.duration[delays][-1] == pytest.approx(1.2)


def test_light_comes_late_in_the_delay_of_some_animals(tmp_path):
    task = simulate.Task(protocol="af_RecordingRig3", stim=0.9)
    lab = simulate.lab(tmp_path, **SMALL, h2o_prefix="SC", task=task, recording=FEW)
    trials = lab.sessions[0].trials
    lit = trials.photo_stim > 0
    assert lit.any()
    np.testing.assert_allclose(trials.go_time[lit] - trials.photostim_onset[lit], 0.5)


def test_conditions_cover_and_divide(long_session):
    sets = {name: set(long_session.condition_trials(name)) for name in CONDITIONS}
    assert len(sets) == 17
    assert all(sets.values())
    for name in CONDITIONS:
        if name + "_left" in sets:
            left, right = sets[name + "_left"], sets[name + "_right"]
            assert left | right == sets[name]
            assert not left & right
    hits = sets["good_noearlylick_hit"]
    assert hits == sets["good_noearlylick_left_hit"] | sets["good_noearlylick_right_hit"]
    assert hits <= sets["all_noearlylick_nostim"]
    assert long_session.condition_trials("ALL_noearlylick_both_ALM_stim").size


def test_skipped_trials_keep_their_number(tmp_path):
    probe = probe_of(tmp_path, task=simulate.Task(skipped=(1, 7)))
    session = probe.session
    assert session.skipped == (1, 7)
    assert set(session.trials.trial) == set(range(1, 31)) - {1, 7}
    assert session_data(session).TrialSettings[6].GUI.ProtocolType == 2
    assert session.trials.start_time[0] > 0
    assert 7 in probe.ephys_trial
    assert 7 not in probe.spike_trial()


def test_free_water_trials_have_no_go_cue(tmp_path):
    probe = probe_of(tmp_path, task=simulate.Task(free_water=0.3))
    trials = probe.session.trials
    assert trials.free_water.any()
    np.testing.assert_array_equal(np.isnan(trials.go_time), trials.free_water)
    np.testing.assert_array_equal(probe.go_sample < 0, trials.free_water)
    data = session_data(probe.session)
    np.testing.assert_array_equal(data.FreeTrials, trials.free_water)
    first = int(np.flatnonzero(trials.free_water)[0])
    assert np.isnan(data.RawEvents.Trial[first].States.ResponseCue).all()
    (path,) = probe.folder.glob("*bitcode.mat")
    codes = loadmat(path)
    assert codes["goCue"].size == codes["sTrig"].size - trials.free_water.sum()
    free = int(trials.trial[first])
    unit = int(Counter(probe.spike_unit.tolist()).most_common(1)[0][0])
    assert np.isnan(probe.trial_spikes(unit, free)).all()


# --------------------------------------------------------------------------- recording, alignment


def test_bitcodes_are_those_of_the_recorded_trials(small):
    probe = small.probes[0]
    (path,) = probe.folder.glob(f"{probe.session.h2o}_*bitcode.mat")
    data = loadmat(path)
    assert list(data["bitCodeS"]) == list(probe.session.trials.bitcode)
    np.testing.assert_array_equal(data["sTrig"].ravel(), probe.start_sample)
    np.testing.assert_array_equal(data["goCue"].ravel(), probe.go_sample)


def test_recording_may_start_late_end_early_and_have_a_margin(tmp_path):
    options = simulate.Recording(
        channels=64, starts_late=3, ends_early=2, margin=0.05, trial_numbers=True
    )
    probe = probe_of(tmp_path, recording=options)
    np.testing.assert_array_equal(probe.ephys_trial, np.arange(4, 29))
    (path,) = probe.folder.glob("*bitcode.mat")
    data = loadmat(path)
    np.testing.assert_array_equal(data["trialNum"].ravel(), probe.ephys_trial)
    np.testing.assert_array_equal(data["sTrig"].ravel() - 1500, probe.start_sample)
    assert meta_of(probe)[1]["trgTTLMarginS"] == "0.05"


def test_bitcode_times_in_seconds(tmp_path):
    options = simulate.Recording(channels=64, sampling_rate=30_000.390639, bitcode_seconds=True)
    probe = probe_of(tmp_path, recording=options)
    (path,) = probe.folder.glob("*bitcode.mat")
    samples = np.rint(loadmat(path)["sTrig"].ravel() * probe.sampling_rate)
    np.testing.assert_array_equal(samples, probe.start_sample)
    assert float(meta_of(probe)[1]["imSampRate"]) == probe.sampling_rate
    text = (probe.sorting_folder / "params.py").read_text(encoding="utf-8")
    assert "sample_rate = 30000.390639" in text
    assert "dat_path" in text


def test_codes_only(tmp_path):
    probe = probe_of(tmp_path, recording=simulate.Recording(channels=64, codes_only=True))
    (path,) = probe.folder.glob("*bitcode.mat")
    assert {"sTrig", "goCue"}.isdisjoint(loadmat(path))


def test_both_clocks_agree(small):
    probe = small.probes[0]
    trials = probe.session.trials
    go = (probe.go_sample - probe.start_sample) / probe.sampling_rate
    np.testing.assert_allclose(go, trials.go_time, atol=5e-4)
    start = (probe.start_sample - probe.start_sample[0]) / probe.sampling_rate
    np.testing.assert_allclose(start, trials.start_time, atol=1e-4)


@pytest.mark.parametrize("generation", list(GENERATIONS))
@pytest.mark.parametrize("geom_map", [False, True])
def test_probeinterface_reads_the_metadata(tmp_path, generation, geom_map):
    if generation == "3A" and geom_map:
        pytest.skip("3A probes were gone before ~snsGeomMap came")
    options = simulate.Recording(generation=generation, geom_map=geom_map)
    sorting = simulate.Sorting(pc_features=False)
    probe = probe_of(tmp_path, recording=options, sorting=sorting, trials=3, units=3)
    path, meta = meta_of(probe)
    read = read_spikeglx(path)
    assert read.serial_number == probe.serial
    positions = read.contact_positions - read.contact_positions.min(axis=0)
    np.testing.assert_allclose(positions[:, 1], probe.position[:, 1])
    kind = GENERATIONS[generation]
    shanks = (probe.electrode - 1) // kind.sites
    if kind.shanks > 1:
        np.testing.assert_array_equal(np.array(read.shank_ids, dtype=int), shanks)
    np.testing.assert_allclose(positions[:, 0], probe.position[:, 0])
    assert int(meta["fileSizeBytes"]) == 2 * 385 * probe.n_samples
    assert ("~snsGeomMap" in meta) == geom_map


def test_raw_recording_is_as_long_as_the_metadata_says(tmp_path):
    options = simulate.Recording(channels=64, raw_seconds=2.0)
    probe = probe_of(tmp_path, recording=options)
    path, meta = meta_of(probe)
    raw = path.with_suffix(".bin")
    assert raw.stat().st_size == int(meta["fileSizeBytes"]) == 2 * 65 * 60_000
    data = np.fromfile(raw, "<i2").reshape(-1, 65)
    row = int(np.argmax(np.bincount(probe.spike_unit, minlength=99)[probe.units.id]))
    spikes = probe.spikes(int(probe.units.id[row]))
    spikes = spikes[(spikes > 30) & (spikes < 59_900)]
    trough = data[spikes, probe.units.peak[row]].mean() * probe.uv_per_bit
    assert trough < -0.4 * np.ptp(probe.units.waveform[row])


# ---------------------------------------------------------------------------------- units, spikes


def test_sorter_files_hold_the_spikes(small):
    probe = small.probes[0]
    assert load(probe, "spike_times").dtype == np.uint64
    for name, truth in {
        "spike_times": probe.spike_sample,
        "spike_clusters": probe.spike_unit,
        "spike_templates": probe.spike_template,
        "amplitudes": probe.spike_amplitude,
    }.items():
        assert load(probe, name).shape == (len(truth), 1)
        np.testing.assert_array_equal(load(probe, name).ravel(), truth)
    assert np.all(np.diff(probe.spike_sample) >= 0)
    assert probe.spike_sample[-1] < probe.n_samples


def test_python_flavour_is_flat_and_in_c_order(tmp_path):
    probe = probe_of(tmp_path, sorting=simulate.Sorting(matlab=False, folder=""))
    assert probe.sorting_folder == probe.folder
    assert load(probe, "spike_times").shape == probe.spike_sample.shape
    assert load(probe, "pc_features").flags.c_contiguous


@pytest.mark.parametrize("matlab", [True, False])
def test_depth_is_the_centre_of_mass(tmp_path, matlab):
    sorting = simulate.Sorting(matlab=matlab, pc_channels=32, position_origin=(11.0, 20.0))
    probe = probe_of(tmp_path, sorting=sorting)
    features, near = load(probe, "pc_features"), load(probe, "pc_feature_ind")
    assert features.shape == (len(probe.spike_sample), 3, 32)
    power = np.maximum(features[:, 0].astype(float), 0) ** 2
    y = load(probe, "channel_positions")[:, 1][near[probe.spike_template]]
    depth = (y * power).sum(axis=1) / power.sum(axis=1)
    np.testing.assert_allclose(probe.spike_depth, depth, rtol=1e-12)


def test_templates_peak_where_the_units_are(small):
    probe, units = small.probes[0], small.probes[0].units
    templates = load(probe, "templates")
    peak = np.abs(templates).max(axis=1).argmax(axis=1)
    np.testing.assert_array_equal(peak, np.append(units.peak, units.peak[0]))
    np.testing.assert_array_equal(units.electrode, probe.electrode[units.peak])
    raw = templates @ load(probe, "whitening_mat_inv")
    np.testing.assert_array_equal(np.ptp(raw, axis=1).argmax(axis=1), peak)
    for row, unit in enumerate(units.id):
        if (probe.spike_unit == unit).any():
            mean = probe.spike_amplitude[probe.spike_unit == unit].mean()
            size = np.ptp(raw[row], axis=0).max() * mean * probe.uv_per_bit
            assert size == pytest.approx(units.amplitude[row], rel=1e-4)


def test_units_are_of_every_kind(small):
    probe = small.probes[0]
    units = probe.units
    assert len(set(units.id)) == len(units)
    assert not np.all(np.diff(units.id) > 0)
    assert units.id.max() > len(units)
    assert {"good", "multi", "all"} <= set(units.quality)
    counts = np.array([len(probe.spikes(int(unit))) for unit in units.id])
    assert list(counts[-2:]) == [0, 0]
    assert np.isnan(units.amplitude[-2:]).all()
    assert counts.sum() == len(probe.spike_sample)
    assert set(probe.spike_template[probe.spike_unit == units.id[0]]) == {0, len(units)}


def test_labels(tmp_path):
    probe = probe_of(tmp_path, units=40, sorting=simulate.Sorting(groups_csv=True))
    units, folder = probe.units, probe.sorting_folder
    labels = {int(r["cluster_id"]): r["KSLabel"] for r in read_tsv(folder / "cluster_KSLabel.tsv")}
    groups = {int(r["cluster_id"]): r["group"] for r in read_tsv(folder / "cluster_groups.csv")}
    noise = {int(r["cluster_id"]): r["group"] for r in read_tsv(folder / "cluster_group.tsv")}
    assert set(units.quality) == {"good", "ok", "multi", "all"}
    for unit, quality, is_noise in zip(units.id, units.quality, units.noise, strict=True):
        assert noise[unit] == is_noise
        assert groups.get(unit) == {"multi": "mua", "all": None}.get(quality, quality)
        assert (labels.get(unit) == "mua") == (quality == "multi")
    notes = {int(r["cluster_id"]) for r in read_tsv(folder / "cluster_note.tsv")}
    assert notes == set(units.id[units.note != ""].tolist())


def test_metrics_and_log(tmp_path):
    probe = probe_of(tmp_path, sorting=simulate.Sorting(metrics=True, phy_log=True))
    with (probe.sorting_folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["cluster_id"]) for row in rows] == sorted(set(probe.spike_unit.tolist()))
    waves = load(probe, "mean_waveforms")
    for row, wave in zip(rows, waves, strict=True):
        unit = probe.units.row(int(row["cluster_id"]))
        assert (
            int(row["peak_channel"]) == probe.units.channel[unit] == np.ptp(wave, axis=1).argmax()
        )
        assert float(row["amplitude"]) == probe.units.amplitude[unit]
    log = (probe.sorting_folder / "phy.log").read_text(encoding="utf-8")
    assert "Merge clusters" in log
    assert f"{curated_at(probe):%Y-%m-%d %H:%M:%S}" in log.splitlines()[-1]


@pytest.mark.parametrize("name", ["spike_times_sec", "spike_times_sec_adj"])
def test_spike_times_in_seconds(tmp_path, name):
    probe = probe_of(tmp_path, sorting=simulate.Sorting(seconds=name))
    samples = np.rint(load(probe, name).ravel() * probe.sampling_rate)
    np.testing.assert_array_equal(samples, probe.spike_sample)
    assert not np.array_equal(load(probe, "spike_times").ravel(), probe.spike_sample)


def test_every_spike_is_in_one_trial_or_none(small):
    probe = small.probes[0]
    trial = probe.spike_trial()
    assert (trial == 0).any()  # before the first
    assert (probe.spike_sample > probe.start_sample[-1]).any()
    for unit in probe.units.id.tolist():
        mine = probe.spike_unit == unit
        for number in probe.trials.tolist():
            expected = probe.spike_sample[mine & (trial == number)]
            go = probe.go_sample[probe.ephys_trial == number]
            np.testing.assert_array_equal(
                probe.trial_spikes(unit, number), (expected - go) / probe.sampling_rate
            )


def test_psth_counts_add_up(small):
    probe = small.probes[0]
    trials = probe.trials.tolist()
    for unit in probe.units.id.tolist():
        counts = simulate.psth_counts(probe, unit, trials, -3.0, 3.0, 0.04)
        assert counts.shape == (150,)
        times = np.concatenate([probe.trial_spikes(unit, t) for t in trials])
        samples = np.rint(times * probe.sampling_rate)
        assert counts.sum() == np.sum((samples >= -90_000) & (samples < 90_000))
        inner = samples[(samples >= -1200) & (samples < 0)]
        assert counts[74] == len(inner)


@pytest.mark.parametrize("dead_time", [0.0, 0.002])
def test_drawn_rates_are_the_asked_ones(dead_time):
    rng = np.random.default_rng(5)
    edge, rate = np.arange(0, 2001, 100.0), np.tile([5.0, 50.0], 10)
    times = draw_spikes(edge, rate, dead_time, rng)
    counts = np.histogram(times, edge)[0]
    expected = rate * 100
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))
    assert np.diff(times).min() >= dead_time


def test_rates_of_units_are_the_true_ones(long_session):
    (probe,) = long_session.probes
    assert probe.hemisphere == "left"
    clean = "all_noearlylick_nostim"
    for side, name in enumerate((f"{clean}_right", f"{clean}_left")):
        trials = probe.condition_trials(name).tolist()
        for epoch, (start, stop) in {1: (-2.4, -1.2), 2: (-1.2, 0.0), 3: (0.0, 1.2)}.items():
            for row, unit in enumerate(probe.units.id.tolist()):
                count = simulate.psth_counts(probe, unit, trials, start, stop, 1.2).sum()
                expected = probe.units.rate[row, epoch, side] * 1.2 * len(trials)
                assert abs(count - expected) <= 5 * np.sqrt(expected), (unit, epoch, side)


def test_light_suppresses(long_session):
    (probe,) = long_session.probes
    trials = probe.condition_trials("all_noearlylick_both_alm_stim_right").tolist()
    for row, unit in enumerate(probe.units.id.tolist()):
        count = simulate.psth_counts(probe, unit, trials, -1.2, -0.7, 0.5).sum()
        expected = probe.units.rate[row, 2, 0] * probe.units.stim_factor[row, 3]
        expected *= 0.5 * len(trials)
        assert abs(count - expected) <= 5 * np.sqrt(expected) + 1


def test_good_trials_lie_in_a_good_period(small):
    (limited,) = [probe for probe in small.probes if probe.good_periods]
    good, trials = limited.good_trials(), limited.session.trials
    assert 0 < len(good) < len(trials)
    (_, middle), (later, end) = limited.good_periods
    assert end is None
    between = (trials.stop_time > middle) & (trials.start_time < later)
    assert not np.isin(trials.trial[between], good).any()
    assert np.isin(trials.trial[~between], good).all()
    assert set(limited.condition_trials("good_noearlylick_hit")) <= set(good)
