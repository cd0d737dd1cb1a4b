"""Views of the foraging task, against sums done by hand in numpy."""

import math

import lakefiles
import numpy as np
import pytest
from analysis_lake import numbered
from lakefiles import finish, make_probe, make_session, write_lab, write_session, write_table

import maplake

KEY = {"subject_id": 101, "session": 1}
TRIALS = 120
BLOCKS = {
    1: (range(1, 41), 0.4, 0.05),
    2: (range(41, 81), 0.05, 0.4),
    3: (range(81, 100), 0.3, 0.1),
}
BLOCKS[4] = (range(100, 121), 1.0, 0.0)  # too short, and a sure reward


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    rng = np.random.default_rng(5)
    s = make_session(rng, 101, 1, trials=TRIALS)
    s.columns["task"] = ["foraging"] * TRIALS
    s.columns["task_protocol"] = [100] * TRIALS
    s.columns["trial_instruction"] = ["none"] * TRIALS
    s.columns["free_water"] = np.zeros(TRIALS, bool)
    s.stim = {}
    s.probes[1] = make_probe(rng, s, 1)
    write_session(root, s)
    outcome = s.columns["outcome"]
    port = np.where(outcome == "ignore", None, rng.choice(["left", "right"], TRIALS))
    events, licks = make_events(rng, outcome, port)
    write_rows(
        root,
        "experiment.trial_event",
        ("trial", "trial_event_type", "trial_event_time"),
        events,
        "trial_event_id",
    )
    write_rows(
        root,
        "experiment.action_event",
        ("trial", "action_event_type", "action_event_time"),
        licks,
        "action_event_id",
    )
    number = s.columns["trial"]
    write_table(root, "experiment.session", KEY, task=["foraging"], task_protocol=[100],
                session_date=[lakefiles.datetime(2021, 3, 1).date()])  # fmt: skip
    write_table(root, "experiment.water_port_choice", KEY, trial=number, water_port=port.tolist())
    write_table(root, "experiment.session_block", KEY, block=list(BLOCKS))
    block = [b for b, (trials, *_) in BLOCKS.items() for _ in trials]
    write_table(root, "experiment.block_trial", KEY, trial=number, block=block)
    write_table(
        root,
        "experiment.block_reward_probability",
        KEY,
        block=[b for b in BLOCKS for _ in range(2)],
        water_port=["left", "right"] * 4,
        reward_probability=[p for _, left, right in BLOCKS.values() for p in (left, right)],
    )
    available = rng.random((TRIALS, 2)) < 0.5
    write_table(
        root,
        "experiment.trial_available_reward",
        KEY,
        trial=np.repeat(number, 2),
        water_port=["left", "right"] * TRIALS,
        reward_available=available.ravel().tolist(),
    )
    write_lab(root, [101])
    finish(root)
    facts = {**s.columns, "port": port, "available": available, "events": events, "licks": licks}
    with maplake.open(root) as lake:
        yield lake, facts, s


def make_events(rng, outcome, port):
    events, licks = [], []
    for trial, (result, side) in enumerate(zip(outcome, port, strict=True), 1):
        ready = 0.2 + 0.1 * rng.random()
        go = ready + 1 + rng.random()
        events += [(trial, "bitcodestart", 0.0), (trial, "zaberready", ready), (trial, "go", go)]
        events += [(trial, "trialend", go + 2.5)]
        if rng.random() < 0.3:
            licks.append((trial, "left lick", go - 0.2))
        if result == "ignore":
            continue
        licks.append((trial, f"{side} lick", go + 0.3))
        if rng.random() < 0.4:
            licks.append((trial, f"{rng.choice(['left', 'right'])} lick", go + 0.6))
    return events, licks


def write_rows(root, table, names, rows, number):
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    write_table(root, table, KEY, **columns, **{number: numbered(columns["trial"])})


def go_times(facts):
    return {t: time for t, kind, time in facts["events"] if kind == "go"}


def one(lake, table):
    return lake.sql(f"FROM foraging.{table}").pl().row(0, named=True)


def test_trial_stats(truth):
    lake, facts, _ = truth
    rows = lake.sql("FROM foraging.trial_stats ORDER BY trial").pl().rows(named=True)
    assert len(rows) == TRIALS
    go = go_times(facts)
    for row in rows:
        after = [(k, t) for n, k, t in facts["licks"] if n == row["trial"] and t > go[n]]
        if after:
            first = min(t for _, t in after) - go[row["trial"]]
            assert row["reaction_time"] == pytest.approx(first, rel=1e-9)
        else:
            assert row["reaction_time"] is None
        assert row["double_dipping"] == (len({k for k, _ in after}) > 1)
    assert any(row["double_dipping"] for row in rows)


