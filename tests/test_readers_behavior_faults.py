"""Faulty behavior files: each fault has its class, and its place in the file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matfiles import session, trial, write_v5, write_v73

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MissingFileError,
    SourceError,
    UnknownValueError,
    UnreadableFileError,
)
from maplake.readers import delay_response
from maplake.readers.base import BehaviorContext

NAME = "ab12_tw2_20190303_101112.mat"
CONTEXT = BehaviorContext(photostim={})


@pytest.fixture(params=[write_v5, write_v73], ids=["v5", "v7.3"])
def write(request):
    return request.param


def raw(trials, field, index, value):
    data = session(trials)
    data["SessionData"]["RawData"][field][index] = np.array(value, float)
    return data


def visit(trials, state, value):
    data = session(trials)
    data["SessionData"]["RawEvents"]["Trial"][-1]["States"][state] = np.array([value])
    return data


TWO = [trial(events=[(69, 1.0)]), trial(events=[(69, 1.0)])]
TARGETS = {"GUI": {"X_center": 1.0, "Y_center": 1.0, "Z_center": 1.0}}
BAD = {
    "unequal lengths": (
        session(TWO, TrialTypes=[1, 0, 1]),
        LengthMismatchError,
        "TrialTypes 3.*OriginalStateData 2",
    ),
    "one trial, other lengths": (
        session(TWO, TrialStartTimestamp=[1.0]),
        LengthMismatchError,
        "TrialStartTimestamp 1",
    ),
    "unequal stim": (session(TWO, StimTrials=[0]), LengthMismatchError, "StimTrials 1"),
    "events without times": (
        raw(TWO, "OriginalEventTimestamps", 1, [1.0, 2.0]),
        LengthMismatchError,
        "trial 2, OriginalEventTimestamps",
    ),
    "states without times": (
        raw(TWO, "OriginalStateTimestamps", 1, [1.0, 2.0]),
        LengthMismatchError,
        "trial 2, OriginalStateTimestamps",
    ),
    "other date": (
        session(TWO, Info={"SessionDate": "04-Mar-2019", "SessionStartTime_UTC": "09:08:07"}),
        FileFormatError,
        "found 2019-03-04; expected 2019-03-03",
    ),
    "no date": (
        session(TWO, Info={"SessionDate": "31-Feb-2019", "SessionStartTime_UTC": "09:08:07"}),
        FileFormatError,
        "Info.SessionDate",
    ),
    "no time": (
        session(TWO, Info={"SessionDate": "03-Mar-2019", "SessionStartTime_UTC": "25:08:07"}),
        FileFormatError,
        "Info.SessionStartTime_UTC",
    ),
    "start not finite": (
        session(TWO, TrialStartTimestamp=[0.0, np.inf]),
        CorruptFileError,
        "trial 2, TrialStartTimestamp",
    ),
    "first start not finite": (
        session(TWO, TrialStartTimestamp=[np.nan, 1.0]),
        CorruptFileError,
        "trial 1, TrialStartTimestamp",
    ),
    "lick not finite": (
        raw(TWO, "OriginalEventTimestamps", 1, [np.nan]),
        CorruptFileError,
        "trial 2, OriginalEventTimestamps",
    ),
    "stop not finite": (
        raw(TWO, "OriginalStateTimestamps", 1, [np.nan] * 9),
        CorruptFileError,
        "trial 2, OriginalStateTimestamps",
    ),
    "visit without end": (
        visit(TWO, "DelayPeriod", (1.0, np.nan)),
        CorruptFileError,
        "trial 2, States.DelayPeriod",
    ),
    "visit of three": (
        visit(TWO, "DelayPeriod", (1.0, 2.0, 3.0)),
        FileFormatError,
        "trial 2, States.DelayPeriod",
    ),
    "reversal": (session([trial(), trial(Reversal=3)]), UnknownValueError, "trial 2.*Reversal 3"),
    "type": (session([trial(), trial(kind=7)]), UnknownValueError, "trial 2.*TrialTypes 7"),
    "no trial kept": (
        session([trial(ProtocolType=1)]),
        FileFormatError,
        "none of the session's 1 trials",
    ),
    "multi-target licking": (
        session(TWO, SettingsFile=TARGETS),
        FileFormatError,
        "multi-target-licking",
    ),
    "no field": (session(TWO, TrialTypes=None), FileFormatError, "SessionData.TrialTypes"),
    "no raw events": (session(TWO, RawEvents={"x": 1.0}), FileFormatError, "RawEvents.Trial"),
    "settings are numbers": (session(TWO, TrialSettings=[1, 2]), FileFormatError, "TrialSettings"),
    "no SessionData": ({"other": np.array([1.0])}, FileFormatError, "no SessionData"),
    "SessionData is a number": ({"SessionData": np.array([1.0])}, FileFormatError, "SessionData"),
}


@pytest.mark.parametrize("fault", BAD)
def test_faulty_sessions_are_named(tmp_path, write, fault):
    content, error, message = BAD[fault]
    path = write(tmp_path / NAME, content)
    with pytest.raises(error, match=message) as caught:
        delay_response.read(path, CONTEXT)
    assert caught.value.file == str(path)


def test_session_without_trials_is_an_error(tmp_path, write):
    empty = {
        name: np.empty((0, 0)) for name in ("TrialTypes", "TrialStartTimestamp", "TrialSettings")
    }
    data = session(TWO, **empty, StimTrials=None, FreeTrials=None)["SessionData"]
    data["RawData"] = {name: [] for name in data["RawData"]}
    data["RawEvents"] = {"Trial": []}
    with pytest.raises(FileFormatError, match="no trial"):
        delay_response.read(write(tmp_path / NAME, {"SessionData": data}), CONTEXT)


def test_every_truncation_is_an_error(tmp_path, write):
    whole = write(tmp_path / NAME, session(TWO)).read_bytes()
    for size in {0, 1, 100, 127, 128, 200, 512, 600, len(whole) // 2, len(whole) - 1}:
        (tmp_path / NAME).write_bytes(whole[:size])
        with pytest.raises(SourceError) as caught:
            delay_response.read(tmp_path / NAME, CONTEXT)
        assert isinstance(caught.value, CorruptFileError | FileFormatError)
        assert caught.value.file


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.binary(min_size=1, max_size=12), st.booleans())
def test_damaged_bytes_never_raise_anything_else(tmp_path_factory, at, damage, new):
    folder = tmp_path_factory.mktemp("damaged")
    path = (write_v73 if new else write_v5)(folder / NAME, session(TWO))
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at : at + len(damage)] = damage
    path.write_bytes(content)
    with suppress(SourceError):
        delay_response.read(path, CONTEXT)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", CorruptFileError),
        (b"\0" * 600, CorruptFileError),
        (b"MATLAB 5.0 MAT-file", CorruptFileError),
        (b"MATLAB 7.3 MAT-file".ljust(512), CorruptFileError),
        (b"TrialTypes,1,2,3\n" * 50, FileFormatError),
        (b"PK\3\4" + b"x" * 500, FileFormatError),
    ],
)
def test_what_is_no_matlab_file_is_told(tmp_path, content, error):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(error):
        delay_response.read(tmp_path / NAME, CONTEXT)


def test_missing_file_and_folder_in_its_place(tmp_path):
    with pytest.raises(MissingFileError):
        delay_response.read(tmp_path / NAME, CONTEXT)
    (tmp_path / NAME).mkdir()
    with pytest.raises(FileFormatError, match="folder"):
        delay_response.read(tmp_path / NAME, CONTEXT)


def test_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write_v5(tmp_path / NAME, session(TWO))

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    # As root every file can be read, so the refusal is put in by hand.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnreadableFileError, match="Permission denied"):
        delay_response.read(path, CONTEXT)
