"""DeepLabCut tracking: contents, which file is which trial's, and bad input."""

from __future__ import annotations

import os
import pickle
import shutil
from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from maplake.errors import (
    AmbiguousSourceError,
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MaplakeError,
    MissingFileError,
)
from maplake.readers import deeplabcut
from maplake.readers.base import TrackingContext
from maplake.readers.dlc_csv import read_csv
from maplake.readers.dlc_h5 import plain_pickle, read_h5
from maplake.simulate.tracking import FEATURES, simulate_camera, tracking_folder, write_camera
from maplake.tables import get
from maplake.writers.parquet import conform

H2O = "MK001"
DAY = date(2021, 3, 1)


def real(path: str) -> Path:
    root = os.environ.get("MAPLAKE_TEST_DATA")
    if not root:
        pytest.skip("MAPLAKE_TEST_DATA is not set: no real files")
    return Path(root) / "real" / path


def camera(position="side", trials=(1, 2, 3), features=FEATURES, seconds=0.1):
    rng = np.random.default_rng(5)
    lengths = {trial: seconds * (1 + 0.1 * trial) for trial in trials}
    return simulate_camera(rng, position, lengths, features)


def folder(tmp_path, rig="RRig", position="side", n=1):
    return tracking_folder(tmp_path, rig, H2O, DAY, n, position)


def context(trials=3, rig="RRig", **more):
    return TrackingContext(H2O, rig, list(range(1, trials + 1)), **more)


def check(records, truth, names=None):
    """Everything that was written is there, exactly, in the lake's order."""
    names = names or {f: {"paw_left": "left_paw", "paw_right": "right_paw"}.get(f, f)
                      for f in truth.features}  # fmt: skip
    table = records.tables["tracking.tracking_position"]
    frame = table.to_pandas()
    assert len(frame) == int(truth.frames.sum()) * len(truth.features)
    for trial, values in zip(truth.trial, truth.values, strict=True):
        for place, feature in enumerate(truth.features):
            rows = frame[(frame.trial == trial) & (frame.feature == names[feature])]
            assert np.array_equal(rows.frame, np.arange(len(values)))
            for axis, column in enumerate(("x", "y", "likelihood")):
                assert np.array_equal(rows[column], values[:, place, axis])
    interval = {"side": 0.0034, "bottom": 0.0034, "body": 0.01}[truth.position]
    assert np.allclose(frame.time, frame.frame * interval, rtol=1e-12)
    counts = records.tables["tracking.tracking"].to_pydict()
    assert counts["trial"] == truth.trial.tolist()
    assert counts["tracking_samples"] == truth.frames.tolist()
    declared = get("tracking.tracking_position")
    checked = conform(declared, table, is_sorted=False)
    assert checked.equals(conform(declared, table, is_sorted=True))  # it is sorted


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
@pytest.mark.parametrize("position", ["side", "bottom", "body"])
def test_what_is_written_is_read(tmp_path, suffix, position):
    truth = camera(position)
    write_camera(folder(tmp_path), H2O, truth, suffix=suffix)
    (path,) = deeplabcut.find(folder(tmp_path))
    records = deeplabcut.read(path, context())
    check(records, truth)
    assert not records.skipped
    number = ["side", "bottom", "body"].index(position)
    assert records.info["tracking_device"] == f"Camera {number}"


def test_several_animals_prefix_their_features(tmp_path):
    truth = camera(features=("nose", "paw_left"))
    for suffix in (".csv", ".h5"):
        write_camera(folder(tmp_path, n=2), H2O, truth, individual="rat 1", suffix=suffix)
        records = deeplabcut.read(folder(tmp_path, n=2) / "side", context())
        check(records, truth, {"nose": "rat 1_nose", "paw_left": "rat 1_left_paw"})


def test_simulated_csv_is_what_pandas_and_deeplabcut_write(tmp_path):
    truth = camera(features=("nose", "jaw"), trials=(1,))
    (file,) = write_camera(folder(tmp_path), H2O, truth)
    frame = pd.read_csv(file, header=[0, 1, 2], index_col=0)
    assert np.array_equal(frame.to_numpy(), truth.values[0].reshape(len(frame), -1))
    again = file.with_name(f"{H2O}_side_2-0000.csv")
    frame.to_csv(again)
    assert all(
        np.array_equal(a, b)
        for one, two in zip(read_csv(file).values, read_csv(again).values, strict=True)
        for a, b in zip(one, two, strict=True)
    )


