"""Kilosort and phy folders: real ones, made up ones of known truth, and wrong ones."""

from __future__ import annotations

import os
import pickle
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maplake import tables
from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MaplakeError,
    MissingFileError,
    UnknownValueError,
)
from maplake.ingest.cell_type import cell_type, cell_types
from maplake.readers import npy, waveforms
from maplake.readers.base import SortingContext
from maplake.readers.kilosort import READER
from maplake.readers.phy import last_curation, read_params

DATA = Path(os.environ.get("MAPLAKE_TEST_DATA", "")) / "real"
real = pytest.mark.skipif(
    "MAPLAKE_TEST_DATA" not in os.environ, reason="MAPLAKE_TEST_DATA is not set: no real files"
)

IDS = np.array([907, 3, 12, 0, 44])  # sparse, in the order of their templates
RECORDED, SAMPLES = 8, 20
CHANNELS = np.array([1, 0, 2, 5, 4, 6])  # of the recording; 3 and 7 are not sorted
UV = 2.0


def context(**changes):
    values = {
        "sampling_rate": 30000.0,
        "uv_per_bit": UV,
        "electrode": np.arange(1, RECORDED + 1),
        "position": np.zeros((RECORDED, 2)),
        "saved_channels": RECORDED + 1,
    }
    return SortingContext(**(values | changes))


