"""The Zarr store of a clustering: every spike, and waveforms on all channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

#: Elements of a chunk: what reading one unit's spikes has to unpack at least.
_CHUNK = 1 << 18


def write(path: Path, arrays: dict[str, np.ndarray[Any, Any]], attributes: dict[str, Any]) -> None:
    """Write a Zarr v3 group with one shard, so one file, per array.

    Parameters
    ----------
    path
        Folder to create.
    arrays
        Arrays by name; long ones are chunked along their first axis.
    attributes
        Attributes of the group (sampling_rate in Hz, …).
    """
    import zarr
    from zarr.codecs import BloscCodec

    group = zarr.create_group(str(path), zarr_format=3, attributes=attributes)
    for name, array in arrays.items():
        rows = max(1, len(array))
        per_row = max(1, array.size // rows)
        chunk = min(rows, max(1, _CHUNK // per_row))
        shard = -(-rows // chunk) * chunk
        target = group.create_array(
            name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=(chunk, *array.shape[1:]),
            shards=(shard, *array.shape[1:]),
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
            fill_value=0,
            config={"write_empty_chunks": True},  # looking for them takes longer than packing them
        )
        if array.size:
            target[...] = array
