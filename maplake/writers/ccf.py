"""The annotation volume in the lake: a sharded Zarr array, and its voxels as runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake.errors import ConfigError, CorruptFileError
from maplake.tables import get

if TYPE_CHECKING:
    import zarr

__all__ = ["Volume", "step_of", "write_volume"]

#: Voxels of a chunk along AP, DV, ML: what a look-up has to unpack at least.
_CHUNKS = (128, 128, 64)
_SLAB = 64  # planes written at once
_AXES = ("ap", "dv", "ml")
_MOST = np.iinfo(np.int32).max


class Volume(Protocol):
    """A volume that comes plane by plane, see :mod:`maplake.readers.ccf_annotation`."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along AP, DV, ML."""

    @property
    def voxel_um(self) -> float:
        """Size of a voxel in um."""

    @property
    def plane_axis(self) -> int:
        """Axis that planes follow each other along; not 1."""

    def planes(self, step: int = 1) -> Iterator[NDArray[Any]]:
        """Yield planes of integers, every ``step``-th voxel of each axis."""


def step_of(volume: Volume, resolution_um: int) -> int:
    """Return every how manieth voxel makes a volume of another resolution.

    Raises
    ------
    ConfigError
        If the resolution is no whole multiple of the volume's.
    """
    ratio = resolution_um / volume.voxel_um
    step = round(ratio)
    if step < 1 or abs(ratio - step) > 1e-6:
        raise ConfigError(
            "the resolution is no whole multiple of the volume's",
            file=volume.path,
            place="ccf.resolution_um",
            found=resolution_um,
            expected=f"{volume.voxel_um:g}, {2 * volume.voxel_um:g}, …",
        )
    return step


