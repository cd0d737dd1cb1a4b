"""Built-in table histology.pseudocoronal_slice: the annotated volume along each shank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maplake.compute.model import Computation, Key
from maplake.compute.shanks import GEOMETRY, LINE_INPUTS, atlas, lines
from maplake.query.lake import Lake
from maplake.tables import get

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from maplake.query.ccf import Ccf

__all__ = ["COMPUTATIONS", "runs", "slice_along"]

#: Depths that are looked up at once: few enough points that only their chunks are read.
_AT_ONCE = 32
_NAME = "histology.pseudocoronal_slice"


def slice_along(volume: Ccf, ap: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Return the regions of a slice: at each depth, all of ML at the given AP.

    Parameters
    ----------
    volume
        The annotation.
    ap
        AP in um at every voxel of depth, dorsal first, (DV,).

    Returns
    -------
    Region ids by DV and ML, (DV, ML); 0 outside.
    """
    import numpy as np

    ml = np.arange(volume.shape[0]) * volume.resolution_um
    rows = []
    for first in range(0, len(ap), _AT_ONCE):
        places = np.arange(first, min(first + _AT_ONCE, len(ap)))
        dv = places * volume.resolution_um
        rows.append(volume.region_at(ml[None, :], dv[:, None], ap[places][:, None]))
    return np.vstack(rows)


def runs(regions: NDArray[np.uint32]) -> tuple[NDArray[np.intp], ...]:
    """Return the runs of one region along the rows of a slice.

    Parameters
    ----------
    regions
        Region ids, (rows, columns); 0 belongs to no run.

    Returns
    -------
    row, start, stop
        Row, first and last column of each run, (runs,) each.
    """
    import numpy as np

    edge = np.ones((len(regions), regions.shape[1] + 1), dtype=bool)
    edge[:, 1:-1] = regions[:, 1:] != regions[:, :-1]
    row, start = np.nonzero(edge[:, :-1])
    stop = np.nonzero(edge[:, 1:])[1]
    labelled = regions[row, start] != 0
    return row[labelled], start[labelled], stop[labelled]


def pseudocoronal_slice(lake: Lake, key: Key) -> pl.DataFrame | None:
    """Cut the annotated volume along the line of each shank of an insertion."""
    import polars as pl

    volume = atlas(lake)
    if volume is None:
        return None
    frames = [_slice(volume, shank, line[:, 2]) for shank, _, line in lines(lake, key, volume)]
    return pl.concat(frames) if frames else None


def _slice(volume: Ccf, shank: int, ap: NDArray[np.int32]) -> pl.DataFrame:
    import numpy as np
    import polars as pl

    voxel = volume.resolution_um
    regions = slice_along(volume, ap)
    row, start, stop = runs(regions)
    columns: dict[str, NDArray[np.integer]] = {
        "ccf_y": row * voxel,
        "ccf_z": ap[row],
        "ccf_x_start": start * voxel,
        "ccf_x_stop": stop * voxel,
        "region_id": regions[row, start],
    }
    frame = pl.DataFrame({name: values.astype(np.int32) for name, values in columns.items()})
    return frame.with_columns(shank=pl.lit(shank, pl.Int32))


COMPUTATIONS = (
    Computation(
        (get(_NAME),),
        ("histology.interpolated_shank_track", *LINE_INPUTS, *GEOMETRY),
        pseudocoronal_slice,
        constant=GEOMETRY,
    ),
)
