"""Trial counts, alignment, smoothing, coding direction, photostim effect: against plain numpy."""

import analysis_lake
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maplake
from maplake.errors import NotFoundError, QueryError
from maplake.layout import Layout
from maplake.query.aligned import Aligned
from maplake.query.counts import TrialCounts
from maplake.query.decoding import project_on_coding_direction
from maplake.query.numbers import KERNELS, bin_edges, bin_index, smooth
from maplake.tables import get

HIT = "good_noearlylick_hit"


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    sessions = analysis_lake.build(root)
    with maplake.open(root) as lake:
        yield lake, sessions


def trial_times(probe, unit, trial, origin):
    samples = probe.spikes[unit]
    return (samples[probe.trial_of(samples) == trial] - origin) / probe.rate


def go_of(probe):
    return dict(zip(probe.trials.tolist(), probe.go.tolist(), strict=True))


def seen(session, insertion, condition):
    probe = session.probes[insertion]
    usable = set(probe.trials[probe.usable()].tolist())
    return sorted(session.condition(condition) & usable)


def units_of(probe):
    return sorted(u for u in probe.spikes if probe.quality[u] != "all")


def test_counts_of_a_probe(truth):
    lake, sessions = truth
    s, _ = sessions[101, 1]
    probe, go = s.probes[1], go_of(s.probes[1])
    found = lake.trial_counts(101, 1, 1, condition=HIT)
    edges = np.arange(-3, 3, 0.04)
    assert found.trial.tolist() == seen(s, 1, HIT)
    assert found.units["unit"].to_list() == units_of(probe)
    np.testing.assert_array_equal(found.time, edges[1:])
    for row, unit in enumerate(units_of(probe)):
        for column, trial in enumerate(found.trial.tolist()):
            expected = np.histogram(trial_times(probe, unit, trial, go[trial]), edges)[0]
            np.testing.assert_array_equal(found.count[row, column], expected)
    np.testing.assert_allclose(found.rate, found.count / 0.04, rtol=1e-12)


def test_counts_sum_to_the_psth_and_equal_the_macro(truth):
    lake, _sessions = truth
    found = lake.trial_counts(101, 1, 1, condition=HIT, bin=0.1, start=-1, stop=1)
    psth = lake.psth(101, 1, 1, condition=HIT, bin=0.1, start=-1, stop=1)
    np.testing.assert_array_equal(found.count.sum(axis=1), psth.count)
    rows = lake.sql(
        f"SELECT unit, trial, time, count FROM psth.trial_counts('{HIT}', 0.1, -1, 1) WHERE "
        "subject_id = 101 AND session = 1 AND insertion_number = 1 ORDER BY unit, trial, time"
    ).pl()
    assert rows["count"].to_list() == found.count.ravel().tolist()


def test_both_probes_with_trials_that_one_did_not_record(truth):
    lake, sessions = truth
    _s, _ = sessions[101, 1]
    found = lake.trial_counts(101, 1, condition=HIT)
    parts = [lake.trial_counts(101, 1, i, condition=HIT) for i in (1, 2)]
    assert set(parts[1].trial) < set(parts[0].trial)
    assert len(found.units) == sum(len(p.units) for p in parts)
    late = len(parts[0].units)
    assert found.observed[:late].all()
    missed = ~np.isin(found.trial, parts[1].trial)
    assert not found.observed[late:, missed].any()
    assert np.isnan(found.rate[late:, missed]).all()
    np.testing.assert_array_equal(found.count[late:, ~missed], parts[1].count)
    complete = found.complete()
    assert complete.trial.tolist() == parts[1].trial.tolist()
    assert complete.observed.all()


def test_silent_units_no_trials_one_trial(truth):
    lake, _sessions = truth
    silent = lake.trial_counts(101, 1, 1, 7, condition=HIT)
    assert silent.count.shape[0] == 1
    assert not silent.count.any()
    none = lake.trial_counts(102, 1, 1, condition=HIT)  # every trial ignored
    assert none.count.shape[1:] == (0, 149)
    lake.conditions.add("the tenth", "trial = 10")
    one = lake.trial_counts(101, 1, 1, condition="The Tenth")
    assert one.trial.tolist() == [10]
    lake.conditions.remove("the tenth")


