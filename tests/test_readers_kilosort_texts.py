"""What stands beside the spikes: labels, notes, metrics, logs, parameters."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from ks_folders import (
    CHANNELS,
    IDS,
    RECORDED,
    Folder,
    by_unit,
    qualities,
    rows,
    table,
    write_metrics,
)

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    UnknownValueError,
)
from maplake.readers.kilosort import READER
from maplake.readers.phy import last_curation, read_params


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "ks2")


# ---- labels


def test_priority_of_label_files(folder):
    folder.write()
    assert set(qualities(folder.read()).values()) == {"all"}
    table(folder.path / "cluster_group.tsv", ("cluster_id", "KSLabel"), (3, "mua"))
    assert qualities(folder.read())[3] == "multi"
    table(folder.path / "cluster_KSLabel.tsv", ("cluster_id", "KSLabel"), (3, "good"))
    assert qualities(folder.read())[3] == "good"
    table(folder.path / "cluster_groups.csv", ("cluster_id", "group"), (3, "ok"), (12, "unsorted"))
    records = folder.read()
    assert (qualities(records)[3], qualities(records)[12]) == ("ok", "all")
    assert "ephys.unit_noise_label" not in records.tables
    (folder.path / "cluster_groups.csv").write_text("cluster_id,group\n3,mua\n", encoding="utf-8")
    assert qualities(folder.read())[3] == "multi"


def test_noise_labels(folder):
    table(folder.path / "cluster_KSLabel.tsv", ("cluster_id", "KSLabel"), (3, "good"))
    table(folder.path / "cluster_group.tsv", ("cluster_id", "group"), (3, "noise"), (907, "good"))
    records = folder.write().read()
    assert qualities(records)[3] == "good"
    noise = rows(records, "ephys.unit_noise_label")
    assert {row["unit"]: row["noise"] for row in noise} == {3: "noise", 907: "good"}


def test_groups_of_phy_beside_the_quality_are_notes_and_their_noise_is_noise(folder):
    table(folder.path / "cluster_KSLabel.tsv", ("cluster_id", "KSLabel"), (3, "good"))
    table(folder.path / "cluster_group.tsv", ("cluster_id", "group"), (3, "mua"), (12, "noise"))
    records = folder.write().read()
    assert qualities(records)[3] == "good"
    noise = rows(records, "ephys.unit_noise_label")
    assert {row["unit"]: row["noise"] for row in noise} == {12: "noise"}
    notes = {row["unit"]: row["note_value"] for row in rows(records, "ephys.unit_note")}
    assert notes == {3: "mua", 12: "noise"}


def test_curated_noise_is_kept_and_said(folder):
    table(folder.path / "cluster_groups.csv", ("cluster_id", "group"), (3, "noise"), (12, "good"))
    records = folder.write().read()
    assert (qualities(records)[3], qualities(records)[12]) == ("all", "good")
    assert [(r["unit"], r["noise"]) for r in rows(records, "ephys.unit_noise_label")] == [
        (3, "noise")
    ]


def test_notes_of_curators(folder):
    table(folder.path / "cluster_my_note.tsv", ("cluster_id", "mynote"), (3, " soma "), (12, ""))
    table(folder.path / "cluster_DL.tsv", ("cluster_id", "remark"), (3, "axon"), (44, "µ"))
    table(folder.path / "cluster_Amplitude.tsv", ("cluster_id", "Amplitude"), (3, 1.5))
    table(folder.path / "cluster_info.tsv", ("cluster_id", "a", "b"), (3, 1, 2))
    table(folder.path / "cluster_wide.tsv", ("cluster_id", "a", "b"), (3, 1, 2))
    records = folder.write().read()
    notes = [tuple(row.values())[1:] for row in rows(records, "ephys.unit_note")]
    assert notes == [(3, "DL", "axon"), (3, "my_note", "soma"), (44, "DL", "µ")]
    assert [(s.item_type, s.item) for s in records.skipped] == [("file", "cluster_wide.tsv")]


def test_units_without_spikes_are_named(folder):
    table(folder.path / "cluster_KSLabel.tsv", ("cluster_id", "KSLabel"), (3, "good"), (8, "mua"))
    table(folder.path / "cluster_x.tsv", ("cluster_id", "x"), (9, "ghost"))
    records = folder.write().read()
    assert sorted(by_unit(records)) == sorted(IDS)
    assert [(s.item_type, s.item, s.reason) for s in records.skipped] == [
        ("unit", "8", "no spikes"), ("unit", "9", "no spikes")
    ]  # fmt: skip


def test_unknown_word(folder):
    table(folder.path / "cluster_KSLabel.tsv", ("cluster_id", "KSLabel"), (3, "good"), (8, "blob"))
    with pytest.raises(UnknownValueError) as caught:
        folder.write().read()
    assert caught.value.file == str(folder.path / "cluster_KSLabel.tsv")
    assert "row 2" in str(caught.value)
    assert "blob" in str(caught.value)


# ---- metrics


@pytest.mark.parametrize("axis", ["unit number", "row of metrics"])
@pytest.mark.parametrize("channels", ["recorded", "sorted"])
def test_metrics_and_mean_waveforms(folder, axis, channels):
    amplitude, snr = [10.5, "nan", 30, "inf", 50], ["", 2, "-inf", 4, 5]
    write_metrics(folder, amplitude=amplitude, snr=snr)
    width = RECORDED if channels == "recorded" else len(CHANNELS)
    length = 908 if axis == "unit number" else len(IDS)
    mean = np.random.default_rng(2).normal(size=(length, width, 30)).astype(np.float32)
    np.save(folder.path / "mean_waveforms.npy", mean)
    records = folder.write(whitening_mat_inv=None).read()
    units = by_unit(records)
    for row, unit in enumerate(IDS.tolist()):
        assert units[unit]["channel"] == CHANNELS[row] + 1
        assert units[unit]["unit_posy"] == folder.arrays["channel_positions"][row, 1]
        assert units[unit]["unit_amp"] == [10.5, 0, 30, 0, 50][row]
        assert units[unit]["unit_snr"] == [0, 2, 0, 4, 5][row]
        place = sorted(IDS).index(unit)
        source = mean[unit if axis == "unit number" else row]
        expected = source[CHANNELS] if channels == "recorded" else source
        np.testing.assert_array_equal(records.arrays["waveform"][place, CHANNELS], expected)
        wave = by_unit(records, "ephys.unit_waveform")[unit]["waveform"]
        np.testing.assert_array_equal(np.array(wave, np.float32), expected[row])
        assert by_unit(records, "ephys.cluster_metric")[unit]["firing_rate"] // 1 == row
    assert rows(records, "ephys.clustering_label")[0]["quality_control"] is True


def test_unit_without_metrics_falls_back_to_its_template(folder):
    expected = by_unit(folder.write().read())
    write_metrics(folder, ids=[907, 3, 12, 0, 99])
    np.save(folder.path / "mean_waveforms.npy", np.ones((908, RECORDED, 30), np.float32))
    records = folder.read()
    assert by_unit(records)[44] == expected[44]
    assert by_unit(records)[3]["unit_amp"] != expected[3]["unit_amp"]
    assert records.arrays["waveform"].shape == (5, RECORDED, 30)
    assert [(s.item_type, s.item) for s in records.skipped] == [
        ("unit", "99"), ("cluster_metric", "44")
    ]  # fmt: skip
    assert 44 not in by_unit(records, "ephys.cluster_metric")


def test_missing_metric_columns_are_all_named(folder):
    write_metrics(folder, drop=("snr", "l_ratio", "spread", "isi_viol")).write()
    with pytest.raises(FileFormatError) as caught:
        folder.read()
    for name in ("snr", "l_ratio", "spread", "isi_viol"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "kind", "place"),
    [
        ({"l_ratio": [1, 2, "x", 4, 5]}, CorruptFileError, "row 3, column l_ratio"),
        ({"cluster_id": [1, 2, 1.5, 4, 5]}, CorruptFileError, "row 3, column cluster_id"),
        ({"cluster_id": [1, 2, 3, 2, 5]}, FileFormatError, "row 4"),
        ({"peak_channel": [1, 3, 1, 1, 1]}, UnknownValueError, "row 2, column peak_channel"),
        ({"peak_channel": [1, 700, 1, 1, 1]}, UnknownValueError, "row 2, column peak_channel"),
        ({"snr": [1, 2, 3, 4, "5,6"]}, LengthMismatchError, "row 5"),
    ],
)
def test_bad_metrics(folder, changes, kind, place):
    with pytest.raises(kind, match=place):
        write_metrics(folder, **changes).write().read()


def test_mean_waveforms_of_another_sorting(folder):
    write_metrics(folder).write()
    np.save(folder.path / "mean_waveforms.npy", np.ones((7, RECORDED, 30), np.float32))
    with pytest.raises(LengthMismatchError, match="units"):
        folder.read()
    np.save(folder.path / "mean_waveforms.npy", np.ones((5, 3, 30), np.float32))
    with pytest.raises(LengthMismatchError, match="channels"):
        folder.read()


def test_metrics_of_no_unit(folder):
    expected = by_unit(folder.write().read())
    write_metrics(folder)
    file = folder.path / "metrics.csv"
    file.write_text(file.read_text("utf-8").splitlines()[0] + "\n", encoding="utf-8")
    np.save(folder.path / "mean_waveforms.npy", np.ones((908, RECORDED, 30), np.float32))
    records = folder.read()
    assert by_unit(records) == expected
    assert by_unit(records, "ephys.cluster_metric") == {}


# ---- what is said about the clustering


LOG = """\x1b[0;36m2020-03-01 23:59:59.001 [I] supervisor:711       Merge clusters 12, 13 to 450.
2020-03-02 17:13:57,410 [I] supervisor:711       Change metadata_group for clusters 3 to 'good'.
2020-03-03 08:00:00.000 [D] context:100 Save data to `.phy/state.json`.
"""


def test_curation(folder):
    folder.write()
    os.utime(folder.path / "spike_times.npy", (1_600_000_000.9, 1_600_000_000.9))
    [label] = rows(folder.read(), "ephys.clustering_label")
    assert label["clustering_time"] == datetime.fromtimestamp(1_600_000_000)  # noqa: DTZ006
    assert (label["quality_control"], label["manual_curation"]) == (False, False)
    assert label["clustering_note"] is None
    (folder.path / "phy.log").write_text(LOG, encoding="utf-8")
    [label] = rows(folder.read(), "ephys.clustering_label")
    assert label["clustering_time"] == datetime(2020, 3, 2, 17, 13, 57)
    assert label["manual_curation"] is True


def test_curation_logs_of_all_kinds(tmp_path):
    log = tmp_path / "phy.log"
    assert last_curation(log) is None
    log.write_bytes(b"2020-03-03 08:00:00.000 [I] nothing done\n\xff\xfe")
    assert last_curation(log) is None
    log.write_text("11:45:38.315 [I] supervisor:711  Split cluster 3 into 7.", encoding="utf-8")
    stamp = datetime(2021, 5, 6, 12, 0, 0)
    os.utime(log, (stamp.timestamp(), stamp.timestamp()))
    assert last_curation(log) == datetime(2021, 5, 6, 11, 45, 38)
    stamp = datetime(2021, 5, 6, 1, 0, 0)
    os.utime(log, (stamp.timestamp(), stamp.timestamp()))
    assert last_curation(log) == datetime(2021, 5, 5, 11, 45, 38)


@pytest.mark.parametrize(
    ("name", "extra", "method"),
    [
        ("1", (), "kilosort2"),
        ("dl59_imec0_ks2", (), "kilosort2"),
        ("pyks2.5", (), "pykilosort2.5"),
        ("kilosort4", (), "kilosort4"),
        ("imec0_ks4", (), "kilosort4"),
        ("KS45_g0", (), "kilosort2"),
        ("kilosort2_5", (), "kilosort2.5"),
        ("out", ("ops.npy", "spike_positions.npy"), "kilosort4"),
        ("out", ("kilosort4.log",), "kilosort4"),
        ("out", ("ops.npy",), "kilosort2"),
        ("kilosort2_5_output/sorter_output", (), "kilosort2.5"),
        ("pyks25/ks2", (), "pykilosort2.5"),
    ],
)
def test_sorter(tmp_path, name, extra, method):
    made = Folder(tmp_path / name).write()
    for file in extra:
        (made.path / file).touch()
    records = made.read()
    for table_ in records.tables.values():
        assert set(table_["clustering_method"].to_pylist()) == {method}


def test_params_are_read_and_never_run(tmp_path):
    path = tmp_path / "params.py"
    path.write_text(
        "import os\nos.mkdir('made')\nx = os.mkdir('made')\n"
        "dat_path = r'C:\\data\\a.bin'\nn_channels_dat = 385\ndtype='int16'\noffset =0\n"
        "sample_rate = 30000.\nhp_filtered = True\nif x == 3: pass\nbad = [1,\ny = " + "(" * 5000,
        encoding="utf-8",
    )
    assert read_params(path) == {
        "dat_path": "C:\\data\\a.bin",
        "n_channels_dat": 385,
        "dtype": "int16",
        "offset": 0,
        "sample_rate": 30000.0,
        "hp_filtered": True,
    }
    assert not Path("made").exists()
    assert read_params(tmp_path / "none.py") == {}


def test_find_and_files(tmp_path):
    first, second = Folder(tmp_path / "b/ks2").write(), Folder(tmp_path / "a").write()
    (tmp_path / "c").mkdir()
    np.save(tmp_path / "c/spike_times.npy", np.arange(3))
    assert READER.find(tmp_path) == [second.path, first.path]
    assert READER.find(first.path) == [first.path]
    assert READER.find(tmp_path / "c") == []
    (first.path / "mean_waveforms.npy").touch()
    assert READER.find(tmp_path) == [first.path]
    (second.path / "mean_waveforms.npy").touch()
    assert READER.find(tmp_path) == [second.path, first.path]
    for made in (first, second):
        (made.path / "mean_waveforms.npy").unlink()
    (first.path / "params.py").touch()
    assert READER.find(first.path / "params.py") == [first.path]
    table(first.path / "cluster_x.tsv", ("cluster_id", "x"))
    names = [path.name for path in READER.files(first.path)]
    assert names == sorted(names)
    assert set(names) == {f"{name}.npy" for name in first.arrays} | {"params.py", "cluster_x.tsv"}
