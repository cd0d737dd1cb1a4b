"""MATLAB files of version 5 and 7.3 come in one form."""

from __future__ import annotations

import os
from pathlib import Path

import matfiles
import numpy as np
import pytest
from matfiles import write_v5, write_v73
from scipy.io import loadmat, savemat

from maplake.errors import (
    CorruptFileError,
)
from maplake.readers import matlab


@pytest.fixture(params=[write_v5, write_v73], ids=["v5", "v7.3"])
def write(request):
    return request.param


VALUES = {
    "number": 3.5,
    "row": np.array([[1.0, 2.0, 3.0]]),
    "matrix": np.arange(6.0).reshape(2, 3),
    "small": np.array([[1, 2]], dtype=np.uint8),
    "flag": np.array([[True, False]]),
    "none": np.empty((0, 0)),
    "text": "0010 å",
    "cell": ["a", np.array([[1.0]]), ["nested"]],
    "one": ["a"],
    "nothing": [],
    "struct": {"x": "y", "deep": {"z": np.array([[1.0]])}},
    "array": matfiles.StructArray([{"x": "1"}, {"x": "2"}]),
}


def same(left, right):
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and (left == right).all()
    return type(left) is type(right) and left == right


def test_both_versions_read_identically(tmp_path):
    old = matlab.load(write_v5(tmp_path / "old.mat", {"v": VALUES}))
    new = matlab.load(write_v73(tmp_path / "new.mat", {"v": VALUES}))
    assert same(old, new)
    assert old["v"]["matrix"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert old["v"]["array"] == [{"x": "1"}, {"x": "2"}]
    assert old["v"]["cell"][2] == ["nested"]
    assert old["v"]["text"] == "0010 å"


def test_compression_changes_nothing(tmp_path):
    plain_file = matlab.load(write_v5(tmp_path / "v.mat", {"v": VALUES}))
    savemat(tmp_path / "v.mat", {"v": matfiles._to_v5(VALUES)}, do_compression=True)
    assert same(matlab.load(tmp_path / "v.mat"), plain_file)


def test_real_files_read_as_scipy_reads_them():
    root = os.environ.get("MAPLAKE_TEST_DATA")
    if not root:
        pytest.skip("MAPLAKE_TEST_DATA is not set: no real files")
    path = Path(root) / "real/bpod_mat/w2t-bkin/session_file01.mat"
    ours = matlab.load(path)["SessionData"]
    theirs = loadmat(path, mat_dtype=True)["SessionData"][0, 0]
    assert list(ours) == list(theirs.dtype.names)
    assert same(ours["TrialStartTimestamp"], theirs["TrialStartTimestamp"])
    states = theirs["RawEvents"][0, 0]["Trial"].ravel(order="F")[1]["States"][0, 0]
    for name in states.dtype.names:
        found = ours["RawEvents"]["Trial"][1]["States"][name]
        np.testing.assert_array_equal(found, states[0, 0][name])


def test_cell_that_claims_more_than_it_holds(tmp_path):
    path = write_v5(tmp_path / "v.mat", {"v": ["a", "b"]})
    content = bytearray(path.read_bytes())
    at = content.index(np.array([1, 2], "<i4").tobytes())
    content[at : at + 8] = np.array([2**15, 2**15], "<i4").tobytes()
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="claims 1073741824 items"):
        matlab.load(path)


def test_only_named_fields_are_read(tmp_path, write):
    path = write(tmp_path / "v.mat", {"v": VALUES, "w": 1.0})
    assert matlab.load(path, only={"v", "struct", "x"}) == {"v": {"struct": {"x": "y"}}}


def test_links_out_of_the_file_and_circles_are_not_followed(tmp_path):
    import h5py

    path = write_v73(tmp_path / "v.mat", {"v": {"a": 1.0}})
    with h5py.File(path, "r+") as file:
        file["v"]["out"] = h5py.ExternalLink("/etc/other.mat", "/x")
    assert list(matlab.load(path)["v"]) == ["a"]
    with h5py.File(path, "r+") as file:
        file["v"]["again"] = file["v"]
    with pytest.raises(CorruptFileError, match="refers to itself"):
        matlab.load(path)
