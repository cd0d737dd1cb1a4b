"""Mean waveforms and signal to noise of units, from the templates or the raw recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, LengthMismatchError, UnreadableFileError
from maplake.readers import npy

__all__ = ["RawWaveforms", "Templates", "load_templates", "load_unwhitening", "raw_waveforms"]

#: Spikes per unit whose waveforms are averaged, as published.
MAX_SPIKES = 500
_BLOCK = 64  # templates at a time


@dataclass(frozen=True)
class Templates:
    """Kilosort's templates.

    Attributes
    ----------
    path
        ``templates.npy``.
    data
        (templates, samples, local channels), in whitened units.
    channel
        (templates, local channels), index into the sorter's channels; -1 = nothing there.
    channels
        Number of the sorter's channels.
    """

    path: Path
    data: NDArray[Any]
    channel: NDArray[np.int64]
    channels: int

    def peaks(self, template: NDArray[Any]) -> NDArray[np.int64]:
        """Return the channel with the largest absolute value of each template; (templates,).

        Parameters
        ----------
        template
            (spikes,) template of each spike. Kilosort 2.5 leaves NaN in templates without spikes,
            whose peaks mean nothing.

        Raises
        ------
        CorruptFileError
            If a value of a template with spikes is not finite.
        """
        peak = np.zeros(len(self.data), dtype=np.int64)
        for start in range(0, len(self.data), _BLOCK):
            part = slice(start, start + _BLOCK)
            height = np.abs(self.data[part]).max(axis=1, initial=0)
            bad = ~np.isfinite(height).all(axis=1)
            if bad.any():
                count = np.bincount(template, minlength=len(self.data))[part]
                height[count == 0] = 0
                bad &= count > 0
            if bad.any():
                raise CorruptFileError(
                    "a value is not finite",
                    file=self.path,
                    place=f"template {start + int(bad.argmax())}",
                )
            local = np.where(self.channel[part] >= 0, height, -1).argmax(axis=1)
            peak[part] = np.take_along_axis(self.channel[part], local[:, None], axis=1)[:, 0]
        return peak

    def dense(self, template: int) -> NDArray[Any]:
        """Return a template on all of the sorter's channels; (samples, channels)."""
        if self.channel.strides[0] == 0:  # all templates have all channels
            return np.asarray(self.data[template])
        out = np.zeros((self.data.shape[1], self.channels), self.data.dtype)
        there = self.channel[template] >= 0
        out[:, self.channel[template][there]] = self.data[template][:, there]
        return out


def load_templates(folder: Path, channels: int) -> Templates:
    """Load ``templates.npy`` and which channels they are on.

    ``template_ind.npy``, else ``templates_ind.npy``, names the channels of each template. Without
    them a template is on all channels; also where it has them all and ``templates_ind.npy`` has
    another shape than the templates, as pykilosort writes it: that one means nothing.

    Raises
    ------
    SourceError
        If a file is missing, unreadable or damaged; LengthMismatchError if shapes contradict.
    """
    path = folder / "templates.npy"
    data = npy.load(path, ndim=3)
    if not data.size:
        raise CorruptFileError("there are no templates", file=path, found=f"shape {data.shape}")
    shape = (data.shape[0], data.shape[2])
    for name in ("template_ind.npy", "templates_ind.npy"):
        if (folder / name).is_file():
            dense = name == "templates_ind.npy" and shape[1] == channels
            if dense and npy.read_header(folder / name).shape != shape:
                continue
            index = local_channels(folder / name, channels)
            if index.shape != shape:
                raise LengthMismatchError(
                    f"{name} and templates.npy differ in shape",
                    file=folder / name,
                    found=index.shape,
                    expected=shape,
                )
            if index.shape[1] == channels and (index == np.arange(channels)).all():
                index = np.broadcast_to(np.arange(channels), shape)
            break
    else:
        if shape[1] != channels:
            raise LengthMismatchError(
                "templates.npy and channel_map.npy differ in their channels",
                file=path,
                found=shape[1],
                expected=channels,
            )
        index = np.broadcast_to(np.arange(channels), shape)
    return Templates(path, data, index, channels)


