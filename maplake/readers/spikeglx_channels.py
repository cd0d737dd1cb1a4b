"""Which channels a SpikeGLX file of a probe holds, and what their counts are in uV."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    UnknownValueError,
)
from maplake.readers.spikeglx_meta import number, parse_table, probe_code, require

__all__ = ["band_channels", "channel_uv_per_bit", "uv_per_bit"]

_MOST_CHANNELS = 1 << 16
_GAIN = re.compile(r"0*[1-9][0-9]{0,8}")
_SUBSET = re.compile(r"\d+(?::\d+)?(?:,\d+(?::\d+)?)*")
_BANDS = {"ap": 0, "lf": 1}


def _path(meta: Mapping[str, str]) -> Path | None:
    return getattr(meta, "path", None)


def _counts(meta: Mapping[str, str], *keys: str) -> list[int]:
    text = require(meta, *keys)
    fields = text.split(",")
    if len(fields) != 3 or not all(field.strip().isdigit() for field in fields):
        raise CorruptFileError(
            "not three channel counts",
            file=_path(meta),
            place=f"key {' or '.join(keys)}",
            found=text[:40],
            expected="AP,LF,SY",
        )
    return [int(field) for field in fields]


def _saved(meta: Mapping[str, str]) -> NDArray[np.int64]:
    """Return the acquired channel numbers, from 0, in the order in which they were saved."""
    total = int(number(meta, "nSavedChans", whole=True))
    if total > _MOST_CHANNELS:
        raise CorruptFileError(
            "too many channels", file=_path(meta), place="key nSavedChans", found=total
        )
    subset = meta.get("snsSaveChanSubset", "").replace(" ", "")
    if subset in ("", "all"):
        return np.arange(total)
    if not _SUBSET.fullmatch(subset) or len(subset) > 100_000:
        raise CorruptFileError(
            "not a list of channels",
            file=_path(meta),
            place="key snsSaveChanSubset",
            found=subset[:40],
            expected="e.g. 0:383,768",
        )
    spans = [[int(n) for n in part.split(":")] for part in subset.split(",")]
    length = sum(span[-1] - span[0] + 1 for span in spans)
    if length != total:  # checked before anything of that length is made
        raise LengthMismatchError(
            "saved channels and their list differ",
            file=_path(meta),
            place="keys nSavedChans and snsSaveChanSubset",
            found=f"{total} and {length}",
        )
    return np.concatenate([np.arange(span[0], span[-1] + 1) for span in spans])


def band_channels(meta: Mapping[str, str], band: str = "ap") -> NDArray[np.int64]:
    """Return which channels of a band were saved.

    Parameters
    ----------
    meta
        Of a probe's stream.
    band
        ``ap`` or ``lf``.

    Returns
    -------
    channels
        (saved,), index into the band's acquired channels, in the order of the file.

    Raises
    ------
    FileFormatError, CorruptFileError, LengthMismatchError
        If the keys are missing, damaged or contradict each other.
    """
    acquired = _counts(meta, "acqApLfSy", "snsApLfSy")
    start = acquired[0] if band == "lf" else 0
    saved = _saved(meta) - start
    saved = saved[(saved >= 0) & (saved < acquired[_BANDS[band]])]
    expected = _counts(meta, "snsApLfSy", "acqApLfSy")[_BANDS[band]]
    if len(saved) != expected:
        raise LengthMismatchError(
            f"saved {band.upper()} channels and their list differ",
            file=_path(meta),
            place="keys snsApLfSy and snsSaveChanSubset",
            found=f"{expected} and {len(saved)}",
        )
    return saved


def channel_uv_per_bit(meta: Mapping[str, str], band: str = "ap") -> NDArray[np.float64]:
    """Return what one count of each saved channel of a band is in uV; shape (saved,).

    Volts per count = imAiRangeMax / Imax / gain. Imax is ``imMaxInt``, else 512 (8192 for 2.0).
    The gain is that of the channel in ``imroTbl`` for 1.0; for the others ``imChan0apGain``, else
    80 for 2.0.

    Raises
    ------
    FileFormatError, CorruptFileError, LengthMismatchError, UnknownValueError
        If the stream is not of a probe, or keys are missing, damaged or contradict each other.
    """
    if meta.get("typeThis", "imec") != "imec":
        raise UnknownValueError(
            "no stream of a probe", file=_path(meta), place="key typeThis", found=meta["typeThis"]
        )
    code = probe_code(meta)
    second = code in (21, 24) or 2000 <= code < 3000
    default = 8192.0 if second else 512.0
    counts = number(meta, "imMaxInt") if meta.get("imMaxInt") else default
    channels = band_channels(meta, band)
    gains = np.broadcast_to(_gains(meta, band, code, channels), channels.shape)
    return 1e6 * number(meta, "imAiRangeMax") / counts / gains


def uv_per_bit(meta: Mapping[str, str], band: str = "ap") -> float:
    """Return what one count is in uV: that of most of the band's saved channels.

    Raises
    ------
    FileFormatError, CorruptFileError, LengthMismatchError, UnknownValueError
        As :func:`channel_uv_per_bit`; also if no channel of the band was saved.
    """
    values, counts = np.unique(channel_uv_per_bit(meta, band), return_counts=True)
    if not len(values):
        raise FileFormatError(
            f"no {band.upper()} channel was saved", file=_path(meta), place="key snsApLfSy"
        )
    return float(values[counts.argmax()])


def _gains(meta: Mapping[str, str], band: str, code: int, channels: NDArray[np.int64]) -> Any:
    """Return the gain of each channel, or one for all."""
    key = f"imChan0{band}Gain"
    if code in (21, 24) or code >= 2000 or code == 1110:
        if code == 1110 or code >= 3000 or meta.get(key):
            return number(meta, key)
        return 80.0
    _, entries = parse_table(meta, "imroTbl")
    column = 3 + _BANDS[band]
    if len(channels) and channels.max() >= len(entries):
        raise LengthMismatchError(
            "fewer channels in the table than were acquired",
            file=_path(meta),
            place="key imroTbl",
            found=len(entries),
            expected=f"at least {channels.max() + 1}",
        )
    fields = [entry[column] if len(entry) > column else "" for entry in entries]
    bad = [n for n in channels.tolist() if not _GAIN.fullmatch(fields[n])]
    if bad:
        raise CorruptFileError(
            f"no {band.upper()} gain",
            file=_path(meta),
            place=f"key imroTbl, channel {bad[0]}",
            found=" ".join(entries[bad[0]]) or None,
        )
    return np.array([int(fields[n]) for n in channels.tolist()], dtype=np.float64)
