"""A session's trials, joined from its files, are what SQL says of them, whatever these hold."""

from math import inf
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lakefiles import finish, write_table
from polars.testing import assert_frame_equal

import maplake
from maplake.errors import ConfigError, QueryError
from maplake.layout import table_file
from maplake.query.session_trials import go_cues, trial_facts
from maplake.tables import get

SESSION = {"subject_id": 7, "session": 2}
PROBE = SESSION | {"insertion_number": 1}
COLUMNS = [column.name for column in get("psth.trial").columns]
TABLES = (
    "experiment.behavior_trial",
    "experiment.session_trial",
    "experiment.photostim_event",
    "experiment.photostim_location",
    "experiment.water_port_choice",
    "ephys.ephys_trial",
    "ephys.probe_insertion",
    "ephys.good_trial",
)

CONDITIONS = {
    "qualified": "trial.outcome = 'hit' AND NOT Photostim",
    "commented": "len(stim_sites) > 0 -- of any side",
    "missing": "water_port IS NULL",
    "quoted": 'subject_id = 7 AND "START_TIME" < 10 AND session + trial > 3',
    "unknown": "CASE WHEN outcome = 'hit' THEN NULL ELSE task_protocol / 2 > 1 END",
}

numbers = st.integers(1, 6)
trials = st.lists(numbers, unique=True)
sides = st.sampled_from([-1.5, 0.0, 1.5, inf])
areas = st.sampled_from(["ALM", "alm", "Medulla", "Üx", ""])


def rows(*columns):
    """Rows of several columns, some or none, as columns."""
    return st.lists(st.tuples(*columns), max_size=8).map(
        lambda found: list(map(list, zip(*found, strict=True))) or [[] for _ in columns]
    )


contents = st.fixed_dictionaries(
    {
        "behavior": trials,
        "times": trials,
        "outcomes": st.lists(st.sampled_from(["hit", "miss", "ignore"]), min_size=6, max_size=6),
        "events": rows(numbers, numbers),
        "places": rows(numbers, sides, areas),
        "ports": trials,
        "recorded": st.lists(
            st.tuples(numbers, st.one_of(st.none(), st.integers(0, 1 << 40))),
            unique_by=lambda row: row[0],
        ),
        "good": trials,
    }
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    finish(root, conditions=CONDITIONS)
    with maplake.open(root) as found:
        # DuckDB knows a footer by the file's number and second. Commits give a file another number;
        # here files come and go so quickly that numbers are used again.
        found._con.get().execute("SET parquet_metadata_cache = false")
        yield found


def written(root, given):
    """The files of one session in a lake; tables without rows have none."""

    def write(name, partition, **columns):
        (root / table_file(get(name), partition)).unlink(missing_ok=True)
        if any(columns.values()):
            write_table(root, name, partition, **columns)

    count = len(given["behavior"])
    write(
        "experiment.behavior_trial",
        SESSION,
        trial=given["behavior"],
        outcome=given["outcomes"][:count],
        task_protocol=[*range(count)],
    )
    times = given["times"]
    write(
        "experiment.session_trial",
        SESSION,
        trial=times,
        start_time=[t * 2.5 for t in times],
        stop_time=[t * 2.5 + 1 for t in times],
    )
    trial, photo_stim = given["events"]
    ids = [*range(len(trial))]
    write(
        "experiment.photostim_event",
        SESSION,
        trial=trial,
        photostim_event_id=ids,
        photo_stim=photo_stim,
    )
    photo_stim, ml, area = given["places"]
    write(
        "experiment.photostim_location",
        SESSION,
        photo_stim=photo_stim,
        ap_location=[float(i) for i in range(len(ml))],
        ml_location=ml,
        brain_area=area,
    )
    ports = given["ports"]
    chosen = ["left" if trial % 2 else None for trial in ports]
    write("experiment.water_port_choice", SESSION, trial=ports, water_port=chosen)
    write(
        "ephys.ephys_trial",
        PROBE,
        trial=[t for t, _ in given["recorded"]],
        go_sample=[go for _, go in given["recorded"]],
    )
    write("ephys.probe_insertion", PROBE, sampling_rate=[29999.7])
    write("ephys.good_trial", PROBE, trial=given["good"])
    return {name: str(root / table_file(get(name), PROBE)) for name in TABLES}


@settings(deadline=None)
@given(given_=contents, names=st.sets(st.sampled_from(COLUMNS)))
def test_sql_says_the_same(lake, given_, names):
    files = written(lake.root, given_)
    known = lake._aligned.of_probe(PROBE, "FROM psth.trial ORDER BY trial")
    assert_frame_equal(trial_facts(files, SESSION, COLUMNS).sort("trial"), known, check_exact=True)
    some = trial_facts(files, SESSION, names).sort("trial")
    assert_frame_equal(some, known.select(n for n in COLUMNS if n in names or n == "trial"))
    moments = lake._aligned.of_probe(
        PROBE,
        "SELECT trial, spike_trial, origin_sample, sampling_rate "
        "FROM psth.go_alignment ORDER BY trial",
    )
    assert_frame_equal(go_cues(files).sort("trial"), moments, check_exact=True)


#: What a session's tables hold.
EXAMPLE = {
    "behavior": [1, 2, 3, 4, 5],
    "times": [1, 2, 3, 4, 5],
    "outcomes": ["hit", "hit", "miss", "hit", "ignore", "miss"],
    "events": [[2, 3], [1, 2]],
    "places": [[1, 1], [-1.5, 1.5], ["ALM", "ALM"]],
    "ports": [1, 4],
    "good": [],
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_trials_of_any_condition_are_those_of_sql(lake, name):
    written(lake.root, EXAMPLE | {"recorded": [(t, 1000 * t) for t in range(1, 6)]})
    known = lake._aligned.of_probe(
        PROBE, f"SELECT trial FROM psth.trial_set WHERE list_contains(conditions, '{name}')"
    )
    go = {"event": "go", "occurrence": "last", "start": -1.0, "stop": 1.0}
    found = lake._aligned.trials(PROBE, name, go)
    assert found["trial"].to_list() == sorted(known["trial"])
    assert 0 < len(known) < 5


def test_a_column_is_named_without_its_schema(lake):
    with pytest.raises(ConfigError, match=r"psth\.trial\.outcome \(name the column alone\)"):
        lake.conditions.add("mine too", "psth.trial.outcome = 'hit'")


@pytest.mark.parametrize("name", sorted({*TABLES} - {"experiment.photostim_location"}))
def test_a_damaged_file_is_named(lake, name):
    files = written(lake.root, EXAMPLE | {"recorded": [(1, 5)], "good": [1]})
    file = Path(files[name])
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(QueryError, match="cannot be read") as caught:
        [trial_facts(files, SESSION, COLUMNS), go_cues(files)]
    assert caught.value.file == files[name]
