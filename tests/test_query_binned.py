"""Spikes counted by unit, group of trials and bin, against one comparison per spike and bin."""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maplake.errors import QueryError
from maplake.query import binned as module
from maplake.query.binned import binned

KEYS = {"subject_id": 1, "session": 1, "insertion_number": 1}
KEYS |= {"clustering_method": None, "unit": None}
UNITS = [("a", 3), ("a", 9_000_000), ("b", 3), ("b", 0)]
#: Of one trial or none, of a trial that is not aligned, and of such as no lake has.
TRIALS = [0, 1, 2, 3, 7, 8_000_000, -1, 2**31 - 1, -(2**31)]


class Probe:
    """Says of a probe what the queries know of it."""

    def __init__(self, spikes, path, rows=1000, methods=("a", "b")):
        self._path, self._methods = path, list(methods)
        labels = pa.array(spikes["clustering_method"].to_list(), pa.string()).dictionary_encode()
        table = spikes.drop("clustering_method").to_arrow()
        pq.write_table(table.append_column("clustering_method", labels), path, row_group_size=rows)

    def methods(self, keys):
        return self._methods

    def spike_file(self, keys):
        return self._path


def frame(rows):
    schema = {"clustering_method": pl.String, "unit": pl.Int32, "trial": pl.Int32}
    return pl.DataFrame(rows, {**schema, "spike_sample": pl.Int64}, orient="row")


def aligned(rows, rate):
    schema = {"spike_trial": pl.Int32, "group": pl.Int32, "origin_sample": pl.Float64}
    found = pl.DataFrame(rows, schema, orient="row")
    return found.with_columns(sampling_rate=pl.lit(rate))


def expected(spikes, units, trials, groups, edges):
    count = np.zeros((len(units), groups, len(edges) - 1), int)
    for place, unit in enumerate(units):
        for spike_trial, group, origin, rate in trials.rows():
            samples = [r[3] for r in spikes.rows() if r[:2] == unit and r[2] == spike_trial]
            count[place, group] += np.histogram((np.array(samples) - origin) / rate, edges)[0]
    return count


spike_rows = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from([0, 3, 5, 9_000_000, -3]),
        st.sampled_from(TRIALS),
        st.integers(-20, 120),
    ),
    max_size=200,
)
trial_rows = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 3, 8_000_000]),
        st.integers(0, 2),
        st.integers(0, 400).map(lambda n: n / 4),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("spikes") / "part.parquet"


@settings(max_examples=200, deadline=None)
@given(
    spike_rows,
    trial_rows,
    st.booleans(),
    st.sampled_from([(-0.3, 0.5, 0.04), (-3, 3, 0.1), (0, 0.21, 0.1), (-1.3, 0.7, 1 / 3)]),
    st.sampled_from([100.0, 30.000121]),
    st.sampled_from([1, 7, 1000]),
    st.sampled_from([4, 1 << 16]),
)
def test_counts_are_those_of_a_loop(path, spikes, trials, is_whole, window, rate, rows, chunk):
    edges = np.arange(*window)
    spikes = frame(sorted(spikes, key=lambda row: row[:2]))
    trials = aligned([(t, g, float(int(o)) if is_whole else o) for t, g, o in trials], rate)
    units = pl.DataFrame(UNITS, ["clustering_method", "unit"], orient="row")
    with pytest.MonkeyPatch.context() as small:
        small.setattr(module, "_CHUNK", chunk)
        found = binned(Probe(spikes, path, rows), KEYS, units, trials, 3, edges)
    np.testing.assert_array_equal(found, expected(spikes, UNITS, trials, 3, edges))


def one(path, rows=(("a", 3, 1, 5),), trial=(1, 0, 0.0), rate=100.0):
    """Count the spikes of one unit in one trial."""
    units = pl.DataFrame(UNITS[:1], ["clustering_method", "unit"], orient="row")
    probe = Probe(frame(list(rows)), path, methods=["a"])
    return binned(probe, KEYS, units, aligned([trial], rate), 1, np.arange(0, 1, 0.1)).ravel()


def test_a_probe_without_spikes_has_none(path):
    assert one(path).tolist() == [1, *8 * [0]]
    assert not one(path, rows=()).any()
    units = pl.DataFrame(UNITS[:1], ["clustering_method", "unit"], orient="row")
    probe = Probe(frame([]), path)
    path.unlink()
    trials = aligned([(1, 0, 0.0)], 100.0)
    assert not binned(probe, KEYS, units, trials, 1, np.arange(0, 1, 0.1)).any()


@pytest.mark.parametrize(
    "rows", [[("a", 3, 1, None)], [("a", None, 1, 5)]], ids=["without a time", "without a unit"]
)
def test_a_spike_that_lacks_something_is_an_error(path, rows):
    with pytest.raises(QueryError, match="lack"):
        one(path, rows)


@pytest.mark.parametrize(
    ("origin", "rate"), [(np.nan, 100.0), (np.inf, 100.0), (0.0, 0.0), (0.0, np.nan), (0.0, None)]
)
def test_a_time_that_is_no_number_is_an_error(path, origin, rate):
    with pytest.raises(QueryError, match="no numbers"):
        one(path, trial=(1, 0, origin), rate=rate)


def test_only_the_row_groups_of_the_units_are_read(path, monkeypatch):
    rows = [("a", unit, 1, 5) for unit in range(100) for _ in range(10)]
    read = []
    plain = pq.ParquetFile.read_row_groups

    def noted(self, groups, *args, **options):
        read.extend(groups)
        return plain(self, groups, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noted)
    units = pl.DataFrame([("a", 42)], ["clustering_method", "unit"], orient="row")
    probe = Probe(frame(rows), path, rows=25, methods=["a"])
    found = binned(probe, KEYS, units, aligned([(1, 0, 0.0)], 100.0), 1, np.arange(0, 1, 0.1))
    assert found.sum() == 10
    assert read == [16, 17]  # rows 420 to 429
