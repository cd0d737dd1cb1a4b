"""Selectivity and period activity, against scipy on the truth."""

import warnings

import analysis_lake
import lakefiles
import numpy as np
import pytest
from scipy.stats import ttest_ind

import maplake
from maplake.errors import NotFoundError, QueryError
from maplake.query import catalog
from maplake.query.selectivity import period_selectivity, t_test

PERIODS = ("sample", "delay", "response")


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    sessions = analysis_lake.build(root)
    with maplake.open(root) as lake:
        yield lake, sessions


def window(events, trial, period):
    """Start and end of a period in s from the go cue, each event's last occurrence."""
    go = events.times("go", trial)[-1]
    starts = {name: events.times(name, trial)[-1] - go for name in ("sample", "delay")}
    return {
        "sample": (starts["sample"], starts["delay"]),
        "delay": (starts["delay"], 0.0),
        "response": (0.0, go + 1.2 - go),
    }[period]


def rate(probe, unit, trial, span):
    samples = probe.spikes[unit]
    go = probe.go[probe.trials == trial][0]
    times = (samples[probe.trial_of(samples) == trial] - go) / probe.rate
    return ((times >= span[0]) & (times < span[1])).sum() / (span[1] - span[0])


def compared(session, events, probe):
    hits = session.condition("good_noearlylick_hit")
    gone = set(probe.trials[probe.go >= 0].tolist())
    return sorted(t for t in hits & gone if events.has_short_delay(t))