def test_trial_map_and_alternative_position_names(tmp_path):
    truth = camera("body", trials=(2, 5, 9))
    write_camera(folder(tmp_path), H2O, truth, word="side_body", numbers=[10, 11, 12])
    records = deeplabcut.read(folder(tmp_path) / "body", context(9))
    check(records, truth)
    missing = [int(s.item) for s in records.skipped]
    assert missing == [1, 3, 4, 6, 7, 8]
    files = {f.name for f in deeplabcut.READER.files(folder(tmp_path) / "body")}
    assert f"{H2O}_030121_side_body.txt" in files
    assert len(files) == 4


def test_mtl_rig_numbers_from_zero_and_uses_cameras_3_to_5(tmp_path):
    for position in ("side", "bottom", "body"):
        truth = camera(position)
        place = folder(tmp_path, "RRig-MTL", position, n=2)
        paths = write_camera(place, H2O, truth, rig="RRig-MTL")
        assert paths[0].name == f"{H2O}_{position}_0.csv"
        records = deeplabcut.read(place / position, context(rig="RRig-MTL"))
        check(records, truth)
        number = 3 + ["side", "bottom", "body"].index(position)
        assert records.info["tracking_device"] == f"Camera {number}"
    found = deeplabcut.tracking_folders(tmp_path, "RRig-MTL")
    assert [(f.h2o, f.day, f.n) for f in found] == [(H2O, DAY, 2)] * 3


def test_cameras_are_described_as_published():
    rows = {
        number: (place, model) for number, place, _, model in get("tracking.tracking_device").rows
    }
    assert rows["Camera 1"] == ("bottom", "Chameleon3 CM3-U3-13Y3M-CS (FLIR)")
    assert rows["Camera 5"] == ("body", "Blackfly S BFS-U3-04S2M-CS (FLIR)")


def test_folders_of_both_layouts_and_of_the_same_day(tmp_path):
    names = [f"{H2O}_030121", f"{H2O}_030121_2", "20210302/tracking", "20210302_3/tracking"]
    for name in [*names, "20210303", "histology", f"{H2O}_999999", "other_030121"]:
        (tmp_path / H2O / name).mkdir(parents=True)
    found = deeplabcut.tracking_folders(tmp_path, "RRig")
    assert [(f.path.relative_to(tmp_path / H2O).as_posix(), f.day.day, f.n) for f in found] == [
        (names[0], 1, 1), (names[1], 1, 2), (names[2], 2, 1), (names[3], 2, 3),
    ]  # fmt: skip


def test_missing_files_and_files_without_a_trial_are_recorded(tmp_path):
    truth = camera(trials=(1, 3, 4))
    place = folder(tmp_path)
    write_camera(place, H2O, truth)
    (place / "XX99_side_7-0000.csv").write_text("another animal's", encoding="ascii")
    records = deeplabcut.read(place / "side", TrackingContext(H2O, "RRig", [1, 2, 3], 4))
    assert records.tables["tracking.tracking"]["trial"].to_pylist() == [1, 3]
    assert {(s.item, s.reason) for s in records.skipped} == {
        ("XX99_side_7-0000.csv", "its name is not of this animal and rig"),
        (f"{H2O}_side_4-0000.csv", "the session has no trial 4"),
        ("2", "there is no file for it"),
    }


def test_more_files_than_trials_is_an_error(tmp_path):
    write_camera(folder(tmp_path), H2O, camera(trials=range(1, 6)))
    with pytest.raises(LengthMismatchError, match="5 files; expected at most 4"):
        deeplabcut.read(folder(tmp_path) / "side", context(4))