def in_block(facts, block):
    return np.isin(facts["trial"], list(BLOCKS[block][0]))


def test_block_stats(truth):
    lake, facts, _ = truth
    for row in lake.sql("FROM foraging.block_stats").pl().rows(named=True):
        outcome = facts["outcome"][in_block(facts, row["block"])]
        assert row["block_trial_num"] == len(outcome)
        assert row["block_ignore_num"] == (outcome == "ignore").sum()
        rate = (outcome == "hit").sum() / (outcome != "ignore").sum()
        assert row["block_reward_rate"] == pytest.approx(rate, rel=1e-9)


def best(high, low):
    if low <= 0 or high >= 1:
        return high
    m = math.floor(math.log(1 - high) / math.log(1 - low))
    return high + (1 - (1 - low) ** (m + 1) - high**2) / (m + 1)


def test_session_stats(truth):
    lake, facts, _ = truth
    row = one(lake, "session_stats")
    outcome = facts["outcome"]
    hit, miss = outcome == "hit", outcome == "miss"
    pure = (hit | miss) & ~facts["auto_water"]
    dips = np.array(lake.sql("SELECT double_dipping FROM foraging.trial_stats ORDER BY trial").pl())
    dips = dips.ravel().astype(bool)
    probability = np.array([BLOCKS[b][1:] for b in BLOCKS for _ in BLOCKS[b][0]])
    finest = np.array([best(max(p), min(p)) for p in probability])
    high, low = probability.max(axis=1), probability.min(axis=1)
    varied = pure & (low > 0)
    rate = (hit & pure).sum() / pure.sum()
    expected = {
        "session_total_trial_num": TRIALS,
        "session_block_num": 4,
        "session_hit_num": hit.sum(),
        "session_miss_num": miss.sum(),
        "session_ignore_num": (outcome == "ignore").sum(),
        "session_early_lick_ratio": (facts["early_lick"] == "early").sum() / (hit | miss).sum(),
        "session_autowater_num": facts["auto_water"].sum(),
        "session_pure_choices_num": pure.sum(),
        "session_length": facts["stop_time"].max(),
        "session_double_dipping_ratio": (dips & pure).sum() / pure.sum(),
        "session_double_dipping_ratio_hit": (dips & hit).sum() / hit.sum(),
        "session_double_dipping_ratio_miss": (dips & miss).sum() / miss.sum(),
        "session_reward_rate": rate,
        "session_foraging_eff_optimal": rate / finest[pure].mean(),
        "session_mean_reward_sum": probability[pure].sum(axis=1).mean(),
        "session_mean_reward_contrast": (high[varied] / low[varied]).mean(),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(float(value), rel=1e-9), name


def test_runs_of_choices(truth):
    lake, facts, _ = truth
    runs = []
    for trial, port in zip(facts["trial"].tolist(), facts["port"], strict=True):
        if port is None:
            continue
        if runs and runs[-1][2] == port:
            runs[-1] = (runs[-1][0], trial, port, runs[-1][3] + 1)
        else:
            runs.append((trial, trial, port, 1))
    found = lake.sql(
        "SELECT start_trial, stop_trial, water_port, run_length FROM foraging.choice_run "
        "ORDER BY start_trial"
    ).fetchall()
    assert found == runs
    mean = np.mean([run[3] for run in runs])
    assert one(lake, "session_stats")["session_mean_run_length"] == pytest.approx(mean)


def fraction(facts, block, port):
    inside = in_block(facts, block)
    hit, chosen = facts["outcome"][inside] == "hit", facts["port"][inside]
    return (hit & (chosen == port)).sum() / hit.sum(), (chosen == port).sum() / sum(
        p is not None for p in chosen
    )


def test_matching(truth):
    lake, facts, _ = truth
    blocks = lake.sql("SELECT DISTINCT block FROM foraging.block_fraction ORDER BY 1").fetchall()
    assert blocks == [(1,), (2,)]  # the others are too short
    rows = lake.sql("FROM foraging.session_matching").pl().rows(named=True)
    found = {row["water_port"]: row for row in rows}
    for port in ("left", "right"):
        pairs = np.array([fraction(facts, b, port) for b in (1, 2)])
        logs = np.log2(pairs / (1 - pairs))
        slope, intercept = np.polyfit(logs[:, 0], logs[:, 1], 1)
        assert found[port]["match_idx"] == pytest.approx(slope, rel=1e-9)
        assert found[port]["bias"] == pytest.approx(intercept, rel=1e-9, abs=1e-9)
        long = in_block(facts, 1) | in_block(facts, 2)
        hit = (facts["outcome"] == "hit") & long
        share = (hit & (facts["port"] == port)).sum() / hit.sum()
        assert found[port]["reward_share"] == pytest.approx(share, rel=1e-9)
        assert found[port]["block_count"] == 2
    assert found["middle"]["match_idx"] is None


def test_block_efficiency(truth):
    lake, facts, _ = truth
    for row in lake.sql("FROM foraging.block_efficiency").pl().rows(named=True):
        inside = in_block(facts, row["block"])
        chosen = [p is not None for p in facts["port"][inside]]
        rate = (facts["outcome"][inside] == "hit").sum() / sum(chosen)
        high, low = max(BLOCKS[row["block"]][1:]), min(BLOCKS[row["block"]][1:])
        water = facts["available"][inside]
        expected = {
            "block_reward_per_trial": rate,
            "block_effi_one_p_reward": rate / high,
            "block_effi_sum_p_reward": rate / (high + low),
            "block_effi_one_a_reward": rate / water.any(axis=1).mean(),
            "block_effi_sum_a_reward": rate / water.sum(axis=1).mean(),
            "block_ideal_phat_greedy": rate / best(high, low),
            "regret_ideal_phat_greedy": best(high, low) - rate,
        }
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("name", ["L_hit", "R_miss", "LR_all_noearlylick", "LR_hit_noearlylick"])
def test_conditions(truth, name):
    lake, facts, _ = truth
    side, kind, *quiet = name.split("_")
    ports = {"L": ["left"], "R": ["right"], "LR": ["left", "right"]}[side]
    keep = np.isin(facts["port"].astype(str), ports) & ~facts["auto_water"]
    keep &= facts["outcome"] == kind if kind != "all" else facts["outcome"] != "ignore"
    if quiet:
        keep &= facts["early_lick"] == "no early"
    found = lake.sql(
        f"SELECT trial FROM psth.condition_trial WHERE trial_condition_name = '{name}' ORDER BY 1"
    ).pl()["trial"]
    assert found.to_list() == facts["trial"][keep].tolist()
    rows = lake.sql("SELECT DISTINCT trial_condition_name FROM psth.unit_psth").fetchall()
    assert (name,) in rows
    assert len(rows) == 31


SPANS = {
    "before_2": (("bitcodestart", 0, -2.0), ("bitcodestart", 0, 0.0)),
    "delay": (("zaberready", 0, 0.0), ("go", 0, 0.0)),
    "go_to_end": (("go", 0, 0.0), ("trialend", 0, 0.0)),
    "iti_all": (("trialend", 0, 0.0), ("bitcodestart", 1, 0.0)),
    "iti_last_2": (("bitcodestart", 1, -2.0), ("bitcodestart", 1, 0.0)),
}


@pytest.mark.parametrize("period", SPANS)
def test_periods_on_the_clock_of_the_session(truth, period):
    lake, facts, s = truth
    probe = s.probes[1]
    event = {(t, kind): time for t, kind, time in facts["events"]}
    starts = dict(zip(probe.trials.tolist(), probe.start.tolist(), strict=True))
    goes = dict(zip(probe.trials.tolist(), probe.go.tolist(), strict=True))

    def sample(trial, what):
        kind, shift, offset = what
        trial += shift
        if trial not in starts or (kind == "go" and goes[trial] < 0):
            return None
        base = goes[trial] if kind == "go" else starts[trial] + probe.rate * event[trial, kind]
        return base + offset * probe.rate

    expected = {}
    for trial in starts:
        span = [sample(trial, what) for what in SPANS[period]]
        if None not in span:
            spikes = probe.spikes[50]
            count = ((spikes >= span[0]) & (spikes < span[1])).sum()
            expected[trial] = (count, (span[1] - span[0]) / probe.rate)
    rows = lake.sql(
        f"SELECT trial, spike_count, duration, rate FROM psth.period_foraging_activity('{period}') "
        "WHERE unit = 50 ORDER BY trial"
    ).fetchall()
    assert [row[0] for row in rows] == list(expected)
    for trial, count, duration, rate in rows:
        assert count == expected[trial][0]
        assert duration == pytest.approx(expected[trial][1], rel=1e-9)
        assert rate == pytest.approx(count / duration, rel=1e-9)
