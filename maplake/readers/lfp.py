"""Local field potentials: ``*.lf.bin`` with its ``.lf.meta``, streamed in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maplake.errors import FileFormatError
from maplake.readers.base import Reader, Records
from maplake.readers.spikeglx_channels import band_channels, channel_uv_per_bit
from maplake.readers.spikeglx_meta import Meta, number, parse_meta, parse_table
from maplake.readers.spikeglx_stream import find_streams, open_samples

__all__ = ["LfpRecording", "find", "open_lfp"]

_BLOCK = 1 << 12  # samples that are weighed at a time
_CHUNK = 1 << 16  # samples at a time: some 50 MB of a whole probe


def find(folder: Path) -> Sequence[Path]:
    """Return the ``*.lf.meta`` files below a folder, sorted; CatGT's for those saved twice."""
    return find_streams(folder, ".lf.meta")


@dataclass(frozen=True)
class LfpRecording:
    """A recording of local field potentials.

    Attributes
    ----------
    path
        The ``.lf.meta``.
    sampling_rate
        In Hz.
    samples
        Samples of each channel.
    channel
        int32 (channels,), number from 0 of the acquired channel, in the order of the file: the
        AP channel of that number is of the same electrode.
    uv_per_bit
        float64 (channels,), what one count is in uV.
    used
        bool (channels,), false for reference sites and those that are switched off.
    """

    path: Path
    sampling_rate: float
    samples: int
    channel: NDArray[np.int32]
    uv_per_bit: NDArray[np.float64]
    used: NDArray[np.bool_]

    def counts(self, size: int = _CHUNK) -> Iterator[NDArray[np.int16]]:
        """Yield the samples as saved, int16 (up to ``size``, channels)."""
        data = open_samples(parse_meta(self.path))
        channels = len(self.channel)
        for start in range(0, self.samples, size):
            yield np.ascontiguousarray(data[start : start + size, :channels])

    def chunks(self, size: int = _CHUNK) -> Iterator[NDArray[np.float32]]:
        """Yield the potentials in uV, float32 (up to ``size``, channels)."""
        scale = self.uv_per_bit.astype(np.float32)
        for counts in self.counts(size):
            yield counts * scale

    def mean(self, size: int = _CHUNK) -> NDArray[np.float64]:
        """Return the mean over all channels in uV, as published; float64 (samples,)."""
        weight = self.uv_per_bit / len(self.channel)
        return np.concatenate([_weigh(counts, weight) for counts in self.counts(size)])


def open_lfp(path: Path) -> LfpRecording:
    """Open a recording; only its metadata is read.

    Raises
    ------
    SourceError
        If a file is missing, unreadable, damaged or incomplete, or is no LF band of a probe.
    """
    meta = parse_meta(path)
    channel = band_channels(meta, "lf")
    if not len(channel):
        raise FileFormatError("no LF channel was saved", file=path, place="key snsApLfSy")
    return LfpRecording(
        path,
        number(meta, "imSampRate"),
        len(open_samples(meta)),
        channel.astype(np.int32),
        channel_uv_per_bit(meta, "lf"),
        _used(meta, channel),
    )


def _used(meta: Meta, channel: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Read the last field of each entry of the site map; all are used where there is none."""
    key = next((name for name in ("snsShankMap", "snsGeomMap") if meta.get(name)), "")
    if not key:
        return np.ones(len(channel), dtype=bool)
    _, entries = parse_table(meta, key)
    used = np.array([bool(entry) and entry[-1].strip() != "0" for entry in entries])
    if len(used) > len(channel) and len(used) > channel.max():
        used = used[channel]  # written for all acquired channels rather than for the saved ones
    return used if len(used) == len(channel) else np.ones(len(channel), dtype=bool)


def _weigh(counts: NDArray[np.int16], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh the channels; in small blocks, as each is turned into float64 first."""
    blocks = range(0, len(counts), _BLOCK)
    return np.concatenate([counts[start : start + _BLOCK] @ weight for start in blocks])


def files(path: Path) -> Sequence[Path]:
    """Return the metadata and the samples."""
    return [path, path.with_suffix(".bin")]


def read(path: Path) -> Records:
    """Open a recording; ``info["lfp"]`` is the :class:`LfpRecording`, read when asked."""
    return Records(info={"lfp": open_lfp(path)})


READER = Reader(
    "lfp",
    kind="lfp",
    find=find,
    read=read,
    files=files,
    version=3,
    changes={
        2: "the mean is that of all channels, as published, references included",
        3: "electrodes are those of the AP channels of the same numbers, also where not all of "
        "those were saved",
    },
)
