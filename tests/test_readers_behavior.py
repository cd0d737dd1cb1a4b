"""Delay-response behavior files: what is in them comes out, from v5 and v7.3 alike."""

from __future__ import annotations

import os
from datetime import date, datetime, time
from pathlib import Path

import matfiles
import numpy as np
import pytest
from matfiles import plain, session, trial, write_v5, write_v73
from scipy.io import loadmat, savemat

from maplake import tables
from maplake.errors import (
    FileFormatError,
    UnknownValueError,
)
from maplake.readers import delay_response
from maplake.readers.base import BehaviorContext, PhotostimProtocol, PhotostimSite

NAME = "ab12_tw2_20190303_101112.mat"
LEFT = PhotostimProtocol(4, (PhotostimSite("ALM", 2500.0, -1500.0),))
BOTH = PhotostimProtocol(
    6, (PhotostimSite("ALM", 2500.0, -1500.0), PhotostimSite("ALM", 2500.0, 1500.0))
)
CONTEXT = BehaviorContext(photostim={4: LEFT, 6: BOTH})


@pytest.fixture(params=[write_v5, write_v73], ids=["v5", "v7.3"])
def write(request):
    return request.param


@pytest.fixture
def ingest(tmp_path, write):
    def run(trials, name=NAME, **changes):
        return delay_response.read(write(tmp_path / name, session(trials, **changes)), CONTEXT)

    return run


def rows(records, table, *columns):
    found = records.tables[f"experiment.{table}"].select(list(columns)).to_pydict()
    return list(zip(*found.values(), strict=True))


def column(records, table, name):
    return records.tables[f"experiment.{table}"][name].to_pylist()


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "h2o"),
    [
        ("dl25_tw2_20180225_102508.mat", "dl25"),
        ("SC038_SC_RecordingRig3_20191119_115037.mat", "SC038"),
        ("dl7_TW_autoTrain_20180104_132813.mat", "dl7"),
    ],
)
def test_names_of_sessions_are_found_and_tell_whose_they_are(name, h2o):
    path = Path("rig") / name
    assert delay_response.find(path) == [path]
    assert delay_response.identify(path).h2o == h2o


def test_name_tells_the_start():
    found = delay_response.identify(Path("dl25_tw2_20180225_102508.mat")).start
    assert found == datetime(2018, 2, 25, 10, 25, 8)


@pytest.mark.parametrize(
    "name",
    [
        "d25_tw2_20180225_102508.mat",
        "dl25_20180225_102508.mat",
        "dl25_tw2_20180225_102508xmat",
        "dl25_tw2_20180225_102508.mat.bak",
        "dl25_tw2_20181325_102508.mat",
        "dl25_tw2_20180225_252508.mat",
        "dl25_bitcode.mat",
    ],
)
def test_other_names_are_not_found(name):
    assert delay_response.find(Path(name)) == []
    with pytest.raises(FileFormatError):
        delay_response.identify(Path(name))


# --- the real file -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    root = os.environ.get("MAPLAKE_TEST_DATA")
    if not root:
        pytest.skip("MAPLAKE_TEST_DATA is not set: no real files")
    path = Path(root) / "real/bpod_mat/map-ephys/dl25_tw2_20180225_102508.mat"
    raw = loadmat(path, squeeze_me=True, struct_as_record=False)["SessionData"]
    return delay_response.read(path, CONTEXT), raw


def test_real_session_has_its_trials(real):
    records, raw = real
    assert rows(records, "session", "session_date", "session_time", "trial_count") == [
        (date(2018, 2, 25), time(11, 23, 28), 11)
    ]
    assert column(records, "session_trial", "trial") == list(range(1, 12))
    assert records.skipped == []
    assert records.info["trial_total"] == 11
    starts = raw.TrialStartTimestamp - raw.TrialStartTimestamp[0]
    assert column(records, "session_trial", "start_time") == starts.tolist()
    ends = [s + t.States.TrialEnd[0] for s, t in zip(starts, raw.RawEvents.Trial, strict=True)]
    assert column(records, "session_trial", "stop_time") == pytest.approx(ends)