def test_wrong_questions(truth):
    lake, _ = truth
    with pytest.raises(NotFoundError, match="no animal 999"):
        lake.trial_counts(999, 1)
    with pytest.raises(QueryError, match="good_noearlylick_hit"):
        lake.trial_counts(101, 1, condition="none such")
    with pytest.raises(QueryError, match="between 1 and a million"):
        lake.trial_counts(101, 1, bin=0)
    with pytest.raises(QueryError, match="there is no event"):
        lake.trial_counts(101, 1, event="none such")


@pytest.mark.parametrize("ask", ["psth", "trial_counts", "selectivity"])
def test_all_that_is_read_is_of_one_moment(truth, monkeypatch, ask):
    lake, _ = truth
    plain, reads = Aligned.chosen_units, []

    def amid_a_commit(self, *args, **options):
        reads.append(ask)
        if len(reads) == 1:
            Layout(lake.root).log.mkdir(exist_ok=True)
            (Layout(lake.root).log / f"{ask}.json").write_text("{}", encoding="utf-8")
        return plain(self, *args, **options)

    monkeypatch.setattr(Aligned, "chosen_units", amid_a_commit)
    getattr(lake, ask)(101, 1, 1)
    assert len(reads) == 2


@pytest.mark.parametrize("kind", ["left lick", "lick"])
@pytest.mark.parametrize("occurrence", ["first", "last", "after go"])
def test_alignment_to_licks(truth, kind, occurrence):
    lake, sessions = truth
    s, events = sessions[101, 1]
    probe = s.probes[1]
    start = dict(zip(probe.trials.tolist(), probe.start.tolist(), strict=True))
    found = lake.trial_counts(101, 1, 1, 50, HIT, event=kind, occurrence=occurrence, bin=0.1)
    expected = {}
    for trial in sorted(s.condition(HIT) & set(probe.trials.tolist())):
        licks = events.lick_times(kind, trial)
        if occurrence == "after go":
            licks = [t for t in licks if t >= events.times("go", trial)[-1]]
        if licks:
            expected[trial] = licks[-1] if occurrence == "last" else licks[0]
    assert found.trial.tolist() == list(expected)
    for row, (trial, lick) in zip(found.count[0], expected.items(), strict=True):
        times = trial_times(probe, 50, trial, start[trial] + probe.rate * lick)
        np.testing.assert_array_equal(row, np.histogram(times, np.arange(-3, 3, 0.1))[0])


def test_alignment_to_photostimuli(truth):
    lake, sessions = truth
    s, _ = sessions[101, 1]
    condition = "all_noearlylick_both_alm_stim"
    found = lake.trial_counts(101, 1, 1, condition=condition, event="photostim")
    probe = s.probes[1]
    start = dict(zip(probe.trials.tolist(), probe.start.tolist(), strict=True))
    assert found.trial.tolist() == sorted(s.condition(condition))
    for column, trial in enumerate(found.trial.tolist()):
        times = trial_times(probe, 50, trial, start[trial] + probe.rate * 1.7)
        expected = np.histogram(times, found.edges)[0]
        np.testing.assert_array_equal(found.count[units_of(probe).index(50), column], expected)


def test_event_times(truth):
    lake, sessions = truth
    s, events = sessions[101, 1]
    every = lake.event_times(101, 1, "sample")
    expected = [
        (n, t, t - events.times("go", n)[-1]) for n, k, t, _ in events.rows if k == "sample"
    ]
    np.testing.assert_allclose(np.array(every.rows()), np.array(expected), rtol=1e-12)
    first = lake.event_times(101, 1, "Lick", HIT, occurrence="after go")
    wanted = []
    for trial in sorted(s.condition(HIT)):
        go = events.times("go", trial)[-1]
        after = [t for t in events.lick_times("lick", trial) if t >= go]
        wanted += [(trial, after[0], after[0] - go)] if after else []
    np.testing.assert_allclose(np.array(first.rows()), np.array(wanted), rtol=1e-12)
    with pytest.raises(QueryError, match="no such event"):
        lake.event_times(101, 1, "none such")


