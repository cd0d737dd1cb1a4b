"""Computed tables at the edges: nothing there, one of a kind, outside, in part; by hand."""

from __future__ import annotations

import numpy as np
import pytest
from ccf_lakes import build as build_ccf
from lakefiles import (
    METHOD,
    finish,
    make_probe,
    make_session,
    write_lab,
    write_session,
    write_table,
)
from scipy import signal, stats

import maplake
from maplake.compute.registry import built_in
from maplake.query.ccf import Ccf
from maplake.simulate.ccf import simulate_framework, write_framework

KEY = {"subject_id": 101, "session": 2, "insertion_number": 1}
OTHER = {**KEY, "insertion_number": 2}
UNITS = [7, 10, 20, 30, 40, 50]
SITES = "histology.electrode_ccf_position"
FILLED = "histology.interpolated_electrode_ccf"
TRACK = "histology.interpolated_shank_track"
AXES = ("ccf_x", "ccf_y", "ccf_z")
VOXEL = 200


@pytest.fixture
def truth(tmp_path):
    """A session with two probes; good trials of the first one, trials 5 to 30 of the second one."""
    return tmp_path, put_session(tmp_path)


def put_session(root):
    rng = np.random.default_rng(4)
    session = make_session(rng, 101, 2)
    session.probes = {n: make_probe(rng, session, n) for n in (1, 2)}
    write_session(root, session)
    write_lab(root, [101])
    return session


def made(root, name, key=KEY):
    finish(root)
    with maplake.open(root) as lake:
        return built_in()[name](lake, dict(key))


# ------------------------------------------------------------------------------------- units


def drift(count, duration):
    rates = np.asarray(count) / duration
    if len(rates) < 6 or not rates.any():
        return None
    low_high = stats.poisson.cdf(np.convolve(rates, np.ones(6) / 6, "same")[::6], rates.mean())
    return float(np.mean((low_high > 0.95) | (low_high < 0.05)))


@pytest.mark.parametrize("number", [1, 2])
def test_drift_of_good_trials_and_of_a_part_of_the_session(truth, number):
    root, session = truth
    probe = session.probes[number]
    ends = {int(trial): 3.0 + trial / 50 for trial in probe.trials[::2]}  # the others stop at 5.5
    write_table(
        root, "experiment.trial_event", session.key, trial=list(ends),
        trial_event_id=[0] * len(ends), trial_event_type=["trialend"] * len(ends),
        trial_event_time=list(ends.values()),
    )  # fmt: skip
    found = made(root, "ephys.map_cluster_metric", {**KEY, "insertion_number": number})
    trials = probe.trials if probe.good is None else probe.trials[np.isin(probe.trials, probe.good)]
    assert (probe.good is not None) == (number == 1)
    duration = np.array([ends.get(int(trial), 5.5) for trial in trials])
    assert found["unit"].to_list() == UNITS
    for unit, value in found.select("unit", "drift_metric").rows():
        owner = probe.trial_of(probe.spikes[unit])
        wanted = drift([(owner == trial).sum() for trial in trials], duration)
        assert value == (None if wanted is None else pytest.approx(wanted, rel=1e-9))
    assert found["drift_metric"][0] is None  # a silent unit


def test_drift_of_one_trial(truth):
    root, session = truth
    probe = session.probes[2]
    write_table(root, "ephys.ephys_trial", OTHER, trial=probe.trials[:1],
                start_sample=probe.start[:1], start_time=[0.0])  # fmt: skip
    found = made(root, "ephys.map_cluster_metric", OTHER)
    assert found["drift_metric"].to_list() == [None] * len(UNITS)


def test_cell_types_from_trough_to_peak(truth):
    root, _ = truth
    time = np.arange(82) / 30.0  # ms
    wide = [-np.exp(-(((time - 1) / 0.1) ** 2)) + 0.4 * np.exp(-(((time - p) / 0.1) ** 2))
            for p in (1.3, 1.6, 0.7, 1.3, 1.6)]  # fmt: skip
    units = [7, 10, 20, 30, 40]  # 20 is of quality all; 50 has no waveform
    write_table(root, "ephys.unit_waveform", KEY, clustering_method=[METHOD] * 5, unit=units,
                waveform=[w.tolist() for w in wide])  # fmt: skip
    found = made(root, "ephys.unit_cell_type")
    assert found.select("unit", "cell_type").rows() == [
        (7, "FS"), (10, "Pyr"), (30, "FS"), (40, "Pyr"),
    ]  # fmt: skip


