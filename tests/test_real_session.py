"""A real session through the command line: behavior, bitcodes, probe metadata, a phy folder."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from labs import sql
from scipy.io import loadmat, savemat
from typer.testing import CliRunner

from maplake.ingest.align import BehaviorTrials, match_trials
from maplake.readers import bitcode

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
main = __import__(f"{PACKAGE}.main", fromlist=["app"])

DATA = os.environ.get("MAPLAKE_TEST_DATA")
REAL = Path(DATA or "") / "real"
BEHAVIOR = REAL / "bpod_mat/map-ephys/dl25_tw2_20180225_102508.mat"
CODES = REAL / "bitcode_mat/map-ephys/dl25_bitcode.mat"
PHY = REAL / "kilosort_phy/phy_example_0"
META = REAL / "spikeglx_meta/ibl-neuropixel/sample3A_g0_t0.imec.ap.meta"

pytestmark = pytest.mark.skipif(DATA is None, reason="MAPLAKE_TEST_DATA is not set: no real files")
SETTINGS = """
[lake]
root = "lake"

[behavior]
rigs = [{ name = "RRig", path = "behavior" }]
min_file_kib = 0

[ephys]
paths = ["ephys"]

[spreadsheets]
animals = ["animals.csv"]
"""
ANIMALS = """\
subject_id,water_restriction_number,username,cage_number,date_of_birth,sex,animal_source,wr_start_date,wr_start_weight
435884,dl25,daveliu,148861,2017-08-08,M,Jackson labs,2018-01-10,21.4
"""


def make(folder: Path) -> Path:
    """Lay out a lab with the real session; return the folder of its probe."""
    probe = folder / "ephys" / "dl25" / "20180225" / "1"
    probe.mkdir(parents=True)
    (folder / "behavior").mkdir()
    shutil.copy(BEHAVIOR, folder / "behavior")
    (folder / "animals.csv").write_text(ANIMALS, encoding="utf-8")
    (folder / "lake.toml").write_text(SETTINGS, encoding="utf-8")
    return probe


def run(folder: Path, *args: str):
    return CliRunner().invoke(
        main.app, ["--config", str(folder / "lake.toml"), *args], prog_name="maplake"
    )


@pytest.fixture(scope="module")
def raw():
    """The session as scipy reads it."""
    return loadmat(BEHAVIOR, struct_as_record=False, squeeze_me=True)["SessionData"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory, raw):
    """The real session with the real phy folder and probe, and trial times made up for it."""
    folder = tmp_path_factory.mktemp("real")
    probe = make(folder)
    shutil.copytree(PHY, probe / "ks2")
    shutil.copy(META, probe / "dl25_20180225_g0_t0.imec.ap.meta")
    codes = np.array([s.GUI.randomID for s in raw.TrialSettings], dtype=object)
    # The phy folder holds ten seconds of another recording: eleven short trials fit into it.
    starts = np.arange(11) * 28_000 + 2_000
    savemat(
        probe / "dl25_20180225_bitcode.mat",
        {"bitCodeS": codes, "sTrig": starts.astype(float), "goCue": starts + 9_000.0},
    )
    done = run(folder, "ingest")
    assert done.exit_code == 0, done.output
    check = run(folder, "check", "--deep")
    assert check.exit_code == 0, check.output
    return SimpleNamespace(folder=folder, root=folder / "lake", starts=starts, ingest=done)


def test_eleven_trials_with_their_codes(lab, raw):
    found = sql(lab.root, "FROM experiment.behavior_trial ORDER BY trial")
    assert found["trial"].to_list() == list(range(1, 12))
    notes = sql(
        lab.root,
        "SELECT trial_note FROM experiment.trial_note WHERE trial_note_type = 'bitcode' "
        "ORDER BY trial",
    )["trial_note"].to_list()
    assert notes == [str(s.GUI.randomID) for s in raw.TrialSettings]
    assert any(note.startswith("0") for note in notes)


def test_instructions_and_outcomes(lab, raw):
    found = sql(lab.root, "FROM experiment.behavior_trial ORDER BY trial")
    for row, kind, settings, states in zip(
        found.iter_rows(named=True),
        raw.TrialTypes,
        raw.TrialSettings,
        (t.States for t in raw.RawEvents.Trial),
        strict=True,
    ):
        one = settings.GUI.Reversal == 1
        assert row["trial_instruction"] == ("left" if bool(kind) == one else "right")
        reward, timeout = (
            not np.isnan(np.ravel(getattr(states, name))[0]) for name in ("Reward", "TimeOut")
        )
        assert row["outcome"] == ("hit" if reward else "miss" if timeout else "ignore")
        assert row["task"] == "audio delay"
    assert len(set(found["outcome"])) > 1


def test_events_and_licks(lab, raw):
    names = {
        "PreSamplePeriod": "presample",
        "SamplePeriod": "sample",
        "DelayPeriod": "delay",
        "ResponseCue": "go",
        "TrialEnd": "trialend",
    }
    for number, trial in enumerate(raw.RawEvents.Trial, start=1):
        expected = sorted(
            (float(start), kind)
            for state, kind in names.items()
            for start in np.atleast_2d(getattr(trial.States, state))[:, 0]
        )
        found = sql(
            lab.root,
            "SELECT trial_event_time, trial_event_type FROM experiment.trial_event "
            f"WHERE trial = {number} ORDER BY ALL",
        ).rows()
        assert [kind for _, kind in found] == [kind for _, kind in expected]
        np.testing.assert_allclose([t for t, _ in found], [t for t, _ in expected], atol=1e-6)
    codes = np.concatenate([np.ravel(e) for e in raw.RawData.OriginalEventData])
    licks = sql(lab.root, "SELECT action_event_type FROM experiment.action_event")
    for code, name in ((69, "left lick"), (71, "right lick")):
        assert (licks["action_event_type"] == name).sum() == (codes == code).sum()


def test_the_phy_folder_is_cut_into_the_trials(lab):
    samples = np.load(PHY / "spike_times.npy").ravel()
    clusters = np.load(PHY / "spike_clusters.npy").ravel()
    found = sql(lab.root, "SELECT unit, spike_sample, trial FROM ephys.spike ORDER BY ALL")
    kept = np.isin(clusters, found["unit"].unique().to_numpy())
    order = np.lexsort((samples, clusters))
    order = order[kept[order]]
    assert len(order) == len(found) > 0
    assert found["spike_sample"].to_list() == samples[order].tolist()
    trial = np.searchsorted(lab.starts, samples[order], side="right")
    assert found["trial"].fill_null(0).to_list() == trial.tolist()


def test_the_probe_is_that_of_the_metadata(lab):
    found = sql(lab.root, "SELECT probe, probe_type FROM ephys.probe_insertion").rows()
    meta = dict(
        line.split("=", 1) for line in META.read_text(encoding="utf-8").splitlines() if "=" in line
    )
    assert found == [(meta["imProbeSN"], "neuropixels 1.0 - 3A")]


def test_a_second_ingest_has_nothing_to_do(lab):
    done = run(lab.folder, "ingest")
    assert done.exit_code == 0
    assert "nothing to do" in done.stdout


def test_the_real_bitcode_file_aligns_by_code(raw):
    codes = bitcode.read(CODES, 30_000.0).info["codes"]
    behavior = BehaviorTrials(
        trial=np.arange(1, 12),
        code=[str(s.GUI.randomID) for s in raw.TrialSettings],
        free_water=np.zeros(11, bool),
        total=11,
    )
    assert match_trials(codes, behavior).tolist() == list(range(1, 11))


def test_codes_without_times_are_refused_with_the_reason(tmp_path):
    """The published bitcode file of this session tells which trials were recorded, not when."""
    probe = make(tmp_path)
    shutil.copytree(PHY, probe / "ks2")
    shutil.copy(META, probe / "dl25_20180225_g0_t0.imec.ap.meta")
    shutil.copy(CODES, probe)
    done = run(tmp_path, "ingest")
    assert done.exit_code == 4
    assert "dl25_bitcode.mat" in done.stdout
    assert "sTrig" in done.stdout
    assert sql(tmp_path / "lake", "FROM experiment.session").is_empty()