def test_coding_direction(truth):
    lake, sessions = truth
    s, _ = sessions[101, 1]
    found = lake.coding_direction(101, 1, 1, window=(-1, 0))
    assert found.hemisphere == "right"
    edges = np.arange(-3, 3, 0.04)
    probe, go = s.probes[1], go_of(s.probes[1])
    rates = {}
    for side in ("left", "right"):
        trials = seen(s, 1, f"good_noearlylick_{side}_hit")
        rates[side] = np.array(
            [
                [np.histogram(trial_times(probe, u, t, go[t]), edges)[0] / 0.04 for t in trials]
                for u in units_of(probe)
            ]
        )
    inside = (edges[1:] >= -1) & (edges[1:] < 0)
    left, right = (rates[x].mean(axis=1)[:, inside].mean(axis=1) for x in ("left", "right"))
    axis = (left - right) / np.linalg.norm(left - right)  # the probe is on the right
    np.testing.assert_allclose(found.direction, axis, rtol=1e-9, atol=1e-12)
    projected = np.einsum("u,utb->tb", axis, rates["left"])
    np.testing.assert_allclose(found.contra, projected, rtol=1e-9, atol=1e-9)
    assert found.ipsi.shape == (len(found.ipsi_trial), 149)
    other = lake.trial_counts(101, 1, 1, condition="all_noearlylick_nostim")
    again = project_on_coding_direction(other, found.direction)
    assert again.shape == (len(other.trial), 149)
    with pytest.raises(QueryError, match="other units"):
        project_on_coding_direction(other, found.direction[1:])


def test_coding_direction_says_what_is_wrong(truth):
    lake, _ = truth
    with pytest.raises(QueryError, match="both hemispheres"):
        lake.coding_direction(101, 1)
    with pytest.raises(NotFoundError, match="no insertion location"):
        lake.coding_direction(101, 2, 1)
    with pytest.raises(QueryError, match="midline"):
        lake.coding_direction(101, 2, 2)
    with pytest.raises(QueryError, match="no contra trial"):
        lake.coding_direction(102, 1)  # all ignored
    with pytest.raises(QueryError, match="no bin"):
        lake.coding_direction(101, 1, 1, window=(5, 6))


def test_photostim_effect(truth):
    from scipy.stats import ttest_ind

    lake, sessions = truth
    s, _ = sessions[101, 1]
    probe, go = s.probes[1], go_of(s.probes[1])
    names = ("all_noearlylick_nostim", "all_noearlylick_both_alm_stim")
    found = lake.photostim_effect(101, 1, 1, window=(-1.5, -0.2))
    for row in found.iter_rows(named=True):
        rates = []
        for name in names:
            times = [trial_times(probe, row["unit"], t, go[t]) for t in seen(s, 1, name)]
            rates.append([np.histogram(t, [-1.5, -0.2])[0][0] / 1.3 for t in times])
        assert row["control_rate"] == pytest.approx(np.mean(rates[0]), rel=1e-9)
        assert row["stim_rate"] == pytest.approx(np.mean(rates[1]), rel=1e-9)
        assert (row["control_trials"], row["stim_trials"]) == tuple(map(len, rates))
        p = ttest_ind(*rates).pvalue if np.ptp(np.concatenate(rates)) else 1.0
        assert row["p_value"] == pytest.approx(p, abs=1e-6)
    with pytest.raises(NotFoundError, match="known duration"):
        lake.photostim_effect(101, 1, 1)  # this lake knows no durations
    right = lake.photostim_effect(
        101, 1, 1, stimulated="all_noearlylick_right_alm_stim", window=(0, 1)
    )
    assert right["stim_rate"].null_count() == len(right)  # never stimulated


@given(
    st.lists(st.floats(-4, 4), max_size=50),
    st.sampled_from([(-3, 3, 0.04), (-2, 1.5, 0.001), (-1.3, 0.7, 1 / 3), (-2, 3, 1.0)]),
)
def test_bins_are_numpys(times, window):
    edges = bin_edges(*window)
    exact = np.concatenate([times, edges, np.nextafter(edges, 9), np.nextafter(edges, -9)])
    found = bin_index(exact, edges)
    counted = np.bincount(found[found >= 0], minlength=len(edges) - 1)
    np.testing.assert_array_equal(counted, np.histogram(exact, edges)[0])


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels(kernel):
    np.testing.assert_allclose(smooth(np.full((2, 50), 3.0), 0.01, 0.05, kernel), 3.0)
    impulse = np.zeros(201)
    impulse[100] = 1
    found = smooth(impulse, 0.01, 0.05, kernel)
    lag = (np.arange(201) - 100) * 0.01
    assert found.sum() == pytest.approx(1)
    if kernel in ("half-gaussian", "exponential"):
        assert not found[:100].any()  # the past only
    shape = {
        "gaussian": np.exp(-0.5 * (lag / 0.05) ** 2) * (np.abs(lag) < 0.205),
        "half-gaussian": np.exp(-0.5 * (lag / 0.05) ** 2) * ((lag >= 0) & (lag < 0.205)),
        "exponential": np.exp(-np.abs(lag) / 0.05) * ((lag >= 0) & (lag < 0.205)),
        "boxcar": (np.abs(lag) < 0.025).astype(float),
    }[kernel]
    np.testing.assert_allclose(found, shape / shape.sum(), atol=1e-12)
    with pytest.raises(QueryError):
        smooth(impulse, 0.01, 0, kernel)
    with pytest.raises(QueryError, match="gaussian"):
        smooth(impulse, 0.01, 0.05, "none such")