def local_channels(path: Path, channels: int) -> NDArray[np.int64]:
    """Load (templates, local channels): index into the sorter's channels, -1 = nothing there.

    Sorters fill up with -1 or with the number of channels.

    Raises
    ------
    SourceError
        If the file is missing, unreadable or damaged, or an index is beyond the channels.
    """
    index = npy.load(path, ndim=2)
    with np.errstate(invalid="ignore"):
        whole = np.asarray(index).astype(np.int64)
    if (whole != index).any() or (whole > channels).any():
        raise CorruptFileError(
            "an index that cannot be", file=path, expected=f"0 to {channels - 1}, or -1"
        )
    return np.where((whole < 0) | (whole == channels), -1, whole)


def load_unwhitening(folder: Path, channels: int) -> NDArray[np.float64]:
    """Load what turns whitened into recorded counts; (channels, channels).

    ``whitening_mat_inv.npy``, else the inverse of ``whitening_mat.npy``.

    Raises
    ------
    SourceError
        If neither is there, or it is unreadable, damaged, not invertible or of another size.
    """
    path = folder / "whitening_mat_inv.npy"
    invert = not path.is_file() and (folder / "whitening_mat.npy").is_file()
    path = folder / "whitening_mat.npy" if invert else path
    matrix = np.asarray(npy.load(path, ndim=2), dtype=np.float64)
    if matrix.shape != (channels, channels):
        raise LengthMismatchError(
            f"{path.name} and channel_map.npy differ in their channels",
            file=path,
            found=matrix.shape,
            expected=(channels, channels),
        )
    if not np.isfinite(matrix).all():
        raise CorruptFileError("a value is not finite", file=path)
    try:
        return np.asarray(np.linalg.inv(matrix) if invert else matrix, dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise CorruptFileError("the matrix cannot be inverted", file=path) from error


@dataclass(frozen=True)
class RawWaveforms:
    """One unit in the raw recording: mean (samples, channels) in counts, noise in counts."""

    mean: NDArray[np.float64]
    noise: float


def raw_waveforms(
    path: Path,
    saved_channels: int,
    spikes: Iterator[tuple[int, int, NDArray[np.int64]]],
    window: tuple[int, int],
    channels: int,
) -> Iterator[RawWaveforms | None]:
    """Average the raw recording around spikes, a unit at a time.

    Parameters
    ----------
    path
        The ``.ap.bin``: int16, channels fastest.
    saved_channels
        Channels in it, the sync channel included.
    spikes
        Per unit: its number, the channel (from 0) to take the noise from, and its spikes'
        samples. At most 500 are used; the choice depends on the unit's number and the spikes
        alone, so that a rebuild makes the same one.
    window
        Samples before the spike, and samples in all.
    channels
        How many channels, from the first, to average.

    Yields
    ------
    waveform
        None for a unit without a spike whose window lies inside the recording. The noise is the
        standard deviation of the single waveforms about their mean, on the given channel.

    Raises
    ------
    UnreadableFileError, CorruptFileError
        If the recording cannot be read or is empty.
    """
    before, length = window
    try:
        rows = path.stat().st_size // (2 * saved_channels)
        if not rows:
            raise CorruptFileError("the recording is empty", file=path)
        with path.open("rb", buffering=0) as file:
            for unit, peak, samples in spikes:
                start = _choose(unit, samples - before, rows - length)
                yield _average(path, file, start, (length, saved_channels), peak, channels)
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error


def _choose(unit: int, start: NDArray[np.int64], last: int) -> NDArray[np.int64]:
    """Return which windows to use: at most 500 of those inside the recording, sorted."""
    inside = start[(start >= 0) & (start <= last)]
    if len(inside) <= MAX_SPIKES:
        return inside
    choice = np.random.default_rng(unit).choice(len(inside), MAX_SPIKES, replace=False)
    return inside[np.sort(choice)]


def _average(
    path: Path,
    file: BinaryIO,
    start: NDArray[np.int64],
    shape: tuple[int, int],
    peak: int,
    channels: int,
) -> RawWaveforms | None:
    if not len(start):
        return None
    # A read per window: random access through a memory map would read ahead far more than that.
    piece = np.empty(shape, dtype="<i2")
    total = np.zeros(shape, dtype=np.int32)  # 500 counts of 16 bits fit
    on_peak = np.empty((len(start), shape[0]))
    for number, sample in enumerate(start.tolist()):
        file.seek(sample * 2 * shape[1])
        npy.fill(file, piece, path)
        total += piece
        on_peak[number] = piece[:, peak]
    mean = total[:, :channels] / len(start)
    return RawWaveforms(mean, float((on_peak - mean[:, peak]).std()))