def table(path, *rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


class Folder:
    """A folder with known arrays; ``arrays`` may be changed before ``write``."""

    def __init__(self, path: Path, spikes: int = 400, seed: int = 1):
        rng = np.random.default_rng(seed)
        count, channels = len(IDS), len(CHANNELS)
        template = rng.integers(0, count, spikes)
        templates = rng.normal(0, 0.1, (count, SAMPLES, channels))
        self.peak = np.array([4, 2, 0, 5, 2])
        templates[np.arange(count), SAMPLES // 2, self.peak] = -3
        templates[np.arange(count), SAMPLES // 2 + 5, self.peak] = 1
        self.path = path
        self.arrays = {
            "spike_times": np.sort(rng.integers(100, 9000, spikes)).astype(np.uint64),
            "spike_clusters": IDS[template].astype(np.uint32),
            "spike_templates": template.astype(np.uint32),
            "amplitudes": rng.uniform(5, 20, spikes),
            "templates": templates.astype(np.float32),
            "channel_map": CHANNELS,
            "channel_positions": np.column_stack(
                (rng.uniform(0, 60, channels), np.arange(channels) * 20.0 + 7)
            ),
            "whitening_mat_inv": rng.normal(0, 1, (channels, channels)) + 5 * np.eye(channels),
            "pc_features": rng.normal(1, 2, (spikes, 3, 4)).astype(np.float32),
            "pc_feature_ind": np.array([rng.permutation(channels)[:4] for _ in range(count)]),
        }
        path.mkdir(parents=True, exist_ok=True)

    def write(self, **changes):
        arrays = {name: a for name, a in (self.arrays | changes).items() if a is not None}
        for name, array in arrays.items():
            np.save(self.path / f"{name}.npy", array)
        return self

    def read(self, **changes):
        return READER.read(self.path, context(**changes))

    def depths(self):
        """Centre of mass, spike by spike."""
        depths = []
        y = self.arrays["channel_positions"][:, 1]
        for spike, template in enumerate(self.arrays["spike_templates"]):
            top = bottom = 0.0
            for place, channel in enumerate(self.arrays["pc_feature_ind"][template]):
                f = max(float(self.arrays["pc_features"][spike, 0, place]), 0.0)
                top, bottom = top + y[channel] * f**2, bottom + f**2
            depths.append(top / bottom if bottom else y[self.peak[template]])
        return np.array(depths)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "ks2")


def rows(records, name):
    return records.tables[name].to_pylist()


def by_unit(records, name="ephys.unit"):
    return {row["unit"]: row for row in rows(records, name)}


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


def test_merged_units_take_their_commonest_template(folder):
    merged = np.where(np.isin(folder.arrays["spike_clusters"], [3, 12]), 50, 907)
    records = folder.write(spike_clusters=merged).read()
    counts = np.bincount(folder.arrays["spike_templates"])
    expected = max((1, 2), key=lambda t: counts[t])
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


# ---- waveforms of the raw recording


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


# ---- labels


def qualities(records):
    return {row["unit"]: row["unit_quality"] for row in rows(records, "ephys.unit")}


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


def test_groups_of_phy_beside_the_quality_are_notes(folder):
    table(folder.path / "cluster_KSLabel.tsv", ("cluster_id", "KSLabel"), (3, "good"))
    table(folder.path / "cluster_group.tsv", ("cluster_id", "group"), (3, "mua"), (12, "noise"))
    records = folder.write().read()
    assert qualities(records)[3] == "good"
    assert "ephys.unit_noise_label" not in records.tables
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


def write_metrics(folder, ids=IDS, drop=(), **changes):
    names = ["", "cluster_id", "peak_channel", "amplitude", "snr"]
    for name in ("ephys.cluster_metric", "ephys.waveform_metric"):
        names += [
            c.name.replace("pt_ratio", "PT_ratio")
            for c in tables.get(name).file_columns
            if c.name not in ("clustering_method", "unit")
        ]
    lines = [",".join(name for name in names if name not in drop)]
    for row, unit in enumerate(ids):
        values = {name: row + n / 100 for n, name in enumerate(names)}
        values |= {"": row, "cluster_id": unit, "peak_channel": CHANNELS[row % len(CHANNELS)]}
        values |= {name: "complete" for name in names if name.startswith("epoch")}
        values |= {name: value[row] for name, value in changes.items()}
        lines.append(",".join(str(values[name]) for name in names if name not in drop))
    (folder.path / "metrics.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


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
    (first.path / "params.py").touch()
    assert READER.find(first.path / "params.py") == [first.path]
    table(first.path / "cluster_x.tsv", ("cluster_id", "x"))
    names = [path.name for path in READER.files(first.path)]
    assert names == sorted(names)
    assert set(names) == {f"{name}.npy" for name in first.arrays} | {"params.py", "cluster_x.tsv"}


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
    ({"spike_times": -np.arange(400)}, CorruptFileError, "spike 1"),
    ({"spike_times": np.full(400, np.nan)}, CorruptFileError, "spike 0"),
    ({"spike_times": np.full(400, np.inf)}, CorruptFileError, "spike 0"),
    ({"spike_times": np.full(400, 2**63, np.uint64)}, CorruptFileError, "spike 0"),
    ({"spike_times": np.zeros((20, 20))}, FileFormatError, "no vector"),
    ({"spike_times": np.full(400, "a")}, FileFormatError, "spike_times.npy"),
    ({"spike_clusters": np.full(400, -1)}, CorruptFileError, "element 0"),
    ({"spike_clusters": np.full(400, 0.5)}, CorruptFileError, "element 0"),
    ({"spike_clusters": np.full(400, 2**40)}, UnknownValueError, "too large"),
    ({"spike_templates": np.full(400, 5)}, LengthMismatchError, "less than 5"),
    ({"amplitudes": np.full(400, np.inf)}, CorruptFileError, "amplitudes.npy"),
    ({"templates": np.zeros((5, SAMPLES, 7))}, LengthMismatchError, "templates.npy"),
    ({"templates": np.full((5, SAMPLES, 6), np.nan)}, CorruptFileError, "template 0"),
    ({"templates": np.zeros((5, 6))}, FileFormatError, "templates.npy"),
    ({"templates": np.zeros((5, 0, 6))}, CorruptFileError, "no templates"),
    ({"templates": np.full((5, SAMPLES, 6), 1e38)}, CorruptFileError, "too large"),
    ({"templates_ind": np.zeros((5, 3), int)}, LengthMismatchError, "templates_ind.npy"),
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


# ---- cell types


def test_cell_types():
    time = np.arange(82) / 30000
    waves = [
        -np.exp(-(((time - 1e-3) / 1e-4) ** 2)) + 0.4 * np.exp(-(((time - 1e-3 - w) / 1e-4) ** 2))
        for w in (0.25e-3, 0.38e-3, 0.43e-3, 0.8e-3)
    ]
    assert cell_types(np.array(waves), 30000) == ["FS", "FS", "Pyr", "Pyr"]
    assert cell_types(-np.array(waves), 30000) == ["FS", "FS", "Pyr", "Pyr"]
    assert [cell_type(wave, 30000) for wave in waves] == ["FS", "FS", "Pyr", "Pyr"]
    assert cell_types(np.array([waves[0], waves[0] * np.nan]), 30000) == ["FS", "not classified"]
    assert cell_types(np.empty((0, 82)), 30000) == []
    assert cell_types(np.zeros((1, 1)), 30000) == ["not classified"]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(5, 90))
def test_cell_types_as_published(seed, samples):
    from scipy.interpolate import CubicSpline

    waves = np.random.default_rng(seed).normal(size=(3, samples))
    for wave, found in zip(waves, cell_types(waves, 25000.0), strict=True):
        fine = CubicSpline(range(samples), wave)(np.linspace(0, samples - 1, samples * 100))
        width = abs(np.argmin(fine) - np.argmax(fine)) / (25000.0 * 100)
        assert found == ("FS" if width < 0.4e-3 else "Pyr")
