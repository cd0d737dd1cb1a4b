"""Analog channels of the rig's data acquisition board (``*.nidq.bin``), cut into trials.

Channels count from 0 in the order in which they were saved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, FileFormatError, LengthMismatchError
from maplake.readers.base import Reader, Records, Skipped
from maplake.readers.rows import as_table
from maplake.readers.spikeglx_meta import Meta, number, parse_meta, require
from maplake.readers.spikeglx_stream import open_samples

__all__ = ["CHANNELS", "find", "mv_per_bit", "read_traces"]

#: What the board's channels record on the multi-target-licking rig.
CHANNELS: dict[str, int] = {"breathing": 2, "piezoelectric": 3}

_DEFAULT_COUNTS = 32768.0  # 16-bit boards, whose metadata does not say niMaxInt
_KINDS = ("MN", "MA", "XA", "DW")
_COUNT = re.compile(r"[0-9]{1,9}")


def find(folder: Path) -> Sequence[Path]:
    """Return the ``*.nidq.meta`` files directly in a folder, sorted."""
    return sorted(p for p in folder.glob("*.nidq.meta") if p.is_file() and p.name[0] != ".")


def mv_per_bit(meta: Meta, channel: int) -> float:
    """Return what one count of an analog channel is in mV.

    Raises
    ------
    FileFormatError, CorruptFileError
        If there is no such analog channel, or keys are missing or damaged.
    """
    text = require(meta, "snsMnMaXaDw")
    counts = [int(word) if _COUNT.fullmatch(word.strip()) else -1 for word in text.split(",")]
    if len(counts) != len(_KINDS) or min(counts) < 0:
        raise CorruptFileError(
            "not four channel counts", file=meta.path, place="key snsMnMaXaDw", found=text[:40]
        )
    place = int(np.searchsorted(np.cumsum(counts), channel, side="right"))
    if channel < 0 or place >= 3:
        raise FileFormatError(
            "there is no such analog channel",
            file=meta.path,
            found=f"channel {channel}",
            expected=f"0 to {sum(counts[:3]) - 1}",
        )
    key = f"ni{_KINDS[place]}Gain"
    gain = 1.0 if place == 2 else number(meta, key)
    most = number(meta, "niMaxInt") if meta.get("niMaxInt") else _DEFAULT_COUNTS
    scale = 1e3 * number(meta, "niAiRangeMax") / most / gain
    if not scale * most < np.finfo(np.float32).max:
        raise CorruptFileError(
            "no range of a board",
            file=meta.path,
            place="key niAiRangeMax",
            found=meta["niAiRangeMax"][:40],
            expected="a few V",
        )
    return scale


def read_traces(
    path: Path,
    starts: NDArray[np.float64],
    trials: Sequence[int] | NDArray[Any],
    channels: Mapping[str, int] = CHANNELS,
) -> Records:
    """Cut analog channels at trial starts.

    Parameters
    ----------
    path
        The ``.nidq.meta``; the ``.nidq.bin`` lies beside it.
    starts
        (trials,) trial starts in s on the board's clock, ascending; the last trial reaches to the
        end of the recording. A trial begins with the sample during which it starts, as published.
    trials
        (trials,) behavior trial numbers; below 1 = none.
    channels
        Channel by the name of the table.

    Returns
    -------
    Records
        Tables ``experiment.{name}``: the trace in mV (float32) and its sampling rate; sample i is
        i / rate s after trial start. Skipped: trials after the end of the recording. ``info``:
        ``sampling_rate`` (Hz).

    Raises
    ------
    SourceError
        If a file is missing, unreadable, damaged or incomplete, has no such channel, or starts
        are not finite, not in order or not as many as trials.
    """
    meta = parse_meta(path)
    if meta.get("typeThis", "nidq") != "nidq":
        raise FileFormatError("is no nidq recording", file=path, found=meta["typeThis"])
    scales = {name: mv_per_bit(meta, channel) for name, channel in channels.items()}
    rate = number(meta, "niSampRate")
    data = open_samples(meta)
    numbers = np.asarray(trials, dtype=np.int64)
    edges = _edges(np.asarray(starts, dtype=np.float64), numbers, rate, len(data), path)
    kept = np.flatnonzero((numbers > 0) & (np.diff(edges) > 0))
    late = np.flatnonzero((numbers > 0) & (np.diff(edges) == 0))
    reason = "starts after the end of the nidq recording"
    tables = {}
    for name, channel in channels.items():
        # One strided pass over the file; the channel alone is small.
        trace = np.asarray(data[:, channel]).astype(np.float32) * np.float32(scales[name])
        tables[f"experiment.{name}"] = _table(name, trace, edges, kept, numbers, rate)
    return Records(
        tables=tables,
        skipped=[Skipped("nidq trial", str(numbers[i]), reason) for i in late],
        info={"sampling_rate": rate},
    )


def _edges(
    starts: NDArray[np.float64], numbers: NDArray[np.int64], rate: float, length: int, path: Path
) -> NDArray[np.int64]:
    if len(starts) != len(numbers):
        raise LengthMismatchError(
            "trial starts and trials differ in number",
            file=path,
            found=len(starts),
            expected=len(numbers),
        )
    good = np.isfinite(starts).all() and (np.diff(starts) > 0).all() and (starts[:1] >= 0).all()
    if not good:
        raise CorruptFileError("trial starts are not finite and ascending from 0", file=path)
    with np.errstate(over="ignore"):  # as far behind the end as one likes
        edges = np.append(np.floor(starts * rate), length)
    whole: NDArray[np.int64] = np.minimum(edges, length).astype(np.int64)
    return whole


def _table(
    name: str,
    trace: NDArray[np.float32],
    edges: NDArray[np.int64],
    kept: NDArray[np.int64],
    numbers: NDArray[np.int64],
    rate: float,
) -> pa.Table:
    """Build lists of samples without copying: they are slices of one array."""
    first = int(edges[0])
    offsets = pa.array((edges - first).astype(np.int32))
    if len(trace) - first >= 2**31:
        raise FileFormatError("the recording is too long", found=f"{len(trace)} samples")
    lists = pa.ListArray.from_arrays(offsets, pa.array(trace[first:]))
    columns = {
        "trial": numbers[kept],
        name: lists.take(pa.array(kept)),
        "sampling_rate": np.full(len(kept), rate),
    }
    return as_table(f"experiment.{name}", columns)


def files(path: Path) -> Sequence[Path]:
    """Return the metadata and the samples."""
    return [path, path.with_suffix(".bin")]


READER = Reader(
    "nidq",
    kind="nidq",
    find=find,
    read=read_traces,
    files=files,
    version=2,
    changes={
        2: "trials begin with the sample during which they start and end with the next start, "
        "also of one that is no trial, as published"
    },
)
