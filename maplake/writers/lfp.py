"""The Zarr store of local field potentials.

``trace`` int16 (samples, channels) are the counts as recorded: exact, and half the size of
floats; times ``uv_per_bit`` float64 (channels,) they are uV. ``mean`` float64 (samples,) is the
mean over all channels in uV, as published. ``electrode`` int32 (channels,), ``used`` bool
(channels,).
Attributes of the group: sampling_rate (Hz), units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import IntegrityError

__all__ = ["ROWS", "write"]

#: Samples of a shard: what is held in memory, 50 MB of a whole probe.
ROWS = 1 << 16
_CHUNK = (1 << 13, 16)
_BLOCK = 1 << 12  # samples that are weighed at a time


def write(
    path: Path,
    counts: Iterable[NDArray[np.int16]],
    samples: int,
    uv_per_bit: NDArray[np.float64],
    electrode: NDArray[np.int32],
    used: NDArray[np.bool_],
    sampling_rate: float,
) -> None:
    """Write a recording chunk by chunk, in memory of a few shards.

    Parameters
    ----------
    path
        Folder to create.
    counts
        Parts of the recording in order, int16 (any, channels).
    samples
        Their number in all.
    uv_per_bit, electrode, used
        (channels,) uV per count, electrode number, whether the channel records the brain (false
        for references and sites that are switched off).
    sampling_rate
        In Hz.

    Raises
    ------
    IntegrityError
        If the parts do not have ``samples`` samples of all channels together.
    """
    import zarr

    channels = len(uv_per_bit)
    attributes = {"sampling_rate": float(sampling_rate), "units": "uV = trace * uv_per_bit"}
    group = zarr.create_group(str(path), zarr_format=3, attributes=attributes)
    for name, array in (("uv_per_bit", uv_per_bit), ("electrode", electrode), ("used", used)):
        group.create_array(name, data=np.asarray(array))
    width = min(_CHUNK[1], channels)
    shard = (ROWS, -(-channels // width) * width)
    trace = _array(group, "trace", (samples, channels), (_CHUNK[0], width), shard, "int16")
    mean = _array(group, "mean", (samples,), (ROWS,), (16 * ROWS,), "float64")
    weight = uv_per_bit / channels
    means = []
    done = 0
    for part in _shards(counts):
        if part.shape[1] != channels or done + len(part) > samples:
            break
        trace[done : done + len(part)] = part
        means.append(_weigh(part, weight))
        done += len(part)
    if done != samples:
        raise IntegrityError(
            "the recording has another size than announced", found=done, expected=samples
        )
    mean[:] = np.concatenate(means)


def _array(
    group: Any,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    shards: tuple[int, ...],
    dtype: str,
) -> Any:
    from zarr.codecs import BloscCodec

    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
        fill_value=0,
    )


def _shards(parts: Iterable[NDArray[np.int16]]) -> Iterator[NDArray[np.int16]]:
    """Put parts together to whole shards, so that none is written twice."""
    waiting: list[NDArray[np.int16]] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= ROWS:
            data = np.concatenate(waiting) if len(waiting) > 1 else part
            whole = count - count % ROWS
            for start in range(0, whole, ROWS):
                yield data[start : start + ROWS]
            waiting, count = [data[whole:]], count - whole
    if count:
        yield np.concatenate(waiting)


def _weigh(counts: NDArray[np.int16], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh the channels; in small blocks, as each is turned into float64 first."""
    blocks = range(0, len(counts), _BLOCK)
    return np.concatenate([counts[start : start + _BLOCK] @ weight for start in blocks])
