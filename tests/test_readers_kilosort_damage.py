"""Kilosort folders that are wrong: each gets the right error, none runs anything."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ks_folders import (
    SAMPLES,
    Folder,
)

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MaplakeError,
    MissingFileError,
    UnknownValueError,
)
from maplake.readers import npy


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "ks2")


# ---- wrong folders


class Trap:
    def __reduce__(self):
        return (os.mkdir, ("trapped",))


BAD = [
    ({"spike_times": None}, MissingFileError, "spike_times.npy"),
    ({"spike_clusters": None, "spike_templates": None}, MissingFileError, "spike_clusters.npy"),
    ({"templates": None}, MissingFileError, "templates.npy"),
    ({"amplitudes": None}, MissingFileError, "amplitudes.npy"),
    ({"channel_map": None}, MissingFileError, "channel_map.npy"),
    ({"channel_positions": None}, MissingFileError, "channel_positions.npy"),
    ({"whitening_mat_inv": None}, MissingFileError, "whitening_mat_inv.npy"),
    ({"spike_clusters": np.zeros(399, int)}, LengthMismatchError, "399"),
    ({"spike_templates": np.zeros(401, int)}, LengthMismatchError, "spike_templates.npy"),
    ({"amplitudes": np.zeros(5)}, LengthMismatchError, "amplitudes.npy"),
    ({"pc_features": np.zeros((399, 3, 4), np.float32)}, LengthMismatchError, "pc_features.npy"),
    ({"pc_features": np.zeros((400, 12), np.float32)}, FileFormatError, "pc_features.npy"),
    ({"pc_features": np.zeros((400, 3, 5))}, LengthMismatchError, "pc_features.npy"),
    ({"pc_features": np.full((400, 3, 4), np.nan)}, CorruptFileError, "spike 0"),
    ({"pc_feature_ind": np.zeros((4, 4), int)}, LengthMismatchError, "pc_feature_ind.npy"),
    ({"pc_feature_ind": np.full((5, 4), 99)}, CorruptFileError, "pc_feature_ind.npy"),
    ({"spike_times": np.array([])}, CorruptFileError, "no spikes"),
    ({"spike_times": -30001 * (np.arange(400) == 1)}, CorruptFileError, "spike 1"),
    ({"spike_times": -1 - np.arange(400)}, CorruptFileError, "spike 0"),
    ({"spike_times": np.full(400, np.nan)}, CorruptFileError, "spike 0"),
    ({"spike_times": np.full(400, np.inf)}, CorruptFileError, "spike 0"),
    ({"spike_times": np.full(400, 2**63, np.uint64)}, CorruptFileError, "spike 0"),
    ({"spike_times": np.append(np.full(399, 1e307), 0.5)}, CorruptFileError, "spike 0"),
    ({"spike_times": np.full(400, -1, np.float16)}, CorruptFileError, "spike 0"),
    ({"spike_times": np.zeros((20, 20))}, FileFormatError, "no vector"),
    ({"spike_times": np.full(400, "a")}, FileFormatError, "spike_times.npy"),
    ({"spike_clusters": np.full(400, -1)}, CorruptFileError, "element 0"),
    ({"spike_clusters": np.full(400, 0.5)}, CorruptFileError, "element 0"),
    ({"spike_clusters": np.full(400, 2**40)}, UnknownValueError, "too large"),
    ({"spike_clusters": np.full(400, 0.5, np.float16)}, CorruptFileError, "element 0"),
    ({"spike_templates": np.full(400, 5)}, LengthMismatchError, "less than 5"),
    ({"amplitudes": np.full(400, np.inf)}, CorruptFileError, "amplitudes.npy"),
    ({"templates": np.zeros((5, SAMPLES, 7))}, LengthMismatchError, "templates.npy"),
    ({"templates": np.full((5, SAMPLES, 6), np.nan)}, CorruptFileError, "template 0"),
    ({"templates": np.zeros((5, 6))}, FileFormatError, "templates.npy"),
    ({"templates": np.zeros((5, 0, 6))}, CorruptFileError, "no templates"),
    ({"templates": np.full((5, SAMPLES, 6), 1e38)}, CorruptFileError, "too large"),
    ({"template_ind": np.zeros((5, 3), int)}, LengthMismatchError, "template_ind.npy"),
    (
        {"templates": np.ones((5, SAMPLES, 4)), "templates_ind": np.zeros((5, 3), int)},
        LengthMismatchError,
        "templates_ind.npy",
    ),
    ({"templates_ind": np.full((5, 6), np.nan)}, CorruptFileError, "templates_ind.npy"),
    ({"channel_map": np.arange(3)}, LengthMismatchError, "channel_positions.npy"),
    ({"channel_map": np.arange(6) + 3}, UnknownValueError, "channel_map.npy"),
    ({"channel_positions": np.full((6, 2), np.nan)}, CorruptFileError, "channel_positions"),
    ({"whitening_mat_inv": np.eye(5)}, LengthMismatchError, "whitening_mat_inv.npy"),
    ({"whitening_mat_inv": np.full((6, 6), np.inf)}, CorruptFileError, "whitening_mat_inv"),
    ({"whitening_mat_inv": None, "whitening_mat": np.zeros((6, 6))}, CorruptFileError, "inverted"),
]


@pytest.mark.parametrize(("changes", "kind", "text"), BAD, ids=[f"{list(c[0])}" for c in BAD])
def test_bad_arrays(folder, changes, kind, text):
    with pytest.raises(kind) as caught:
        folder.write(**changes).read()
    assert str(folder.path) in caught.value.file
    assert text in str(caught.value)


def test_own_times_of_another_number_of_spikes(folder):
    seconds = (folder.arrays["spike_times"].astype(float) + 0.5) / 30000
    np.save(folder.write().path / "spike_times_sec_adj.npy", seconds)
    np.save(folder.path / "spike_times.npy", folder.arrays["spike_times"][1:])
    with pytest.raises(LengthMismatchError, match=r"spike_times\.npy"):
        folder.read()


def test_a_template_with_spikes_must_be_finite(folder):
    templates = folder.arrays["templates"].copy()
    templates[3, 4, 5] = np.nan
    with pytest.raises(CorruptFileError, match=r"templates\.npy, template 3"):
        folder.write(templates=templates).read()


@pytest.mark.parametrize("name", ["spike_times", "templates", "pc_features", "channel_map"])
def test_pickles_are_never_loaded(folder, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder.write()
    path = folder.path / f"{name}.npy"
    np.save(path, np.array([Trap()] * 400, dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match="pickled"):
        folder.read()
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FileFormatError, match=f"{name}.npy"):
        folder.read()
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", CorruptFileError),
        (b"\x93NUMPY", FileFormatError),
        (b"\x93NUMPY\x01\x00\x04\x00((((", CorruptFileError),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", CorruptFileError),
        (b"\x93NUMPY\x01\x00\xff\xff{'descr'", CorruptFileError),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8'}", CorruptFileError),
        (b"\x93NUMPY\x09\x00\x10\x00{'descr': '<f8'}", FileFormatError),
        (b"PK\x03\x04 a zip", FileFormatError),
        (b"cluster_id\tgroup\n", FileFormatError),
    ],
)
def test_files_that_are_no_arrays(folder, content, kind):
    folder.write()
    for name in ("spike_times", "pc_features", "templates"):
        before = (folder.path / f"{name}.npy").read_bytes()
        (folder.path / f"{name}.npy").write_bytes(content)
        with pytest.raises(kind, match=f"{name}.npy"):
            folder.read()
        (folder.path / f"{name}.npy").write_bytes(before)


@pytest.mark.parametrize("name", ["spike_times", "pc_features", "amplitudes", "templates"])
def test_truncated_arrays(folder, name):
    path = folder.write().path / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptFileError, match="truncated"):
        folder.read()


def test_a_header_that_promises_too_much_takes_no_memory(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(CorruptFileError, match="truncated"):
        npy.load(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (b"", CorruptFileError, "empty"),
        (b"\xff\xfe\x00", CorruptFileError, "no text"),
        (b"cluster_id\n3\n", FileFormatError, "KSLabel"),
        (b"id\tKSLabel\n3\tgood\n", FileFormatError, "cluster_id"),
        (b"cluster_id\tKSLabel\n3\n", LengthMismatchError, "row 1"),
        (b"cluster_id\tKSLabel\nx\tgood\n", CorruptFileError, "row 1, column cluster_id"),
        (b"cluster_id\tKSLabel\n\tgood\n", CorruptFileError, "row 1"),
        (b"cluster_id\tKSLabel\n-3\tgood\n", CorruptFileError, "row 1"),
        (b"cluster_id\tKSLabel\n3\tgood\n3\tmua\n", FileFormatError, "twice"),
        (b"KSLabel\tKSLabel\n3\tgood\n", FileFormatError, "one name"),
    ],
)
def test_bad_label_files(folder, content, kind, text):
    folder.write()
    (folder.path / "cluster_KSLabel.tsv").write_bytes(content)
    with pytest.raises(kind, match=text):
        folder.read()


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["spike_times", "templates", "pc_features", "pc_feature_ind"]),
    place=st.integers(0, 300),
    noise=st.binary(min_size=1, max_size=12),
)
def test_damage_never_lets_a_foreign_error_out(tmp_path_factory, name, place, noise):
    made = Folder(tmp_path_factory.mktemp("damage") / "ks", spikes=40).write()
    path = made.path / f"{name}.npy"
    data = path.read_bytes()
    path.write_bytes(data[:place] + noise + data[place + len(noise) :])
    try:
        records = made.read()
    except MaplakeError:
        return
    assert len(records.arrays["spike_depth"]) == 40
