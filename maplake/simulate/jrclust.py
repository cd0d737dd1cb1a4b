"""JRCLUST results, versions 3 and 4, as MATLAB 7.3 files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.mat73 import write_mat73
from maplake.simulate.truth import Probe

__all__ = ["JrclustResult", "simulate_jrclust", "sort_again", "write_v3", "write_v4"]

Array = np.ndarray[Any, Any]

_NOTES = ("single", "multi", "", "ok", "single (drifts)", "to_delete")
_WRITTEN = {"good": "single", "ok": "ok", "multi": "multi", "all": ""}
_WORDS = ("good", "multi", "all", "ok", "good", "all")


@dataclass(frozen=True)
class JrclustResult:
    """A sorting, as it is true; cluster ``k`` is row ``k - 1`` of the arrays of units.

    Spikes are in time order: ``sample`` int64, ``site`` from 1, ``cluster`` (0 and below = noise),
    ``x``, ``y`` and ``amplitude``. Units: ``note`` and its meaning ``quality``, ``unit_x``,
    ``unit_y`` (um), ``unit_amplitude`` (uV), ``snr``, ``peak_site`` from 1, ``waveform``
    (units, sites, samples) in uV, site 0 = peak.
    """

    sampling_rate: float
    sample: Array
    site: Array
    cluster: Array
    x: Array
    y: Array
    amplitude: Array
    note: list[str]
    quality: list[str]
    unit_x: Array
    unit_y: Array
    unit_amplitude: Array
    snr: Array
    peak_site: Array
    waveform: Array
    isi_ratio: Array
    sorted_on: datetime = field(default=datetime(2020, 3, 1, 18, 30, 15))
    curated_on: datetime | None = field(default=datetime(2020, 3, 4, 9, 5, 30))


def simulate_jrclust(
    seed: int = 0,
    *,
    units: int = 8,
    spikes: int = 4000,
    channels: int = 384,
    sampling_rate: float = 30_000.0,
    seconds: float = 120.0,
) -> JrclustResult:
    """Make up a sorting; every unit has spikes, about a tenth of the spikes are noise."""
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(round(seconds * sampling_rate), spikes, replace=False))
    cluster = rng.integers(-1, units + 1, spikes)
    cluster[:units] = np.arange(1, units + 1)
    peak = rng.integers(1, channels + 1, units)
    site = np.where(cluster > 0, peak[np.maximum(cluster, 1) - 1], 1)
    return JrclustResult(
        sampling_rate=sampling_rate,
        sample=sample,
        site=site,
        cluster=cluster,
        x=rng.uniform(0, 48, spikes),
        y=rng.uniform(0, 3840, spikes),
        amplitude=rng.uniform(20, 400, spikes),
        note=[_NOTES[unit % len(_NOTES)] for unit in range(units)],
        quality=[_WORDS[unit % len(_WORDS)] for unit in range(units)],
        unit_x=rng.uniform(0, 48, units),
        unit_y=rng.uniform(0, 3840, units),
        unit_amplitude=rng.uniform(30, 300, units),
        snr=rng.uniform(1, 20, units),
        peak_site=peak,
        waveform=rng.normal(0, 50, (units, 14, 82)).astype(np.float32),
        isi_ratio=rng.uniform(0, 1, units),
    )


def sort_again(probe: Probe, version: int, rng: np.random.Generator) -> JrclustResult:
    """Return what JRCLUST makes of a probe's spikes, with some noise; the truth becomes that.

    ``version`` is 3 or 4. Units get the numbers 1, 2, …; ``spike_depth`` becomes that of the
    single spikes.
    """
    units = probe.units
    row = np.argsort(units.id)[np.searchsorted(np.sort(units.id), probe.spike_unit)]
    count = len(row)
    strays = np.sort(rng.integers(0, probe.n_samples, max(1, count // 20)))
    sample = np.concatenate([probe.spike_sample, strays])
    order = np.argsort(sample, kind="stable")
    cluster = np.concatenate([row + 1, rng.integers(-1, 1, len(strays))])[order]
    known = np.concatenate([np.full(count, fill_value=True), np.zeros(len(strays), bool)])[order]
    place = np.maximum(cluster, 1) - 1
    x = units.x[place] + rng.normal(0, 4, len(sample))
    y = units.y[place] + rng.normal(0, 12, len(sample))
    amplitude = np.concatenate([probe.spike_amplitude, rng.uniform(5, 20, len(strays))])[order]
    probe.units = replace(units, id=np.arange(1, len(units) + 1, dtype=np.int32))
    probe.spike_unit = cluster[known].astype(np.int32)
    probe.spike_depth, probe.spike_template = y[known], place[known].astype(np.int32)
    probe.clustering_method = f"jrclust_v{version}"
    fall = np.exp(-np.arange(14) / 4)
    peak_to_peak = np.ptp(units.waveform, axis=1)
    result = JrclustResult(
        sampling_rate=probe.sampling_rate,
        sample=sample[order],
        site=units.channel[place] + 1,
        cluster=cluster,
        x=x,
        y=y,
        amplitude=amplitude,
        note=[_WRITTEN[quality] for quality in units.quality.tolist()],
        quality=units.quality.tolist(),
        unit_x=units.x,
        unit_y=units.y,
        unit_amplitude=peak_to_peak,
        snr=peak_to_peak / rng.uniform(10, 20, len(units)),
        peak_site=units.channel + 1,
        waveform=(units.waveform[:, np.newaxis] * fall[:, np.newaxis]).astype(np.float32),
        isi_ratio=rng.uniform(0, 0.3, len(units)),
    )
    probe.units = replace(probe.units, amplitude=peak_to_peak)
    return result


def _datenum(time: datetime) -> float:
    day = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return day.toordinal() + 366 + (time - day).total_seconds() / 86_400


def write_v4(path: Path, result: JrclustResult) -> Path:
    """Write ``{h2o}_*.ap_res.mat``."""
    variables: dict[str, Any] = {
        "spikeTimes": result.sample.astype(np.int32),
        "spikeSites": result.site.astype(np.int32),
        "spikeClusters": result.cluster.astype(np.int32),
        "spikeAmps": result.amplitude,
        "spikePositions": np.column_stack((result.x, result.y)),
        "meanWfLocalRaw": result.waveform.transpose(2, 1, 0),
        "clusterNotes": result.note,
        "clusterCentroids": np.column_stack((result.unit_x, result.unit_y)),
        "unitVppRaw": result.unit_amplitude,
        "unitSNR": result.snr,
        "unitISIRatio": result.isi_ratio,
        "clusterSites": result.peak_site.astype(float),
        "sortedOn": np.array([[_datenum(result.sorted_on)]]),
    }
    if result.curated_on is not None:
        variables["curatedOn"] = np.array([[_datenum(result.curated_on)]])
    write_mat73(path, variables, result.sorted_on)
    return path


def write_v3(path: Path, result: JrclustResult) -> Path:
    """Write ``{h2o}_*_jrc.mat``."""
    clusters = {
        "viClu": result.cluster.astype(np.int32),
        "trWav_raw_clu": result.waveform.transpose(2, 1, 0),
        "csNote_clu": result.note,
        "vrPosX_clu": result.unit_x,
        "vrPosY_clu": result.unit_y,
        "vrVpp_uv_clu": result.unit_amplitude,
        "vrSnr_clu": result.snr,
        "vrIsiRatio_clu": result.isi_ratio,
        "viSite_clu": result.peak_site.astype(float),
    }
    variables = {
        "P": {"sRateHz": np.array([[result.sampling_rate]]), "vcFile": "D:/data/run.bin"},
        "viTime_spk": result.sample.astype(np.int32),
        "viSite_spk": result.site.astype(np.int32),
        "vrAmp_spk": result.amplitude,
        "mrPos_spk": np.column_stack((result.x, result.y)),
        "S_clu": clusters,
    }
    write_mat73(path, variables, result.sorted_on)
    return path
