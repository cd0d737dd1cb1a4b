"""Kilosort and phy folders: real ones, and made up ones of known truth."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from ks_folders import (
    CHANNELS,
    IDS,
    RECORDED,
    SAMPLES,
    UV,
    Folder,
    by_unit,
    context,
    rows,
    table,
    write_metrics,
)

from maplake import tables
from maplake.errors import (
    CorruptFileError,
    MaplakeError,
)
from maplake.readers import npy, waveforms
from maplake.readers.kilosort import READER

DATA = Path(os.environ.get("MAPLAKE_TEST_DATA", "")) / "real"
real = pytest.mark.skipif(
    "MAPLAKE_TEST_DATA" not in os.environ, reason="MAPLAKE_TEST_DATA is not set: no real files"
)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "ks2")


# ---- real folders


@real
def test_real_phy_folder():
    path = DATA / "kilosort_phy/phy_example_0"
    assert READER.find(DATA / "kilosort_phy") == [path]
    recording = context(electrode=np.arange(1, 33), position=np.zeros((32, 2)), saved_channels=33)
    records = READER.read(path, recording)
    units = by_unit(records)
    assert sorted(units) == list(range(13))
    assert [u for u, row in units.items() if row["unit_quality"] == "good"] == [9, 10, 11]
    assert {row["unit_quality"] for row in units.values()} == {"good", "multi"}
    assert len(records.arrays["spike_sample"]) == 788
    assert set(records.tables) == {
        "ephys.unit", "ephys.unit_waveform", "ephys.clustering_label"
    }  # fmt: skip
    assert records.skipped == []
    # Kilosort's own amplitude of the first units is in cluster_Amplitude.tsv, in counts.
    assert units[0]["unit_amp"] == pytest.approx(4066.7 * UV, rel=1e-4)
    assert units[3]["unit_amp"] == pytest.approx(3065.7 * UV, rel=1e-4)

    features = np.maximum(np.load(path / "pc_features.npy")[:, 0], 0).astype(float) ** 2
    y = np.load(path / "channel_positions.npy")[:, 1]
    template = np.load(path / "spike_templates.npy").ravel()
    heights = y[np.load(path / "pc_feature_ind.npy")[template]]
    expected = (features * heights).sum(axis=1) / features.sum(axis=1)
    np.testing.assert_allclose(records.arrays["spike_depth"], expected, rtol=1e-9)


@real
def test_real_metrics_joined_by_unit(tmp_path):
    metrics = DATA / "ecephys_metrics/element-array-ephys/metrics.csv"
    made = Folder(tmp_path / "ks2").write(
        channel_map=np.arange(384),
        channel_positions=np.column_stack((np.zeros(384), np.arange(384) * 10.0)),
        templates=np.eye(384, dtype=np.float32)[None, :5].repeat(5, axis=0),
        pc_features=None,
        whitening_mat_inv=np.eye(384),
        spike_clusters=np.array([2, 226, 6, 0, 44])[np.arange(400) % 5],
        spike_templates=np.arange(400) % 5,
    )
    shutil.copy(metrics, made.path / "metrics.csv")
    (made.path / "metrics.csv").chmod(0o644)
    np.save(made.path / "mean_waveforms.npy", np.ones((227, 384, 82), np.float32))
    records = made.read(electrode=np.arange(1, 385), saved_channels=385)
    units = by_unit(records)
    assert (units[2]["channel"], units[2]["unit_posy"]) == (36, 350)
    assert units[2]["unit_amp"] == 142.16056034482762
    assert units[2]["unit_snr"] == 1.9179869665874536
    quality = by_unit(records, "ephys.cluster_metric")
    assert sorted(quality) == sorted(units)
    assert quality[0]["isolation_distance"] is None
    assert quality[6]["isolation_distance"] == 7.98227928394015e16
    shape = by_unit(records, "ephys.waveform_metric")[2]
    assert (shape["pt_ratio"], shape["halfwidth"]) == (0.7116841831383443, None)
    assert len(records.skipped) == 227 - 5


# ---- spikes


def test_everything_belongs_to_the_units_number(folder):
    table(folder.path / "cluster_KSLabel.tsv", ("cluster_id", "KSLabel"), (44, "good"),
          (0, "mua"), (907, "good"), (3, "mua"))  # fmt: skip
    records = folder.write().read()
    units = by_unit(records)
    assert list(units) == sorted(IDS)
    y = folder.arrays["channel_positions"]
    for template, unit in enumerate(IDS):
        spikes = folder.arrays["spike_clusters"] == unit
        peak = folder.peak[template]
        counts = folder.arrays["templates"][template] @ folder.arrays["whitening_mat_inv"]
        expected = counts[:, peak] * folder.arrays["amplitudes"][spikes].mean() * UV
        row = units[unit]
        assert row["channel"] == CHANNELS[peak] + 1
        assert [row["unit_posx"], row["unit_posy"]] == y[peak].tolist()
        assert row["unit_amp"] == pytest.approx(np.ptp(expected), rel=1e-6)
        place = list(units).index(unit)
        wave = records.arrays["waveform"][place, CHANNELS[peak]]
        np.testing.assert_allclose(wave, expected, rtol=1e-5)
        stored = by_unit(records, "ephys.unit_waveform")[unit]["waveform"]
        np.testing.assert_array_equal(np.array(stored, np.float32), wave)
        found = records.arrays["spike_sample"][records.arrays["spike_unit"] == unit]
        np.testing.assert_array_equal(found, folder.arrays["spike_times"][spikes])
    assert {u: row["unit_quality"] for u, row in units.items()} == {
        0: "multi", 3: "multi", 12: "all", 44: "good", 907: "good"
    }  # fmt: skip
    assert records.arrays["waveform"].shape == (5, RECORDED, SAMPLES)
    assert np.isnan(records.arrays["waveform"][:, [3, 7]]).all()
    np.testing.assert_allclose(records.arrays["spike_depth"], folder.depths(), rtol=1e-9)
    channel = CHANNELS[folder.peak[folder.arrays["spike_templates"]]] + 1
    np.testing.assert_array_equal(records.arrays["spike_channel"], channel)


def test_types_are_as_declared(folder):
    table(folder.path / "cluster_group.tsv", ("cluster_id", "group"), (3, "good"), (12, "noise"))
    table(folder.path / "cluster_remark.tsv", ("cluster_id", "remark"), (3, "nice"))
    write_metrics(folder)
    records = folder.write().read()
    kinds = {name: array.dtype for name, array in records.arrays.items()}
    assert kinds == {
        "spike_sample": np.int64,
        "spike_unit": np.int32,
        "spike_channel": np.int32,
        "spike_depth": np.float64,
        "spike_amplitude": np.float64,
        "waveform": np.float32,
        "waveform_channel": np.int32,
    }
    assert set(records.tables) == {
        f"ephys.{name}"
        for name in ("unit", "unit_waveform", "clustering_label", "unit_note", "unit_noise_label",
                     "cluster_metric", "waveform_metric")
    }  # fmt: skip
    for name, found in records.tables.items():
        declared = tables.get(name).file_schema
        for field in found.schema:
            if (name, field.name) != ("ephys.unit", "channel"):
                assert field.equals(declared.field(field.name), check_metadata=True)
    assert records.tables["ephys.unit"].schema.field("channel").type == pa.int32()


@pytest.mark.parametrize("layout", ["C", "F", "swapped", "swapped F", "padded"])
def test_depths_whatever_the_layout(folder, layout):
    features, index = folder.arrays["pc_features"], folder.arrays["pc_feature_ind"]
    features[7, 0] = -1  # a spike without a positive feature
    folder.arrays["pc_features"] = features
    expected = folder.depths()
    if layout == "padded":  # sorters fill up with the number of channels, or -1
        features = np.concatenate((features, np.full((len(features), 3, 2), 9, np.float32)), 2)
        index = np.concatenate((index, np.full((5, 1), len(CHANNELS)), np.full((5, 1), -1)), 1)
    if "swapped" in layout:
        features = np.ascontiguousarray(features.transpose(0, 2, 1))
    if "F" in layout:
        features = np.asfortranarray(features)
    records = folder.write(pc_features=features, pc_feature_ind=index).read()
    np.testing.assert_allclose(records.arrays["spike_depth"], expected, rtol=1e-9)


def test_depths_in_many_pieces(folder):
    for order in "CF":
        folder.write(pc_features=np.asarray(folder.arrays["pc_features"], order=order))
        header = npy.read_header(folder.path / "pc_features.npy")
        pieces = [
            piece.copy() for _, piece in npy.first_features(header, channels_last=True, rows=33)
        ]
        np.testing.assert_array_equal(np.concatenate(pieces), folder.arrays["pc_features"][:, 0])


def test_without_features_a_spike_is_at_its_units_peak(folder):
    records = folder.write(pc_features=None, pc_feature_ind=None).read()
    depth = {unit: row["unit_posy"] for unit, row in by_unit(records).items()}
    arrays = records.arrays
    assert [depth[u] for u in arrays["spike_unit"].tolist()] == arrays["spike_depth"].tolist()


@pytest.mark.parametrize("shape", ["(n,)", "(n, 1)", "(1, n)"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_vectors_columns_and_rows(folder, shape, order):
    names = ("spike_times", "spike_clusters", "spike_templates", "amplitudes", "channel_map")
    new = {"(n,)": (-1,), "(n, 1)": (-1, 1), "(1, n)": (1, -1)}[shape]
    changed = {n: np.asarray(folder.arrays[n].reshape(new), order=order) for n in names}
    records = folder.write(**changed).read()
    np.testing.assert_array_equal(records.arrays["spike_sample"], folder.arrays["spike_times"])
    np.testing.assert_allclose(records.arrays["spike_depth"], folder.depths())


def test_order_of_time_files_and_seconds(folder):
    samples = folder.arrays["spike_times"].astype(np.int64)
    folder.write()
    np.save(folder.path / "spike_times_sec.npy", (samples + 1) / 30000)
    assert folder.read().arrays["spike_sample"].tolist() == (samples + 1).tolist()
    np.save(folder.path / "spike_times_sec_adj.npy", (samples[:, None] + 2) / 30000)
    assert folder.read().arrays["spike_sample"].tolist() == (samples + 2).tolist()
    assert folder.path / "spike_times_sec_adj.npy" in READER.files(folder.path)
    (folder.path / "params.py").write_text("sample_rate = 15000.\n", encoding="utf-8")
    halved = folder.read(sampling_rate=0).arrays["spike_sample"]
    assert halved.tolist() == np.rint((samples + 2) / 30000 * 15000).tolist()
    np.save(folder.path / "spike_times_sec_adj.npy", samples.astype(float))
    assert folder.read().arrays["spike_sample"].tolist() == samples.tolist()


@pytest.mark.parametrize("features", [True, False])
@pytest.mark.parametrize("seconds", [True, False])
def test_spikes_before_sample_0_are_left_out_of_all_arrays(folder, tmp_path, features, seconds):
    raw = np.random.default_rng(3).integers(-300, 300, (9000, RECORDED + 1)).astype("<i2")
    raw.tofile(tmp_path / "run.ap.bin")
    early = [0, 17, 333]  # 333 is the only spike of unit 50
    clusters = np.where(np.arange(400) == 333, 50, folder.arrays["spike_clusters"])
    names = ("spike_times", "spike_clusters", "spike_templates", "amplitudes", "pc_features")
    if not features:
        names, folder.arrays["pc_features"] = names[:-1], None
    folder.arrays["spike_clusters"] = clusters
    whole = {name: folder.arrays[name] for name in names}
    # What is left must be as if the others had never been there.
    rest = {name: np.delete(array, early, axis=0) for name, array in whole.items()}
    expected = folder.write(**rest).read(bin_path=tmp_path / "run.ap.bin")
    times = whole["spike_times"].astype(np.int64)
    times[early] = -1, -30000, -4
    folder.write(**whole)
    if seconds:
        np.save(folder.path / "spike_times_sec_adj.npy", times / 30000)
    else:
        np.save(folder.path / "spike_times.npy", times)
    table(folder.path / "cluster_KSLabel.tsv", ("cluster_id", "KSLabel"), (50, "mua"))
    records = folder.read(bin_path=tmp_path / "run.ap.bin")
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(records.arrays[name], array)
    assert records.tables["ephys.unit"].equals(expected.tables["ephys.unit"])
    assert [(s.item_type, s.item) for s in records.skipped] == [("unit", "50"), ("spikes", "3")]


def test_spikes_come_out_in_time_order(folder):
    expected = folder.write().read()
    shuffled = np.random.default_rng(0).permutation(400)
    names = ("spike_times", "spike_clusters", "spike_templates", "amplitudes", "pc_features")
    records = folder.write(**{name: folder.arrays[name][shuffled] for name in names}).read()
    assert (np.diff(records.arrays["spike_sample"]) >= 0).all()
    for name in ("spike_unit", "spike_depth", "spike_amplitude", "spike_channel"):
        pairs = [
            sorted(zip(r.arrays["spike_sample"], r.arrays[name], strict=True))
            for r in (expected, records)
        ]
        assert pairs[0] == pairs[1]


def test_clusters_or_templates_alone(folder):
    folder.write(spike_clusters=None)
    assert sorted(by_unit(folder.read())) == [0, 1, 2, 3, 4]
    (folder.path / "spike_templates.npy").rename(folder.path / "spike_clusters.npy")
    assert sorted(by_unit(folder.read())) == [0, 1, 2, 3, 4]
    assert READER.find(folder.path) == [folder.path]


def test_merged_units_take_the_template_of_their_first_spike(folder):
    merged = np.where(np.isin(folder.arrays["spike_clusters"], [3, 12]), 50, 907)
    records = folder.write(spike_clusters=merged).read()
    expected = folder.arrays["spike_templates"][np.flatnonzero(merged == 50)[0]]
    assert by_unit(records)[50]["channel"] == CHANNELS[folder.peak[expected]] + 1


def test_huge_cluster_numbers(folder):
    numbers = {907: 2_000_000_000, 3: 7}
    clusters = folder.arrays["spike_clusters"].astype(np.int64)
    for old, new in numbers.items():
        clusters[clusters == old] = new
    records = folder.write(spike_clusters=clusters).read()
    assert sorted(by_unit(records)) == [0, 7, 12, 44, 2_000_000_000]
    assert by_unit(records)[2_000_000_000]["channel"] == CHANNELS[folder.peak[0]] + 1


def test_sparse_templates(folder):
    expected = folder.write().read()
    dense = folder.arrays["templates"]
    for local in (3, 6):
        index = np.array([np.argsort(-np.abs(t).max(axis=0))[:local] for t in dense])
        sparse = np.take_along_axis(dense, index[:, None, :], axis=2)
        if local == 6:
            records = folder.write(templates=sparse, templates_ind=index.astype(float)).read()
            got, wanted = records.arrays["waveform"], expected.arrays["waveform"]
            np.testing.assert_allclose(got, wanted, rtol=1e-5)
        else:
            index[:, 2] = -1
            records = folder.write(templates=sparse, templates_ind=index).read()
        channels = [row["channel"] for row in rows(records, "ephys.unit")]
        assert channels == [row["channel"] for row in rows(expected, "ephys.unit")]
        np.testing.assert_allclose(
            records.arrays["spike_depth"], expected.arrays["spike_depth"], rtol=1e-9
        )


def test_dense_templates_beside_an_index_that_means_nothing(folder):
    expected = folder.write().read()
    count, channels = len(IDS), len(CHANNELS)
    # As pykilosort writes it: (channels, templates), the numbers of the templates in each row.
    records = folder.write(templates_ind=np.tile(np.arange(count), (channels, 1))).read()
    np.testing.assert_array_equal(records.arrays["waveform"], expected.arrays["waveform"])
    assert records.tables["ephys.unit"].equals(expected.tables["ephys.unit"])


def test_template_ind_counts_before_templates_ind(folder):
    expected = folder.write().read()
    index = np.tile(np.arange(len(CHANNELS))[::-1], (len(IDS), 1))
    folder.write(templates=folder.arrays["templates"][:, :, ::-1], template_ind=index)
    np.save(folder.path / "templates_ind.npy", np.sort(index, axis=1))
    assert (
        folder.read()
        .tables["ephys.unit"]["channel"]
        .equals(expected.tables["ephys.unit"]["channel"])
    )


def test_a_template_without_spikes_may_hold_anything(folder):
    expected = folder.write().read()
    more = {
        name: np.concatenate([folder.arrays[name], folder.arrays[name][:1]])
        for name in ("templates", "pc_feature_ind")
    }
    more["templates"][-1] = np.nan  # as Kilosort 2.5 leaves it
    records = folder.write(**more).read()
    np.testing.assert_array_equal(records.arrays["waveform"], expected.arrays["waveform"])
    assert records.tables["ephys.unit"].equals(expected.tables["ephys.unit"])
    assert records.arrays["spike_depth"].tolist() == expected.arrays["spike_depth"].tolist()


def test_whitening_matrix_without_its_inverse(folder):
    expected = folder.write().read()
    matrix = np.linalg.inv(folder.arrays["whitening_mat_inv"])
    (folder.path / "whitening_mat_inv.npy").unlink()
    records = folder.write(whitening_mat_inv=None, whitening_mat=matrix).read()
    for new, old in zip(rows(records, "ephys.unit"), rows(expected, "ephys.unit"), strict=True):
        assert new["unit_amp"] == pytest.approx(old["unit_amp"])
        assert new["unit_snr"] == pytest.approx(old["unit_snr"])


def test_gain_scales_amplitudes_only(folder):
    once, twice = folder.write().read(), folder.read(uv_per_bit=2 * UV)
    for new, old in zip(rows(twice, "ephys.unit"), rows(once, "ephys.unit"), strict=True):
        assert new["unit_amp"] == pytest.approx(2 * old["unit_amp"])
        assert new["unit_snr"] == pytest.approx(old["unit_snr"])
    np.testing.assert_allclose(twice.arrays["waveform"], 2 * once.arrays["waveform"])


def test_gains_are_as_published(folder):
    once = folder.write().read(uv_per_bit=1.0)
    for exact, published in ((0.5 / 8192 / 80 * 1e6, 0.763), (0.6 / 512 / 500 * 1e6, 2.34375)):
        again = folder.read(uv_per_bit=exact)
        for new, old in zip(rows(again, "ephys.unit"), rows(once, "ephys.unit"), strict=True):
            assert new["unit_amp"] == pytest.approx(published * old["unit_amp"], rel=1e-9)


# ---- waveforms of the raw recording


def test_raw_waveforms_are_as_long_before_the_spike_as_after_it(folder, tmp_path):
    raw = np.random.default_rng(3).integers(-300, 300, (9000, RECORDED + 1)).astype("<i2")
    raw.tofile(tmp_path / "run.ap.bin")
    odd = np.concatenate([folder.arrays["templates"], np.zeros((5, 1, 6))], axis=1)
    expected = folder.write().read(bin_path=tmp_path / "run.ap.bin")
    records = folder.write(templates=odd).read(bin_path=tmp_path / "run.ap.bin")
    np.testing.assert_array_equal(records.arrays["waveform"], expected.arrays["waveform"])
    assert records.tables["ephys.unit"].equals(expected.tables["ephys.unit"])


def test_raw_waveforms_and_snr(folder, tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    raw = rng.integers(-300, 300, (9000, RECORDED + 1)).astype("<i2")
    raw.tofile(tmp_path / "run.ap.bin")
    records = folder.write().read(bin_path=tmp_path / "run.ap.bin")
    units = by_unit(records)
    for place, unit in enumerate(sorted(IDS)):
        cuts = [
            raw[t - SAMPLES // 2 : t + SAMPLES // 2, :RECORDED]
            for t in folder.arrays["spike_times"][folder.arrays["spike_clusters"] == unit].tolist()
            if t + SAMPLES // 2 <= len(raw)
        ]
        mean = np.mean(cuts, axis=0)
        np.testing.assert_allclose(records.arrays["waveform"][place], mean.T * UV, rtol=1e-5)
        peak = units[unit]["channel"] - 1
        noise = (np.array(cuts)[:, :, peak] - mean[:, peak]).std()
        assert units[unit]["unit_snr"] == pytest.approx(np.ptp(mean[:, peak]) / (2 * noise))
    monkeypatch.setattr(waveforms, "MAX_SPIKES", 10)
    few, again = (folder.read(bin_path=tmp_path / "run.ap.bin") for _ in range(2))
    assert np.abs(few.arrays["waveform"] - records.arrays["waveform"]).max() > 1
    np.testing.assert_array_equal(few.arrays["waveform"], again.arrays["waveform"])
    assert few.tables["ephys.unit"].equals(again.tables["ephys.unit"])


@pytest.mark.parametrize("name", ["spike_times_sec", "spike_times_sec_adj"])
def test_raw_waveforms_are_cut_at_the_probes_own_samples(folder, tmp_path, name):
    raw = np.random.default_rng(3).integers(-300, 300, (9000, RECORDED + 1)).astype("<i2")
    raw.tofile(tmp_path / "run.ap.bin")
    expected = folder.write().read(bin_path=tmp_path / "run.ap.bin")
    own = folder.arrays["spike_times"].astype(np.int64)
    later = own + 150 + own // 1000  # another clock: 5 ms ahead, and faster
    shuffled = np.random.default_rng(0).permutation(len(own))
    names = ("spike_clusters", "spike_templates", "amplitudes", "spike_times")
    for order in (np.arange(len(own)), shuffled):
        changed = {n: folder.arrays[n][order] for n in names}
        folder.write(pc_features=folder.arrays["pc_features"][order], **changed)
        np.save(folder.path / f"{name}.npy", later[order] / 30000)
        records = folder.read(bin_path=tmp_path / "run.ap.bin")
        np.testing.assert_array_equal(records.arrays["spike_sample"], later)
        np.testing.assert_array_equal(records.arrays["waveform"], expected.arrays["waveform"])
        for unit, row in by_unit(records).items():
            assert row["unit_snr"] == by_unit(expected)[unit]["unit_snr"]
    assert folder.path / "spike_times.npy" in READER.files(folder.path)
    (folder.path / "spike_times.npy").unlink()  # nothing tells the probe's own samples
    moved = folder.read(bin_path=tmp_path / "run.ap.bin").arrays["waveform"]
    assert np.abs(moved - expected.arrays["waveform"]).max() > 1


def test_raw_recording_shorter_than_the_sorting(folder, tmp_path):
    np.zeros((50, RECORDED + 1), "<i2").tofile(tmp_path / "run.ap.bin")
    expected = folder.write().read()
    records = folder.read(bin_path=tmp_path / "run.ap.bin")
    assert records.tables["ephys.unit"].equals(expected.tables["ephys.unit"])
    (tmp_path / "run.ap.bin").write_bytes(b"")
    with pytest.raises(CorruptFileError, match="empty"):
        folder.read(bin_path=tmp_path / "run.ap.bin")
    with pytest.raises(MaplakeError):
        folder.read(bin_path=tmp_path / "none.ap.bin")
