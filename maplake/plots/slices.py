"""Pseudo-coronal slices: the annotated brain along a shank, with its sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.plots.lookup import Key, probe_title, rows, some
from maplake.plots.registry import figure
from maplake.plots.style import attempt, blank, colour, missing, own_axes

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

_NAMED = 10  # regions in the legend, at most


def slice_of(lake: Lake, key: Key, shank: int) -> pl.DataFrame:
    """Return the slice along a shank: a row per run of one region, with name and colour.

    Raises
    ------
    NotFoundError
        If it was not computed.
    """
    query = (
        "SELECT s.*, b.region_name, b.color_code FROM histology.pseudocoronal_slice AS s "
        "LEFT JOIN (SELECT region_id, max(region_name) AS region_name, max(color_code) AS "
        "color_code FROM ccf.ccf_brain_region GROUP BY region_id) AS b USING (region_id) "
        f"WHERE {key.probe_where} AND s.shank = ? ORDER BY s.ccf_y, s.ccf_x_start"
    )
    return some(rows(lake, query, int(shank)), "there is no slice of this shank")


def painted(runs: pl.DataFrame) -> tuple[npt.NDArray[np.uint8], int]:
    """Return the picture of a slice.

    Returns
    -------
    picture
        Red, green, blue from 0 to 255, shape (DV, ML, 3); white outside. Row and column 0 are
        at 0 um.
    voxel
        Size of a pixel (um).
    """
    from matplotlib.colors import to_rgb

    y, x0, x1 = (runs[name].to_numpy() for name in ("ccf_y", "ccf_x_start", "ccf_x_stop"))
    steps = np.diff(np.unique(np.concatenate([y, x0, x1, [0]])))
    voxel = int(np.gcd.reduce(steps)) if len(steps) else 1
    y, x0, x1 = y // voxel, x0 // voxel, x1 // voxel
    picture = np.full((y.max() + 2, x1.max() + 2, 3), 255, dtype=np.uint8)
    length = x1 - x0 + 1
    first = np.repeat(np.cumsum(length) - length, length)
    column = np.repeat(x0, length) + np.arange(length.sum()) - first
    palette = np.array([to_rgb(colour(code)) for code in runs["color_code"]])
    picture[np.repeat(y, length), column] = np.repeat(255 * palette, length, axis=0).astype(
        np.uint8
    )
    return picture, voxel


def pseudocoronal(lake: Lake, key: Key, shank: int = 1, ax: Any = None) -> Any:
    """Draw the annotated brain along a shank, and the shank's sites in it.

    Returns
    -------
    The axes: left to right (mm) on x, depth (mm) downwards on y, in CCF coordinates. The legend
    names the regions that the sites are in.

    Raises
    ------
    NotFoundError
        If the slice was not computed.
    """
    runs = slice_of(lake, key, shank)
    ax = own_axes(ax, figsize=(5, 4))
    picture, voxel = painted(runs)
    height, width = picture.shape[:2]
    edge = voxel / 2000
    ax.imshow(
        picture,
        extent=(-edge, width * voxel / 1000 - edge, height * voxel / 1000 - edge, -edge),
        aspect="equal",
    )
    sites = _sites(lake, key, shank)
    ax.plot(
        sites["ccf_x"] / 1000, sites["ccf_y"] / 1000, "o", color="white", markersize=2.4,
        markeredgecolor="black", markeredgewidth=0.5, label=f"{len(sites)} sites",
    )  # fmt: skip
    _legend(ax, sites)
    ax.set(xlabel="left to right (mm)", ylabel="depth in CCF (mm)")
    ap = runs["ccf_z"].median() or 0
    ax.set_title(f"shank {shank}, AP {float(str(ap)) / 1000:.2f} mm")
    return ax


def _sites(lake: Lake, key: Key, shank: int) -> pl.DataFrame:
    """Return the sites of a shank in the brain: ccf_x, ccf_y (um), region name and colour."""
    return rows(
        lake,
        "SELECT p.ccf_x, p.ccf_y, b.region_name, b.color_code "
        f"FROM (FROM histology.electrode_position WHERE {key.probe_where}) AS p "
        f"JOIN (FROM ephys.probe_insertion WHERE {key.probe_where}) AS i "
        "USING (subject_id, session, insertion_number) JOIN lab.probe_type_electrode AS e "
        "ON e.probe_type = i.probe_type AND e.electrode = p.electrode "
        "LEFT JOIN ccf.annotation_run AS r ON r.ccf_x = p.ccf_x AND r.ccf_z = p.ccf_z "
        "AND p.ccf_y BETWEEN r.ccf_y_start AND r.ccf_y_stop "
        "LEFT JOIN ccf.ccf_brain_region AS b USING (annotation_version, region_id) "
        "WHERE e.shank = ? ORDER BY p.ccf_y",
        int(shank),
    )


def _legend(ax: Any, sites: pl.DataFrame) -> None:
    from matplotlib.patches import Patch

    named = sites.drop_nulls("region_name").unique("region_name", maintain_order=True)
    patches = [
        Patch(color=colour(row["color_code"]), label=row["region_name"])
        for row in named.head(_NAMED).to_dicts()
    ]
    lines = ax.get_legend_handles_labels()[0]
    ax.legend(handles=[*lines, *patches], loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1)


@figure(
    "pseudocoronal-slice",
    "probe",
    "Pseudo-coronal slice with the shank",
    (
        "lab.water_restriction",
        "lab.probe_type_electrode",
        "experiment.session",
        "ephys.probe_insertion",
        "ephys.recordable_brain_region",
        "histology.electrode_ccf_position",
        "histology.interpolated_electrode_ccf",
        "histology.pseudocoronal_slice",
        "ccf.annotation_run",
        "ccf.ccf_brain_region",
    ),
)
def pseudocoronal_slices(lake: Lake, key: Key) -> Any:
    """Draw :func:`pseudocoronal` of every shank."""
    query = (
        "SELECT DISTINCT shank FROM histology.pseudocoronal_slice "
        f"WHERE {key.probe_where} ORDER BY shank"
    )
    shanks = rows(lake, query)["shank"].to_list()
    if not shanks:
        made = blank(7.5, 2.2)
        missing(made.subplots(), _why(lake, key))
    else:
        columns = min(len(shanks), 2)
        lines = -(-len(shanks) // columns)
        made = blank(4.8 * columns + (1 if columns == 1 else 0), 4.6 * lines)
        for ax, shank in zip(
            made.subplots(lines, columns, squeeze=False).ravel(), shanks, strict=False
        ):
            attempt(ax, pseudocoronal, lake, key, shank)
    made.suptitle(probe_title(lake, key))
    return made


def _why(lake: Lake, key: Key) -> str:
    query = f"SELECT count(*) FROM histology.electrode_ccf_position WHERE {key.probe_where}"
    if not rows(lake, query).item():
        return "no histology for this probe"
    if not rows(lake, "SELECT count(*) FROM ccf.annotation_version").item():
        return "the lake has no annotated brain"
    return "the slice is not computed: run maplake compute"