def test_two_files_of_one_number_are_ambiguous_but_csv_and_h5_are_one(tmp_path):
    place, truth = folder(tmp_path), camera()
    write_camera(place, H2O, truth)
    write_camera(place, H2O, truth, suffix=".h5")
    records = deeplabcut.read(place / "side", context())
    check(records, truth)
    assert len(records.skipped) == 3
    (place / f"{H2O}_side_1-0001.csv").write_bytes(b"")
    with pytest.raises(AmbiguousSourceError, match=r"side_1-0000\.csv, .*side_1-0001\.csv"):
        deeplabcut.read(place / "side", context())


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
def test_what_was_tracked_is_read_not_what_was_made_of_it(tmp_path, suffix):
    """DeepLabCut's filterpredictions and analyzeskeleton write beside the poses, in both forms."""
    place, truth, other = folder(tmp_path), camera(trials=(1,)), tmp_path / "other"
    write_camera(place, H2O, truth, suffix=suffix)
    for ending in (".csv", ".h5"):
        (file,) = write_camera(other, H2O, camera(trials=(1,), seconds=0.2), suffix=ending)
        for made in ("filtered", "skeleton"):
            shutil.copy(file, place / f"{file.stem}_{made}{ending}")
    records = deeplabcut.read(place / "side", context(1))
    check(records, truth)
    assert {s.item.partition("_filtered")[2] for s in records.skipped} == {".csv", ".h5"}
    for file in place.iterdir():
        if "_filtered" not in file.name:
            file.unlink()
    filtered = deeplabcut.read(place / "side", context(1))  # nothing else is left
    check(filtered, camera(trials=(1,), seconds=0.2))


def test_files_of_two_networks_are_not_taken_for_one(tmp_path):
    place, truth = folder(tmp_path), camera(trials=(1,))
    for suffix, network in ((".h5", "shuffle1_500000"), (".csv", "shuffle1_1030000")):
        (file,) = write_camera(tmp_path / "other", H2O, truth, suffix=suffix)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / f"{file.stem}DLC_{network}{suffix}")
    with pytest.raises(AmbiguousSourceError, match="two tracking files have one number"):
        deeplabcut.read(place / "side", context(1))


def test_no_file_of_the_camera(tmp_path):
    write_camera(folder(tmp_path), H2O, camera())
    with pytest.raises(MissingFileError, match="no tracking file of the bottom camera"):
        deeplabcut.read(folder(tmp_path) / "bottom", context())


def test_whiskers_and_unknown_parts_keep_their_names(tmp_path):
    truth = camera(features=("whisker_C2", "my whisker", "pupil", "tongue"))
    write_camera(folder(tmp_path), H2O, truth)
    records = deeplabcut.read(folder(tmp_path) / "side", context())
    check(records, truth)
    assert records.tables["tracking.tracked_whisker"].to_pylist() == [
        {"feature": "my whisker", "whisker": None},
        {"feature": "whisker_C2", "whisker": "C2"},
    ]


@pytest.mark.filterwarnings("error")
def test_positions_whose_sum_is_endless_are_kept(tmp_path):
    truth = camera(trials=(1,), features=("nose",))
    truth.values[0][:2, 0, 0] = 1.7e308
    write_camera(folder(tmp_path), H2O, truth)
    check(deeplabcut.read(folder(tmp_path) / "side", context(1)), truth)


def test_what_the_tracker_did_not_find_is_null(tmp_path):
    place = folder(tmp_path)
    place.mkdir(parents=True)
    head = "scorer,a,a,a\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\n"
    (place / f"{H2O}_side_1-0000.csv").write_text(f"{head}0,1,2,0.5\n1,,nan,\n", encoding="ascii")
    table = deeplabcut.read(place / "side", context(1)).tables["tracking.tracking_position"]
    assert table["x"].to_pylist() == [1.0, None]
    assert table["y"].to_pylist() == [2.0, None]
    assert table["likelihood"].to_pylist() == [0.5, None]


HEAD = "scorer,s,s,s\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\n"
BAD_CSV = {
    "empty": ("", CorruptFileError),
    "blank": ("\n\n", CorruptFileError),
    "no frames": (HEAD, CorruptFileError),
    "no header": ("0,1,2,3\n1,1,2,3\n", FileFormatError),
    "header cut": ("scorer,s,s,s\nbodyparts,nose", FileFormatError),
    "unequal header": (HEAD.replace("s,s,s", "s,s") + "0,1,2,3\n", CorruptFileError),
    "row cut": (HEAD + "0,1,2,0.5\n1,1,", CorruptFileError),
    "row long": (HEAD + "0,1,2,0.5,7\n1,1,2,0.5\n", CorruptFileError),
    "word": (HEAD + "0,1,2,high\n", CorruptFileError),
    "infinite": (HEAD + "0,1,inf,0.5\n", CorruptFileError),
    "frame twice": (HEAD + "0,1,2,0.5\n0,1,2,0.5\n", CorruptFileError),
    "frame backward": (HEAD + "1,1,2,0.5\n0,1,2,0.5\n", CorruptFileError),
    "frame fraction": (HEAD + "0.5,1,2,0.5\n", CorruptFileError),
    "no likelihood": ("scorer,s,s\nbodyparts,a,a\ncoords,x,y\n0,1,2\n", FileFormatError),
    "z": (HEAD.replace("x,y", "x,z") + "0,1,2,0.5\n", FileFormatError),
    "feature twice": (
        "scorer,s,s,s,s\nbodyparts,a,a,a,a\ncoords,x,y,likelihood,x\n0,1,2,3,4\n",
        FileFormatError,
    ),
    "binary": ("\x00\x01\x02\xff", FileFormatError),
}


