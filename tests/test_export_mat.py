"""MATLAB files of recordings, against the truth that their lake was made from."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from analysis_lake import build
from hypothesis import given
from hypothesis import strategies as st
from lakefiles import METHOD, finish, write_table
from scipy.io import loadmat

import maplake
from maplake.errors import NotFoundError, QueryError
from maplake.exports import matfile
from maplake.exports.recording import export_recording, recording_file
from maplake.exports.select import Selection, insertions, sessions

PER_TRIAL = (
    *("behavior_report", "behavior_early_report", "behavior_lick_times"),
    *("behavior_lick_directions", "behavior_is_free_water", "behavior_is_auto_water"),
    *("behavior_auto_learn", "task_trial_type"),
)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    root = tmp_path_factory.mktemp("mat") / "lake"
    made = build(root)
    with maplake.open(root) as lake:
        yield lake, made


def export(lake, folder, subject, session, insertion, **options):
    wanted = Selection([str(subject)], [session], [insertion])
    (found,) = insertions(lake, wanted)
    return loadmat(export_recording(lake, found, folder, **options))


@pytest.fixture(scope="module")
def one(truth, tmp_path_factory):
    lake, made = truth
    s, events = made[(101, 1)]
    return export(lake, tmp_path_factory.mktemp("one"), 101, 1, 1), s, events


def test_the_file_is_named_as_published(truth, tmp_path):
    (found,) = insertions(truth[0], Selection(["xx101"], [2], [1]))
    assert recording_file(tmp_path, found).name == "map-export_xx101_20240102_100000_s2_p1.mat"


@pytest.mark.parametrize("insertion", [1, 2])
def test_every_spike_is_in_its_trial_from_the_go_cue(truth, tmp_path, insertion):
    lake, made = truth
    s, _ = made[(101, 1)]
    probe = s.probes[insertion]
    units = export(lake, tmp_path, 101, 1, insertion)["neuron_single_units"]
    assert units.shape == (len(probe.spikes), 1)
    trials = s.columns["trial"]
    for cell, unit in zip(units[:, 0], sorted(probe.spikes), strict=True):
        assert cell.shape == (len(trials), 1)
        samples = probe.spikes[unit]
        owner = probe.trial_of(samples)
        for trial, found in zip(trials.tolist(), cell[:, 0], strict=True):
            mine = samples[owner == trial]
            assert found.shape[0] == 1
            assert found.size == len(mine)
            if not len(mine):  # silent, or not recorded
                continue
            go = probe.go[probe.trials == trial][0]
            if go < 0:
                assert np.isnan(found).all()
            else:
                np.testing.assert_array_equal(found[0], (mine - go) / probe.rate)


def test_trials_that_the_probe_did_not_record_are_named(truth, tmp_path):
    lake, made = truth
    info = export(lake, tmp_path, 101, 1, 2)["probe_insertion_info"][0, 0]
    probe = made[(101, 1)][0].probes[2]
    assert info["recorded_trials"].ravel().tolist() == probe.trials.tolist()
    assert len(info["trials"].ravel()) == 60


def test_every_variable_has_all_trials(one):
    found, s, _ = one
    count = len(s.columns["trial"])
    for name in PER_TRIAL:
        assert found[name].shape == (1, count), name
    assert found["task_stimulation"].shape == (count, 4)
    for name in ("task_sample_time", "task_delay_time", "task_cue_time", "trial_end_time"):
        assert found[name].shape == (2, count), name


def test_outcomes_and_instructions(one):
    found, s, _ = one
    codes = {"hit": 1, "miss": 0, "ignore": -1}
    assert found["behavior_report"][0].tolist() == [codes[o] for o in s.columns["outcome"]]
    early = [e == "early" for e in s.columns["early_lick"]]
    assert found["behavior_early_report"][0].tolist() == early
    sides = [cell[0] for cell in found["task_trial_type"][0]]
    assert sides == [side[0] for side in s.columns["trial_instruction"]]
    assert found["behavior_is_free_water"][0].tolist() == s.columns["free_water"].tolist()
    assert found["behavior_is_auto_water"][0].tolist() == s.columns["auto_water"].tolist()
    assert {cell[0] for cell in found["behavior_auto_learn"][0]} == {"n/a"}


@pytest.mark.parametrize("name", ["sample", "delay", "go"])
def test_the_last_event_of_a_trial_counts(one, name):
    found, s, events = one
    variable = found[f"task_{'cue' if name == 'go' else name}_time"]
    for place, trial in enumerate(s.columns["trial"].tolist()):
        mine = [(t, d) for n, k, t, d in events.rows if (n, k) == (trial, name)]
        assert tuple(variable[:, place]) == max(mine)


def test_an_event_that_never_happens_is_nan_in_every_trial(one):
    assert np.isnan(one[0]["trial_end_time"]).all()


def test_licks(one):
    found, s, events = one
    for place, trial in enumerate(s.columns["trial"].tolist()):
        mine = [(t, k) for n, k, t in events.licks if n == trial]
        times, sides = (
            found[f"behavior_lick_{word}"][0, place].ravel() for word in ("times", "directions")
        )
        assert times.tolist() == [t for t, _ in mine]
        assert sides.tolist() == [k == "right lick" for _, k in mine]


def test_stimulation(truth, tmp_path):
    lake, made = truth
    s, _ = made[(101, 1)]
    found = export(lake, tmp_path, 101, 1, 1)["task_stimulation"]
    codes = {"left alm": 1, "right alm": 2, "both alm": 6}
    for row, trial in zip(found, s.columns["trial"].tolist(), strict=True):
        if trial in s.stim:
            assert row[1] == codes[s.stim[trial]]
            assert row[2] == 1.7
        else:
            np.testing.assert_array_equal(row, [0, np.nan, np.nan, np.nan])


def test_units_are_described(one):
    found, s, _ = one
    units = sorted(s.probes[1].spikes)
    info = found["neuron_unit_info"]
    assert info.shape == (len(units), 8)
    assert [cell.item() for cell in info[:, 0]] == units
    assert [cell.item() for cell in info[:, 1]] == [s.probes[1].quality[u] for u in units]
    quality = found["neuron_unit_quality_control"][0, 0]
    assert quality["unit_amp"].shape == (len(units), 1)
    assert found["probe_insertion_info"][0, 0]["clustering_method"].item() == METHOD
    for name in ("tracking", "histology"):
        assert found[name].shape == (0, 0)


def test_without_location_and_with_other_labels(truth, tmp_path):
    found = export(truth[0], tmp_path, 101, 2, 1)  # not in the sheet of locations
    info = found["probe_insertion_info"][0, 0]
    assert np.isnan(info["depth"].item())
    assert np.isnan([cell.item() for cell in found["neuron_unit_info"][:, 3]]).all()


class TestOddSessions:
    @pytest.fixture
    def lake(self, tmp_path):
        root = tmp_path / "lake"
        build(root)
        key = {"subject_id": 101, "session": 1}
        write_table(  # a 61st trial with light but no behavior, and a place that is not ALM
            root,
            "experiment.session_trial",
            key,
            trial=list(range(1, 62)),
            start_time=np.arange(61) * 9.0,
            stop_time=np.arange(61) * 9.0 + 5,
        )
        write_table(root, "experiment.photostim_trial", key, trial=[61])
        write_table(
            root,
            "experiment.photostim_event",
            key,
            trial=[61],
            photo_stim=[4],
            photostim_event_time=[1.0],
            power=[2.5],
        )
        write_table(
            root,
            "experiment.photostim",
            key,
            photo_stim=[4],
            photostim_device=["OBIS470"],
            duration=[0.5],
        )
        write_table(
            root,
            "experiment.photostim_location",
            key,
            photo_stim=[4],
            ml_location=[0.0],
            brain_area=["Medulla"],
            skull_reference=["Bregma"],
        )
        write_table(root, "experiment.action_event", key, trial=[], action_event_type=[])
        write_table(
            root,
            "lab.water_restriction",
            {},
            subject_id=[101, 102],
            water_restriction_number=["../a/b", "xx102"],
        )
        finish(root)
        with maplake.open(root) as lake:
            yield lake

    def test_passive_trials_no_licks_other_places_and_hostile_names(self, lake, tmp_path):
        out = tmp_path / "out"
        found = export(lake, out, 101, 1, 1)
        for name in PER_TRIAL:
            assert found[name].shape == (1, 61), name
        assert np.isnan(found["behavior_report"][0, 60])
        assert found["task_trial_type"][0, 60].item() == "n"
        assert found["task_stimulation"][60].tolist() == [2.5, -4, 1.0, 1.5]
        assert all(cell.size == 0 for cell in found["behavior_lick_times"][0])
        (file,) = out.iterdir()
        assert file.name == "map-export_%2E%2E%2Fa%2Fb_20240101_100000_s1_p1.mat"

    def test_the_same_in_nwb(self, lake, tmp_path):
        pynwb = pytest.importorskip("pynwb", reason="needs pynwb: pip install 'maplake[nwb]'")
        from maplake.exports.nwb import export_nwb

        path = export_nwb(lake, sessions(lake, Selection(["101"], [1]))[0], tmp_path / "nwb")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pynwb.NWBHDF5IO(str(path), mode="r") as io:
                trials = io.read().trials.to_dataframe()
        assert trials["outcome"].iloc[60] == "N/A"
        assert np.isnan(trials["free_water"].iloc[60])
        assert trials["photostim_power"].iloc[60] == 2.5
        assert len(trials) == 61


def test_a_probe_without_units(tmp_path):
    root = tmp_path / "lake"
    build(root)
    for name in ("unit", "spike"):
        for file in root.glob(f"tables/ephys/{name}/subject_id=101/session=1/insertion_number=1/*"):
            file.unlink()
    finish(root)
    with maplake.open(root) as lake:
        found = export(lake, tmp_path, 101, 1, 1)
    assert found["neuron_single_units"].shape == (0, 1)
    assert found["neuron_unit_info"].shape == (0, 8)
    assert found["behavior_report"].shape == (1, 60)


class TestPlaces:
    def test_nothing_is_overwritten_unasked(self, truth, tmp_path):
        export(truth[0], tmp_path, 102, 1, 1)
        with pytest.raises(QueryError, match="--force"):
            export(truth[0], tmp_path, 102, 1, 1)
        export(truth[0], tmp_path, 102, 1, 1, force=True)

    def test_a_failure_leaves_nothing(self, truth, tmp_path, monkeypatch):
        monkeypatch.setattr(matfile, "LIMIT", 1000)
        with pytest.raises(QueryError, match="too large") as caught:
            export(truth[0], tmp_path, 102, 1, 1)
        assert "--no-tracking" in str(caught.value)
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_cannot_be_made(self, truth, tmp_path):
        (tmp_path / "file").write_text("", encoding="utf-8")
        with pytest.raises(QueryError, match="cannot be written"):
            export(truth[0], tmp_path / "file", 102, 1, 1)


class TestSelection:
    @pytest.mark.parametrize(
        ("wanted", "said"),
        [
            (Selection(["nobody"]), "Animals with sessions are xx101"),
            (Selection(["101"], [9]), "There are xx101 session 1, xx101 session 2"),
            (Selection(["101"], [1], [7]), "There are xx101 session 1 insertion 1"),
            (Selection(where="task = 'none'"), "There are xx101 session 1"),
        ],
    )
    def test_what_does_not_exist_lists_what_there_is(self, truth, wanted, said):
        with pytest.raises(NotFoundError) as caught:
            insertions(truth[0], wanted)
        assert said in str(caught.value)

    def test_where(self, truth):
        found = sessions(truth[0], Selection(where="subject_id = 101 AND session > 1 -- a remark"))
        assert [(s.subject_id, s.session) for s in found] == [(101, 2)]

    @pytest.mark.parametrize("text", ["1); DROP VIEW x; SELECT (1", "subject_id =", "nothing = 1"])
    def test_what_is_no_predicate(self, truth, text):
        with pytest.raises(QueryError):
            sessions(truth[0], Selection(where=text))

    def test_several_clusterings_want_a_name(self, truth, tmp_path):
        with pytest.raises(NotFoundError, match="no clustering 'other'"):
            export(truth[0], tmp_path, 102, 1, 1, clustering_method="other")


@given(st.lists(st.text(max_size=80), max_size=20))
def test_any_words_become_fields(words):
    names = matfile.field_names(words)
    assert len(set(names)) == len(words)
    assert all(name.isascii() and name.isidentifier() and len(name) <= 63 for name in names)
    assert all(name[0].isalpha() for name in names)