def test_real_session_has_its_behavior(real):
    records, raw = real
    # Reversal is 1 throughout, so type 1 = left.
    assert {s.GUI.Reversal for s in raw.TrialSettings} == {1}
    side = ["left" if kind == 1 else "right" for kind in raw.TrialTypes]
    assert column(records, "behavior_trial", "trial_instruction") == side
    visited = [
        {n for n in t.States._fieldnames if not np.isnan(getattr(t.States, n)).all()}
        for t in raw.RawEvents.Trial
    ]
    early = ["early" if v & {"EarlyLickSample", "EarlyLickDelay"} else "no early" for v in visited]
    outcome = ["hit" if "Reward" in v else "miss" if "TimeOut" in v else "ignore" for v in visited]
    assert column(records, "behavior_trial", "early_lick") == early
    assert column(records, "behavior_trial", "outcome") == outcome
    assert early.count("early") == 2
    assert outcome.count("miss") == 2


def test_real_session_has_its_events_and_licks(real):
    records, raw = real
    events = []
    for number, one in enumerate(raw.RawEvents.Trial, start=1):
        for state, kind in delay_response.EVENT_STATES.items():
            for start, end in np.reshape(getattr(one.States, state), (-1, 2)):
                events.append((number, kind, start, end - start))
    found = rows(
        records, "trial_event", "trial", "trial_event_type", "trial_event_time", "duration"
    )
    assert sorted(found) == sorted(events)
    ports = {"Port1In": "left lick", "Port2In": "right lick"}
    licks = [
        (number, kind, moment)
        for number, one in enumerate(raw.RawEvents.Trial, start=1)
        for port, kind in ports.items()
        for moment in np.atleast_1d(getattr(one.Events, port, []))
    ]
    found = rows(records, "action_event", "trial", "action_event_type", "action_event_time")
    assert sorted(found) == sorted(licks)
    assert len(licks) == 63


def test_real_session_keeps_leading_zeros_of_bitcodes(real):
    records, raw = real
    codes = [str(s.GUI.randomID) for s in raw.TrialSettings]
    assert list(records.info["bitcodes"].values()) == codes
    notes = rows(records, "trial_note", "trial_note_type", "trial_note")
    assert [note for kind, note in notes if kind == "bitcode"] == codes
    assert codes[2] == "0000111111100101"
    assert ("protocol #", "7") in notes


# --- sessions with known truth -----------------------------------------------------------------


def test_tables_have_exactly_the_declared_columns(ingest):
    records = ingest([trial(stim=4)])
    for name, table in records.tables.items():
        declared = tables.get(name).file_schema
        kept = [declared.field(c) for c in table.column_names]
        assert [f.type for f in kept] == list(table.schema.types)
        if name != "experiment.session":
            assert table.column_names == declared.names
        assert all(f.nullable or not table[f.name].null_count for f in kept)
    assert records.tables["experiment.session"].num_rows == 1


@pytest.mark.parametrize(
    ("reversal", "kind", "side"), [(1, 1, "left"), (1, 0, "right"), (2, 1, "right"), (2, 0, "left")]
)
def test_instruction_follows_type_and_reversal(ingest, reversal, kind, side):
    records = ingest([trial(kind=kind, Reversal=reversal)])
    assert column(records, "behavior_trial", "trial_instruction") == [side]


@pytest.mark.parametrize(
    ("state", "protocol", "expected"),
    [
        ("EarlyLickDelay", 5, "early"),
        ("EarlyLickSample", 5, "early"),
        ("EarlyLickSample", 4, "no early"),
        ("EarlyLickDelay", 3, "no early"),
        ("NoResponse", 5, "no early"),
    ],
)
def test_early_licks_count_from_protocol_five(ingest, state, protocol, expected):
    states = [*plain()[:4], (state, 2.0, 2.1), *plain()[4:]]
    records = ingest([trial(states, ProtocolType=protocol)])
    assert column(records, "behavior_trial", "early_lick") == [expected]


@pytest.mark.parametrize(
    ("state", "outcome"), [("Reward", "hit"), ("TimeOut", "miss"), ("NoResponse", "ignore")]
)
def test_outcome_follows_the_state_reached(ingest, state, outcome):
    assert column(ingest([trial(plain(outcome=state))]), "behavior_trial", "outcome") == [outcome]


def test_water_given_is_told(ingest):
    trials = [
        trial(),
        trial(Autowater=1),
        trial(gifts=[0, 1, 0]),
        trial(gifts=[0, 0, 1]),
        trial(free=1),
    ]
    records = ingest(trials)
    assert column(records, "behavior_trial", "auto_water") == [False, True, True, False, False]
    assert column(records, "behavior_trial", "free_water") == [False] * 4 + [True]


