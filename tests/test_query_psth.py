"""PSTHs by every way in, against numpy on the truth."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lakefiles import METHOD, finish, make_probe, make_session, small_lake, write_lab, write_session

import maplake
from maplake.errors import MaplakeError, NotFoundError, QueryError
from maplake.plots.lookup import Key, method_of
from maplake.tables import get

EDGES = np.arange(-3, 3, 0.04)
CONDITIONS = [row[0] for row in get("psth.trial_condition").rows if row[3] is None]
LAB = {"Late": "trial > 20 AND outcome = 'hit' -- the second half"}


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    sessions = small_lake(root, conditions=LAB, align_types={"cue": ("go", 0, 0.1, -1.0, 1.0)})
    with maplake.open(root) as lake:
        yield lake, sessions


def expected(session, insertion, unit, condition, edges=EDGES):
    probe = session.probes[insertion]
    wanted = session.condition(condition)
    count = np.histogram(probe.aligned(unit, wanted), edges)[0]
    return count, len(wanted & set(probe.trials[probe.usable()].tolist()))


def every_unit(sessions):
    for s in sessions:
        for insertion, probe in s.probes.items():
            for unit in probe.spikes:
                if probe.quality[unit] != "all":
                    yield s, insertion, unit


def test_unit_psth_is_what_numpy_computes(truth):
    lake, sessions = truth
    found = {
        tuple(row[:3]) + row[4:6]: row[6:] for row in lake.sql("FROM psth.unit_psth").fetchall()
    }
    units = list(every_unit(sessions))
    assert len(found) == len(units) * (len(CONDITIONS) + 1)
    empty = 0
    for s, insertion, unit in units:
        for condition in CONDITIONS:
            rate, trials = found[s.subject_id, s.session, insertion, unit, condition]
            count, trial_count = expected(s, insertion, unit, condition)
            assert trials == trial_count
            if not trials:
                empty += 1
                assert rate is None
                continue
            np.testing.assert_array_equal(np.round(np.array(rate) * trials * 0.04), count)
            np.testing.assert_array_equal(rate, count / trials / 0.04)
    assert empty  # right ALM is never stimulated


def test_exact_edges_are_in_the_test(truth):
    _, sessions = truth
    probe = sessions[0].probes[1]
    times = probe.aligned(50, set(range(1, 41)))
    assert np.isin(times, EDGES).sum() > 40
    assert (np.isclose(times[:, None], EDGES, atol=1e-9, rtol=0)).sum() > 500
    # The last edge of the window from -2 to 3 s in steps of 1 s, which lets spikes in.
    assert (times == 2.0).any()


@pytest.mark.parametrize(
    "window", [(-3, 3, 0.04), (-2, 1.5, 0.001), (0, 1, 0.1), (-2, 3, 1), (-1.3, 0.7, 1 / 3)]
)
def test_macro_is_what_numpy_computes(truth, window):
    lake, sessions = truth
    start, stop, width = window
    edges = np.arange(start, stop, width)
    rows = lake.sql(
        f"FROM psth.psth('good_noearlylick_hit', bin := {width}, start := {start}, stop := {stop})"
        " ORDER BY ALL"
    ).pl()
    for s, insertion, unit in every_unit(sessions):
        mine = rows.filter(
            subject_id=s.subject_id, session=s.session, insertion_number=insertion, unit=unit
        )
        count, trials = expected(s, insertion, unit, "good_noearlylick_hit", edges)
        np.testing.assert_array_equal(mine["time"], edges[1:])
        np.testing.assert_array_equal(mine["count"], count)
        np.testing.assert_array_equal(mine["rate"], count / trials / width)
        assert set(mine["trial_count"]) == {trials}


def test_macro_takes_positions_and_names(truth):
    lake, _ = truth
    by_position = lake.sql("FROM psth.psth('good_noearlylick_hit', 0.1, -1, 1, 'go') ORDER BY ALL")
    by_name = lake.sql(
        "FROM psth.psth(condition := 'GOOD_noEarlyLick_hit', stop := 1, event := 'GO', bin := 0.1,"
        " start := -1) ORDER BY ALL"
    )
    assert by_position.fetchall() == by_name.fetchall()


def test_lake_psth_and_polars_agree_with_numpy(truth):
    lake, sessions = truth
    s = sessions[1]
    result = lake.psth(s.subject_id, s.session)
    assert result.rate.shape == (len(result.units), 149)
    for row, (insertion, unit) in enumerate(
        result.units.select("insertion_number", "unit").iter_rows()
    ):
        count, trials = expected(s, insertion, unit, "good_noearlylick_hit")
        np.testing.assert_array_equal(result.count[row], count)
        assert result.trial_count[row] == trials
    np.testing.assert_array_equal(result.time, EDGES[1:])
    long = result.to_polars()
    assert long["count"].to_list() == result.count.ravel().tolist()
    frame = (
        lake.table("psth.unit_psth")
        .filter(
            subject_id=s.subject_id,
            session=s.session,
            unit=10,
            insertion_number=1,
            trial_condition_name="good_noearlylick_hit",
        )
        .collect()
    )
    one = lake.psth(s.subject_id, s.session, 1, 10)
    assert frame["unit_psth"][0].to_list() == one.rate[0].tolist()
    several = lake.psth(s.subject_id, s.session, condition=CONDITIONS[:2])
    assert list(several) == CONDITIONS[:2]


def test_silent_units_and_units_of_quality_all(truth):
    lake, _ = truth
    silent = lake.psth(101, 1, 1, 7)
    assert silent.count.sum() == 0
    assert silent.trial_count[0] > 0
    assert (silent.rate == 0).all()
    with pytest.raises(NotFoundError):
        lake.psth(101, 1, 1, 20)
    assert lake.psth(101, 1, 1, 20, all_units=True).count.sum() > 0


def test_no_trials_are_null_not_zero(truth):
    lake, _ = truth
    result = lake.psth(101, 1, 1, 10, condition="all_noearlylick_right_alm_stim")
    assert result.trial_count.tolist() == [0]
    assert np.isnan(result.rate).all()
    assert result.to_polars()["rate"].null_count() == 149


def test_lab_condition_whatever_its_case(truth):
    lake, sessions = truth
    s = sessions[0]
    trials = {
        int(t)
        for t, o in zip(s.columns["trial"], s.columns["outcome"], strict=True)
        if t > 20 and o == "hit"
    }
    probe = s.probes[1]
    result = lake.psth(101, 1, 1, 50, condition="lATE")
    assert result.trial_count[0] == len(trials & set(probe.trials[probe.usable()].tolist()))
    np.testing.assert_array_equal(
        result.count[0], np.histogram(probe.aligned(50, trials), EDGES)[0]
    )
    query = "SELECT count(*) FROM psth.unit_psth WHERE trial_condition_name = 'late'"
    assert lake.sql(query).fetchall()[0][0] > 0


def test_unknown_names_are_errors(truth):
    lake, _ = truth
    with pytest.raises(QueryError, match=r"^there is no trial condition 'hit'; known are: .*Late"):
        lake.psth(101, 1, condition="hit")
    with pytest.raises(QueryError, match=r"no event 'cough'.*delay.*go_cue"):
        lake.psth(101, 1, event="cough")
    for event in ("sample", "go", "GO_cue"):
        with pytest.raises(QueryError, match=r"middle.*first, last, after go"):
            lake.psth(101, 1, event=event, occurrence="middle")
        macro = f"psth.psth('all_noearlylick_nostim', event := '{event}', occurrence := 'middle')"
        with pytest.raises(QueryError, match=r"middle.*must be first, last or after go"):
            lake.sql(f"FROM {macro} WHERE subject_id = 101").fetchall()


@pytest.mark.parametrize("null", ["condition", "event", "occurrence", "bin", "start"])
def test_null_is_an_error_instead_of_no_trials(truth, null):
    given = {"condition": "'good_noearlylick_hit'", "event": "'delay'"} | {null: "NULL"}
    condition = given.pop("condition")
    options = "".join(f", {name} := {value}" for name, value in given.items())
    for macro in ("psth", "trial_counts"):
        with pytest.raises(QueryError, match=r"''|s from"):
            truth[0].sql(f"SELECT count(*) FROM psth.{macro}({condition}{options})").fetchall()


def test_an_unknown_clustering_is_an_error_that_lists_those_there_are(truth):
    lake, _ = truth
    other = {"clustering_method": "kilosort9"}
    for ask in (
        lambda: lake.psth(101, 1, 1, **other),
        lambda: lake.psth(101, 1, **other),
        lambda: lake.trial_counts(101, 1, 1, 50, **other),
        lambda: lake.raster(101, 1, 1, 50, **other),
        lambda: lake.spikes(101, 1, 1, **other),
        lambda: method_of(lake, Key(101, 1, 1, **other)),
    ):
        with pytest.raises(NotFoundError, match=f"kilosort9.*{METHOD}"):
            ask()
    assert len(lake.psth(101, 1, clustering_method=METHOD).units)


def test_impossible_windows_are_errors(truth):
    lake, _ = truth
    for window in ({"bin": 0}, {"start": 1, "stop": -1}, {"bin": -0.1}, {"bin": float("nan")}):
        with pytest.raises(QueryError, match="there must be between"):
            lake.psth(101, 1, **window)


@pytest.mark.parametrize(("occurrence", "time"), [("first", 0.5), ("last", 0.9)])
def test_other_events_use_the_trials_own_spikes(truth, occurrence, time):
    lake, sessions = truth
    s = sessions[0]
    probe = s.probes[2]
    wanted = s.condition("good_noearlylick_hit")
    times = []
    for trial, start in zip(probe.trials, probe.start, strict=True):
        if trial in wanted:
            own = probe.spikes[40][probe.trial_of(probe.spikes[40]) == trial]
            times.append((own - (start + probe.rate * time)) / probe.rate)
    result = lake.psth(101, 1, 2, 40, event="sample", occurrence=occurrence, start=-2, stop=8)
    np.testing.assert_array_equal(
        result.count[0], np.histogram(np.concatenate(times), np.arange(-2, 8, 0.04))[0]
    )


@pytest.mark.parametrize("insertion", [1, 2])
def test_align_types_reach_into_neighbouring_trials(truth, insertion):
    lake, sessions = truth
    s = sessions[1]  # insertion 1 has good trials: neighbours may be others
    probe = s.probes[insertion]
    wanted = s.condition("all_noearlylick_nostim")
    edges = np.arange(-15, 15, 0.5)
    times = [
        (probe.spikes[50] - (go + 0.1 * probe.rate)) / probe.rate
        for trial, go, keep in zip(probe.trials, probe.go, probe.usable(), strict=True)
        if keep and trial in wanted
    ]
    result = lake.psth(
        101,
        2,
        insertion,
        50,
        condition="all_noearlylick_nostim",
        event="CUE",
        start=-15,
        stop=15,
        bin=0.5,
    )
    assert result.trial_count[0] == len(times)
    np.testing.assert_array_equal(result.count[0], sum(np.histogram(t, edges)[0] for t in times))


def test_raster_and_trial_counts(truth):
    lake, sessions = truth
    s = sessions[0]
    probe = s.probes[1]
    wanted = s.condition("good_noearlylick_hit")
    raster = lake.raster(101, 1, 1, 40)
    times = probe.aligned(40, wanted)
    times = times[(times >= -3) & (times <= 3)]
    np.testing.assert_array_equal(np.sort(raster["spike_time"]), np.sort(times))
    macro = lake.sql(
        "SELECT trial, spike_time FROM psth.raster('good_noearlylick_hit') WHERE subject_id = 101 "
        "AND session = 1 AND insertion_number = 1 AND unit = 40 ORDER BY ALL"
    ).pl()
    assert macro.equals(raster)
    counts = lake.sql(
        "SELECT trial, sum(count)::BIGINT AS n, count(*) AS bins FROM psth.trial_counts("
        "'good_noearlylick_hit') WHERE subject_id = 101 AND session = 1 AND insertion_number = 1 "
        "AND unit = 40 GROUP BY trial ORDER BY trial"
    ).pl()
    assert set(counts["bins"]) == {149}
    for trial, n, _ in counts.iter_rows():
        own = probe.aligned(40, {trial})
        assert n == np.histogram(own, EDGES)[0].sum()


def test_raster_follows_changed_files(tmp_path):
    rng = np.random.default_rng(1)
    s = make_session(rng, 5, 1)
    s.probes[1] = make_probe(rng, s, 1)
    write_session(tmp_path, s)
    write_lab(tmp_path, [5])
    finish(tmp_path)
    with maplake.open(tmp_path) as lake:
        before = lake.raster(5, 1, 1, 50)
        s.columns["outcome"] = np.where(s.columns["outcome"] == "hit", "miss", "hit")
        write_session(tmp_path, s)
        after = lake.raster(5, 1, 1, 50)
        assert not before.equals(after)
        with pytest.raises(NotFoundError, match="no unit 999"):
            lake.raster(5, 1, 1, 999)


def test_trial_spikes_and_unit_trial(truth):
    lake, sessions = truth
    s, probe = sessions[0], sessions[0].probes[1]
    rows = lake.sql(
        "FROM ephys.trial_spikes WHERE subject_id=101 AND session=1 AND unit=30 "
        "AND insertion_number=1"
    ).pl()
    inside = probe.trial_of(probe.spikes[30]) > 0
    assert len(rows) == inside.sum()
    assert rows.filter(trial=4)["spike_time"].null_count() == len(rows.filter(trial=4)) > 0
    pairs = lake.sql("FROM ephys.unit_trial WHERE subject_id=101 AND session=1 AND unit=7").pl()
    assert len(pairs) == sum(len(p.trials) for p in s.probes.values())


def test_unit_stat(truth):
    lake, sessions = truth
    rows = {(r[0], r[1], r[2], r[4]): r[5:] for r in lake.sql("FROM ephys.unit_stat").fetchall()}
    for s in sessions:
        for insertion, p in s.probes.items():
            seen = np.isin(s.columns["trial"], p.trials)
            length = (s.columns["stop_time"] - s.columns["start_time"])[seen]
            for unit, samples in p.spikes.items():
                owner, spikes, violations, inside, isis = p.trial_of(samples), 0, 0, 0, 0
                for trial, start, duration in zip(p.trials, p.start, length, strict=True):
                    own = samples[owner == trial]
                    isi = np.diff(own)
                    isis += len(isi)
                    violations += (isi / p.rate < 0.002).sum()
                    kept = np.delete(own, np.flatnonzero(isi == 0) + 1)
                    spikes += len(kept)
                    inside += (kept <= start + duration * p.rate).sum()
                found = rows[s.subject_id, s.session, insertion, unit]
                assert found[2] == pytest.approx(inside / length.sum())
                if not isis:
                    assert found[:2] == (None, None)
                    continue
                rate = spikes / length.sum()
                assert found[1] == pytest.approx(rate)
                assert found[0] == pytest.approx(violations / (2 * spikes * 0.002) / rate)


def test_unit_stat_does_not_depend_on_the_order_of_spikes(truth, tmp_path):
    rng = np.random.default_rng(3)
    lake, _ = truth
    wanted = lake.sql("FROM ephys.unit_stat ORDER BY ALL").fetchall()
    root = tmp_path / "shuffled"
    shutil.copytree(lake.root, root)
    for path in (root / "tables/ephys/spike").rglob("*.parquet"):
        rows = pq.ParquetFile(path).read()
        pq.write_table(rows.take(pa.array(rng.permutation(rows.num_rows))), path)
    with maplake.open(root) as shuffled:
        assert shuffled.sql("FROM ephys.unit_stat ORDER BY ALL").fetchall() == wanted


def test_method_is_named(truth):
    lake, _ = truth
    assert lake.psth(101, 1, 1, 10, clustering_method=METHOD).count.sum() > 0
    with pytest.raises(NotFoundError):
        lake.psth(101, 1, 1, 10, clustering_method="jrclust_v4")


@pytest.mark.parametrize("column", ["unit", "clustering_method"])
def test_units_and_spikes_whose_keys_have_other_types_are_refused(truth, tmp_path, column):
    lake, _ = truth
    root = shutil.copytree(lake.root, tmp_path / "lake")
    for path in (root / "tables" / "ephys" / "spike").rglob("*.parquet"):
        data = pq.ParquetFile(path).read()
        at = data.column_names.index(column)
        other = pa.array(np.zeros(len(data)))
        pq.write_table(data.set_column(at, column, other), path)
    with maplake.open(root) as damaged, pytest.raises(QueryError):
        damaged.psth(101, 1, clustering_method=METHOD)


def test_a_damaged_file_spoils_neither_its_session_nor_the_last_one(truth, tmp_path):
    lake, _ = truth
    root = shutil.copytree(lake.root, tmp_path / "lake")
    asked = {"condition": "good_noearlylick_hit"}
    wanted = lake.psth(101, 2, **asked).count
    with maplake.open(root) as opened:
        # Without photostimuli in the session before, the view of the next one's is a new one.
        (root / "tables/experiment/photostim_event/subject_id=102").rename(tmp_path / "aside")
        opened.psth(102, 1, **asked)
        file = root / "tables/experiment/photostim_event/subject_id=101/session=1/part.parquet"
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        for _ in range(2):
            with pytest.raises(MaplakeError):
                opened.psth(101, 1, **asked)
        np.testing.assert_array_equal(opened.psth(101, 2, **asked).count, wanted)
        file.write_bytes(content)
        again = opened.psth(101, 1, **asked).count
    np.testing.assert_array_equal(again, lake.psth(101, 1, **asked).count)
