"""Bitcode files: starts, go cues and codes of ephys trials, in every way they are written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from matfiles import write_v5, write_v73
from scipy.io import loadmat, savemat

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MissingFileError,
    UnreadableFileError,
)
from maplake.readers import bitcode, delay_response
from maplake.readers.base import BehaviorContext

RATE = 30_000.0
NAME = "SC022_030319_Imec3_bitcode.mat"
CODES = ["0001", "0110", "1011"]
STARTS = [10_000.0, 400_000.0, 900_000.0]
CUES = [80_000.0, 470_000.0, 970_000.0]
GOOD = {"sTrig": np.array(STARTS), "goCue": np.array(CUES), "bitCodeS": np.array(CODES)}


@pytest.fixture(params=[write_v5, write_v73], ids=["v5", "v7.3"])
def ingest(request, tmp_path):
    def run(**changes):
        content = {k: v for k, v in (GOOD | changes).items() if v is not None}
        return bitcode.read(request.param(tmp_path / NAME, content), RATE)

    return run


def arrays(records):
    return records.arrays["start_sample"].tolist(), records.arrays["go_sample"].tolist()


def test_samples_codes_and_no_correction(ingest):
    records = ingest()
    assert arrays(records) == (STARTS, CUES)
    assert {a.dtype for a in records.arrays.values()} == {np.dtype("int64")}
    assert records.info == {"codes": CODES, "trial_numbers": None, "codes_only": False}


@pytest.mark.parametrize(
    "codes",
    [np.array(CODES), np.array([c + "  " for c in CODES]), CODES, [[c] for c in CODES],
     np.array([[float(bit) for bit in code] for code in CODES])],
    ids=["char matrix", "padded", "cell", "cell of cells", "matrix of bits"],
)  # fmt: skip
def test_codes_keep_leading_zeros_however_they_are_written(ingest, codes):
    assert ingest(bitCodeS=codes).info["codes"] == CODES


def test_codes_that_are_numbers_become_their_digits(ingest):
    assert ingest(bitCodeS=np.array([101.0, 110.0, 1011.0])).info["codes"] == ["101", "110", "1011"]


@pytest.mark.parametrize("code", ["0110", ["0110"], np.array([0.0, 1.0, 1.0, 0.0])])
def test_one_trial(ingest, code):
    records = ingest(bitCodeS=code, sTrig=5000.0, goCue=70_000.0)
    assert records.info["codes"] == ["0110"]
    assert arrays(records) == ([5000], [70_000])


def test_seconds_become_samples(ingest):
    starts, cues = [0.33333, 13.0, 30.0], [2.66667, 15.5, 32.25]
    records = ingest(sTrig=np.array(starts), goCue=np.array(cues))
    assert arrays(records) == ([10_000, 390_000, 900_000], [80_000, 465_000, 967_500])


@pytest.mark.parametrize("whole", ["sTrig", "goCue"])
def test_whole_seconds_beside_fractions_are_seconds(ingest, whole):
    times = {"sTrig": [1.0, 13.0, 30.0], "goCue": [3.0, 15.0, 32.0]}
    other = "goCue" if whole == "sTrig" else "sTrig"
    times[other] = [value + 0.25 for value in times[other]]
    records = ingest(**{name: np.array(value) for name, value in times.items()})
    starts, cues = arrays(records)
    assert starts == [round(value * RATE) for value in times["sTrig"]]
    assert cues == [round(value * RATE) for value in times["goCue"]]


def test_samples_beside_seconds_stay_samples(ingest):
    records = ingest(goCue=np.array([2.66667, 15.5, 32.25]))
    assert arrays(records) == (STARTS, [80_000, 465_000, 967_500])


def test_free_water_trials_have_no_go_cue(ingest):
    assert arrays(ingest(goCue=np.array(CUES[1:])))[1] == CUES[1:]
    assert arrays(ingest(goCue=np.array([np.nan, *CUES[1:]])))[1] == [-1, *CUES[1:]]
    assert arrays(ingest(goCue=None))[1] == []


@pytest.mark.parametrize("numbers", [[3, 4, 6], [[3], [4], [6]]])
def test_corrected_trial_numbers(ingest, numbers):
    assert ingest(trialNum=np.array(numbers)).info["trial_numbers"] == [3, 4, 6]


def test_early_files_hold_codes_only(ingest):
    records = ingest(sTrig=None, goCue=None)
    assert arrays(records) == ([], [])
    assert records.info["codes_only"]
    assert records.info["codes"] == CODES


def test_foraging_events(ingest):
    nan = np.nan
    records = ingest(
        headings=["bitcodestart", "go", "choice"],
        digMarkerPerTrial=np.array([[1.0, 2.0, nan], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]),
        lickLPerTrial=[np.array([1.5]), np.empty((0, 0)), np.array([6.5, 6.6])],
        cameraPerTrial=[[np.array([1.0, 1.1])] * 3, [np.array([1.2])] * 3],
        chan={"cameraNameInDJ": ["Camera 3", "Camera 4"]},
    )
    found = records.info["foraging"]
    assert found["headings"] == ["bitcodestart", "go", "choice"]
    assert found["digMarkerPerTrial"][1].tolist() == [3.0, 4.0, 5.0]
    assert [part.tolist() for part in found["lickLPerTrial"]] == [[1.5], [], [6.5, 6.6]]
    assert list(found["cameraPerTrial"]) == ["Camera 3", "Camera 4"]
    assert found["cameraPerTrial"]["Camera 3"][2].tolist() == [1.0, 1.1]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"bitCodeS": CODES[:2]}, LengthMismatchError, "bitCodeS 2, sTrig 3"),
        ({"sTrig": np.empty((0, 0))}, LengthMismatchError, "bitCodeS 3, sTrig 0"),
        ({"goCue": np.arange(4.0)}, LengthMismatchError, "goCue 4, sTrig 3"),
        ({"trialNum": np.array([1.5, 2, 3])}, CorruptFileError, "trialNum"),
        ({"trialNum": np.array([1.0, 2, 1e300])}, CorruptFileError, "trialNum"),
        ({"digMarkerPerTrial": np.ones((3, 2))}, FileFormatError, "headings"),
        ({"sTrig": np.array([1.0, np.nan, 9.0])}, CorruptFileError, "sTrig, trial 2"),
        ({"sTrig": np.array([1.0, 9.0, 5.0])}, CorruptFileError, "sTrig, trial 3"),
        ({"goCue": np.array([1.0, 1e300, 2.0])}, CorruptFileError, "goCue"),
        ({"bitCodeS": ["01", "x1", "11"]}, CorruptFileError, "bitCodeS, trial 2"),
        ({"bitCodeS": ["01", "", "11"]}, CorruptFileError, "bitCodeS, trial 2"),
        ({"bitCodeS": []}, CorruptFileError, "no codes"),
        ({"bitCodeS": np.array([0.5, 1, 1])}, FileFormatError, "bitCodeS"),
        ({"bitCodeS": {"a": 1.0}}, FileFormatError, "bitCodeS"),
        ({"bitCodeS": None}, FileFormatError, "no bitCodeS"),
        ({"sTrig": "text"}, FileFormatError, "sTrig"),
    ],
)
def test_faults_are_named(ingest, changes, error, message):
    with pytest.raises(error, match=message) as caught:
        ingest(**changes)
    assert caught.value.file.endswith(NAME)


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"no MATLAB file " * 20])
def test_no_matlab_file(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises((CorruptFileError, FileFormatError)):
        bitcode.read(tmp_path / NAME, RATE)


def test_compressed_file_cut_short(tmp_path):
    savemat(tmp_path / NAME, GOOD, do_compression=True)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[:-20])
    with pytest.raises(CorruptFileError, match="truncated or damaged"):
        bitcode.read(tmp_path / NAME, RATE)


def test_missing_file_folder_in_its_place_and_refusal(tmp_path, monkeypatch):
    with pytest.raises(MissingFileError):
        bitcode.read(tmp_path / NAME, RATE)
    with pytest.raises(FileFormatError, match="folder"):
        bitcode.read(tmp_path, RATE)

    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    # As root every folder can be listed, so the refusal is put in by hand.
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UnreadableFileError, match="Permission denied"):
        bitcode.find(tmp_path)


def test_finds_bitcode_files_directly_in_the_folder(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "folder_bitcode.mat").mkdir()
    names = ["b_bitcode.mat", "a_g0_bitcode.mat", "x_bitcode.txt", "._b_bitcode.mat", "x.mat"]
    for name in [*names, "below/c_bitcode.mat"]:
        (tmp_path / name).touch()
    found = [tmp_path / "a_g0_bitcode.mat", tmp_path / "b_bitcode.mat"]
    assert bitcode.find(tmp_path) == found
    assert bitcode.find(found[0]) == found[:1]
    assert bitcode.find(tmp_path / "x.mat") == []


def test_real_file_agrees_with_the_behavior():
    root = os.environ.get("MAPLAKE_TEST_DATA")
    if not root:
        pytest.skip("MAPLAKE_TEST_DATA is not set: no real files")
    real = Path(root) / "real"
    path = real / "bitcode_mat/map-ephys/dl25_bitcode.mat"
    records = bitcode.read(path, RATE)
    bits = loadmat(path)["bitcode"]
    assert records.info["codes"] == ["".join(map(str, row)) for row in bits]
    assert records.info["codes_only"]
    behavior = real / "bpod_mat/map-ephys/dl25_tw2_20180225_102508.mat"
    session = delay_response.read(behavior, BehaviorContext(photostim={}))
    assert records.info["codes"] == [session.info["bitcodes"][trial] for trial in range(1, 11)]
