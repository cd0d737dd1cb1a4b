"""Peak channel, amplitude, signal to noise and mean waveform of Kilosort's units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, UnknownValueError
from maplake.readers.base import SortingContext
from maplake.readers.ks_metrics import Metrics, mean_waveforms
from maplake.readers.ks_spikes import Spikes, Units, unit_templates
from maplake.readers.waveforms import Templates, load_unwhitening, raw_waveforms

__all__ = ["Channels", "Properties", "unit_properties"]

#: uV per count of a 2.0 probe as the published pipeline rounds it, of 0.76294.
_SECOND_UV = 0.763


@dataclass(frozen=True)
class Channels:
    """The sorter's channels.

    Attributes
    ----------
    map
        (channels,) channel of the recording, from 0.
    position
        (channels, 2) x and y in um, as the sorter was told.
    recorded
        Number of AP channels of the recording.
    """

    map: NDArray[np.int64]
    position: NDArray[np.float64]
    recorded: int


@dataclass(frozen=True)
class Properties:
    """Properties of units, in order of their numbers.

    Attributes
    ----------
    peak
        (units,) the sorter's channel, from 0, with the largest amplitude.
    amplitude
        (units,) peak to peak on that channel, uV.
    snr
        (units,) amplitude over twice the noise.
    waveform
        (units, recorded channels, samples) in uV, float32; NaN on channels not sorted.
    """

    peak: NDArray[np.int64]
    amplitude: NDArray[np.float64]
    snr: NDArray[np.float64]
    waveform: NDArray[np.float32]


def unit_properties(
    folder: Path,
    context: SortingContext,
    channels: Channels,
    templates: Templates,
    peaks: NDArray[np.int64],
    spikes: Spikes,
    units: Units,
    metrics: Metrics | None,
) -> Properties:
    """Return the properties of all units with spikes.

    From ``metrics.csv`` and ``mean_waveforms.npy`` for the units that have a row there; for the
    others from their templates, and the raw recording where it is there.

    Raises
    ------
    SourceError
        If a file is missing, unreadable or damaged, or files contradict each other.
    """
    rows = [metrics.first.get(unit, -1) if metrics else -1 for unit in units.number.tolist()]
    row = np.array(rows, dtype=np.int64)
    measured = row >= 0
    averaged = metrics is not None and (folder / "mean_waveforms.npy").is_file()
    needed = np.ones(len(row), dtype=bool) if not averaged else ~measured
    if needed.any():
        found = _from_templates(folder, context, channels, templates, peaks, spikes, units)
        if context.bin_path is not None:
            even = found.waveform.shape[2] // 2 * 2  # as far before the spike as after it
            found = replace(found, waveform=found.waveform[:, :, :even])
            _from_recording(context.bin_path, context, channels, spikes, units, found, needed)
    if metrics is None:
        return found
    waveform = np.empty((0, 0, 0), dtype=np.float32)
    if averaged:
        path = folder / "mean_waveforms.npy"
        local = mean_waveforms(path, metrics, units.number[measured], channels.map)
        waveform = np.full((len(row), channels.recorded, local.shape[2]), np.nan, np.float32)
        waveform[np.nonzero(measured)[0][:, None], channels.map] = local
    if not needed.any():
        zero = np.zeros(len(row))
        found = Properties(np.zeros(len(row), dtype=np.int64), zero, zero.copy(), waveform)
    elif averaged:
        waveform[needed] = _fit(found.waveform[needed], waveform.shape[2])
        found = Properties(found.peak, found.amplitude, found.snr, waveform)
    found.peak[measured] = _metric_peaks(metrics, row[measured], channels)
    found.amplitude[measured] = metrics.amplitude[row[measured]]
    found.snr[measured] = metrics.snr[row[measured]]
    return found


def _fit(waveform: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Centre waveforms in another number of samples, cut or filled up with 0."""
    out = np.zeros((*waveform.shape[:2], samples), dtype=np.float32)
    shift = samples // 2 - waveform.shape[2] // 2
    to, since = max(shift, 0), max(-shift, 0)
    length = min(samples - to, waveform.shape[2] - since)
    out[:, :, to : to + length] = waveform[:, :, since : since + length]
    return out