def test_smoothed_counts(truth):
    lake, _ = truth
    counts = lake.trial_counts(101, 1, 1, condition=HIT)
    found = counts.smoothed(0.1)
    assert found.shape == counts.count.shape
    np.testing.assert_allclose(found[0, 0], smooth(counts.rate[0, 0], counts.bin, 0.1))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_wider_than_everything_is_cut(kernel):
    values = np.arange(20.0)
    wide = smooth(values, 0.1, 1e9, kernel)
    expected = np.full(20, values.mean())
    if kernel in ("half-gaussian", "exponential"):
        expected = np.cumsum(values) / np.arange(1, 21)
    np.testing.assert_allclose(wide, expected, rtol=1e-6)
    with pytest.raises(QueryError, match="width must be a number"):
        smooth(values, 0.1, "wide", kernel)


def test_xarray(truth):
    pytest.importorskip("xarray")
    counts = truth[0].trial_counts(101, 1, 1, condition=HIT)
    array = counts.to_xarray()
    assert array.dims == ("unit", "trial", "time")
    assert array.sel(trial=counts.trial[0]).shape == (len(counts.units), 149)


def test_pynapple(truth):
    pytest.importorskip("pynapple")
    lake, sessions = truth
    probe = sessions[101, 1][0].probes[1]
    group = lake.to_pynapple(101, 1, 1)
    expected = (probe.spikes[50] - probe.start[0]) / probe.rate
    np.testing.assert_allclose(group[50].t, expected, atol=1e-9)


def test_neo(truth):
    pytest.importorskip("neo")
    segment = truth[0].to_neo(101, 1, 1)
    assert len(segment.spiketrains) == len(truth[1][101, 1][0].probes[1].spikes)


