"""JRCLUST results, versions 3 and 4, as MATLAB 7.3 files."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.mat73 import write_mat73

__all__ = ["JrclustResult", "simulate_jrclust", "write_v3", "write_v4"]

Array = np.ndarray[Any, Any]

_NOTES = ("single", "multi", "", "ok", "single (drifts)", "to_delete")
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