def test_selectivity_of_both_hemispheres(truth):
    lake, sessions = truth
    s, events = sessions[101, 1]
    found = lake.selectivity(101, 1)
    assert set(found["insertion_number"]) == {1, 2}
    instruction = dict(
        zip(s.columns["trial"].tolist(), s.columns["trial_instruction"], strict=True)
    )
    side = {1: "right", 2: "left"}
    for row in found.iter_rows(named=True):
        probe = s.probes[row["insertion_number"]]
        assert probe.quality[row["unit"]] != "all"
        groups = {True: [], False: []}
        for trial in compared(s, events, probe):
            is_ipsi = instruction[trial] == side[row["insertion_number"]]
            groups[is_ipsi].append(
                rate(probe, row["unit"], trial, window(events, trial, row["period"]))
            )
        assert row["ipsi_firing_rate"] == pytest.approx(np.mean(groups[True]), rel=1e-9, abs=1e-12)
        assert row["contra_firing_rate"] == pytest.approx(
            np.mean(groups[False]), rel=1e-9, abs=1e-12
        )
        silent = not np.ptp([*groups[True], *groups[False]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns of samples that hardly vary
            p = 1.0 if silent else ttest_ind(groups[True], groups[False], equal_var=True).pvalue
        assert row["p_value"] == pytest.approx(p, abs=1e-6)
        larger = "ipsi" if row["ipsi_firing_rate"] > row["contra_firing_rate"] else "contra"
        expected = "non-selective" if p > 0.05 else f"{larger}-selective"
        assert row["period_selectivity"] == expected
    assert len(found) == 3 * sum(q != "all" for p in s.probes.values() for q in p.quality.values())


def test_one_probe_is_a_part_of_the_session(truth):
    lake, _ = truth
    both = lake.selectivity(101, 1)
    one = period_selectivity(lake._aligned, 101, 1, 2)
    assert one.equals(both.filter(insertion_number=2))
    unit = lake.selectivity(101, 1, 2, 50, periods=["delay"])
    assert unit.equals(one.filter(unit=50, period="delay"))
    with pytest.raises(NotFoundError, match=f"kilosort9.*{lakefiles.METHOD}"):
        lake.selectivity(101, 1, clustering_method="kilosort9")


def test_all_ignored_trials_leave_nothing_to_test(truth):
    lake, _ = truth
    found = lake.selectivity(102, 1, 1)
    assert set(found["period_selectivity"]) == {"non-selective"}
    for name in ("ipsi_firing_rate", "contra_firing_rate", "p_value"):
        assert found[name].null_count() == len(found)


def test_what_is_missing_is_said(truth):
    lake, _ = truth
    with pytest.raises(NotFoundError, match="no insertion location"):
        lake.selectivity(101, 2, 1)
    with pytest.raises(QueryError, match="midline"):
        lake.selectivity(101, 2, 2)
    with pytest.raises(QueryError, match="no such period"):
        lake.selectivity(101, 1, periods=["none such"])


def test_good_trials_restrict_on_request_only(tmp_path):
    sessions = analysis_lake.build(tmp_path)
    s, events = sessions[101, 1]
    good = np.arange(10, 31)
    key = {**s.key, "insertion_number": 1}
    lakefiles.write_table(tmp_path, "ephys.good_trial", key, trial=good)
    catalog.build(tmp_path)
    with maplake.open(tmp_path) as lake:
        free = lake.selectivity(101, 1, 1, 50, periods=["delay"]).row(0, named=True)
        cut = lake.selectivity(101, 1, 1, 50, periods=["delay"], good_trials_only=True)
    trials = compared(s, events, s.probes[1])
    instruction = dict(
        zip(s.columns["trial"].tolist(), s.columns["trial_instruction"], strict=True)
    )

    def mean(chosen):
        rates = [
            rate(s.probes[1], 50, t, window(events, t, "delay"))
            for t in chosen
            if instruction[t] == "right"
        ]
        return np.mean(rates)

    assert free["ipsi_firing_rate"] == pytest.approx(mean(trials), rel=1e-9)
    wanted = mean([t for t in trials if t in good])
    assert cut["ipsi_firing_rate"][0] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("period", PERIODS)
def test_period_activity(truth, period):
    lake, sessions = truth
    s, events = sessions[101, 1]
    rows = lake.sql(
        f"FROM psth.period_activity('{period.upper()}') WHERE subject_id = 101 AND session = 1 "
        "AND insertion_number = 2 ORDER BY unit, trial"
    ).pl()
    probe = s.probes[2]
    units = sorted(u for u in probe.spikes if probe.quality[u] != "all")
    assert rows["unit"].unique(maintain_order=True).to_list() == units
    for row in rows.iter_rows(named=True):
        span = window(events, row["trial"], period)
        expected = rate(probe, row["unit"], row["trial"], span)
        assert row["duration"] == pytest.approx(span[1] - span[0], rel=1e-12)
        assert row["rate"] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert row["spike_count"] == round(expected * (span[1] - span[0]))
    assert len(rows) == len(units) * (probe.go >= 0).sum()


@pytest.mark.parametrize("macro", ["period_activity", "period_foraging_activity"])
def test_unknown_period(truth, macro):
    import duckdb

    lake, _ = truth
    with pytest.raises(duckdb.Error, match="there is no period 'none such'"):
        lake.sql(f"SELECT count(*) FROM psth.{macro}('none such')").fetchall()


def test_unit_selectivity(tmp_path):
    analysis_lake.build(tmp_path)
    key = {"subject_id": 101, "session": 1, "insertion_number": 1}
    words = {
        10: ("non-selective", "non-selective", "non-selective"),
        30: ("non-selective", "ipsi-selective", "contra-selective"),
        40: ("contra-selective", "non-selective", "non-selective"),
    }
    lakefiles.write_table(
        tmp_path,
        "psth.period_selectivity",
        key,
        clustering_method=[lakefiles.METHOD] * 10,
        unit=[u for u in words for _ in PERIODS] + [50],
        period=[*PERIODS * 3, "delay"],
        period_selectivity=[w for row in words.values() for w in row] + ["ipsi-selective"],
        ipsi_firing_rate=[1.0, 1, 1, 3, 3, 3, 1, 1, 1, 1],
        contra_firing_rate=[2.0, 2, 2, 8, 0, 0, 2, 2, 2, 1],
        p_value=[0.5] * 10,
    )
    catalog.build(tmp_path)
    with maplake.open(tmp_path) as lake:
        found = lake.sql("SELECT unit, unit_selectivity FROM psth.unit_selectivity ORDER BY unit")
        # Unit 50 was tested in one period only.
        assert found.fetchall() == [
            (10, "non-selective"),
            (30, "ipsi-selective"),
            (40, "contra-selective"),
        ]


def test_t_test_is_scipys():
    rng = np.random.default_rng(0)
    for n, m in ((2, 1), (1, 2), (5, 30), (40, 3)):
        first, second = rng.poisson(3, (20, n)).astype(float), rng.poisson(4, (20, m)).astype(float)
        found = t_test(first, second)
        for a, b, p in zip(first, second, found, strict=True):
            if np.ptp(a) or np.ptp(b):
                assert p == pytest.approx(ttest_ind(a, b).pvalue, abs=1e-9)
    assert t_test(np.ones((1, 3)), np.ones((1, 3)))[0] == 1
    assert t_test(np.ones((1, 3)), np.zeros((1, 3)))[0] == 0
    assert t_test(np.ones((1, 1)), np.zeros((1, 1)))[0] == 1
    assert t_test(np.ones((1, 0)), np.zeros((1, 9)))[0] == 1


def test_one_trial_of_each_side(tmp_path):
    """Means are those trials; a test of one against one says nothing."""
    sessions = analysis_lake.build(tmp_path)
    s, events = sessions[101, 1]
    hits = compared(s, events, s.probes[2])
    instruction = dict(
        zip(s.columns["trial"].tolist(), s.columns["trial_instruction"], strict=True)
    )
    pair = {side: next(t for t in hits if instruction[t] == side) for side in ("left", "right")}
    keep = np.isin(s.columns["trial"], list(pair.values()))
    s.columns["outcome"] = np.where(keep, s.columns["outcome"], "ignore")
    lakefiles.write_session(tmp_path, s)
    events.write(tmp_path, s.key)
    for insertion in (1, 2):
        analysis_lake.locate(tmp_path, {**s.key, "insertion_number": insertion})
    catalog.build(tmp_path)
    with maplake.open(tmp_path) as lake:
        found = lake.selectivity(101, 1, 2, periods=["delay"])
        axis = lake.coding_direction(101, 1, 2, window=(-1, 0))
        effect = lake.photostim_effect(
            101, 1, 2, control="good_noearlylick_left_hit",
            stimulated="good_noearlylick_right_hit", window=(-1, 0.5),
        )  # fmt: skip
        psth = lake.psth(101, 1, 2, condition="good_noearlylick_left_hit")
    assert set(found["period_selectivity"]) == {"non-selective"}
    assert set(found["p_value"]) == {1.0}
    for row in found.iter_rows(named=True):  # the probe is on the left
        for side, name in (("left", "ipsi_firing_rate"), ("right", "contra_firing_rate")):
            span = window(events, pair[side], "delay")
            expected = rate(s.probes[2], row["unit"], pair[side], span)
            assert row[name] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert (len(axis.contra_trial), len(axis.ipsi_trial)) == (1, 1)
    assert np.linalg.norm(axis.direction) == pytest.approx(1, rel=1e-12)
    assert set(effect["p_value"]) == {1.0}
    assert set(effect["control_trials"]) == set(effect["stim_trials"]) == {1}
    assert set(psth.trial_count) == {1}


def test_the_table_the_view_and_the_function_are_one(tmp_path):
    """What `maplake compute` writes is what the function gives, good trials or not."""
    from maplake.compute.selectivity import period_selectivity as computed

    sessions = analysis_lake.build(tmp_path)
    s, _ = sessions[101, 1]
    key = {**s.key, "insertion_number": 1}
    lakefiles.write_table(tmp_path, "ephys.good_trial", key, trial=np.arange(10, 31))
    catalog.build(tmp_path)
    with maplake.open(tmp_path) as lake:
        assert computed(lake, key).equals(lake.selectivity(101, 1, 1))
        nowhere = {"subject_id": 101, "session": 2}
        assert computed(lake, {**nowhere, "insertion_number": 1}) is None  # no location
        assert computed(lake, {**nowhere, "insertion_number": 2}) is None  # on the midline
