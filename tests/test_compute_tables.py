"""The built-in computed tables against computations of their definitions with numpy and scipy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from ccf_lakes import build
from computelabs import make_lab
from hypothesis import given, settings
from hypothesis import strategies as st
from labs import ingest, sql
from scipy import signal, stats

import maplake
from maplake.compute.foraging import best_rewards, drawn
from maplake.compute.jaw import fit_tuning, jaw_phase, rayleigh
from maplake.compute.run import run
from maplake.compute.shanks import fit_line, interpolate_sites
from maplake.compute.slices import runs, slice_along
from maplake.compute.units import coarse_area, drift_metric
from maplake.config import load
from maplake.errors import QueryError
from maplake.query.ccf import Ccf
from maplake.query.selectivity import t_test as two_sample_test
from maplake.simulate import Task
from maplake.simulate.ccf import simulate_framework, write_framework

UNIT = ["session", "insertion_number", "unit"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables") / "lab"
    lab = make_lab(folder, sessions=1, task=Task(ignore=0.0, early=0.05, stim=0.1))
    ingest(lab)
    config = load(lab.config)
    assert not run(config).failed
    return config.lake.root


def test_cell_types_are_those_of_ephys_unit(root):
    found = sql(root, "FROM ephys.unit_cell_type").sort(UNIT)
    units = sql(root, "FROM ephys.unit WHERE unit_quality <> 'all'").sort(UNIT)
    assert len(found) > 0
    assert found["cell_type"].to_list() == units["cell_type"].to_list()


def drift(rates):
    """The published computation."""
    if len(rates) < 6 or not np.mean(rates):
        return None
    moving = np.convolve(rates, np.ones(6) / 6, "same")[::6]
    share = stats.poisson.cdf(moving, np.mean(rates))
    return np.mean((share > 0.95) | (share < 0.05))


def test_drift_of_every_unit(root):
    found = sql(root, "FROM ephys.map_cluster_metric")
    spikes = sql(root, "FROM ephys.spike WHERE trial IS NOT NULL")
    good = sql(root, "FROM ephys.good_trial")
    ends = sql(root, "FROM experiment.trial_event WHERE trial_event_type = 'trialend'")
    durations = dict(ends.select("trial", "trial_event_time").rows())
    recorded = sql(root, "FROM ephys.ephys_trial")
    assert len(found) == len(sql(root, "FROM ephys.unit"))
    assert len(good) > 0
    for row in found.to_dicts():
        probe = row["insertion_number"]
        trials = set(recorded.filter(insertion_number=probe)["trial"])
        mine = set(good.filter(insertion_number=probe)["trial"])
        chosen = sorted(trials & mine if mine else trials)
        counts = spikes.filter(insertion_number=probe, unit=row["unit"])["trial"].to_list()
        wanted = drift([counts.count(trial) / durations[trial] for trial in chosen])
        assert row["drift_metric"] == wanted or np.isclose(row["drift_metric"], wanted, rtol=1e-9)


def test_drift_is_the_published_one():
    rng = np.random.default_rng(8)
    for trials in (6, 7, 11, 12, 13, 200):
        count = rng.poisson(rng.uniform(0, 9, (5, 1)) * np.linspace(0.5, 2, trials))
        duration = rng.uniform(3, 6, trials)
        wanted = [drift(unit) for unit in count / duration]
        assert drift_metric(count, duration).tolist() == wanted


@pytest.mark.parametrize(("trials", "expected"), [(0, np.nan), (5, np.nan), (6, 0.0), (18, 0.0)])
def test_drift_of_few_trials(trials, expected):
    count = np.full((1, trials), 1)
    assert np.array_equal(drift_metric(count, np.ones(trials)), [expected], equal_nan=True)


def test_drift_of_silent_and_changing_units():
    count = np.vstack([np.zeros(24), np.repeat([0, 40], 12)]).astype(int)
    found = drift_metric(count, np.ones(24))
    assert np.isnan(found[0])
    # Averages of 0, 0, half of both, and 40 against a mean of 20.
    assert found[1] == 0.75


def test_period_selectivity(root):
    found = sql(root, "FROM psth.period_selectivity")
    events = sql(root, "FROM experiment.trial_event")
    behavior = sql(root, "FROM experiment.behavior_trial")
    lit = set(sql(root, "FROM experiment.photostim_event")["trial"])
    long = events.filter(
        (pl.col("trial_event_type") == "delay") & (pl.col("duration").round(4) == 1.2)
    )
    chosen = {
        r["trial"]: r["trial_instruction"]
        for r in behavior.to_dicts()
        if r["outcome"] == "hit" and r["early_lick"] == "no early" and not r["auto_water"]
        and not r["free_water"] and r["trial"] not in lit and r["trial"] in set(long["trial"])
    }  # fmt: skip
    last = {(t, k): x for t, k, x in events.sort("trial_event_id")
            .select("trial", "trial_event_type", "trial_event_time").rows()}  # fmt: skip
    recorded = sql(root, "FROM ephys.ephys_trial")
    places = dict(
        sql(root, "SELECT insertion_number, ml_location FROM ephys.insertion_location").rows()
    )
    spikes = sql(root, "FROM ephys.trial_spikes")
    assert len(found) == 3 * len(sql(root, "FROM ephys.unit_cell_type"))
    tested = 0
    for row in found.to_dicts():
        probe = row["insertion_number"]
        side = "left" if places[probe] < 0 else "right"
        mine = spikes.filter(insertion_number=probe, unit=row["unit"])
        rates = {"ipsi": [], "contra": []}
        for trial in recorded.filter(insertion_number=probe)["trial"].to_list():
            if trial not in chosen:
                continue
            go = last[trial, "go"]
            start = {"sample": "sample", "delay": "delay", "response": "go"}[row["period"]]
            stop = {"sample": "delay", "delay": "go", "response": "go"}[row["period"]]
            a = last[trial, start] - go
            b = last[trial, stop] - go + (1.2 if row["period"] == "response" else 0)
            times = mine.filter(trial=trial)["spike_time"].to_numpy()
            rate = ((times >= a) & (times < b)).sum() / (b - a)
            rates["ipsi" if chosen[trial] == side else "contra"].append(rate)
        for name, values in rates.items():
            assert np.isclose(row[f"{name}_firing_rate"], np.mean(values), rtol=1e-9)
        if len({*rates["ipsi"], *rates["contra"]}) > 1:
            p = stats.ttest_ind(rates["ipsi"], rates["contra"]).pvalue
            tested += 1
            assert np.isclose(row["p_value"], p, atol=1e-6)
            which = "ipsi" if np.mean(rates["ipsi"]) > np.mean(rates["contra"]) else "contra"
            assert row["period_selectivity"] == (
                f"{which}-selective" if p <= 0.05 else "non-selective"
            )
    assert tested > 5


@settings(deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_t_test(first, second, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.poisson(4, (5, first)) + rng.random((5, first)), rng.random((5, second)) * 9
    assert np.allclose(two_sample_test(a, b), stats.ttest_ind(a, b, axis=1).pvalue, atol=1e-9)


def test_t_test_without_anything_to_tell_apart():
    same = np.full((1, 4), 3.0)
    assert two_sample_test(same, same).tolist() == [1.0]
    assert two_sample_test(same, same + 1).tolist() == [0.0]
    assert two_sample_test(same, np.empty((1, 0))).tolist() == [1.0]
    assert two_sample_test(same[:, :1], same[:, :1] + 1).tolist() == [1.0]


def test_coarse_areas():
    upper, lower = np.array([1000.0, 0.0]), np.array([2000.0, 1000.0])
    depth = np.array([0.0, 1.0, 1000.0, 1000.1, 2000.0, 2000.1])
    assert coarse_area(depth, upper, lower).tolist() == [-1, 1, 1, 0, 0, -1]
    assert coarse_area(depth, np.array([]), np.array([])).tolist() == [-1] * 6
    with pytest.raises(QueryError, match="overlap"):
        coarse_area(depth, np.array([0.0, 500.0]), np.array([1000.0, 2000.0]))


def test_missing_sites():
    electrode = np.array([1, 3, 5, 7, 9, 11])
    line = np.array([[100.0, 2000.0, 40.0]]) + electrode[:, None] * np.array([[0.0, -20.0, 5.0]])
    known = line.copy()
    known[[0, 2, 5]] = np.nan
    found = interpolate_sites(electrode, known, 20)
    assert np.array_equal(found[[1, 3, 4]], line[[1, 3, 4]])
    assert np.array_equal(found[[0, 2, 5]], 20 * np.rint(line[[0, 2, 5]] / 20))
    alone = np.full((2, 3), np.nan)
    assert np.isnan(interpolate_sites(np.array([1, 2]), alone, 20)).all()


def test_lines_are_least_squares():
    points = np.random.default_rng(3).uniform(0, 8000, (40, 3))
    depth = np.arange(400) * 20
    found = fit_line(points, depth, 20)
    for axis in (0, 2):
        fit = np.polyval(np.polyfit(points[:, 1], points[:, axis], 1), depth)
        assert np.abs(found[:, axis] - 20 * np.round(fit.astype(int) / 20)).max() == 0
    assert found[:, 1].tolist() == depth.tolist()
    assert fit_line(points[:1], depth, 20) is None


def test_slices(tmp_path):
    truth = simulate_framework()
    folder = build(tmp_path / "lake", write_framework(tmp_path / "raw", truth), 200)
    volume = Ccf.open(folder)
    ap = (np.arange(volume.shape[1]) * 7 % volume.shape[2]) * 200
    found = slice_along(volume, ap)
    wanted = np.vstack([truth.volume[a // 200, d] for d, a in enumerate(ap)])
    assert np.array_equal(found, wanted)
    row, start, stop = runs(found)
    back = np.zeros_like(found)
    for r, a, b in zip(row, start, stop, strict=True):
        back[r, a : b + 1] = found[r, a]
    assert np.array_equal(back, found)


def test_jaw_phase_and_tuning():
    rate, time = 294.0, np.arange(1470) / 294.0
    y = np.sin(2 * np.pi * 8 * time)[None] * 5 + 100 + 3 * time
    phase = jaw_phase(y, rate)
    b, a = signal.butter(5, (5, 15), "band", fs=rate)
    wanted = np.angle(signal.hilbert(signal.filtfilt(b, a, y[0]))) + np.pi
    assert np.allclose(phase[0], wanted)
    middle = slice(300, 1100)
    tops = signal.find_peaks(y[0])[0]
    tops = tops[(tops > 300) & (tops < 1100)]
    assert np.abs(phase[0, tops] - np.pi).max() < 0.2
    assert np.ptp(phase[0, middle]) > 6
    x = np.linspace(0, 2 * np.pi, 21)[:-1] + np.pi / 20
    curve = 3 + 9 * np.exp(-0.5 * (np.abs(np.angle(np.exp(1j * (x - 5.9)))) / 0.8) ** 2)
    fit = fit_tuning(x, curve)
    assert np.isclose(fit.preferred_phase, 5.9, atol=1e-3)
    assert np.isclose(fit.modulation_index, 9 / 12, atol=0.02)
    assert fit_tuning(x, np.zeros(20)) is None
    assert rayleigh(np.empty(0)) is None
    assert rayleigh(np.full(50, 1.0)) < 1e-10
    assert rayleigh(np.linspace(0, 2 * np.pi, 50, endpoint=False)) > 0.99


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    lab = maplake.simulate.whole_lab(tmp_path_factory.mktemp("whole") / "lab")
    config = load(lab.config)
    ingest(lab)
    report = run(config)
    assert not report.failed, [d for d in report.done if d.status == "failed"]
    return config.lake.root


def test_shanks_of_a_whole_lab(whole):
    key = ["subject_id", "session", "insertion_number", "shank"]
    sites = sql(whole, "SELECT p.*, e.shank FROM histology.electrode_ccf_position AS p "
                "JOIN ephys.probe_insertion USING (subject_id, session, insertion_number) "
                "JOIN lab.probe_type_electrode AS e USING (probe_type, electrode)")  # fmt: skip
    track = sql(whole, "FROM histology.labeled_probe_track_point")
    extra = sql(whole, "SELECT p.*, e.shank FROM histology.interpolated_electrode_ccf AS p "
                "JOIN ephys.probe_insertion USING (subject_id, session, insertion_number) "
                "JOIN lab.probe_type_electrode AS e USING (probe_type, electrode)")  # fmt: skip
    points = sql(whole, "FROM histology.shank_track_point").sort(*key, "ccf_y")
    surface = sql(whole, "FROM histology.shank_brain_surface_point")
    deepest = sql(whole, "FROM histology.shank_deepest_electrode_point")
    volume = Ccf.open(whole)
    um = volume.resolution_um
    depth = np.arange(volume.shape[1]) * um
    axes = ["ccf_x", "ccf_y", "ccf_z"]
    shanks = sql(whole, "FROM histology.interpolated_shank_track").sort(key)
    assert len(shanks) >= 4
    for name in shanks.to_dicts():
        mine = [frame.filter(**name).select(axes).to_numpy() for frame in (sites, extra, track)]
        every = np.vstack(mine).astype(float)
        ml, ap = (np.polyval(np.polyfit(every[:, 1], every[:, a], 1), depth) for a in (0, 2))
        line = np.column_stack([ml, depth, ap])
        line = (um * np.round(np.round(line, 6).astype(int) / um)).astype(int)
        inside = line[[volume.region_at(*p).item() > 0 for p in line]]
        assert np.array_equal(points.filter(**name).select(axes).to_numpy(), inside)
        assert surface.filter(**name).select(axes).row(0) == tuple(inside[0])
        recorded = np.vstack(mine[:2])
        assert deepest.filter(**name)["ccf_y"][0] == recorded[:, 1].max()
    slices = sql(whole, "FROM histology.pseudocoronal_slice")
    assert set(slices.select(key).unique().rows()) == set(shanks.select(key).rows())
    for row in slices.sample(20, seed=1).to_dicts():
        for x in (row["ccf_x_start"], row["ccf_x_stop"]):
            assert volume.region_at(x, row["ccf_y"], row["ccf_z"]) == row["region_id"]


def published_best(p_left, p_right, left, right):
    """Rewards of the best strategy where water waits: trial by trial, as published."""
    total = 0
    edges = np.flatnonzero(np.diff(np.hstack([np.inf, p_left, np.inf])))
    for start, stop in pairwise(edges):
        pair = [p_left[start], p_right[start]]
        better, high, low = int(np.argmax(pair)), max(pair), min(pair)
        pattern = [1]
        if low > 0 and high < 1:
            pattern = [1] * int(np.floor(np.log(1 - high) / np.log(1 - low))) + [0]
        water = [False, False]
        for trial in range(start, stop):
            water[0] |= bool(p_left[trial] >= left[trial])
            water[1] |= bool(p_right[trial] >= right[trial])
            port = better if pattern[(trial - start) % len(pattern)] else 1 - better
            total += water[port]
            water[port] = False
    return total


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 80), st.integers(0, 2**32 - 1))
def test_best_strategy(trials, seed):
    rng = np.random.default_rng(seed)
    levels = rng.choice([0.0, 0.05, 0.1, 0.25, 0.4, 0.6, 1.0], (4, 2))
    probability = levels[np.sort(rng.integers(0, 4, trials))]
    numbers = rng.random((trials, 2))
    wanted = published_best(*probability.T, *numbers.T)
    assert best_rewards(probability, numbers, baited=True) == wanted
    greedy = np.where(probability[:, 0] >= probability[:, 1], 0, 1)
    filled = (probability >= numbers)[np.arange(trials), greedy].sum()
    assert best_rewards(probability, numbers, baited=False) == filled


def test_numbers_of_the_task():
    found = drawn([(3, 7), (6, 8)], 8)
    assert np.isnan(found[:2]).all()
    for first, last, seed in ((2, 5, 7), (5, 8, 8)):
        task = np.random.RandomState(seed)
        luck = [task.uniform(0.0, 1.0, 4000) for _ in range(2)]
        assert np.array_equal(found[first:last], np.column_stack(luck)[: last - first])


def test_efficiency_of_foraging_sessions(whole):
    found = sql(whole, "FROM foraging.session_efficiency")
    tasks = sql(whole, "SELECT DISTINCT subject_id, session, task FROM experiment.behavior_trial")
    wanted = tasks.filter(task="foraging").select("subject_id", "session")
    assert set(found.select("subject_id", "session").rows()) == set(wanted.rows())
    shown = sql(whole, "FROM foraging.session_stats")
    assert len(found) > 0
    for row in found.to_dicts():
        key = f"WHERE subject_id = {row['subject_id']} AND session = {row['session']}"
        trials = sql(whole, f"FROM experiment.behavior_trial {key} ORDER BY trial")
        notes = sql(whole, f"FROM experiment.trial_note {key}")
        watered = set(notes.filter(trial_note_type="autowater")["trial"])
        blocks = dict(sql(whole, f"SELECT trial, block FROM experiment.block_trial {key}").rows())
        rates = sql(whole, f"FROM experiment.block_reward_probability {key}")
        rows = rates.select("block", "water_port", "reward_probability").rows()
        odds = {(block, port): value for block, port, value in rows}
        luck = np.full((2, len(trials)), np.nan)
        for first, text in notes.filter(trial_note_type="random_seed_start").sort("trial").select(
            "trial", "trial_note"
        ).rows():  # fmt: skip
            task = np.random.RandomState(int(text))
            for port in (0, 1):
                luck[port, first - 1 :] = task.uniform(0.0, 1.0, 4000)[: len(trials) - first + 1]
        kept = [(t, o) for t, o in trials.select("trial", "outcome").rows()
                if o != "ignore" and t not in watered]  # fmt: skip
        left, right = (np.array([odds[blocks[t], p] for t, _ in kept]) for p in ("left", "right"))
        place = np.array([t for t, _ in kept]) - 1
        best = published_best(left, right, luck[0][place], luck[1][place]) / len(kept)
        rate = np.mean([o == "hit" for _, o in kept])
        name = "session_foraging_eff_optimal_random_seed"
        assert row[name] == pytest.approx(rate / best, rel=1e-9)
        here = shown.filter(subject_id=row["subject_id"], session=row["session"])
        assert here[name][0] == row[name]


def test_jaw_tuning_of_a_whole_lab(whole):
    found = sql(whole, "FROM tracking.jaw_tuning")
    assert len(found) > 0
    assert set(found["phase"].list.len()) == {20}
    known = found.filter(pl.col("spike_count") > 0)
    assert known["p_value"].is_between(0, 1).all()
    assert known["preferred_phase"].drop_nulls().is_between(0, 2 * np.pi).all()
