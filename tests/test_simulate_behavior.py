"""Simulated behavior files open with plain tools, and hold what the truth says."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat
from simlab import (
    FEW,
    SMALL,
    long_session,
    probe_of,
    session_data,
    small,
)

from maplake import simulate
from maplake.simulate.conditions import CONDITIONS

__all__ = ["long_session", "small"]  # fixtures


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