@pytest.mark.parametrize("empty", [None, []])
def test_optional_fields_may_be_absent_or_never_filled(ingest, empty):
    records = ingest([trial(randomID=None), trial()], StimTrials=empty, FreeTrials=empty)
    assert column(records, "behavior_trial", "free_water") == [False, False]
    assert records.info["bitcodes"] == {2: "0010"}


@pytest.mark.parametrize("count", [1, 2])
def test_one_of_a_thing_reads_as_many(ingest, count):
    one = trial(events=[(71, 3.0)], start=7.5)
    records = ingest([one] * count)
    assert column(records, "session_trial", "start_time") == [0.0] * count
    assert column(records, "session_trial", "stop_time") == pytest.approx([3.7] * count)
    assert rows(records, "action_event", "trial", "action_event_id", "action_event_time") == [
        (number + 1, 0, 3.0) for number in range(count)
    ]
    assert column(records, "trial_event", "trial_event_type") == [
        "presample", "sample", "delay", "go", "trialend",
    ] * count  # fmt: skip


def test_session_squeezed_by_other_tools_reads_the_same(tmp_path):
    one = trial(events=[(71, 3.0)], start=7.5)
    whole = delay_response.read(write_v5(tmp_path / NAME, session([one])), CONTEXT)
    squeezed = loadmat(tmp_path / NAME, simplify_cells=True)["SessionData"]
    (tmp_path / "again").mkdir()
    savemat(tmp_path / "again" / NAME, {"SessionData": squeezed})
    again = delay_response.read(tmp_path / "again" / NAME, CONTEXT)
    assert again.tables == whole.tables
    assert again.info == whole.info


def test_trial_without_events_has_no_licks(ingest):
    assert column(ingest([trial(), trial(events=[(1, 0.5)])]), "action_event", "trial") == []


def test_events_come_in_time_order_and_are_numbered_within_the_trial(ingest):
    states = [
        *plain()[:3],
        ("DelayPeriod", 1.5, 1.9),
        ("EarlyLickDelay", 1.9, 2.0),
        ("SamplePeriod", 2.0, 2.5),
        ("DelayPeriod", 2.5, 3.7),
        *((name, a + 1, b + 1) for name, a, b in plain()[4:]),
    ]
    licks = [(71, 3.5), (69, 1.9), (12, 0.4), (71, 1.95)]
    records = ingest([trial(states, licks), trial(events=[(69, 2.8)])])
    names = ("trial_event_id", "trial_event_type", "trial_event_time")
    found = rows(records, "trial_event", "trial", *names)
    assert [row[1:3] for row in found if row[0] == 1] == [
        (0, "presample"),
        (1, "sample"),
        (2, "delay"),
        (3, "sample"),
        (4, "delay"),
        (5, "go"),
        (6, "trialend"),
    ]
    assert [row[1] for row in found if row[0] == 2] == [0, 1, 2, 3, 4]
    licked = rows(records, "action_event", *("trial", "action_event_id", "action_event_type"))
    assert licked == [
        (1, 0, "left lick"),
        (1, 1, "right lick"),
        (1, 2, "right lick"),
        (2, 0, "left lick"),
    ]


def test_skipped_trials_keep_number_reason_and_code(ingest):
    no_end = [state for state in plain() if state[0] != "TrialEnd"]
    no_start = [state for state in plain() if state[0] != "PreSamplePeriod"]
    unnamed = trial(randomID="0001") | {"names": [*matfiles.STATES[:9], "x", *matfiles.STATES[10:]]}
    trials = [
        trial(start=5.0, ProtocolType=2, randomID="0111"),
        trial(start=15.0),
        trial(no_end, start=25.0),
        trial(no_start, start=35.0),
        trial(start=45.0, ProtocolType=None),
        unnamed,
    ]
    records = ingest(trials)
    assert column(records, "session_trial", "trial") == [2]
    assert column(records, "session_trial", "start_time") == [10.0]
    assert {s.item_type for s in records.skipped} == {"trial"}
    reasons = {s.item: s.reason for s in records.skipped}
    assert reasons == {
        "1": "GUI.ProtocolType is 2, less than 3",
        "3": "the trial has no end (TrialEnd)",
        "4": "the trial has no start (PreSamplePeriod)",
        "5": "GUI.ProtocolType is missing",
        "6": "states missing: TrialEnd",
    }
    assert records.info["bitcodes"][1] == "0111"
    assert records.info["bitcodes"][6] == "0001"
    assert records.info["trial_total"] == 6
    assert column(records, "session", "trial_count") == [1]