def test_coarse_locations_without_criteria_or_place(truth):
    root, _ = truth
    assert made(root, "ephys.unit_coarse_brain_location") is None
    rules = {"brain_area": ["ALM", "M2"], "depth_upper": [-1.0, 0.0], "depth_lower": [0.0, 9.0]}
    write_table(root, "ephys.brain_area_depth_criteria", KEY, **rules)
    found = made(root, "ephys.unit_coarse_brain_location")
    assert set(found.drop("unit", "clustering_method").rows()) == {("ALM", "right", "Bregma")}
    write_table(root, "ephys.insertion_location", KEY, skull_reference=[], ml_location=[])
    found = made(root, "ephys.unit_coarse_brain_location")
    assert set(found.drop("unit", "clustering_method").rows()) == {("ALM", None, None)}


# ---------------------------------------------------------------------------------- histology


@pytest.fixture
def brain(tmp_path):
    """The lake with a small brain, and a probe of two shanks; shank 2 has a single site."""
    root = tmp_path / "lake"
    build_ccf(root, write_framework(tmp_path / "raw", simulate_framework()), VOXEL)
    put_session(root)
    write_table(root, "lab.probe_type_electrode", {}, probe_type=["np"] * 4,
                electrode=[1, 2, 3, 4], shank=[1, 1, 1, 2], shank_col=[1, 1, 1, 1])  # fmt: skip
    return root


def place(root, sites, name=SITES):
    columns = zip(*sites.values(), strict=True) if sites else [[], [], []]
    axes = dict(zip(AXES, map(list, columns), strict=True))
    write_table(root, name, KEY, electrode=list(sites), **axes)


def test_without_a_brain_there_is_nothing(truth):
    root, _ = truth
    place(root, {1: (5000, 2000, 5000), 2: (5000, 3000, 5000)})
    for name in (FILLED, TRACK, "histology.pseudocoronal_slice"):
        assert made(root, name) is None


def test_without_histology_there_is_nothing(brain):
    assert [len(frame) for frame in made(brain, FILLED).values()] == [0, 0]
    assert set(made(brain, TRACK).values()) == {None}
    assert made(brain, "histology.pseudocoronal_slice") is None


def test_one_site_makes_no_line(brain):
    place(brain, {1: (5000, 2000, 5000)})
    assert [len(frame) for frame in made(brain, FILLED).values()] == [0, 0]
    assert set(made(brain, TRACK).values()) == {None}


def test_sites_are_filled_in_along_their_column_only(brain):
    place(brain, {1: (5000, 2000, 5050), 3: (5010, 3100, 5000), 4: (5000, 2000, 5000)})
    found, outside = made(brain, FILLED).values()
    # Half way between 1 and 3: 5005, 2550, 5025, to the voxel.
    assert found.rows() == [(2, 5000, 2600, 5000)]
    assert len(outside) == 0


def test_filled_in_sites_outside_are_kept_apart(brain):
    place(brain, {2: (5000, 400, 5000), 3: (5000, 4000, 5000)})
    found, outside = made(brain, FILLED).values()
    assert found.rows() == []
    assert outside.rows() == [(1, 5000, -3200, 5000)]
    # What histology itself found outside stays where it is.
    place(brain, {1: (5000, 0, 5000)}, "histology.electrode_ccf_position_error")
    assert [len(frame) for frame in made(brain, FILLED).values()] == [0, 0]


def test_a_shank_with_one_site_has_a_line_only_with_traced_points(brain):
    sites = {1: (5000, 2000, 5000), 2: (5400, 3000, 5000), 4: (6000, 3000, 6000)}
    place(brain, sites)
    assert made(brain, TRACK)[TRACK]["shank"].to_list() == [1]
    write_table(brain, "histology.labeled_probe_track_point", KEY, order=[1], shank=[2],
                ccf_x=[6000.0], ccf_y=[1000.0], ccf_z=[6500.0])  # fmt: skip
    tables = made(brain, TRACK)
    assert tables[TRACK]["shank"].to_list() == [1, 2]
    points = tables["histology.shank_track_point"].filter(shank=2).select(AXES).rows()
    volume = Ccf.open(brain)
    wanted = []
    for dv in range(0, volume.shape[1] * VOXEL, VOXEL):
        ap = int(6500 + (dv - 1000) * (6000 - 6500) / 2000)
        voxel = (6000, dv, VOXEL * round(ap / VOXEL))
        if volume.region_at(*voxel) != 0:
            wanted.append(voxel)
    assert points == wanted
    surface = tables["histology.shank_brain_surface_point"].filter(shank=2)
    assert surface.select(AXES).row(0) == wanted[0]
    deepest = tables["histology.shank_deepest_electrode_point"]
    assert deepest.select("shank", *AXES).rows() == [(1, *sites[2]), (2, *sites[4])]