@pytest.mark.parametrize("name", BAD_CSV)
def test_bad_csv(tmp_path, name):
    content, error = BAD_CSV[name]
    file = tmp_path / f"{H2O}_side_1-0000.csv"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(error) as caught:
        read_csv(file)
    assert caught.value.file == str(file)


@pytest.mark.parametrize("first", ["", "\n", "\r\n \r\n"])
def test_blank_lines_are_no_frames(tmp_path, first):
    file = tmp_path / f"{H2O}_side_1-0000.csv"
    file.write_bytes(f"{HEAD}{first}0,1,2,0.5\n\n1,,nan,\n2,3,4,1\n\n\n".encode())
    pose = read_csv(file)
    assert pose.frame.tolist() == [0, 1, 2]
    assert pose.values[0][0][[0, 2]].tolist() == [1.0, 3.0]


def test_a_csv_cut_anywhere_never_gives_other_numbers_silently(tmp_path):
    (file,) = write_camera(tmp_path / "x", H2O, camera(trials=(1,), features=("nose",)))
    whole, content = read_csv(file), file.read_bytes()
    for cut in range(0, len(content), 37):
        file.write_bytes(content[:cut])
        try:
            pose = read_csv(file)
        except MaplakeError:
            continue
        # What is left is a shorter video, but for the last number, which may have lost digits.
        kept = len(pose.frame) - 1
        assert np.array_equal(pose.values[0][0][:kept], whole.values[0][0][:kept])


@pytest.mark.parametrize(
    ("content", "place"),
    [("1 1\n", "line 1"), ("1\t1\n1\t2\n", "line 2"), ("1\t1\n2\t1\n", "line 2"), ("", None),
     ("1\tone\n", "line 1"), ("\xff\xfe", None)],
)  # fmt: skip
def test_bad_trial_map(tmp_path, content, place):
    write_camera(folder(tmp_path), H2O, camera())
    map_ = folder(tmp_path) / f"{H2O}_030121_side.txt"
    map_.write_bytes(content.encode("latin-1"))
    with pytest.raises(CorruptFileError) as caught:
        deeplabcut.read(folder(tmp_path) / "side", context())
    assert caught.value.file == str(map_)
    assert caught.value.place == place


def write_table_layout(path, headers, values, kind=None):
    """The table layout of pandas, whose columns' names are a pickle of PyTables."""
    rows = np.zeros(len(values), [("index", "<i8"), ("values_block_0", "<f8", values.shape[1:])])
    rows["index"], rows["values_block_0"] = np.arange(len(values)), values
    with h5py.File(path, "w") as file:
        table = file.create_dataset("df_with_missing/table", data=rows)
        kind = pickle.dumps(headers, 0) if kind is None else kind
        table.attrs["values_block_0_kind"] = np.bytes_(kind)


HEADERS = [("scorer", "nose", c) for c in ("x", "y", "likelihood")]


def test_h5_in_the_table_layout(tmp_path):
    values = np.random.default_rng(0).random((4, 3))
    for protocol in range(5):
        kind = pickle.dumps(HEADERS, protocol)
        write_table_layout(tmp_path / "a.h5", HEADERS, values, kind)
        pose = read_h5(tmp_path / "a.h5")
        assert pose.features == ("nose",)
        assert np.array_equal(np.array(pose.values[0]).T, values)


class Bomb:
    def __reduce__(self):
        return (open, ("pwned", "w"))