def test_a_library_that_is_not_there_is_named(truth, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pynapple", None)
    with pytest.raises(QueryError, match="pynapple is not installed"):
        truth[0].to_pynapple(101, 1, 1)


def test_tuning(truth, tmp_path):
    import lakefiles

    from maplake.query import catalog

    sessions = analysis_lake.build(tmp_path)
    s, _ = sessions[101, 1]
    probe = s.probes[1]
    rng = np.random.default_rng(3)
    trials = probe.trials[:5].tolist()
    frames = [
        (t, f, 0.0034 * f + 0.1, 100 * rng.random(), rng.random())
        for t in trials
        for f in range(900)
    ]
    trial, number, time, y, likelihood = map(list, zip(*frames, strict=True))
    lakefiles.write_table(
        tmp_path,
        "tracking.tracking_position",
        {**s.key, "tracking_device": "Camera 0"},
        trial=trial,
        feature=["jaw"] * len(frames),
        frame=number,
        time=time,
        x=y,
        y=y,
        likelihood=likelihood,
    )
    catalog.build(tmp_path)
    edges = np.linspace(0, 100, 11)
    with maplake.open(tmp_path) as lake:
        found = lake.tuning(101, 1, 1, 50, bins=edges, min_likelihood=0.3)
        with pytest.raises(NotFoundError, match="nothing was tracked"):
            lake.tuning(101, 1, 1, 50, feature="tongue")
        for wrong in ([3, 2], "a", None, 0, 1.5, 10**12):
            with pytest.raises(QueryError, match="ascending edges"):
                lake.tuning(101, 1, 1, 50, bins=wrong)
        assert len(lake.tuning(101, 1, 1, 50, bins=np.int64(5)).rate) == 5
    occupancy, count = np.zeros(10), np.zeros(10, int)
    starts = dict(zip(probe.trials.tolist(), probe.start.tolist(), strict=True))
    table = pl.DataFrame(frames, schema=["trial", "f", "t", "y", "p"], orient="row")
    for t in trials:
        mine = table.filter(trial=t)
        spikes = trial_times(probe, 50, t, starts[t])
        times = mine["t"].to_numpy()
        hits = np.histogram(spikes, times)[0] if len(times) else []
        for k in range(len(times) - 1):
            if mine["p"][k] >= 0.3:
                place = min(int(mine["y"][k] // 10), 9)
                occupancy[place] += times[k + 1] - times[k]
                count[place] += hits[k]
    np.testing.assert_array_equal(found.count, count)
    np.testing.assert_allclose(found.occupancy, occupancy, rtol=1e-9)
    np.testing.assert_allclose(found.rate, count / occupancy, rtol=1e-9)


def test_projection_of_arrays_and_series(truth):
    lake, _ = truth
    counts = lake.trial_counts(101, 1, 1, condition=HIT)
    axis = np.linspace(-1, 1, len(counts.units))
    expected = np.einsum("u,utb->tb", axis, counts.count / counts.bin)
    for given_axis in (axis, axis.tolist(), pl.Series(axis)):
        for rates in (counts, counts.rate, counts.rate.tolist()):
            found = project_on_coding_direction(rates, given_axis)
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    psth = lake.psth(101, 1, 1, condition=HIT)
    mean = project_on_coding_direction(psth.rate, axis)
    np.testing.assert_allclose(mean, expected.mean(axis=0), rtol=1e-9, atol=1e-9)
    with pytest.raises(QueryError, match="other units"):
        project_on_coding_direction(psth.rate, axis[1:])


def test_counts_from_rows_of_sql(truth):
    lake, _ = truth
    counts = lake.trial_counts(101, 1, condition=HIT, bin=0.2)  # trials that one probe missed
    rows = lake.sql(
        f"FROM psth.trial_counts('{HIT}', 0.2) WHERE subject_id = 101 AND session = 1"
    ).pl()
    for given_rows in (rows.sample(fraction=1, shuffle=True, seed=1), counts.to_polars()):
        found = TrialCounts.from_polars(given_rows, HIT)
        np.testing.assert_array_equal(found.count, counts.count)
        np.testing.assert_array_equal(found.trial, counts.trial)
        np.testing.assert_array_equal(found.observed, counts.observed)
        np.testing.assert_allclose(found.edges, counts.edges, atol=1e-12)
        assert found.units.equals(counts.units)
    with pytest.raises(QueryError, match="columns are missing"):
        TrialCounts.from_polars(rows.drop("trial"))
    with pytest.raises(QueryError, match="two bins"):
        TrialCounts.from_polars(rows.head(1))


def test_several_conditions_are_each_what_it_is_alone(truth):
    lake, _ = truth
    names = [row[0] for row in get("psth.trial_condition").rows if row[3] is None]
    names = [*names, names[0].upper()]
    both = lake.psth(101, 1, condition=names)
    assert list(both) == names
    view = lake.sql(
        "SELECT trial_condition_name, trial_count, unit_psth FROM psth.unit_psth WHERE "
        "subject_id = 101 AND session = 1 ORDER BY trial_condition_name, insertion_number, unit"
    ).pl()
    for name in names[:-1]:
        rows = view.filter(trial_condition_name=name)
        assert both[name].trial_count.tolist() == rows["trial_count"].to_list()
        for rate, expected in zip(both[name].rate, rows["unit_psth"], strict=True):
            np.testing.assert_array_equal(
                rate, np.full(149, np.nan) if expected is None else expected
            )
    np.testing.assert_array_equal(both[names[-1]].count, both[names[0]].count)
    for event in ("delay", "first_lick_after_go_cue", "next_trial_start"):
        several = lake.psth(101, 1, condition=names[:4], event=event, bin=0.1)
        for name in names[:4]:
            alone = lake.sql(
                f"SELECT list(count ORDER BY time) AS count, any_value(trial_count) AS n "
                f"FROM psth.psth('{name}', 0.1, event := '{event}') WHERE subject_id = 101 "
                "AND session = 1 GROUP BY insertion_number, unit ORDER BY insertion_number, unit"
            ).pl()
            assert several[name].count.tolist() == alone["count"].to_list()
            assert several[name].trial_count.tolist() == alone["n"].to_list()
    assert lake.psth(101, 1, condition=[]) == {}