def test_a_line_outside_of_the_brain_has_no_points(brain):
    place(brain, {1: (-9000, 2000, 5000), 2: (-9000, 3000, -5000)})
    tables = made(brain, TRACK)
    assert tables[TRACK]["shank"].to_list() == [1]
    assert len(tables["histology.shank_track_point"]) == 0
    assert len(tables["histology.shank_brain_surface_point"]) == 0
    assert tables["histology.shank_deepest_electrode_point"].select(AXES).rows() == [
        (-9000, 3000, -5000)
    ]
    slices = made(brain, "histology.pseudocoronal_slice")
    volume = Ccf.open(brain)
    depth = np.arange(volume.shape[1]) * VOXEL
    ap = VOXEL * np.rint(np.trunc(5000 - (depth - 2000) * 10.0) / VOXEL)
    ml = np.arange(volume.shape[0]) * VOXEL
    inside = [volume.region_at(ml, np.full(len(ml), d), np.full(len(ml), a)) != 0
              for d, a in zip(depth, ap, strict=True)]  # fmt: skip
    voxels = (slices["ccf_x_stop"] - slices["ccf_x_start"]).sum() // VOXEL + len(slices)
    assert voxels == np.sum(inside) > 0


# ----------------------------------------------------------------------------------- tracking


def track(root, session, lengths, camera="Camera 0"):
    """Write a jaw that moves 7 times a s; returns y by trial."""
    rng = np.random.default_rng(2)
    jaw = {
        trial: np.sin(2 * np.pi * 7 * np.arange(n) * 0.0034 + trial) * 9 + rng.normal(0, 1, n)
        for trial, n in lengths.items()
    }
    write_table(
        root, "tracking.tracking_position", {**session.key, "tracking_device": camera},
        trial=np.repeat(list(jaw), list(lengths.values())),
        feature=["jaw"] * sum(lengths.values()),
        frame=np.concatenate([np.arange(n) for n in lengths.values()]),
        time=np.concatenate([np.arange(n) * 0.0034 for n in lengths.values()]),
        x=[0.0] * sum(lengths.values()), y=np.concatenate(list(jaw.values())),
    )  # fmt: skip
    return jaw


def test_jaw_tuning_by_hand(truth):
    root, session = truth
    assert made(root, "tracking.jaw_tuning") is None  # nothing was filmed
    lengths = {6: 700, 7: 700, 8: 640, 9: 60, 12: 700}  # 9 is too short to have a phase
    jaw = track(root, session, lengths)
    found = made(root, "tracking.jaw_tuning")
    probe, rate = session.probes[1], 1 / 0.0034
    edges = np.linspace(0, 2 * np.pi, 21)
    phase = {}
    for trial in (6, 7, 8, 12):
        b, a = signal.butter(5, (5, 15), "band", fs=rate)
        phase[trial] = np.angle(signal.hilbert(signal.filtfilt(b, a, jaw[trial]))) + np.pi
    time = np.histogram(np.concatenate(list(phase.values())), edges)[0] * 0.0034
    assert found["unit"].to_list() == [u for u in UNITS if probe.quality[u] != "all"]
    for row in found.to_dicts():
        seen = []
        owner = probe.trial_of(probe.spikes[row["unit"]])
        for trial, values in phase.items():
            start = probe.start[list(probe.trials).index(trial)]
            since = (probe.spikes[row["unit"]][owner == trial] - start) / probe.rate
            frame = np.floor(since * rate + 1e-9).astype(int)
            seen.append(values[frame[(frame >= 0) & (frame < len(values))]])
        seen = np.concatenate(seen)
        assert row["spike_count"] == len(seen)
        assert np.allclose(row["rate"], np.histogram(seen, edges)[0] / time, rtol=1e-9)
        if not len(seen):
            assert (row["p_value"], row["preferred_phase"]) == (None, None)
            continue
        r = np.abs(np.exp(1j * seen).mean()) * len(seen)
        n = len(seen)
        p = np.exp(np.sqrt(1 + 4 * n + 4 * (n**2 - r**2)) - (1 + 2 * n))
        assert row["p_value"] == pytest.approx(min(p, 1), abs=1e-6)
    assert found["spike_count"][0] == 0


def test_jaw_tuning_needs_trials_that_the_probe_saw(truth):
    root, session = truth
    track(root, session, {1: 700, 2: 700})  # the second probe was not in yet
    found = made(root, "tracking.jaw_tuning", OTHER)
    assert set(found["spike_count"]) == {0}
    assert set(found["p_value"]) == {None}


def test_a_view_from_below_tells_nothing(truth):
    root, session = truth
    track(root, session, {6: 700}, camera="Camera 1")
    assert made(root, "tracking.jaw_tuning") is None