def _metric_peaks(
    metrics: Metrics, row: NDArray[np.int64], channels: Channels
) -> NDArray[np.int64]:
    """Return the sorter's channel of each row's ``peak_channel``."""
    place = np.full(channels.recorded + 1, -1)
    place[channels.map] = np.arange(len(channels.map))
    peak = place[np.minimum(metrics.peak_channel[row], channels.recorded)]
    if (peak < 0).any():
        bad = int(row[(peak < 0).argmax()])
        raise UnknownValueError(
            "a peak channel that was not sorted",
            file=metrics.table.path,
            place=f"row {bad + 1}, column peak_channel",
            found=metrics.peak_channel[bad],
            expected="a channel of channel_map.npy",
        )
    return peak


def _from_templates(
    folder: Path,
    context: SortingContext,
    channels: Channels,
    templates: Templates,
    peaks: NDArray[np.int64],
    spikes: Spikes,
    units: Units,
) -> Properties:
    """Return properties from the template of each unit's first spike.

    The template is unwhitened and scaled by the unit's mean spike amplitude. Whitened data has
    unit variance, so that the noise of a channel is the norm of its column in the unwhitening
    matrix.
    """
    unwhiten = load_unwhitening(folder, len(channels.map))
    noise = np.sqrt((unwhiten**2).sum(axis=0))
    template = unit_templates(units, spikes.template)
    scale = np.bincount(units.index, weights=spikes.amplitude) / units.spike_count
    peak = peaks[template]
    uv = _uv(context, channels)[channels.map]
    samples = templates.data.shape[1]
    waveform = np.empty((len(peak), channels.recorded, samples), dtype=np.float32)
    waveform[:, np.setdiff1d(np.arange(channels.recorded), channels.map)] = np.nan
    height = np.empty(len(peak))
    for unit, (number, factor) in enumerate(zip(template.tolist(), scale, strict=True)):
        whitened = templates.dense(number)
        local = np.abs(whitened).max(axis=0) > 0  # a template spans few of the channels
        counts = whitened[:, local].astype(np.float64) @ unwhiten[local] * factor
        height[unit] = np.ptp(counts[:, peak[unit]])
        with np.errstate(over="ignore", invalid="ignore"):
            found = (counts * uv).astype(np.float32)
        waveform[unit, channels.map] = found.T
        if not np.isfinite(found).all():
            raise CorruptFileError(
                "a value is too large", file=templates.path, place=f"template {number}"
            )
    return Properties(peak, height * uv[peak], _ratio(height, noise[peak]), waveform)


def _uv(context: SortingContext, channels: Channels) -> NDArray[np.float64]:
    """Return uV per count of the recorded channels."""
    uv = context.uv_per_bit
    return np.full(channels.recorded, _SECOND_UV if round(uv, 3) == _SECOND_UV else uv)


def _ratio(height: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the signal to noise ratio, 0 without noise as published."""
    return np.divide(height, 2 * noise, out=np.zeros_like(height), where=noise > 0)


def _from_recording(
    path: Path,
    context: SortingContext,
    channels: Channels,
    spikes: Spikes,
    units: Units,
    found: Properties,
    needed: NDArray[np.bool_],
) -> None:
    """Put waveforms and SNR of the raw recording in the place of the templates'."""
    uv = _uv(context, channels)
    samples = found.waveform.shape[2]
    wanted = np.nonzero(needed)[0]
    peak = channels.map[found.peak]
    cuts = raw_waveforms(
        path,
        context.saved_channels,
        ((int(units.number[u]), int(peak[u]), s) for u, s in _by_unit(spikes, units, wanted)),
        (samples // 2, samples),
        channels.recorded,
    )
    for unit, cut in zip(wanted, cuts, strict=True):
        if cut is not None:
            height, noise = np.ptp(cut.mean[:, peak[unit]]), cut.noise
            found.snr[unit] = height / (2 * noise) if noise > 0 else 0.0
            found.waveform[unit] = (cut.mean * uv).T


def _by_unit(
    spikes: Spikes, units: Units, wanted: NDArray[np.intp]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Iterate over the samples of each wanted unit's spikes in the probe's recording, sorted."""
    order = np.argsort(units.index, kind="stable")
    offset = np.concatenate(([0], np.cumsum(units.spike_count)))
    for unit in wanted.tolist():
        yield unit, np.sort(spikes.own[order[offset[unit] : offset[unit + 1]]])
