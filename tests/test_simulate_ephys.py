"""Simulated recordings, sortings and spikes open with plain tools, and hold what the truth says."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from probeinterface import read_spikeglx
from scipy.io import loadmat
from simlab import (
    load,
    long_session,
    meta_of,
    probe_of,
    read_tsv,
    small,
)

from maplake import simulate
from maplake.simulate.geometry import GENERATIONS
from maplake.simulate.kilosort import curated_at
from maplake.simulate.spikes import draw_spikes

__all__ = ["long_session", "small"]  # fixtures


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
