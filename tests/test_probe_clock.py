"""Events on a probe's clock: those that the recording saw, and recordings started by triggers."""

import numpy as np
import pytest
from lakefiles import finish, make_probe, make_session, write_lab, write_session, write_table

import maplake

KEY = {"subject_id": 101, "session": 1}
TRIALS = 40
MARGIN = 0.25
GO = 3.2  # s from trial start, as in the trial events of lakefiles
BOARD_LEADS = 17.3  # s on the board's clock at the first recorded trial
UNREADY = 6  # trial whose port was never seen to be ready
CONDITION = "all_noearlylick_nostim"
EDGES = np.arange(-2, 2, 0.04)


def trial_spikes(probe, unit, trial, sample):
    """Return a trial's own spikes in s from a moment in samples."""
    spikes = probe.spikes[unit]
    return (spikes[probe.trial_of(spikes) == trial] - sample) / probe.rate


@pytest.fixture(scope="module")
def triggered(tmp_path_factory):
    root = tmp_path_factory.mktemp("triggered")
    rng = np.random.default_rng(8)
    s = make_session(rng, 101, 1, trials=TRIALS)
    probe = s.probes[1] = make_probe(rng, s, 1)
    late = np.round((MARGIN + GO + rng.uniform(0, 3e-4, TRIALS)) * probe.rate).astype(np.int64)
    probe.go = np.where(probe.go < 0, -1, probe.start + late)
    write_session(root, s)
    write_lab(root, [101])
    finish(root)
    with maplake.open(root) as lake:
        yield lake, s, probe


def test_events_of_a_triggered_recording_come_a_margin_after_its_start(triggered):
    lake, s, probe = triggered
    late = (probe.go - probe.start - GO * probe.rate)[probe.go >= 0]
    margin = np.median(late)
    assert margin / probe.rate == pytest.approx(MARGIN, abs=1e-3)
    times = [
        trial_spikes(probe, 40, trial, start + margin + 2.0 * probe.rate)
        for trial, start in zip(probe.trials, probe.start, strict=True)
        if trial in s.condition(CONDITION)
    ]
    found = lake.psth(101, 1, 1, 40, condition=CONDITION, event="delay", start=-2, stop=2)
    assert found.trial_count[0] == len(times)
    np.testing.assert_array_equal(found.count[0], np.histogram(np.concatenate(times), EDGES)[0])


def test_trials_without_a_go_cue_follow_the_others(triggered):
    lake, _, probe = triggered
    zero = lake.sql("SELECT zero_sample FROM ephys.trial_zero ORDER BY trial").pl().to_series()
    assert (probe.go < 0).any()
    np.testing.assert_allclose(zero.to_numpy() - probe.start, MARGIN * probe.rate, atol=10)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A session whose recording saw events; its board runs on a zero of its own."""
    root = tmp_path_factory.mktemp("seen")
    rng = np.random.default_rng(9)
    s = make_session(rng, 101, 1, trials=TRIALS)
    s.columns["free_water"] = np.zeros(TRIALS, bool)
    probe = s.probes[1] = make_probe(rng, s, 1)
    probe.go = np.where(probe.go < 0, probe.start + 96_000, probe.go)
    write_session(root, s)
    since = (probe.start - probe.start[0]) / probe.rate
    events = {
        "bitcodestart": since,
        "zaberready": since + rng.uniform(0.2, 0.4, TRIALS),
        "trialend": since + rng.uniform(4, 5, TRIALS),
    }
    events["zaberready"][UNREADY - 1] = np.nan
    rows = [
        (trial, kind, time + BOARD_LEADS)
        for kind, times in events.items()
        for trial, time in zip(probe.trials.tolist(), times.tolist(), strict=True)
        if np.isfinite(time)
    ]
    trial, kind, time = (list(column) for column in zip(*sorted(rows), strict=True))
    columns = {"trial": trial, "trial_event_id": list(range(len(trial)))}
    write_table(root, "ephys.ephys_trial_event", KEY, **columns,
                trial_event_type=kind, trial_event_time=time)  # fmt: skip
    number = np.repeat(probe.trials, 4)
    write_table(
        root, "experiment.trial_event", KEY,
        trial=number, trial_event_id=np.tile(np.arange(4, dtype=np.int32), TRIALS),
        trial_event_type=["bitcodestart", "delay", "go", "trialend"] * TRIALS,
        trial_event_time=np.tile([0.0, 2.0, GO, 0.1], TRIALS),  # this end is the board's to tell
    )  # fmt: skip
    write_lab(root, [101])
    finish(root)
    samples = {kind: probe.start[0] + times * probe.rate for kind, times in events.items()}
    with maplake.open(root) as lake:
        yield lake, s, probe, samples


@pytest.mark.parametrize(
    ("event", "kind", "offset"),
    [("trial_start", "zaberready", 0), ("next_trial_start", "zaberready", 1),
     ("iti_start", "trialend", 0)],
)  # fmt: skip
def test_align_types_take_the_events_that_the_recording_saw(seen, event, kind, offset):
    lake, s, probe, samples = seen
    moments = [
        samples[kind][trial - 1 + offset]
        for trial in sorted(s.condition(CONDITION))
        if trial + offset <= TRIALS and np.isfinite(samples[kind][trial - 1 + offset])
    ]
    times = [(probe.spikes[40] - moment) / probe.rate for moment in moments]
    found = lake.psth(101, 1, 1, 40, condition=CONDITION, event=event, start=-2, stop=2)
    assert found.trial_count[0] == len(moments) > 5
    np.testing.assert_array_equal(found.count[0], np.histogram(np.concatenate(times), EDGES)[0])


def test_trial_events_are_where_the_recording_saw_them(seen):
    lake, s, probe, samples = seen
    wanted = sorted(s.condition(CONDITION) - {UNREADY})
    times = [trial_spikes(probe, 40, t, samples["zaberready"][t - 1]) for t in wanted]
    found = lake.psth(101, 1, 1, 40, condition=CONDITION, event="zaberready", start=-2, stop=2)
    np.testing.assert_array_equal(found.count[0], np.histogram(np.concatenate(times), EDGES)[0])
    delays = [
        trial_spikes(probe, 40, t, probe.go[t - 1] - GO * probe.rate + 2.0 * probe.rate)
        for t in sorted(s.condition(CONDITION))
    ]
    found = lake.psth(101, 1, 1, 40, condition=CONDITION, event="delay", start=-2, stop=2)
    np.testing.assert_array_equal(found.count[0], np.histogram(np.concatenate(delays), EDGES)[0])


def test_periods_run_between_events_that_the_recording_saw(seen):
    lake, _, probe, samples = seen
    rows = lake.sql(
        "SELECT trial, spike_count, duration FROM psth.period_foraging_activity('delay') "
        "WHERE unit = 50 ORDER BY trial"
    ).fetchall()
    spikes = probe.spikes[50]
    expected = []
    for trial in probe.trials[probe.trials != UNREADY].tolist():
        start, stop = samples["zaberready"][trial - 1], probe.go[trial - 1]
        count = int(((spikes >= start) & (spikes < stop)).sum())
        expected.append((trial, count, pytest.approx((stop - start) / probe.rate, rel=1e-9)))
    assert rows == expected