def test_a_pickle_in_h5_is_never_carried_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 2, 4):
        kind = pickle.dumps([("s", Bomb(), "x")], protocol)
        write_table_layout(tmp_path / "a.h5", HEADERS, np.zeros((2, 3)), kind)
        with pytest.raises(FileFormatError, match="pickled objects are never loaded"):
            read_h5(tmp_path / "a.h5")
        with pytest.raises(FileFormatError):
            plain_pickle(kind)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        group = file.create_group("df")
        group["axis0_level0"] = np.array([b"x"])
        group["block0_values"] = np.zeros((1, 1))
        group.attrs["values"] = np.void(pickle.dumps(Bomb()))
        group.create_dataset("axis1", (1,), dtype=h5py.vlen_dtype(np.uint8))
    with pytest.raises((FileFormatError, CorruptFileError)):
        read_h5(tmp_path / "b.h5")
    assert not (tmp_path / "pwned").exists()


def test_bad_h5(tmp_path):
    (file,) = write_camera(tmp_path / "x", H2O, camera(trials=(1,)), suffix=".h5")
    content = file.read_bytes()
    for cut, error in ((0, CorruptFileError), (3, FileFormatError), (5000, CorruptFileError)):
        file.write_bytes(content[:cut])
        with pytest.raises(error):
            read_h5(file)
    with pytest.raises(MissingFileError):
        read_h5(tmp_path / "none.h5")
    with h5py.File(file, "w") as other:
        other["data"] = 1
    with pytest.raises(FileFormatError, match="data frame"):
        read_h5(file)


def test_h5_links_out_of_the_file_are_not_followed(tmp_path):
    (file,) = write_camera(tmp_path / "x", H2O, camera(trials=(1,)), suffix=".h5")
    with h5py.File(tmp_path / "link.h5", "w") as link:
        link["df"] = h5py.ExternalLink(str(file), "/df_with_missing")
    with pytest.raises(FileFormatError):
        read_h5(tmp_path / "link.h5")


def test_hostile_names(tmp_path):
    place = folder(tmp_path)
    truth = camera(trials=(1,), features=("'; DROP TABLE x; --", "../../nose"))
    write_camera(place, H2O, truth)
    records = deeplabcut.read(place / "side", context(1))
    check(records, truth)
    (place / f"{H2O}'_side_1-..csv").write_text("x", encoding="ascii")
    assert deeplabcut.find(place) == [place / "side"]


REAL = [
    ("deepof/test_single_topview/Tables/testDLC_csv_table.csv", 97, 14, "Nose",
     (280.4508361816406, 328.9118347167969, 0.9999960660934448)),
    ("deepof/test_multi_topview/Tables/testDLC_csv_table_multi.csv", 98, 28, "B_Nose",
     (261.7699890136719, 215.63528442382812, 0.9999963045120239)),
    ("deepof/test_madlc_topview/Tables/testDLC_csv_table_madlc.csv", 97, 28,
     "mouse_black_tail_Nose", (188.547, 379.996, 0.9909999966621399)),
    (("gin_SL18_csv/SL18_D19_S01_F01_BOX_SLP_20230503_112642.1DLC_resnet50_"
     "SubLearnSleepBoxRedLightJun26shuffle1_100000_stubbed.csv"), 100, 4, "redled",
     (322.5782470703125, 271.4696044921875, 0.0569237060844898)),
    ("deepof/test_single_topview/Tables/testDLC_h5_table.h5", 100, 14, "Nose",
     (321.7864074707031, 279.99441528320312, 0.99999952316284)),
    ("deepof/test_multi_topview/Tables/testDLC_h5_table_multi.h5", 100, 28, "B_Nose",
     (261.7699890136719, 215.63528442382812, 0.9999963045120239)),
    (("gin_multi_subject_h5/log07-20-2023(1-XFN1-XFN3).1DLC_resnet50_SocialWSep18shuffle5_"
     "100000_el_stubbed.h5"), 1000, 10, "rat 1_snout", (np.nan, np.nan, np.nan)),
    ("w2t-bkin/cam0_2025-01-01-00-00-00.h5", 8580, 18, "C1_end",
     (999.9327392578125, 563.95849609375, 0.9986274242401123)),
]  # fmt: skip


@pytest.mark.parametrize("case", REAL, ids=lambda case: case[0][-30:])
def test_real_files(case):
    name, frames, features, feature, first = case
    file = real(f"pose_dlc/{name}")
    pose = (read_h5 if file.suffix == ".h5" else read_csv)(file)
    assert len(pose.frame) == frames
    assert len(pose.features) == features
    values = pose.values[pose.features.index(feature)]
    assert np.allclose([v[0] for v in values], first, rtol=1e-9, equal_nan=True)
