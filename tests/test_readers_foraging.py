"""Foraging sessions of pybpod read as what was written; bad and hostile ones are refused."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from maplake import errors
from maplake.readers import foraging, pybpod_csv
from maplake.readers.base import BehaviorContext
from maplake.readers.foraging_trials import STATE_EVENTS
from maplake.simulate.foraging import ForagingOptions, concatenated, simulate_foraging
from maplake.tables import get
from maplake.writers import parquet

START = datetime(2020, 5, 4, 10, 0, 0)
LATER = datetime(2020, 5, 4, 14, 30, 0)


def rows(records, name):
    return records.tables[f"experiment.{name}"].to_pylist()


def check(records, sessions):
    trials = concatenated(sessions)
    first = min(sessions, key=lambda s: s.path.stem).trials[0].start
    seconds = lambda moment: (moment - first).total_seconds()  # noqa: E731
    numbers = list(range(1, len(trials) + 1))
    times = rows(records, "session_trial")
    assert [row["trial"] for row in times] == numbers
    assert [row["start_time"] for row in times] == [seconds(t.start) for t in trials]
    assert [row["stop_time"] for row in times] == [seconds(t.stop) for t in trials]
    behavior = rows(records, "behavior_trial")
    assert [row["outcome"] for row in behavior] == [t.outcome for t in trials]
    assert [row["early_lick"] == "early" for row in behavior] == [t.early for t in trials]
    assert [row["auto_water"] for row in behavior] == [bool(t.auto_water) for t in trials]
    assert [row["water_port"] for row in rows(records, "water_port_choice")] == [
        t.choice for t in trials
    ]
    licks = [(n, f"{p} lick", at) for n, t in enumerate(trials, 1) for at, p in t.licks]
    assert licks == [
        (row["trial"], row["action_event_type"], row["action_event_time"])
        for row in rows(records, "action_event")
    ]
    events = [
        (n, STATE_EVENTS[state], at) for n, t in enumerate(trials, 1) for at, state, _ in t.events
    ]
    found = rows(records, "trial_event")
    assert events == [(r["trial"], r["trial_event_type"], r["trial_event_time"]) for r in found]
    durations = [duration for t in trials for _, _, duration in t.events]
    assert [row["duration"] for row in found] == pytest.approx(durations, abs=1e-9)
    available = [(n, p, left) for n, t in enumerate(trials, 1) for p, left in t.available.items()]
    assert available == [tuple(row.values()) for row in rows(records, "trial_available_reward")]
    opened = [(n, p, d) for n, t in enumerate(trials, 1) for p, d in t.open_duration.items()]
    assert opened == [tuple(row.values()) for row in rows(records, "water_port_open_duration")]
    motors = [(n, *t.motors) for n, t in enumerate(trials, 1)]
    assert motors == [tuple(row.values()) for row in rows(records, "water_port_setting")]
    check_blocks(records, sessions)
    for name, data in records.tables.items():
        if name != "experiment.session":
            parquet.conform(get(name), data, is_sorted=True)


def check_blocks(records, sessions):
    expected, starts, number = [], [], 0
    probabilities = []
    for session in sorted(sessions, key=lambda s: s.path.stem):
        before = None
        for trial in session.kept:
            now = [session.probabilities[port][trial.block - 1] for port in session.ports]
            if now != before:
                number += 1
                starts.append(number)
                probabilities += [(number, p, v) for p, v in zip(session.ports, now, strict=True)]
            before = now
            expected.append(number)
    assert [row["block"] for row in rows(records, "block_trial")] == expected
    assert [row["block"] for row in rows(records, "session_block")] == starts
    found = rows(records, "block_reward_probability")
    assert [tuple(row.values()) for row in found] == probabilities


@pytest.mark.parametrize(
    "options",
    [
        ForagingOptions(),
        ForagingOptions(ports=3, no_go=(1, 5, 30)),
        ForagingOptions(print_first=False, no_go=(3,)),
        ForagingOptions(noise_lines=True),
        ForagingOptions(quoted=False),
        ForagingOptions(trials=1, blocks=1, experiment="Bari and Cohen", setup=" tower-3"),
    ],
    ids=["plain", "three ports", "old protocol", "noise", "unquoted", "one trial"],
)
def test_a_session_reads_as_what_was_written(options, tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START, options, seed=3)
    assert foraging.find(session.path) == [session.path]
    identity = foraging.identify(session.path)
    assert (identity.h2o, identity.start) == ("HH09", START)
    records = foraging.read([session.path])
    check(records, [session])
    head = rows(records, "session")[0]
    first = session.trials[0].start
    assert head["session_datetime"] == first
    assert (head["session_date"], head["session_time"]) == (first.date(), first.time())
    assert (head["username"], head["trial_count"]) == ("Han", len(session.kept))
    task = ("foraging", 100) if options.ports == 2 else ("foraging 3lp", 101)
    assert (head["task"], head["task_protocol"]) == task
    assert head["rig"] == ("Training-Tower-3" if "3" in options.setup else "Training-Tower-2")
    missing = [s.item for s in records.skipped if s.item_type == "bpod trial"]
    assert missing == [f"{session.path.stem}:{n}" for n in options.no_go]


def test_notes_hold_bitcode_seed_and_auto_water(tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(trials=60), seed=1)
    records = foraging.read(session.path)
    notes = {
        (r["trial"], r["trial_note_type"]): r["trial_note"] for r in rows(records, "trial_note")
    }
    for number, trial in enumerate(session.trials, 1):
        assert notes[number, "bitcode"] == trial.bitcode
        assert notes.get((number, "autowater"), "") == "and ".join(trial.auto_water)
    assert notes[1, "random_seed_start"] == str(session.seed)
    assert records.info["bitcodes"][7] == session.trials[6].bitcode


def test_the_sessions_of_a_day_are_joined_in_order(tmp_path):
    second = simulate_foraging(tmp_path, "HH09", LATER, seed=5)
    first = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(no_go=(2,)), seed=4)
    other = simulate_foraging(tmp_path, "HH10", datetime(2020, 5, 4, 9, 0, 0), seed=6)
    nobody = tmp_path / "20200504-080000" / "20200504-080000.csv"
    nobody.parent.mkdir()
    nobody.write_bytes(b"")
    groups, skipped = foraging.group([second.path, other.path, first.path, nobody])
    assert groups == {
        ("HH09", START.date()): [first.path, second.path],
        ("HH10", START.date()): [other.path],
    }
    assert [item.item for item in skipped] == [nobody.name]
    check(foraging.read([second.path, first.path]), [first, second])
    with pytest.raises(errors.FileFormatError, match="another animal"):
        foraging.read([first.path, other.path])


def test_a_file_without_trials_is_left_out(tmp_path):
    first = simulate_foraging(tmp_path, "HH09", START, seed=4)
    second = simulate_foraging(tmp_path, "HH09", LATER, seed=5)
    text = second.path.read_text(encoding="utf-8")
    second.path.write_text(text[: text.index("TRIAL;")], encoding="utf-8")
    records = foraging.read([first.path, second.path])
    check(records, [first])
    assert ("file", second.path.name) in [(s.item_type, s.item) for s in records.skipped]
    with pytest.raises(errors.FileFormatError, match="no trial can be used"):
        foraging.read([second.path])


def test_a_session_that_was_started_in_vain_is_not_its_start(tmp_path):
    first = simulate_foraging(tmp_path, "HH09", START)
    second = simulate_foraging(tmp_path, "HH09", LATER, seed=5)
    lines = first.path.read_text(encoding="utf-8").split("\n")
    trial = next(i for i, line in enumerate(lines) if line.startswith("TRIAL;"))
    first.path.write_text("\n".join(lines[: trial + 3]), encoding="utf-8")
    records = foraging.read([first.path, second.path])
    check(records, [second])
    assert records.tables["experiment.session"]["session_datetime"][0].as_py() == (
        second.trials[0].start
    )
    assert ("bpod trial", f"{first.path.stem}:1") in [
        (s.item_type, s.item) for s in records.skipped
    ]


def test_whole_seconds_have_no_fraction(tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START)
    old = str(session.trials[2].start)
    whole = session.trials[2].start.replace(microsecond=0)
    text = session.path.read_text(encoding="utf-8").replace(f"TRIAL;{old}", f"TRIAL;{whole}")
    session.path.write_text(text, encoding="utf-8")
    start = rows(foraging.read(session.path), "session_trial")[2]["start_time"]
    assert start == (whole - session.trials[0].start).total_seconds()


def test_a_day_of_several_tasks_has_that_of_most_of_its_trials(tmp_path):
    first = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(trials=5))
    second = simulate_foraging(tmp_path, "HH09", LATER, ForagingOptions(trials=9, ports=3))
    records = foraging.read([first.path, second.path])
    tasks = [(row["task"], row["task_protocol"]) for row in rows(records, "behavior_trial")]
    assert tasks == [("foraging", 100)] * 5 + [("foraging 3lp", 101)] * 9
    head = rows(records, "session")[0]
    assert (head["task"], head["task_protocol"], head["trial_count"]) == ("foraging 3lp", 101, 14)


@pytest.mark.parametrize("number", ["\N{SUPERSCRIPT TWO}", "9" * 5000], ids=["superscript", "long"])
def test_a_block_number_that_is_none_leaves_the_trial_in_the_block_before(number, tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(trials=3, blocks=1))
    text = session.path.read_text(encoding="utf-8")
    head, label, tail = text.rpartition("Blocknumber:;")
    tail = tail.replace(";;;1;", f";;;{number};", 1)
    session.path.write_text(head + label + tail, encoding="utf-8")
    found = rows(foraging.read(session.path), "block_trial")
    assert [row["block"] for row in found] == [1, 1, 1]


def test_pauses_are_capped(tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(trials=2))
    at = session.trials[1].events[-1][0]
    text = session.path.read_text(encoding="utf-8")
    head, _, tail = text.rpartition(f"{at};{at + 0.5};ITIAfterVideoOff")
    session.path.write_text(f"{head}12345.6;42345.6;ITIAfterVideoOff{tail}", encoding="utf-8")
    last = rows(foraging.read(session.path), "trial_event")[-1]
    assert (last["trial_event_time"], last["duration"]) == (9999.0, 0.0)
    session.path.write_text(f"{head}{at};42345.6;ITIAfterVideoOff{tail}", encoding="utf-8")
    last = rows(foraging.read(session.path), "trial_event")[-1]
    assert (last["trial_event_time"], last["duration"]) == (at, 9999.0 - at)


def test_newer_protocols_tell_to_which_port_the_animal_went_on(tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(trials=2))
    text = session.path.read_text(encoding="utf-8").replace(";ITI;", ";Double_dipped_to_M;")
    session.path.write_text(text, encoding="utf-8")
    kinds = [row["trial_event_type"] for row in rows(foraging.read(session.path), "trial_event")]
    assert (kinds.count("doubledip"), kinds.count("trialend")) == (2, 0)


def test_a_trial_whose_go_cue_never_came_is_a_trial(tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(trials=9), seed=3)
    number = next(n for n, t in enumerate(session.trials, 1) if t.licks and not t.early and n > 1)
    trial = session.trials[number - 1]
    go, duration = next((at, long) for at, state, long in trial.events if state == "GoCue")
    text = session.path.read_text(encoding="utf-8")
    cue = f"STATE;{trial.ended};{go};{go + duration};GoCue;{duration}"
    assert text.count(cue) == 1
    text = text.replace(cue, f"STATE;{trial.ended};nan;nan;GoCue;nan")
    session.path.write_text(text, encoding="utf-8")
    records = foraging.read(session.path)
    assert [row["trial"] for row in rows(records, "session_trial")] == list(range(1, 10))
    kinds = [r["trial_event_type"] for r in rows(records, "trial_event") if r["trial"] == number]
    assert kinds == [STATE_EVENTS[state] for _, state, _ in trial.events if state != "GoCue"]
    assert rows(records, "behavior_trial")[number - 1]["early_lick"] == "early"
    assert not records.skipped


def test_the_state_in_which_bpod_starts_a_trial_is_no_event(tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(trials=3))
    text = session.path.read_text(encoding="utf-8").replace(";0.1;0.13;Start", ";0.0;0.03;Start")
    session.path.write_text(text, encoding="utf-8")
    kinds = [row["trial_event_type"] for row in rows(foraging.read(session.path), "trial_event")]
    assert (kinds.count("bitcodestart"), kinds.count("delay")) == (0, 3)


def test_a_cut_off_file_gives_its_whole_trials(tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START)
    lines = session.path.read_text(encoding="utf-8").split("\n")
    last = max(i for i, line in enumerate(lines) if line.startswith("TRIAL;"))
    session.path.write_text("\n".join([*lines[: last + 3], "EVENT;2020-05"]), encoding="utf-8")
    records = foraging.read(session.path)
    assert len(rows(records, "session_trial")) == len(session.trials) - 1
    assert {s.item_type for s in records.skipped} == {"lines", "bpod trial"}


def test_trials_last_until_the_next_one(tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START)
    rows_ = [r.split(";") for r in session.path.read_text(encoding="utf-8").splitlines()]
    moments = [datetime.fromisoformat(r[1]) for r in rows_ if r[0] == "TRIAL"]
    moments.append(datetime.fromisoformat(rows_[-1][1]))
    wanted = [(m - moments[0]).total_seconds() for m in moments]
    found = rows(foraging.read(session.path), "session_trial")
    assert [row["stop_time"] for row in found] == wanted[1:]
    ends = [datetime.fromisoformat(r[1]) for r in rows_ if r[0] == "END-TRIAL"]
    assert all(end <= stop for end, stop in zip(ends, moments[1:], strict=True))


def test_a_stray_quote_does_not_swallow_the_rows_after_it(tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START)
    stray = f"stdout;{START};;;|\nTRIAL;"
    text = session.path.read_text(encoding="utf-8").replace("TRIAL;", stray)
    session.path.write_text(text.replace(f"END-{stray}", "END-TRIAL;"), encoding="utf-8")
    check(foraging.read(session.path), [session])


def spoil(old, new):
    def apply(path):
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return apply


MARK = "maplake-was-here"
HOSTILE = f"__import__('pathlib').Path('{MARK}').touch()"
BAD = {
    "empty": (lambda p: p.write_bytes(b""), errors.CorruptFileError),
    "binary": (lambda p: p.write_bytes(bytes(100) + b"x"), errors.CorruptFileError),
    "head only": (lambda p: p.write_bytes(p.read_bytes()[:80]), errors.CorruptFileError),
    "other format": (lambda p: p.write_bytes(b"a,b\n1,2\n"), errors.FileFormatError),
    "missing": (lambda p: p.unlink(), errors.MissingFileError),
    "call": (spoil("{'lickport", f"{{'x': {HOSTILE}, 'lickport"), errors.CorruptFileError),
    "deep": (spoil("{'lickport", "{'x': " + "[" * 9000 + ", 'lickport"), errors.CorruptFileError),
    "huge power": (spoil("'lickport", "9**9**9: 1, 'lickport"), errors.CorruptFileError),
    "no dict": (spoil("{'lickport", "[], {'lickport"), errors.CorruptFileError),
    "endless probability": (
        spoil("'reward_probabilities_R': [", f"'reward_probabilities_R': [1{'0' * 400}, "),
        errors.CorruptFileError,
    ),
    "no channel": (spoil("WaterPort_L_ch_in", "WaterPort_X_ch_in"), errors.CorruptFileError),
    "no probability": (spoil("reward_probabilities_R", "x"), errors.CorruptFileError),
    "non-finite": (spoil(";0.1;0.13;Start", ";inf;0.03;Start"), errors.CorruptFileError),
    "no number": (spoil(";0.1;0.13;Start", ";x;0.03;Start"), errors.CorruptFileError),
    "no time": (spoil("TRIAL;2020-05-04", "TRIAL;2020-15-44"), errors.CorruptFileError),
}


@pytest.mark.parametrize("fault", list(BAD))
def test_bad_files_are_refused_by_name(fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = simulate_foraging(tmp_path, "HH09", START)
    damage, error = BAD[fault]
    damage(session.path)
    with pytest.raises(error) as caught:
        foraging.read([session.path])
    assert caught.value.file == str(session.path)
    assert not Path(MARK).exists()


def test_other_tasks_and_setups_are_refused(tmp_path):
    other = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(experiment="Lickometer"))
    with pytest.raises(errors.UnknownValueError, match="foraging task"):
        foraging.read([other.path])
    setup = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(setup="Tower-9"))
    with pytest.raises(errors.UnknownValueError, match="setup_rigs"):
        foraging.read([setup.path])
    context = BehaviorContext({}, setup_rigs={"TOWER-9": "Rig-9"})
    assert rows(foraging.read([setup.path], context), "session")[0]["rig"] == "Rig-9"


def test_motor_positions_that_are_no_plain_values_are_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(trials=3))
    spoil("{'LickPort_Lateral_pos': 200001", f"{{'x': {HOSTILE}, 'y': 200001")(session.path)
    records = foraging.read([session.path])
    lateral = [row["water_port_lateral_pos"] for row in rows(records, "water_port_setting")]
    assert lateral == [200_000.0, None, 200_002.0]
    assert ["no plain value" in s.reason for s in records.skipped] == [True]
    assert not Path(MARK).exists()


def test_names_from_files_stay_text(tmp_path):
    session = simulate_foraging(tmp_path, '../"; DROP TABLE x', START)
    assert foraging.identify(session.path).h2o == '../"; DROP TABLE x'


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("['HH09', 'uuid']", "HH09"),
        ('["O\'Brien"]', "O'Brien"),
        ("HH09", "HH09"),
        ("\"['HH09']\"", "HH09"),
        ("", ""),
    ],
)
def test_first_items_of_lists(text, item):
    assert pybpod_csv.first_item(text) == item


def test_quoted_fields_may_hold_newlines_separators_and_quotes(tmp_path):
    path = tmp_path / "x.csv"
    head = "TYPE;PC-TIME;BPOD-INITIAL-TIME;BPOD-FINAL-TIME;MSG;+INFO\n"
    path.write_text(
        head
        + "stdout;T;;;|a;b\nc||d|;|e;f|\n\n|\nstdout;T;;;|\n|;\nstdout;T;;; ;\nX\n".replace(
            "T", str(START)
        ),
        encoding="utf-8",
    )
    file = pybpod_csv.read_session(path)
    assert [(row.msg, row.info) for row in file.rows] == [("a;b\nc|d", "e;f")]
    assert file.strays == 1


def test_a_thousand_trials_read_in_about_a_second(tmp_path):
    options = ForagingOptions(trials=1000, extra_events=35)
    session = simulate_foraging(tmp_path, "HH09", START, options)
    with session.path.open(encoding="utf-8") as file:
        assert sum(1 for _ in file) > 100_000
    begin = time.perf_counter()
    records = foraging.read([session.path])
    assert time.perf_counter() - begin < 6  # about one second on an idle machine
    assert len(rows(records, "session_trial")) == 1000
