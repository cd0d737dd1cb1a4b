"""JRCLUST results of both versions read as what was written, and bad ones are refused."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from maplake import errors
from maplake.readers import jrclust_v3, jrclust_v4
from maplake.readers.base import SortingContext
from maplake.simulate import jrclust as sim

VERSIONS = {
    "v4": (jrclust_v4.READER, sim.write_v4, "SC022_g0_t0.imec0.ap_res.mat"),
    "v3": (jrclust_v3.READER, sim.write_v3, "SC022_g0_imec0_jrc.mat"),
}
CONTEXT = SortingContext(30_000.0, 2.34375, np.arange(1, 385), np.zeros((384, 2)), 385)


@pytest.fixture(params=list(VERSIONS))
def version(request):
    return VERSIONS[request.param]


def write(version, folder, result=None, **changes):
    result = replace(result or sim.simulate_jrclust(), **changes)
    return version[1](folder / version[2], result), result


def read(version, path):
    return version[0].read(path, CONTEXT)


def test_everything_is_what_was_written(version, tmp_path):
    path, truth = write(version, tmp_path)
    assert version[0].find(tmp_path) == [path]
    records = read(version, path)
    kept = truth.cluster > 0
    arrays = records.arrays
    np.testing.assert_array_equal(arrays["spike_sample"], truth.sample[kept])
    np.testing.assert_array_equal(arrays["spike_unit"], truth.cluster[kept])
    np.testing.assert_array_equal(arrays["spike_channel"], truth.site[kept])
    np.testing.assert_array_equal(arrays["spike_depth"], truth.y[kept])
    np.testing.assert_array_equal(arrays["spike_amplitude"], truth.amplitude[kept])
    np.testing.assert_array_equal(arrays["waveform"], truth.waveform)
    kinds = {"spike_sample": "<i8", "spike_unit": "<i4", "spike_channel": "<i4"}
    assert {name: arrays[name].dtype.str for name in kinds} == kinds
    units = records.tables["ephys.unit"].to_pydict()
    assert units["unit"] == list(range(1, 9))
    assert units["unit_quality"] == truth.quality
    assert units["channel"] == truth.peak_site.tolist()
    assert units["unit_posx"] == truth.unit_x.tolist()
    assert units["unit_posy"] == truth.unit_y.tolist()
    assert units["unit_amp"] == truth.unit_amplitude.tolist()
    assert units["unit_snr"] == truth.snr.tolist()
    assert set(units["clustering_method"]) == {version[0].name}
    waves = records.tables["ephys.unit_waveform"].to_pydict()
    np.testing.assert_array_equal(waves["waveform"], truth.waveform[:, 0].astype(float))
    assert [(s.item_type, s.item) for s in records.skipped] == [("spikes", str((~kept).sum()))]
    np.testing.assert_array_equal(records.info["unit_extras"]["isi_ratio"], truth.isi_ratio)


def test_v4_takes_the_time_of_curation_from_the_file(tmp_path):
    path, truth = write(VERSIONS["v4"], tmp_path)
    label = read(VERSIONS["v4"], path).tables["ephys.clustering_label"].to_pylist()[0]
    assert label["clustering_time"] == truth.curated_on
    # As published, curation is what phy.log tells; the result file has its time alone.
    assert (label["manual_curation"], label["quality_control"]) == (False, False)
    path, truth = write(VERSIONS["v4"], tmp_path, curated_on=None)
    label = read(VERSIONS["v4"], path).tables["ephys.clustering_label"].to_pylist()[0]
    assert (label["clustering_time"], label["manual_curation"]) == (truth.sorted_on, False)


def test_v3_takes_the_time_from_phy_log_or_the_file(tmp_path):
    path, _ = write(VERSIONS["v3"], tmp_path)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    label = read(VERSIONS["v3"], path).tables["ephys.clustering_label"].to_pylist()[0]
    assert label["clustering_time"] == (
        datetime.fromtimestamp(1_600_000_000, UTC).astimezone().replace(tzinfo=None)
    )
    assert not label["manual_curation"]
    log = tmp_path / "phy.log"
    log.write_text("2020-03-02 17:13:57.410 [I] Merge clusters 1, 2 to 9.\n", encoding="utf-8")
    (tmp_path / "metrics.csv").write_text("cluster_id\n", encoding="utf-8")
    label = read(VERSIONS["v3"], path).tables["ephys.clustering_label"].to_pylist()[0]
    assert label["clustering_time"] == datetime(2020, 3, 2, 17, 13, 57)
    assert (label["manual_curation"], label["quality_control"]) == (True, True)
    assert VERSIONS["v3"][0].files(path) == [path, log, tmp_path / "metrics.csv"]


def test_version_4_goes_before_version_3():
    assert jrclust_v4.READER.priority < jrclust_v3.READER.priority < 20


def test_spikes_out_of_order_are_sorted_and_silent_units_left_out(version, tmp_path):
    truth = sim.simulate_jrclust(3)
    flipped = {n: getattr(truth, n)[::-1].copy() for n in ("sample", "site", "y", "x", "amplitude")}
    cluster = np.where(truth.cluster == 3, 0, truth.cluster)
    path, _ = write(version, tmp_path, truth, cluster=cluster[::-1].copy(), **flipped)
    records = read(version, path)
    np.testing.assert_array_equal(records.arrays["spike_sample"], truth.sample[cluster > 0])
    np.testing.assert_array_equal(records.arrays["spike_unit"], cluster[cluster > 0])
    assert records.tables["ephys.unit"]["unit"].to_pylist() == [1, 2, 4, 5, 6, 7, 8]
    np.testing.assert_array_equal(records.arrays["waveform"][2], truth.waveform[3])
    assert ("unit", "3") in [(s.item_type, s.item) for s in records.skipped]


@pytest.mark.parametrize("units", [1, 2])
def test_few_units_and_spikes_keep_their_axes(version, tmp_path, units):
    path, truth = write(version, tmp_path, sim.simulate_jrclust(units=units, spikes=2))
    records = read(version, path)
    kept = truth.cluster > 0
    np.testing.assert_array_equal(records.arrays["spike_depth"], truth.y[kept])
    np.testing.assert_array_equal(records.arrays["waveform"], truth.waveform)


def test_missing_amplitudes_and_snr_are_nan_and_0(tmp_path):
    path, _ = write(VERSIONS["v4"], tmp_path)
    with h5py.File(path, "r+") as file:
        del file["spikeAmps"], file["unitSNR"]
    records = read(VERSIONS["v4"], path)
    assert np.isnan(records.arrays["spike_amplitude"]).all()
    assert set(records.tables["ephys.unit"]["unit_snr"].to_pylist()) == {0.0}


def test_clusters_of_half_floats(tmp_path):
    path, truth = write(VERSIONS["v4"], tmp_path)
    with h5py.File(path, "r+") as file:
        clusters = file["spikeClusters"][()].astype(np.float16)
        del file["spikeClusters"]
        file["spikeClusters"] = clusters
    found = read(VERSIONS["v4"], path).arrays["spike_unit"]
    np.testing.assert_array_equal(found, truth.cluster[truth.cluster > 0])


def change(name, value):
    def apply(path):
        with h5py.File(path, "r+") as file:
            stored = file[name][()]
            del file[name]
            file[name] = value(stored) if callable(value) else value

    return apply


def with_first(value):
    def apply(stored):
        stored = stored.astype(float)
        stored.flat[np.argmax(stored > 0)] = value
        return stored

    return apply


BAD = {
    "empty": (lambda p: p.write_bytes(b""), errors.CorruptFileError),
    "zeros": (lambda p: p.write_bytes(bytes(4096)), errors.CorruptFileError),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:3000]), errors.CorruptFileError),
    "version 5": (lambda p: p.write_bytes(b"MATLAB 5.0" + bytes(600)), errors.FileFormatError),
    "missing": (lambda p: p.unlink(), errors.MissingFileError),
    "lengths": (change("spikeSites", lambda a: a[:, :-1]), errors.LengthMismatchError),
    "positions": (change("spikePositions", lambda a: a[:, :-1]), errors.LengthMismatchError),
    "units": (change("unitVppRaw", lambda a: a[:, :-1]), errors.LengthMismatchError),
    "notes": (change("clusterSites", lambda a: a[:, :-1]), errors.LengthMismatchError),
    "non-finite time": (change("spikeTimes", with_first(np.nan)), errors.CorruptFileError),
    "non-finite amplitude": (change("unitVppRaw", with_first(np.inf)), errors.CorruptFileError),
    "fraction": (change("spikeTimes", with_first(0.5)), errors.CorruptFileError),
    "site 0": (change("spikeSites", lambda a: np.zeros_like(a)), errors.CorruptFileError),
    "site 999": (change("clusterSites", with_first(999)), errors.CorruptFileError),
    "only noise": (change("spikeClusters", lambda a: a * 0), errors.CorruptFileError),
    "text": (change("spikeTimes", np.bytes_("abc")), errors.FileFormatError),
    "field gone": (lambda p: _delete(p, "spikeClusters"), errors.FileFormatError),
    "no cell": (change("clusterNotes", np.zeros((1, 8))), errors.FileFormatError),
    "no date": (change("curatedOn", np.array([[1e300]])), errors.CorruptFileError),
}


def _delete(path, name):
    with h5py.File(path, "r+") as file:
        del file[name]


@pytest.mark.parametrize("fault", list(BAD))
def test_bad_files_are_refused_by_name(fault, tmp_path):
    path, _ = write(VERSIONS["v4"], tmp_path)
    spoil, error = BAD[fault]
    spoil(path)
    with pytest.raises(error) as caught:
        read(VERSIONS["v4"], path)
    assert caught.value.file == str(path)


def test_links_out_of_the_file_and_external_content_are_not_followed(tmp_path):
    path, _ = write(VERSIONS["v4"], tmp_path)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.arange(4000)
    with h5py.File(path, "r+") as file:
        del file["spikeTimes"]
        file["spikeTimes"] = h5py.ExternalLink("other.h5", "secret")
    with pytest.raises(errors.FileFormatError, match="missing"):
        read(VERSIONS["v4"], path)
    with h5py.File(path, "r+") as file:
        del file["spikeTimes"]
        file.create_dataset("spikeTimes", (4000,), "i4", external=[(str(other), 0, 16_000)])
    with pytest.raises(errors.CorruptFileError, match="does not hold"):
        read(VERSIONS["v4"], path)


def test_notes_that_refer_to_anything_but_text_are_no_label(tmp_path):
    path, truth = write(VERSIONS["v4"], tmp_path)
    with h5py.File(path, "r+") as file:
        cell = file["clusterNotes"][()]
        cell[0, 0] = file["spikePositions"].ref
        cell[0, 1] = file["#refs#"].ref
        cell[0, 3] = h5py.Reference()
        file["clusterNotes"][...] = cell
    quality = read(VERSIONS["v4"], path).tables["ephys.unit"]["unit_quality"].to_pylist()
    assert quality == ["all", "all", truth.quality[2], "all", *truth.quality[4:]]


def test_v3_of_another_recording_is_refused(tmp_path):
    path, _ = write(VERSIONS["v3"], tmp_path, sampling_rate=25_000.0)
    with pytest.raises(errors.FileFormatError, match="25000 Hz"):
        read(VERSIONS["v3"], path)


def test_only_results_are_found(tmp_path):
    for name in ("._SC022_x.ap_res.mat", "SC022.mat", "_x.ap_res.mat", "SC022_x_jrc.mat.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "SC022_folder.ap_res.mat").mkdir()
    assert not jrclust_v4.READER.find(tmp_path)
    assert not jrclust_v3.READER.find(tmp_path)
