"""Edge-time bitcodes, traces of the board, LFP and events in ephys time read as written."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from maplake import errors
from maplake.ingest.nidq import trials_of
from maplake.readers import lfp, nidq, xa_bitcodes
from maplake.readers.foraging_events import foraging_events
from maplake.readers.spikeglx_meta import parse_meta
from maplake.simulate import nidq as sim
from maplake.tables import get
from maplake.writers import lfp as lfp_store
from maplake.writers import parquet

RATE = 30_000.0
CODES = ["1010000001", "0000000000", "1111111111", "0000000001"]
STARTS = np.array([1.25, 4.5, 9.000123, 15.75])

codes = st.lists(st.text("01", min_size=10, max_size=10), min_size=1, max_size=30)


@given(codes, st.integers(0, 2**32 - 1), st.floats(0, 0.0034))
def test_any_codes_are_decoded_within_half_a_bit(expected, seed, jitter):
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.uniform(0.2, 10, len(expected)))
    bits = np.array([[bit == "1" for bit in code] for code in expected])
    trial, bit = np.nonzero(bits)
    edges = starts[trial] + 0.05 + 0.007 * bit + rng.uniform(-jitter, jitter, len(trial))
    found, strays = xa_bitcodes.decode(starts, rng.permutation(edges))
    assert (found, strays) == (expected, 0)


@given(codes, st.lists(st.floats(0.13, 0.19) | st.floats(0, 0.04), max_size=5))
def test_edges_outside_of_the_bits_are_counted_not_decoded(expected, offsets):
    starts = np.arange(1, len(expected) + 1, dtype=float)
    bits = np.array([[bit == "1" for bit in code] for code in expected])
    trial, bit = np.nonzero(bits)
    edges = np.concatenate((starts[trial] + 0.05 + 0.007 * bit, starts[0] + np.array(offsets)))
    edges = np.append(edges, 0.5)  # before the first trial
    assert xa_bitcodes.decode(starts, edges) == (expected, len(offsets) + 1)


@pytest.mark.parametrize("adjusted", [False, True])
def test_codes_and_starts_read_as_written(tmp_path, adjusted):
    stem = tmp_path / "SC_g0_tcat.nidq"
    path = sim.write_edges(stem, STARTS, CODES, 0.003, adjusted=adjusted)
    probe = tmp_path / "SC_g0_imec0"
    probe.mkdir()
    assert xa_bitcodes.find(probe) == [path]
    records = xa_bitcodes.read(path, RATE)
    assert records.info["codes"] == CODES
    assert not records.info["codes_missing"]
    assert records.arrays["start_sample"].tolist() == [37500, 135000, 270004, 472500]
    assert records.arrays["go_sample"].tolist() == [-1] * 4
    assert xa_bitcodes.READER.files(path)[0] == path
    assert len(xa_bitcodes.READER.files(path)) == 2


def test_the_clock_of_the_probe_is_preferred_for_both_files(tmp_path):
    stem, probe = tmp_path / "SC.nidq", tmp_path / "1"
    probe.mkdir()
    plain = sim.write_edges(stem, STARTS, CODES)
    adjusted = sim.write_edges(stem, STARTS + 2, None, adjusted=True)
    assert xa_bitcodes.find(probe) == [plain]  # without bits the other clock is of no use
    sim.write_edges(stem, STARTS + 2, CODES, adjusted=True)
    assert xa_bitcodes.find(probe) == [adjusted]
    assert xa_bitcodes.find(adjusted) == [adjusted]
    assert not xa_bitcodes.find(adjusted.with_name("SC.nidq.XA_1_2.adj.txt"))


@pytest.mark.parametrize("content", [None, b""])
def test_without_bits_there_are_no_codes(tmp_path, content):
    path = sim.write_edges(tmp_path / "x.nidq", STARTS, None)
    if content is not None:
        path.with_name("x.nidq.XA_1_2.txt").write_bytes(content)
    info = xa_bitcodes.read(path, RATE).info
    assert (info["codes"], info["codes_missing"]) == ([], True)


@pytest.mark.parametrize(
    ("content", "error", "place"),
    [
        (b"", errors.CorruptFileError, None),
        (b"1.0\n2.x\n", errors.CorruptFileError, "line 2"),
        (b"1.0\nnan\n", errors.CorruptFileError, "line 2"),
        (b"1.0\n3.0\n2.0\n", errors.CorruptFileError, "line 3"),
        (b"1.0\n1.0\n", errors.CorruptFileError, "line 2"),
        (b"\x00\xff\xfe", errors.CorruptFileError, "line 1"),
        (b"__import__('os')", errors.CorruptFileError, "line 1"),
        (None, errors.MissingFileError, None),
    ],
)
def test_bad_edge_files_are_refused_by_name(tmp_path, content, error, place):
    path = tmp_path / "x.XA_0_0.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error) as caught:
        xa_bitcodes.read(path, RATE)
    assert (caught.value.file, caught.value.place) == (str(path), place)


def test_real_edge_files_read():
    root = os.environ.get("MAPLAKE_TEST_DATA")
    if not root:
        pytest.skip("set MAPLAKE_TEST_DATA to the folder with the real files")
    folder = Path(root) / "real" / "ttl_txt" / "w2t-bkin"
    frames = xa_bitcodes.read(folder / "session.nidq.xa_7_0_frame.txt", 1000.0)
    assert len(frames.arrays["start_sample"]) == 8580
    assert frames.arrays["start_sample"][0] == 2796
    assert frames.info["codes_missing"]


def board(tmp_path, seed=0, samples=5000):
    rng = np.random.default_rng(seed)
    counts = rng.integers(-32768, 32768, (samples, 5), dtype=np.int16)
    return sim.write_nidq(tmp_path / "run_g0_t0.nidq", counts, 1000.0), counts


def test_traces_are_cut_at_trial_starts_in_mv(tmp_path):
    path, counts = board(tmp_path)
    assert nidq.find(tmp_path) == [path]
    starts = np.array([0.5, 1.2, 2.0, 4.25])
    records = nidq.read_traces(path, starts, [3, -1, 4, 5])
    cuts = {3: (500, 1200), 4: (2000, 4250), 5: (4250, 5000)}
    for name, channel in nidq.CHANNELS.items():
        rows = records.tables[f"experiment.{name}"].to_pylist()
        assert [row["trial"] for row in rows] == [3, 4, 5]
        for row in rows:
            begin, end = cuts[row["trial"]]
            expected = counts[begin:end, channel] * np.float32(5000 / 32768)
            np.testing.assert_array_equal(row[name], expected)
            assert row["sampling_rate"] == 1000.0
        name = f"experiment.{name}"
        parquet.conform(get(name), records.tables[name])


def test_recorded_starts_may_be_those_of_no_trial():
    starts, trials = np.array([10, 30, 50]), np.array([1, 2, 3], np.int32)
    assert trials_of(np.array([-5, 10, 20, 30, 50, 60]), starts, trials).tolist() == [
        0,
        1,
        0,
        2,
        3,
        0,
    ]
    assert trials_of(np.array([7]), starts[:0], trials[:0]).tolist() == [0]


def test_a_trial_begins_with_the_sample_during_which_it_starts(tmp_path):
    path, counts = board(tmp_path)
    records = nidq.read_traces(path, np.array([0.5007, 1.2, 2.0009]), [1, 2, 3])
    traces = records.tables["experiment.breathing"]["breathing"].to_pylist()
    expected = [counts[a:b, 2] * np.float32(5000 / 32768) for a, b in ((500, 1200), (1200, 2000))]
    for trace, cut_out in zip(traces, expected, strict=False):
        np.testing.assert_array_equal(trace, cut_out)


def test_trials_after_the_end_are_named(tmp_path):
    path, _ = board(tmp_path)
    records = nidq.read_traces(path, np.array([1.0, 4.0, 6.0]), [1, 2, 3])
    assert records.tables["experiment.breathing"]["trial"].to_pylist() == [1, 2]
    assert [s.item for s in records.skipped] == ["3"]


def cut(path, count):
    path = path.with_suffix(".bin")
    path.write_bytes(path.read_bytes()[:count])


def rewrite(old, new):
    return lambda p: p.write_text(p.read_text("ascii").replace(old, new), "ascii")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda p: cut(p, 100), errors.CorruptFileError),
        (lambda p: cut(p, 0), errors.CorruptFileError),
        (lambda p: p.with_suffix(".bin").unlink(), errors.MissingFileError),
        (lambda p: p.write_bytes(b""), errors.CorruptFileError),
        (rewrite("typeThis=nidq", "typeThis=imec"), errors.FileFormatError),
        (rewrite("0,0,4,1", "0,0,2,3"), errors.FileFormatError),
        (rewrite("0,0,4,1", "0,0,x,1"), errors.CorruptFileError),
        (rewrite("0,0,4,1", f"0,0,{'4' * 5000},1"), errors.CorruptFileError),
        (rewrite("niSampRate=1000.0", "niSampRate=nan"), errors.CorruptFileError),
        (rewrite("niAiRangeMax", "x"), errors.FileFormatError),
        (rewrite("niAiRangeMax=", "niAiRangeMax=9e307\nx="), errors.CorruptFileError),
    ],
)
def test_bad_boards_are_refused(tmp_path, spoil, error):
    path, _ = board(tmp_path)
    spoil(path)
    with pytest.raises(error):
        nidq.read_traces(path, np.array([1.0]), [1])


def test_trials_lie_behind_the_end_of_a_board_with_an_absurd_rate(tmp_path):
    path, _ = board(tmp_path)
    rewrite("niSampRate=1000.0", "niSampRate=1e308")(path)
    records = nidq.read_traces(path, np.array([1.0, 3.0]), [1, 2])
    assert [s.item for s in records.skipped] == ["1", "2"]


@pytest.mark.parametrize("starts", [[2.0, 1.0], [np.nan, 1.0], [-1.0, 1.0], [1.0]])
def test_bad_starts_are_refused(tmp_path, starts):
    path, _ = board(tmp_path)
    with pytest.raises(errors.SourceError):
        nidq.read_traces(path, np.array(starts), [1, 2])


def test_real_boards_have_their_scale():
    root = os.environ.get("MAPLAKE_TEST_DATA")
    if not root:
        pytest.skip("set MAPLAKE_TEST_DATA to the folder with the real files")
    real = Path(root) / "real"
    meta = parse_meta(real / "spikeglx_meta/ibl-neuropixel/sample3B_g0_t0.nidq.meta")
    assert nidq.mv_per_bit(meta, 0) == pytest.approx(5000 / 32768)
    with pytest.raises(errors.FileFormatError):
        nidq.mv_per_bit(meta, 1)  # digital
    path = real / "spikeglx_bin/Noise4Sam_g0/Noise4Sam_g0_t0.nidq.meta"
    records = nidq.read_traces(path, np.array([0.0]), [1], {"breathing": 0})
    meta = parse_meta(path)
    size = int(meta["fileSizeBytes"]) // (2 * int(meta["nSavedChans"]))
    assert len(records.tables["experiment.breathing"]["breathing"][0]) == size


def potentials(tmp_path, samples=5000, channels=6):
    rng = np.random.default_rng(1)
    counts = rng.integers(-512, 512, (samples, channels), dtype=np.int16)
    gains = [250, 125, 250, 250, 50, 250]
    path = sim.write_lfp(tmp_path / "run_g0_t0.imec0.lf", counts, gains, reference=2)
    return path, counts, 0.6e6 / 512 / np.array(gains)


def test_lfp_streams_as_written(tmp_path):
    path, counts, scale = potentials(tmp_path)
    assert lfp.find(tmp_path) == [path]
    recording = lfp.open_lfp(path)
    assert (recording.sampling_rate, recording.samples) == (2500.0, 5000)
    np.testing.assert_allclose(recording.uv_per_bit, scale, rtol=1e-12)
    assert recording.used.tolist() == [True, True, False, True, True, True]
    parts = list(recording.chunks(999))
    assert {part.shape[0] for part in parts} == {999, 5}
    expected = counts * recording.uv_per_bit.astype(np.float32)
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    mean = (counts * scale).mean(axis=1)
    np.testing.assert_allclose(recording.mean(777), mean, atol=1e-9)


def test_lfp_that_was_saved_twice_is_taken_from_catgt(tmp_path):
    for name in ("run_g0_t0.imec0.lf.meta", "run_g0_tcat.imec0.lf.meta", "._x.lf.meta"):
        (tmp_path / name).touch()
    assert lfp.find(tmp_path) == [tmp_path / "run_g0_tcat.imec0.lf.meta"]


@pytest.mark.parametrize("size", [700, 5000, 64])
def test_the_lfp_store_holds_counts_scale_and_mean(tmp_path, size, monkeypatch):
    monkeypatch.setattr(lfp_store, "ROWS", 2048)
    monkeypatch.setattr(lfp_store, "_CHUNK", (256, 4))
    path, counts, scale = potentials(tmp_path)
    recording = lfp.open_lfp(path)
    electrode = np.arange(10, 16, dtype=np.int32)
    store = tmp_path / "lfp.zarr"
    lfp_store.write(
        store,
        recording.counts(size),
        recording.samples,
        recording.uv_per_bit,
        electrode,
        recording.used,
        recording.sampling_rate,
    )
    group = zarr.open_group(str(store), mode="r")
    np.testing.assert_array_equal(group["trace"][:], counts)
    np.testing.assert_allclose(group["uv_per_bit"][:], scale)
    np.testing.assert_array_equal(group["electrode"][:], electrode)
    np.testing.assert_allclose(group["mean"][:], (counts * scale).mean(axis=1), atol=1e-9)
    assert group.attrs["sampling_rate"] == 2500.0
    assert len(list((store / "trace" / "c").rglob("*/0"))) == 3


def test_a_recording_of_another_size_is_not_stored(tmp_path):
    one = np.ones(2)
    with pytest.raises(errors.IntegrityError):
        lfp_store.write(
            tmp_path / "x.zarr", [np.zeros((5, 2), np.int16)], 6, one, one, one > 0, 2500.0
        )


def test_lfp_is_streamed_in_bounded_memory(tmp_path):
    samples, channels = 400_000, 64
    counts = np.random.default_rng(0).integers(-50, 50, (samples, channels), dtype=np.int16)
    path = sim.write_lfp(tmp_path / "x.imec0.lf", counts, [250] * channels)
    del counts
    recording = lfp.open_lfp(path)
    tracemalloc.start()
    total = sum(len(part) for part in recording.chunks(20_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == samples
    assert peak < 20_000_000  # the whole is 51 MB as counts, 102 MB as uV


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda p: cut(p, 100), errors.CorruptFileError),
        (lambda p: p.with_suffix(".bin").unlink(), errors.MissingFileError),
        (rewrite("snsApLfSy=0,6,1", "snsApLfSy=6,0,1"), errors.SourceError),
        (rewrite("imAiRangeMax", "x"), errors.FileFormatError),
    ],
)
def test_bad_lfp_is_refused(tmp_path, spoil, error):
    path, _, _ = potentials(tmp_path)
    spoil(path)
    with pytest.raises(error):
        lfp.open_lfp(path)


MARKERS = {
    "headings": ["bitcodestart", "go", "choice", "choice", "nonsense", "zaberready"],
    "digMarkerPerTrial": np.array(
        [
            [10.0, 11.0, np.nan, 11.2, 0.0, 9.0],
            [20.0, 21.0, 21.3, np.nan, 0.0, 19.0],
            [30.0, np.nan, np.nan, np.nan, 0.0, 29.0],
        ]
    ),
    "zaberPerTrial": [np.array([8.5, 8.6]), np.empty(0), np.array([28.5])],
    "lickLPerTrial": [np.array([11.3]), np.empty(0), np.empty(0)],
    "lickRPerTrial": [np.array([11.2, 11.4]), np.array([21.0]), np.array([31.0])],
}


def test_events_go_by_behavior_trial_and_time():
    records = foraging_events(MARKERS, [4, -1, 6], origin=8.0)
    events = records.tables["ephys.ephys_trial_event"].to_pylist()
    assert [tuple(row.values()) for row in events] == [
        (4, 0, "zaberstep", 0.5),
        (4, 1, "zaberstep", pytest.approx(0.6)),
        (4, 2, "zaberready", 1.0),
        (4, 3, "bitcodestart", 2.0),
        (4, 4, "go", 3.0),
        (4, 5, "choice", pytest.approx(3.2)),
        (6, 0, "zaberstep", 20.5),
        (6, 1, "zaberready", 21.0),
        (6, 2, "bitcodestart", 22.0),
    ]
    licks = records.tables["ephys.ephys_action_event"].to_pylist()
    assert [(r["trial"], r["action_event_id"], r["action_event_type"]) for r in licks] == [
        (4, 0, "right lick"),
        (4, 1, "left lick"),
        (4, 2, "right lick"),
        (6, 0, "right lick"),
    ]
    reasons = {(s.item_type, s.item) for s in records.skipped}
    assert reasons == {("marker", "nonsense"), ("ephys trials", "1")}
    for name, data in records.tables.items():
        parquet.conform(get(name), data)


def test_bad_events_are_refused():
    with pytest.raises(errors.LengthMismatchError):
        foraging_events(MARKERS, [1, 2, 3, 4])
    with pytest.raises(errors.CorruptFileError):
        foraging_events({**MARKERS, "lickLPerTrial": [np.array([np.nan])] * 3}, [1, 2, 3])