@pytest.mark.parametrize(
    ("code", "text"), [(101.0, "101"), ([0, 1, 0, 1], "0101"), ("0011", "0011")]
)
def test_bitcodes_are_texts(ingest, code, text):
    assert ingest([trial(randomID=code)]).info["bitcodes"] == {1: text}


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("9:08:07", time(9, 8, 7)),
        ("09:08:07.25", time(9, 8, 7, 250000)),
        ("12:08:07 AM", time(0, 8, 7)),
        ("1:08:07 PM", time(13, 8, 7)),
    ],
)
def test_start_time_may_be_written_in_several_ways(ingest, clock, expected):
    info = {"SessionDate": "3-Mar-2019", "SessionStartTime_UTC": clock}
    records = ingest([trial()], Info=info)
    assert column(records, "session", "session_time") == [expected]
    assert column(records, "session", "session_datetime") == [
        datetime.combine(date(2019, 3, 3), expected)
    ]


# --- photostimulation --------------------------------------------------------------------------

LATE_NAME = "SC038_SC_RecordingRig3_20190303_101112.mat"


@pytest.mark.parametrize(
    ("name", "protocol", "onset"),
    [
        (NAME, 5, 1.5),
        (NAME, 6, None),
        (NAME, 4, None),
        (LATE_NAME, 5, 2.2),
        (LATE_NAME, 7, 2.2),
        (LATE_NAME, 4, None),
        (LATE_NAME.replace("Rig3", "Rig2"), 5, 1.5),
        (LATE_NAME.replace("Rig3", "Rig31"), 5, 1.5),
        (LATE_NAME.replace("SC038", "dl38"), 5, 1.5),
    ],
)
def test_photostim_onset_depends_on_rig_and_protocol(ingest, name, protocol, onset):
    records = ingest([trial(stim=4, ProtocolType=protocol)], name=name)
    found = rows(records, "photostim_event", "photostim_event_id", "photo_stim", "power")
    assert found == ([] if onset is None else [(0, 4, 5.5)])
    times = column(records, "photostim_event", "photostim_event_time")
    assert times == ([] if onset is None else [pytest.approx(onset)])
    assert column(records, "photostim_trial", "trial") == ([] if onset is None else [1])


def test_photostim_needs_autolearn_and_the_full_last_delay(ingest):
    interrupted = [*plain()[:3], ("DelayPeriod", 1.5, 1.7), ("DelayPeriod", 2.0, 3.2), *plain()[4:]]
    trials = [
        trial(stim=6),
        trial(stim=0),
        trial(stim=6, Autolearn=1),
        trial(plain(0.8), stim=6),
        trial(plain(1.2049), stim=6),
        trial(interrupted, stim=6),
        trial(plain(0.8), stim=99),
        trial(plain(1.205), stim=6),
        trial(plain(1.2051), stim=6),
    ]
    records = ingest(trials)
    found = rows(records, "photostim_event", "trial", "photostim_event_time")
    # To two decimals, the last of them even where there are two as near.
    assert found == [(1, 1.5), (5, 1.5), (6, 2.0), (8, 1.5)]
    # Only the protocols that were used are listed.
    assert rows(records, "photostim", "photo_stim", "duration", "waveform") == [(6, 0.5, None)]
    assert column(records, "photostim_location", "ml_location") == [-1500.0, 1500.0]


def test_unknown_photostim_number_is_an_error_only_where_it_counts(ingest):
    with pytest.raises(UnknownValueError, match="trial 2, StimTrials") as caught:
        ingest([trial(), trial(stim=9)])
    assert caught.value.found == "9"
    assert caught.value.expected == "4, 6"


def test_late_photostim_without_go_cue_is_recorded(ingest):
    states = [state for state in plain() if state[0] != "ResponseCue"]
    records = ingest([trial(states, stim=4)], name=LATE_NAME)
    assert [s.item_type for s in records.skipped] == ["photostim_event"]
    assert column(records, "photostim_trial", "trial") == []


def test_sessions_read_identically_from_both_versions(tmp_path):
    trials = [trial(events=[(69, 1.0), (71, 2.0)], stim=4), trial(plain(outcome="TimeOut"))]
    old = delay_response.read(write_v5(tmp_path / NAME, session(trials)), CONTEXT)
    new = delay_response.read(write_v73(tmp_path / NAME, session(trials)), CONTEXT)
    assert old == new
