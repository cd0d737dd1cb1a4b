"""Questions to the annotation volume: which region is where, which voxels are a region's."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from maplake.errors import IntegrityError, NotFoundError, QueryError
from maplake.layout import Layout, ccf_store, table_file
from maplake.tables import get

__all__ = ["Ccf"]

_REGIONS, _RUNS, _VERSIONS = "ccf.ccf_brain_region", "ccf.annotation_run", "ccf.annotation_version"
#: Up to so many points only the chunks that they are in are read.
_FEW = 20_000


class Ccf:
    """The annotation volume of a lake.

    Coordinates are um: ML left to right, DV superior to inferior, AP anterior to posterior; a
    point belongs to the voxel that it is rounded to, as electrodes are.

    Parameters
    ----------
    store
        Folder of the Zarr array.
    root
        The lake's folder; without it regions have no names and no voxels.

    Raises
    ------
    NotFoundError
        If there is no volume.
    IntegrityError
        If it is damaged.
    """

    def __init__(self, store: Path, root: Path | None = None) -> None:
        self.root = root
        try:
            import zarr

            self._array = zarr.open_array(str(store), mode="r")
            self.resolution_um = int(self._array.attrs["resolution_um"])  # type: ignore[arg-type]
            self.annotation_version = str(self._array.attrs["annotation_version"])
        except FileNotFoundError as error:
            raise NotFoundError(
                "the lake has no annotation volume",
                file=store,
                hint="Name one in lake.toml, [ccf] annotation, and run `maplake ingest`.",
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"the annotation volume is damaged: {error}", file=store
            ) from error

    @classmethod
    def open(cls, root: Path, annotation_version: str | None = None) -> Ccf:
        """Open the volume of the lake at ``root``.

        Parameters
        ----------
        root
            The lake's folder.
        annotation_version
            Which annotation; may be left out where there is only one.

        Raises
        ------
        NotFoundError
            If there is no such volume.
        QueryError
            If there are several and none is named.
        """
        file = root / table_file(get(_VERSIONS), {})
        rows = pq.read_table(file).to_pylist() if file.exists() else []
        known = {row["annotation_version"]: row["resolution"] for row in rows}
        if annotation_version is None and len(known) > 1:
            raise QueryError(
                "the lake has several annotations: name one", expected=", ".join(sorted(known))
            )
        name = annotation_version or next(iter(known), None)
        if name is None or name not in known:
            raise NotFoundError(
                "the lake has no such annotation volume" if name else "the lake has no annotation",
                file=Layout(root).root,
                found=name,
                expected=", ".join(sorted(known)) or None,
                hint="Name one in lake.toml, [ccf] annotation, and run `maplake ingest`.",
            )
        return cls(Path(root, ccf_store(name, known[name])), root)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along ML, DV, AP."""
        ap, dv, ml = self._array.shape
        return ml, dv, ap

    @cached_property
    def volume(self) -> NDArray[np.uint32]:
        """The whole volume, region ids by AP, DV, ML; 600 MB at 20 um, kept once read."""
        whole = np.empty(self._array.shape, dtype=np.uint32)
        axis = int(np.argmin(np.array(self._array.shards or (1,)) - whole.shape))
        depth = (self._array.shards or whole.shape)[axis]
        for first in range(0, whole.shape[axis], depth):
            # One file at a time: half the time that reading all at once takes.
            where = [slice(None)] * 3
            where[axis] = slice(first, first + depth)
            whole[tuple(where)] = self._array[tuple(where)]
        return whole

    @cached_property
    def names(self) -> dict[int, str]:
        """Names of the regions by id."""
        table = self._table(_REGIONS, [("annotation_version", "=", self.annotation_version)])
        return dict(
            zip(table["region_id"].to_pylist(), table["region_name"].to_pylist(), strict=True)
        )

    def region_at(self, ml: ArrayLike, dv: ArrayLike, ap: ArrayLike) -> NDArray[np.uint32]:
        """Return the region at each point.

        Parameters
        ----------
        ml, dv, ap
            Coordinates in um, of one shape.

        Returns
        -------
        numpy.ndarray
            Region ids, shaped like the coordinates; 0 outside of the annotated volume and where a
            coordinate is not finite.

        Raises
        ------
        QueryError
            If the coordinates are no numbers or their shapes do not fit.
        """
        index, shape = self._index(ml, dv, ap)
        inside = np.ones(index[0].shape, dtype=bool)
        for values, count in zip(index, self._array.shape, strict=True):
            inside &= (values >= 0) & (values < count)  # false for NaN
        places = tuple(values[inside].astype(np.intp) for values in index)
        region = np.zeros(inside.shape, dtype=np.uint32)
        region[inside] = self._look_up(places)
        return region.reshape(shape)

    def name_at(self, ml: ArrayLike, dv: ArrayLike, ap: ArrayLike) -> NDArray[Any]:
        """Return the name of the region at each point, None where there is none.

        Parameters and errors are those of :meth:`region_at`.
        """
        ids, place = np.unique(self.region_at(ml, dv, ap), return_inverse=True)
        names = np.array([self.names.get(int(region)) for region in ids], dtype=object)
        return np.asarray(names[place])

    def voxels_of(self, region: int | str) -> NDArray[np.int32]:
        """Return the voxels of a region, by id or name.

        Returns
        -------
        numpy.ndarray
            ML, DV, AP in um, int32 (voxels, 3), sorted by ML, AP, DV. Voxels of the region's parts
            are labelled with these parts and not among them.

        Raises
        ------
        NotFoundError
            If no region has that id or name.
        """
        runs = self._table(_RUNS, [("region_id", "in", self._ids(region))])
        x, z, start, stop = (
            runs[name].to_numpy() for name in ("ccf_x", "ccf_z", "ccf_y_start", "ccf_y_stop")
        )
        length = (stop - start) // self.resolution_um + 1
        first = np.repeat(np.cumsum(length) - length, length)
        along = (np.arange(len(first)) - first) * self.resolution_um
        y = np.repeat(start, length) + along
        voxels = np.column_stack([np.repeat(x, length), y, np.repeat(z, length)])
        return voxels.astype(np.int32)

    def _ids(self, region: int | str) -> list[int]:
        if isinstance(region, str):
            wanted = region.casefold()
            found = [number for number, name in self.names.items() if name.casefold() == wanted]
        else:
            found = [int(region)] if not self.names or int(region) in self.names else []
        if not found:
            raise NotFoundError(
                f"{self.annotation_version} has no region {region!r}",
                hint=_similar(str(region), self.names.values()),
            )
        return found

    def _table(self, name: str, filters: list[tuple[str, str, Any]]) -> Any:
        if self.root is None:
            raise NotFoundError("without a lake regions have neither names nor voxels")
        table = get(name)
        file = self.root / table_file(table, {"annotation_version": self.annotation_version})
        if not file.exists():
            return table.file_schema.empty_table()
        return (
            pq.ParquetFile(file).read()
            if not filters
            else pq.read_table(file, filters=filters, partitioning=None)
        )

    def _index(
        self, ml: ArrayLike, dv: ArrayLike, ap: ArrayLike
    ) -> tuple[tuple[NDArray[np.float64], ...], tuple[int, ...]]:
        """Return voxel indices along AP, DV, ML, each (points,), and the points' shape."""
        try:
            points = [np.asarray(values, dtype=np.float64) for values in (ap, dv, ml)]
            points = [np.ascontiguousarray(p) for p in np.broadcast_arrays(*points)]
        except (ValueError, TypeError) as error:
            raise QueryError(
                f"coordinates must be numbers, as many of each: {error}", place="ml, dv, ap"
            ) from error
        shape = np.broadcast_shapes(*(np.shape(v) for v in (ml, dv, ap)))
        return tuple(np.rint(p.ravel() / self.resolution_um) for p in points), shape

    def _look_up(self, places: tuple[NDArray[np.intp], ...]) -> NDArray[np.uint32]:
        if len(places[0]) > _FEW or "volume" in self.__dict__:
            return self.volume[places]
        return self._from_chunks(places)

    def _from_chunks(self, places: tuple[NDArray[np.intp], ...]) -> NDArray[np.uint32]:
        """Look up few points without reading the whole volume."""
        sizes = self._array.chunks
        chunk = np.column_stack([p // size for p, size in zip(places, sizes, strict=True)])
        found = np.zeros(len(places[0]), dtype=np.uint32)
        corners, which = np.unique(chunk, axis=0, return_inverse=True)
        for number, corner in enumerate(corners * np.array(sizes)):
            ours = np.flatnonzero(which.ravel() == number)
            block = self._block(tuple(int(c) for c in corner))
            found[ours] = block[tuple(p[ours] - c for p, c in zip(places, corner, strict=True))]
        return found

    def _block(self, corner: tuple[int, ...]) -> NDArray[np.uint32]:
        if corner not in self._blocks:
            slices = tuple(
                slice(c, c + size) for c, size in zip(corner, self._array.chunks, strict=True)
            )
            self._blocks[corner] = np.asarray(self._array[slices])
        return self._blocks[corner]

    @cached_property
    def _blocks(self) -> dict[tuple[int, ...], NDArray[np.uint32]]:
        return {}


def _similar(word: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=3)
    return f"Did you mean {' or '.join(near)}?" if near else None
