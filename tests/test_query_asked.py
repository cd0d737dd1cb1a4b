"""What is handed over from Python: numbers of any kind are taken, all else is an error of ours."""

import errno
from pathlib import Path

import analysis_lake
import numpy as np
import pytest

import maplake
from maplake.errors import LakeNotFoundError, LakeReadOnlyError, NotFoundError, QueryError
from maplake.query import catalog

HIT = "good_noearlylick_hit"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    analysis_lake.build(root)
    with maplake.open(root) as lake:
        yield lake


@pytest.mark.parametrize("kind", [np.int16, np.float64, str])
@pytest.mark.parametrize("ask", ["psth", "trial_counts", "raster"])
def test_numbers_of_other_kinds_name_the_same(lake, ask, kind):
    key = (101, 1, 1, 50)
    assert str(getattr(lake, ask)(*map(kind, key))) == str(getattr(lake, ask)(*key))


def test_a_fraction_of_a_session_is_no_session(lake):
    for ask in (lake.psth, lake.trial_counts, lake.raster, lake.spikes):
        with pytest.raises(QueryError, match=r"session must be a whole number; found 1\.5"):
            ask(101, 1.5, 1, 50)


@pytest.mark.parametrize("subject", ["MK001", None, [101], float("nan"), 1j])
def test_an_animal_is_a_number(lake, subject):
    asked = [
        lambda: lake.psth(subject, 1),
        lambda: lake.trial_counts(subject, 1),
        lambda: lake.raster(subject, 1, 1, 50),
        lambda: lake.spikes(subject, 1, 1),
        lambda: lake.selectivity(subject, 1),
        lambda: lake.hemisphere(subject, 1),
        lambda: lake.event_times(subject, 1, "go"),
        lambda: lake.tuning(subject, 1, 1, 50),
    ]
    for ask in asked:
        with pytest.raises(QueryError, match=r"subject_id must be a whole number"):
            ask()


@pytest.mark.parametrize(
    "option",
    [
        *({"condition": value} for value in (None, 5, [HIT, None])),
        *({"event": value} for value in (None, 5, ["go"])),
        *({"occurrence": value} for value in (None, 5)),
        *({"start": value} for value in (None, "x", [1], float("nan"))),
        *({"clustering_method": value} for value in (5, ["kilosort2"])),
    ],
)
def test_what_is_no_word_and_no_number_is_refused(lake, option):
    for ask in (lake.psth, lake.trial_counts, lake.raster):
        with pytest.raises(QueryError, match=r"must be|must end"):
            ask(101, 1, 1, 50, **option)


def test_counts_are_of_one_condition(lake):
    for ask in (lake.trial_counts, lake.raster):
        with pytest.raises(QueryError, match="condition must be text"):
            ask(101, 1, 1, 50, condition=[HIT])


@pytest.mark.parametrize("window", [5, (1,), (0, 1, 2), ("a", "b"), (1, 0), (0, np.nan), "ab"])
def test_a_window_is_two_numbers(lake, window):
    for ask in (lake.photostim_effect, lake.coding_direction):
        with pytest.raises(QueryError, match="window"):
            ask(101, 1, 1, window=window)


def test_a_window_may_be_an_array(lake):
    ours = lake.photostim_effect(101, 1, window=(-1.2, 0))
    assert lake.photostim_effect(101, 1, window=np.array([-1.2, 0])).equals(ours)


def test_a_raster_ends_after_its_start(lake):
    with pytest.raises(QueryError, match="must end after its start"):
        lake.raster(101, 1, 1, 50, start=1, stop=-1)


def test_one_period_need_not_be_a_list(lake):
    assert lake.selectivity(101, 1, periods="Delay").equals(
        lake.selectivity(101, 1, periods=["delay"])
    )


def test_who_is_not_there_has_no_side_and_no_events(lake):
    for ask in (lake.hemisphere, lake.selectivity, lake.coding_direction):
        with pytest.raises(NotFoundError, match="there is no animal 999"):
            ask(999, 1)
    with pytest.raises(NotFoundError, match="there is no session 77"):
        lake.event_times(101, 77, "go")


def test_values_of_a_query_may_be_of_numpy(lake):
    query = "SELECT count(*) AS n FROM ephys.unit WHERE subject_id = $a AND unit_snr > $b"
    ours = lake.sql(query, {"a": 101, "b": 0.5}).fetchall()
    assert lake.sql(query, {"a": np.int64(101), "b": np.float32(0.5)}).fetchall() == ours
    assert lake.sql("SELECT ?", [np.int32(3)]).fetchall() == [(3,)]


def test_what_is_no_text_is_no_query_and_no_table(lake):
    for wrong in (None, 5, ["ephys.unit"]):
        with pytest.raises(QueryError, match="must be text"):
            lake.sql(wrong)
        with pytest.raises(QueryError, match="must be text"):
            lake.table(wrong)
        with pytest.raises(LakeNotFoundError):
            maplake.open(wrong)


def test_a_table_without_its_schema_is_named_whole(lake):
    with pytest.raises(NotFoundError, match=r"Did you mean ephys\.unit or"):
        lake.table("unit")


@pytest.mark.parametrize("wrong", [{"name": None}, {"predicate": None}, {"description": 5}])
def test_a_condition_that_is_no_text_does_not_spoil_the_others(lake, wrong):
    with pytest.raises(QueryError, match="must be text"):
        lake.conditions.add(**{"name": "x", "predicate": "trial > 1"} | wrong)
    lake.conditions.add("late", "trial > 1")
    lake.conditions.remove("late")


def test_a_message_ends_once():
    said = [str(QueryError(text, hint="Ask again.")) for text in ("no file", "no file.", "none!")]
    assert said == ["no file. Ask again.", "no file. Ask again.", "none! Ask again."]


def test_a_lake_that_was_closed_opens_again(lake):
    before = lake.psth(101, 1, 1).rate
    lake.close()
    np.testing.assert_array_equal(lake.psth(101, 1, 1).rate, before)


def test_a_read_only_disk_takes_no_condition_and_no_catalog(lake, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("write_text", "unlink", "replace"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(LakeReadOnlyError, match="Read-only"):
        lake.conditions.add("late", "trial > 1")
    with pytest.raises(LakeReadOnlyError, match="Read-only"):
        catalog.build(lake.root)
