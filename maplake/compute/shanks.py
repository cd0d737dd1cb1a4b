"""Built-in tables of probes in the brain: missing sites, and the line of each shank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from maplake.compute.model import Computation, Key
from maplake.compute.units import part
from maplake.errors import NotFoundError
from maplake.query.lake import Lake
from maplake.tables import get

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from maplake.query.ccf import Ccf

__all__ = ["COMPUTATIONS", "GEOMETRY", "LINE_INPUTS", "atlas", "fit_line", "interpolate_sites"]

_AXES = ("ccf_x", "ccf_y", "ccf_z")
_TRACK = "histology.interpolated_shank_track"
_POINTS = "histology.shank_track_point"
_SURFACE = "histology.shank_brain_surface_point"
_DEEPEST = "histology.shank_deepest_electrode_point"
_FOUND, _LEFT_OUT = (
    "histology.interpolated_electrode_ccf",
    "histology.interpolated_electrode_ccf_error",
)


def atlas(lake: Lake) -> Ccf | None:
    """Return the annotation volume of a lake, None without one."""
    from maplake.query.ccf import Ccf

    try:
        return Ccf.open(lake.root)
    except NotFoundError:
        return None


def interpolate_sites(
    electrode: NDArray[np.integer], position: NDArray[np.floating], voxel_um: int
) -> NDArray[np.float64]:
    """Return the positions of the sites of one column of a shank, missing ones filled in.

    Linear between the neighbours along the electrode numbers, at the ends along the line of the
    last two; what is filled in is rounded to the voxel.

    Parameters
    ----------
    electrode
        Numbers, ascending, (sites,).
    position
        CCF x, y, z in um, (sites, 3); NaN where it is missing.
    voxel_um
        Size of a voxel in um.

    Returns
    -------
    positions
        (sites, 3) in um; still NaN where fewer than two sites are known.
    """
    import numpy as np

    known = np.isfinite(position).all(axis=1)
    if known.sum() < 2:
        return np.asarray(position, dtype=np.float64)
    places = electrode[known].astype(np.float64)
    after = np.clip(np.searchsorted(places, electrode), 1, len(places) - 1)
    left, right = places[after - 1], places[after]
    share = ((electrode - left) / (right - left))[:, None]
    values = position[known]
    line = values[after - 1] + share * (values[after] - values[after - 1])
    return np.where(known[:, None], position, voxel_um * np.rint(line / voxel_um))


def _sites(lake: Lake, key: Key) -> pl.DataFrame:
    """Return the recorded sites of an insertion: electrode, shank, shank_col."""
    import polars as pl

    probe = part(lake, "ephys.probe_insertion", key).row(0, named=True)
    kind = pl.col("probe_type") == probe["probe_type"]
    config = pl.col("electrode_config_name") == probe["electrode_config_name"]
    recorded = lake.table("lab.electrode_config_electrode").filter(kind & config)
    geometry = lake.table("lab.probe_type_electrode").filter(kind)
    found = recorded.join(geometry, on=["probe_type", "electrode"])
    return found.select("electrode", "shank", "shank_col").unique("electrode").sort(
        "electrode"
    ).collect()  # fmt: skip


def interpolated_electrodes(lake: Lake, key: Key) -> dict[str, pl.DataFrame] | None:
    """Place the recorded sites that the histology neither placed nor found outside."""
    import polars as pl

    volume = atlas(lake)
    if volume is None:
        return None
    known = part(lake, "histology.electrode_ccf_position", key).select("electrode", *_AXES)
    outside = part(lake, "histology.electrode_ccf_position_error", key)
    sites = _sites(lake, key).join(known, on="electrode", how="left").sort("electrode")
    filled = [
        column.with_columns(
            pl.Series(axis, values)
            for axis, values in zip(_AXES, _filled(column, volume.resolution_um).T, strict=True)
        )
        for column in sites.partition_by("shank", "shank_col", maintain_order=True)
    ]
    new = (
        pl.concat(filled)
        .join(known, on="electrode", how="anti")
        .join(outside, on="electrode", how="anti")
        .drop_nans(_AXES)
        .select("electrode", pl.col(_AXES).cast(pl.Int32))
        .sort("electrode")
    )
    inside = pl.Series(_region(volume, new) != 0)
    return {_FOUND: new.filter(inside), _LEFT_OUT: new.filter(~inside)}


def _filled(column: pl.DataFrame, voxel_um: int) -> NDArray[np.float64]:
    import numpy as np
    import polars as pl

    positions = column.select(pl.col(_AXES).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    return interpolate_sites(column["electrode"].to_numpy(), positions, voxel_um)


def _region(volume: Ccf, points: pl.DataFrame) -> NDArray[np.uint32]:
    return volume.region_at(*(points[axis].to_numpy() for axis in _AXES))


def fit_line(
    points: NDArray[np.floating], depth: NDArray[np.number], voxel_um: int
) -> NDArray[np.int32] | None:
    """Return the straight line through points: ML and AP fitted against DV by least squares.

    Parameters
    ----------
    points
        CCF x (ML), y (DV), z (AP) in um, (points, 3).
    depth
        DV in um at which to evaluate it, (depths,).
    voxel_um
        Size of a voxel in um.

    Returns
    -------
    line
        CCF x, y, z in um at each depth, (depths, 3), cut to whole um and then rounded to the voxel
        as published; None where the points are of fewer than two depths.
    """
    import numpy as np

    if len(np.unique(points[:, 1])) < 2:
        return None
    centre = points[:, 1].mean()  # keeps the two columns of the design apart in size
    design = np.column_stack([np.ones(len(points)), points[:, 1] - centre])
    (ml, ap), *_ = (np.linalg.lstsq(design, points[:, [0, 2]], rcond=None)[0].T,)
    rows = [ml[0] + ml[1] * (depth - centre), depth, ap[0] + ap[1] * (depth - centre)]
    whole = np.trunc(np.round(np.column_stack(rows), 6))  # 4999.9999999 is 5000, but for rounding
    return (voxel_um * np.rint(whole / voxel_um)).astype(np.int32)


def _positions(lake: Lake, key: Key) -> pl.DataFrame:
    """Return the recorded sites inside of the brain with shank and place, filled in ones too."""
    import polars as pl

    columns = ["electrode", *_AXES]
    found = [
        part(lake, n, key).select(columns) for n in ("histology.electrode_ccf_position", _FOUND)
    ]
    return pl.concat(found).join(_sites(lake, key), on="electrode").sort("electrode")


def lines(
    lake: Lake, key: Key, volume: Ccf
) -> Iterator[tuple[int, pl.DataFrame, NDArray[np.int32]]]:
    """Yield each shank of an insertion, its sites, and its line at every depth of the volume."""
    import numpy as np

    sites = _positions(lake, key)
    track = part(lake, "histology.labeled_probe_track_point", key)
    depth = np.arange(volume.shape[1]) * volume.resolution_um
    for shank in sites["shank"].unique().sort().to_list():
        mine = sites.filter(shank=shank)
        traced = track.filter(shank=shank)
        points = np.vstack([frame.select(_AXES).to_numpy() for frame in (mine, traced)])
        line = fit_line(points.astype(np.float64), depth, volume.resolution_um)
        if line is not None:
            yield shank, mine, line


def shank_tracks(lake: Lake, key: Key) -> dict[str, pl.DataFrame | None] | None:
    """Lay a line through each shank and keep what of it is inside the annotated volume."""
    import polars as pl

    volume = atlas(lake)
    if volume is None:
        return None
    rows: dict[str, list[pl.DataFrame]] = {_TRACK: [], _POINTS: [], _SURFACE: [], _DEEPEST: []}
    for shank, sites, line in lines(lake, key, volume):
        points = pl.DataFrame(line, schema=dict.fromkeys(_AXES, pl.Int32))
        inside = points.filter(pl.Series(_region(volume, points) != 0))
        deepest = sites.sort("ccf_y", "electrode", descending=[True, False]).head(1)
        named = {
            _TRACK: pl.DataFrame({"shank": [shank]}),
            _POINTS: inside,
            _SURFACE: inside.head(1),
            _DEEPEST: deepest.select(_AXES),
        }
        for name, frame in named.items():
            rows[name].append(frame.with_columns(shank=pl.lit(shank, pl.Int32)))
    return {name: pl.concat(frames) if frames else None for name, frames in rows.items()}


#: Tables of probes' geometry: a site never moves.
GEOMETRY = ("lab.electrode_config_electrode", "lab.probe_type_electrode")
#: What the lines of shanks are computed from.
LINE_INPUTS = (
    "histology.electrode_ccf_position",
    _FOUND,
    "histology.labeled_probe_track_point",
    "ephys.probe_insertion",
    "ccf.annotation_run",
)
COMPUTATIONS = (
    Computation(
        (get(_FOUND), get(_LEFT_OUT)),
        (
            "histology.electrode_ccf_position",
            "histology.electrode_ccf_position_error",
            "ephys.probe_insertion",
            "ccf.annotation_run",
            *GEOMETRY,
        ),
        interpolated_electrodes,
        constant=GEOMETRY,
    ),
    Computation(
        (get(_TRACK), get(_POINTS), get(_SURFACE), get(_DEEPEST)),
        (
            *LINE_INPUTS,
            *GEOMETRY,
        ),
        shank_tracks,
        constant=GEOMETRY,
    ),
)
