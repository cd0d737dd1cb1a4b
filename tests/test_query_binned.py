"""Spikes counted by unit, group of trials and bin, against one comparison per spike and bin."""

import numpy as np
import polars as pl
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
    """Gives the spikes of a probe as a lake does."""

    def __init__(self, spikes, size):
        self.spikes, self.size = spikes, size

    def methods(self, keys):
        return ["a", "b"]

    def spike_batches(self, keys, wanted, size):
        chosen = {k: v for k, v in wanted.items() if v is not None}
        found = self.spikes.filter(**chosen).select("unit", "trial", "spike_sample")
        yield from found.iter_slices(self.size)


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
def test_counts_are_those_of_a_loop(spikes, trials, is_whole, window, rate, size, chunk):
    edges = np.arange(*window)
    spikes = frame(sorted(spikes, key=lambda row: row[:2]))
    trials = aligned([(t, g, float(int(o)) if is_whole else o) for t, g, o in trials], rate)
    units = pl.DataFrame(UNITS, ["clustering_method", "unit"], orient="row")
    with pytest.MonkeyPatch.context() as small:
        small.setattr(module, "_CHUNK", chunk)
        found = binned(Probe(spikes, size), KEYS, units, trials, 3, edges)
    np.testing.assert_array_equal(found, expected(spikes, UNITS, trials, 3, edges))


@pytest.mark.parametrize(
    "rows", [[("a", 3, 1, None)], [("a", None, 1, 5)]], ids=["without a time", "without a unit"]
)
def test_a_spike_that_lacks_something_is_an_error(rows):
    units = pl.DataFrame(UNITS[:1], ["clustering_method", "unit"], orient="row")
    trials = aligned([(1, 0, 0.0)], 100.0)
    with pytest.raises(QueryError, match="lack"):
        binned(Probe(frame(rows), 10), KEYS, units, trials, 1, np.arange(0, 1, 0.1))


@pytest.mark.parametrize(
    ("origin", "rate"), [(np.nan, 100.0), (np.inf, 100.0), (0.0, 0.0), (0.0, np.nan), (0.0, None)]
)
def test_a_time_that_is_no_number_is_an_error(origin, rate):
    units = pl.DataFrame(UNITS[:1], ["clustering_method", "unit"], orient="row")
    trials = aligned([(1, 0, origin)], rate)
    with pytest.raises(QueryError, match="no numbers"):
        binned(Probe(frame([("a", 3, 1, 5)]), 10), KEYS, units, trials, 1, np.arange(0, 1, 0.1))
