"""Multi-target-licking sessions read as what was written, and bad ones are refused."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from maplake import errors
from maplake.config import load
from maplake.ingest import find_behavior
from maplake.ingest.seen import Seen
from maplake.layout import Layout
from maplake.readers import multi_target_licking as mtl
from maplake.readers.base import BehaviorContext
from maplake.readers.delay_response import READER as DELAY_RESPONSE
from maplake.simulate.multi_target_licking import simulate_mtl
from maplake.tables import get
from maplake.writers import parquet

START = datetime(2021, 6, 1, 12, 30, 15)


def table(records, name):
    return records.tables[f"experiment.{name}"].to_pydict()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lost": (1, 7, 24)},
        {"lost": (6, 16)},
        {"lost": (6, 7, 8, 9, 10)},
        {"trials": 1},
        {"trials": 2, "bins": 2},
    ],
    ids=["plain", "lost trials", "lost first of block", "lost block", "one trial", "two trials"],
)
def test_a_session_reads_as_what_was_written(options, tmp_path):
    truth = simulate_mtl(tmp_path, "BM12", START, seed=2, **options)
    assert mtl.find(truth.path) == [truth.path]
    assert mtl.matches_content(truth.path)
    records = mtl.read(truth.path)
    count = len(truth.original)
    trials = table(records, "session_trial")
    start = truth.start_time - truth.start_time[0]
    assert trials["trial"] == list(range(1, count + 1))
    np.testing.assert_array_equal(trials["start_time"], start)
    np.testing.assert_array_equal(trials["stop_time"], start + truth.end_time)
    behavior = table(records, "behavior_trial")
    assert behavior["auto_water"] == truth.auto_water.tolist()
    assert behavior["free_water"] == truth.free_water.tolist()
    constants = {"task": "multi-target-licking", "task_protocol": 1, "outcome": "N/A"}
    constants |= {"trial_instruction": "none", "early_lick": "no early"}
    for name, value in constants.items():
        assert set(behavior[name]) == {value}
    events = table(records, "trial_event")
    np.testing.assert_array_equal(events["trial_event_time"], truth.end_time)
    assert set(events["trial_event_type"]) == {"trialend"}
    check_notes(records, truth)
    check_blocks(records, truth, start)
    head = records.tables["experiment.session"].to_pylist()[0]
    assert head["session_datetime"] == START
    assert (head["task_protocol"], head["trial_count"]) == (1, count)
    for name, data in records.tables.items():
        if name != "experiment.session":
            parquet.conform(get(name), data)


def check_notes(records, truth):
    notes = records.tables["experiment.trial_note"].to_pylist()
    found = {(row["trial"], row["trial_note_type"]): row["trial_note"] for row in notes}
    for number, original in enumerate(truth.original.tolist(), 1):
        code = found[number, "bitcode"]
        assert len(code) == 10
        assert sum(int(bit) << place for place, bit in enumerate(code)) == original
        assert records.info["bitcodes"][number] == code
        assert found[number, "original trial"] == str(original)
        assert found[number, "protocol #"] == "1"


def check_blocks(records, truth, start):
    first = np.unique(truth.block, return_index=True)[1]
    blocks = table(records, "mtl_session_block")
    assert blocks["block"] == truth.block[first].tolist()
    assert blocks["block_start_time"] == start[first].tolist()
    assert blocks["trial_count"] == np.unique(truth.block, return_counts=True)[1].tolist()
    assert blocks["num_licks_for_reward"] == truth.licks_for_reward[first].tolist()
    assert blocks["roll_deg"] == truth.roll[first].tolist()
    bins = [set(blocks[f"position_{axis}_bins"]) for axis in "xyz"]
    assert bins == [{truth.bins}, {1}, {truth.bins}]
    ports = table(records, "mtl_block_water_port")
    assert ports["water_port"] == [f"mtl-{t}" for t in truth.target[first]]
    assert ports["position_x"] == truth.x[first].tolist()
    assert ports["position_z"] == truth.z[first].tolist()
    assert set(ports["position_y"]) == {truth.y}
    trials = table(records, "mtl_block_trial")
    assert trials["block"] == truth.block.tolist()
    assert trials["block_trial_number"] == truth.order.tolist()


@given(st.integers(1, 1023))
def test_bitcodes_are_10_digits_least_significant_first(number):
    code = mtl.bitcode(number)
    assert len(code) == 10
    assert int(code[::-1], 2) == number


def test_the_readers_of_both_tasks_tell_the_files_apart(tmp_path):
    truth = simulate_mtl(tmp_path, "BM12", START)
    with pytest.raises(errors.FileFormatError):
        DELAY_RESPONSE.read(truth.path, BehaviorContext({}))
    target = {"X_center": 1.0, "Y_center": 1.0, "Z_center": 1.0, "SamplePeriod": 1.0}
    change("SettingsFile", {"GUI": target})(truth.path)
    assert mtl.matches_content(truth.path)
    change("SettingsFile", {"GUI": {**target, "DelayPeriod": 1.2}})(truth.path)
    assert not mtl.matches_content(truth.path)
    change("SettingsFile", {"GUI": {"X_center": 1.0, "SamplePeriod": 1.0}})(truth.path)
    assert not mtl.matches_content(truth.path)
    with pytest.raises(errors.FileFormatError, match="multi-target"):
        mtl.read(truth.path)


def change(name, value):
    def apply(path):
        data = loadmat(path, squeeze_me=False)["SessionData"][0, 0]
        fields = {field: data[field] for field in data.dtype.names}
        if value is None:
            del fields[name]
        else:
            fields[name] = value(fields[name]) if callable(value) else value
        savemat(path, {"SessionData": fields})

    return apply


def test_blocks_count_from_one_where_a_session_begins_within_a_block(tmp_path):
    truth = simulate_mtl(tmp_path, "BM12", START, trials=10)
    expected = table(mtl.read(truth.path), "mtl_block_trial")["block"]

    def begin_within(order):
        order[0, 0] = 3
        return order

    change("TrialBlockOrder", begin_within)(truth.path)
    assert table(mtl.read(truth.path), "mtl_block_trial")["block"] == expected


def test_a_block_counts_its_trials_without_end_too(tmp_path):
    truth = simulate_mtl(tmp_path, "BM12", START, trials=10, lost=(2,))

    def interrupt(events):
        events["Trial"][0, 0][0, 1]["States"][0, 0]["TrialEnd"][0, 0][:] = np.nan
        return events

    change("RawEvents", interrupt)(truth.path)
    records = mtl.read(truth.path)
    assert [skipped.item for skipped in records.skipped] == ["2", "2"]  # in the file; of those left
    assert table(records, "mtl_session_block")["trial_count"] == [4, 5]
    numbers = table(records, "mtl_block_trial")["block_trial_number"]
    assert numbers == [1, 2, 3, 1, 2, 3, 4, 5]


def test_a_port_is_where_its_trial_had_it(tmp_path):
    truth = simulate_mtl(tmp_path, "BM12", START, trials=10)

    def move(settings):
        for place, gui in enumerate(settings["GUI"].ravel()):
            gui["Y_center"][0, 0] = 40.0 + place
        return settings

    change("TrialSettings", move)(truth.path)
    ports = table(mtl.read(truth.path), "mtl_block_water_port")
    assert ports["position_y"] == [40.0, 45.0]


def test_small_files_are_aborted_sessions_of_the_other_task_only(tmp_path):
    truth = simulate_mtl(tmp_path, "BM12", START)
    (tmp_path / "BM12_delay_20210602_101010.mat").write_bytes(truth.path.read_bytes()[:-500])
    config = tmp_path / "lake.toml"
    config.write_text(
        "[lake]\nroot = 'lake'\n[[behavior.rigs]]\nname = 'RRig-MTL'\npath = '.'\n",
        encoding="utf-8",
    )
    found = find_behavior.find(load(config), Seen(Layout(tmp_path)))
    assert [source.path for source in found.sources] == [truth.path]
    assert ["aborted" in reason for _, reason in found.skipped] == [True]


def without_position(types):
    return types * 0


def not_finite(times):
    return np.where(np.arange(times.size) == 3, np.nan, times)


BAD = {
    "empty": (lambda p: p.write_bytes(b""), errors.CorruptFileError),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-500]), errors.CorruptFileError),
    "version": (lambda p: p.write_bytes(b"MATLAB 4 or so" * 50), errors.CorruptFileError),
    "text": (lambda p: p.write_bytes(b"h2o,date\n" * 50), errors.FileFormatError),
    "missing": (lambda p: p.unlink(), errors.MissingFileError),
    "block order gone": (change("TrialBlockOrder", None), errors.FileFormatError),
    "lengths of all": (change("TrialBlockOrder", lambda v: v[:, 1:]), errors.LengthMismatchError),
    "lengths of valid": (
        change("TrialStartTimestamp", lambda v: v[:, 1:]),
        errors.LengthMismatchError,
    ),
    "non-finite": (change("TrialStartTimestamp", not_finite), errors.CorruptFileError),
    "block order not finite": (
        change("TrialBlockOrder", lambda v: np.where(np.arange(v.size) == 3, np.nan, v)),
        errors.CorruptFileError,
    ),
    "no target": (change("trial_type_mat", without_position), errors.CorruptFileError),
    "unknown target": (change("TrialTypes", lambda v: v + 40), errors.UnknownValueError),
    "no positions": (change("X_positions_mat", None), errors.LengthMismatchError),
    "another day": (
        change("Info", {"SessionDate": "02-Jun-2021", "SessionStartTime_UTC": "12:30:15"}),
        errors.FileFormatError,
    ),
    "no trial started": (change("MATLABStartTimes", lambda v: v * 0), errors.LengthMismatchError),
}


@pytest.mark.parametrize("fault", list(BAD))
def test_bad_files_are_refused_by_name(fault, tmp_path):
    truth = simulate_mtl(tmp_path, "BM12", START)
    spoil, error = BAD[fault]
    spoil(truth.path)
    with pytest.raises(error) as caught:
        mtl.read(truth.path)
    assert caught.value.file == str(truth.path)


@pytest.mark.parametrize("trials", [1, 2, 6])
def test_a_session_squeezed_by_other_tools_reads_the_same(trials, tmp_path):
    truth = simulate_mtl(tmp_path, "BM12", START, trials=trials)
    whole = mtl.read(truth.path)
    squeezed = loadmat(truth.path, simplify_cells=True)["SessionData"]
    savemat(truth.path, {"SessionData": squeezed})
    assert mtl.read(truth.path) == whole


def test_a_session_of_several_protocols_has_that_of_most_of_its_trials(tmp_path):
    truth = simulate_mtl(tmp_path, "BM12", START, trials=10)

    def mix(settings):
        for gui in settings["GUI"].ravel()[1:]:
            gui["ProtocolType"][0, 0] = 2.0
        return settings

    change("TrialSettings", mix)(truth.path)
    records = mtl.read(truth.path)
    assert table(records, "behavior_trial")["task_protocol"] == [1, *[2] * 9]
    assert records.tables["experiment.session"]["task_protocol"].to_pylist() == [2]