def write_volume(
    path: Path, volume: Volume, resolution_um: int, annotation_version: str
) -> pa.Table:
    """Write a volume to a new Zarr v3 array, in bounded memory.

    Parameters
    ----------
    path
        Folder to create; the caller commits it.
    volume
        Where the region ids come from.
    resolution_um
        Voxel size in the lake, in um: every n-th voxel of each axis is taken.
    annotation_version
        Name of the annotation, for the array's attributes.

    Returns
    -------
    pyarrow.Table
        Rows of ``ccf.annotation_run`` without annotation_version, sorted.

    Raises
    ------
    ConfigError
        If the resolution is no whole multiple of the volume's.
    CorruptFileError
        If the volume is damaged, or holds an id that is no region's.
    """
    step = step_of(volume, resolution_um)
    shape = tuple(-(-count // step) for count in volume.shape)
    axis = volume.plane_axis
    array = _create(path, shape, axis, resolution_um, annotation_version)
    work = _Slabs(array, axis, volume.path)
    slab: NDArray[Any] | None = None
    with ThreadPoolExecutor(1) as pool:
        # Unpacking goes on while the slab before is packed and written.
        pending: Future[None] | None = None
        for number, plane in enumerate(volume.planes(step)):
            place = number % _SLAB
            if place == 0:
                depth = min(_SLAB, shape[axis] - number)
                slab = _empty_like(plane, depth)
            if slab is None:
                continue
            slab[place] = plane
            if place == len(slab) - 1:
                if pending is not None:
                    pending.result()
                pending = pool.submit(work.take, slab, number - place)
        if pending is not None:
            pending.result()
    return work.runs(resolution_um)


def _empty_like(plane: NDArray[Any], depth: int) -> NDArray[Any]:
    """Return a stack of planes that lie in memory as ``plane`` does: copies are then quick."""
    if plane.strides[0] < plane.strides[1]:
        return np.empty((depth, *plane.T.shape), plane.dtype).transpose(0, 2, 1)
    return np.empty((depth, *plane.shape), plane.dtype)


def _create(
    path: Path, shape: tuple[int, ...], axis: int, resolution_um: int, annotation_version: str
) -> zarr.Array[Any]:
    import zarr
    from zarr.codecs import ZstdCodec

    chunks = [*_CHUNKS]
    chunks[axis] = _SLAB
    whole = [-(-count // size) * size for count, size in zip(shape, chunks, strict=True)]
    whole[axis] = _SLAB  # a slab is a shard, so a file
    return zarr.create_array(
        str(path),
        shape=shape,
        dtype="uint32",
        chunks=tuple(chunks),
        shards=tuple(whole),
        compressors=ZstdCodec(level=1),
        fill_value=0,
        dimension_names=_AXES,
        zarr_format=3,
        attributes={
            "resolution_um": resolution_um,
            "annotation_version": annotation_version,
            "axes": "ap anterior to posterior, dv superior to inferior, ml left to right",
        },
    )


def _check_ids(path: Path, slab: NDArray[Any]) -> None:
    if slab.dtype.itemsize < 4 and slab.dtype.kind == "u":
        return
    low, high = int(slab.min()), int(slab.max())
    if low < 0 or high > _MOST:
        raise CorruptFileError(
            "a voxel holds no region id", file=path, found=low if low < 0 else high
        )


class _Slabs:
    """Writes slabs and collects the runs of equal ids along DV."""

    def __init__(self, array: zarr.Array[Any], axis: int, path: Path) -> None:
        self.array = array
        self.axis = axis
        self.path = path
        self.found: list[NDArray[np.int32]] = []

    def take(self, slab: NDArray[Any], first: int) -> None:
        _check_ids(self.path, slab)
        volume = np.moveaxis(slab, 0, self.axis)
        where = [slice(None)] * 3
        where[self.axis] = slice(first, first + len(slab))
        self.array[tuple(where)] = volume
        for offset, plane in enumerate(slab):
            self.found.append(self._plane_runs(plane, first + offset))

    def _plane_runs(self, plane: NDArray[Any], number: int) -> NDArray[np.int32]:
        """Return id, ML, AP, first and last DV of a plane's runs, (5, runs)."""
        lines = plane if self.axis == 2 else plane.T  # DV is the second axis now
        changes = np.empty((lines.shape[0], lines.shape[1] + 1), dtype=bool)
        changes[:, [0, -1]] = True
        changes[:, 1:-1] = lines[:, 1:] != lines[:, :-1]
        line, edge = np.nonzero(changes)
        # In every line the edges are in order and the last one ends it.
        start, stop, line = edge[:-1], edge[1:], line[:-1]
        within = stop > start
        start, stop, line = start[within], stop[within], line[within]
        ids = lines[line, start]
        kept = ids > 0
        fixed = np.full(int(kept.sum()), number)
        ml, ap = (fixed, line[kept]) if self.axis == 2 else (line[kept], fixed)
        return np.stack([ids[kept], ml, ap, start[kept], stop[kept] - 1]).astype(np.int32)

    def runs(self, resolution_um: int) -> pa.Table:
        runs = np.concatenate([np.empty((5, 0), np.int32), *self.found], axis=1)
        self.found.clear()
        order = _order(runs, self.axis)
        names = ("region_id", "ccf_x", "ccf_z", "ccf_y_start", "ccf_y_stop")
        columns = {
            name: runs[place][order] * (1 if place == 0 else resolution_um)
            for place, name in enumerate(names)
        }
        columns["voxel_size"] = np.full(len(order), resolution_um, dtype=np.int32)
        schema = get("ccf.annotation_run").file_schema
        return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


def _order(runs: NDArray[np.int32], axis: int) -> NDArray[np.int64]:
    """Return the order by region, ML, AP, DV.

    Runs come by plane, so only what planes leave out of order has to be sorted: by 16-bit numbers,
    which numpy sorts in linear time.
    """
    codes = pa.array(runs[0]).dictionary_encode()
    known = codes.dictionary.to_numpy()
    rank = np.empty(len(known), dtype=np.int32)
    rank[np.argsort(known)] = np.arange(len(known))
    region = rank[codes.indices.to_numpy()]
    region = region.astype(np.uint16) if len(known) < 2**16 else region
    if axis == 2:
        return np.argsort(region, kind="stable")
    order = np.argsort(runs[1].astype(np.uint16), kind="stable")
    return order[np.argsort(region[order], kind="stable")]
