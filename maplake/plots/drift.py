"""Drift maps: spikes of a shank over time and depth, beside the brain regions they are in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import NotFoundError
from maplake.plots.lookup import Key, method_of, probe_title, rows, some, values
from maplake.plots.registry import figure
from maplake.plots.style import NEUTRAL, attempt, blank, colour, missing, own_axes, plain

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

Floats = npt.NDArray[np.float64]

_TIME_BINS, _DEPTH_BINS = 1000, 200


@dataclass(frozen=True)
class DriftMap:
    """Spikes of one shank over time and depth.

    Attributes
    ----------
    count
        Spikes, shape (time bins, depth bins).
    time
        Edges (s from the first recorded trial), shape (time bins + 1,).
    depth
        Edges (um from the tip), shape (depth bins + 1,).
    units
        Number of units.
    """

    count: npt.NDArray[np.int64]
    time: Floats
    depth: Floats
    units: int


def shanks_of(lake: Lake, key: Key) -> dict[int, list[int]]:
    """Return the units of each shank, those of quality ``all`` left out.

    Raises
    ------
    NotFoundError
        If the probe has no such units.
    """
    found = rows(
        lake,
        "SELECT e.shank, list(u.unit ORDER BY u.unit) AS units FROM ephys.unit AS u "
        "JOIN lab.probe_type_electrode AS e USING (probe_type, electrode) "
        f"WHERE {key.probe_where} AND u.clustering_method = ? AND u.unit_quality <> 'all' "
        "GROUP BY e.shank ORDER BY e.shank",
        method_of(lake, key),
    )
    some(found, "there are no labelled units of this probe")
    return dict(zip(found["shank"].to_list(), found["units"].to_list(), strict=True))


def drift_maps(lake: Lake, key: Key) -> dict[int, DriftMap]:
    """Return the drift map of each shank: 1000 bins of time, 200 of depth.

    Raises
    ------
    NotFoundError
        If the probe has no labelled units, or no spikes.
    """
    shanks = shanks_of(lake, key)
    spikes = lake.spikes(*key.probe, clustering_method=method_of(lake, key))
    unit, time, depth = spikes.unit, spikes.time, spikes.depth
    known = np.isfinite(depth)
    if not known.any():
        raise NotFoundError("there are no spikes with a depth")
    edges = (_edges(time[known], _TIME_BINS), _edges(np.append(depth[known], 0.0), _DEPTH_BINS))
    shank_of = np.zeros(int(max(unit.max(), max(map(max, shanks.values())))) + 1, dtype=np.int64)
    for shank, units in shanks.items():
        shank_of[units] = shank
    # One number per spike: shank, time bin, depth bin.
    cell = (shank_of[unit] * _TIME_BINS + _places(time, edges[0])) * _DEPTH_BINS
    cell = (cell + _places(np.where(known, depth, 0.0), edges[1]))[known]
    size = (max(shanks) + 1) * _TIME_BINS * _DEPTH_BINS
    count = np.bincount(cell, minlength=size).reshape(-1, _TIME_BINS, _DEPTH_BINS)
    return {shank: DriftMap(count[shank], *edges, len(units)) for shank, units in shanks.items()}


def _edges(found: Floats, bins: int) -> Floats:
    first, last = float(found.min()), float(found.max())
    return np.linspace(first, last if last > first else first + 1.0, bins + 1)


def _places(found: Floats, edges: Floats) -> npt.NDArray[np.int64]:
    scale = (len(edges) - 1) / (edges[-1] - edges[0])
    place = ((found - edges[0]) * scale).astype(np.int64)
    return np.asarray(np.clip(place, 0, len(edges) - 2), dtype=np.int64)


def drift_map(found: DriftMap, ax: Any = None) -> Any:
    """Draw the rate of a shank's spikes over time and depth.

    Returns
    -------
    The axes: time (s from the first trial) on x, um from the tip on y. Its image is
    ``ax.images[0]``, in spikes per s of a bin of depth.
    """
    ax = own_axes(ax, figsize=(8, 4))
    rate = found.count.T / np.diff(found.time)[0]
    shown = rate[rate > 0]
    ax.imshow(
        rate,
        aspect="auto",
        origin="lower",
        cmap="Greys",
        vmin=0,
        vmax=float(np.percentile(shown, 99)) if len(shown) else 1.0,
        extent=(*found.time[[0, -1]], *found.depth[[0, -1]]),
        interpolation="antialiased",
    )
    ax.set(xlabel="time from first trial (s)", ylabel="position from the tip (µm)")
    plain(ax)
    return ax


def depth_counts(found: DriftMap, ax: Any = None) -> Any:
    """Draw how many spikes there are by depth: thousands on x, um from the tip on y."""
    ax = own_axes(ax, figsize=(2, 4))
    total = found.count.sum(axis=0) / 1000
    ax.stairs(total, found.depth, orientation="horizontal", color=NEUTRAL, fill=True)
    ax.set(xlabel="spikes (10³)", ylim=found.depth[[0, -1]])
    ax.set_xlim(left=0)
    plain(ax)
    return ax


def regions_of(lake: Lake, key: Key) -> pl.DataFrame:
    """Return the sites of a probe with place (um) and region: shank, y_coord, name, colour.

    Raises
    ------
    NotFoundError
        If histology did not place the probe, or the lake has no annotation.
    """
    found = rows(
        lake,
        "SELECT e.shank, e.y_coord, b.region_name, b.color_code "
        f"FROM (FROM histology.electrode_position WHERE {key.probe_where}) AS p "
        f"JOIN (FROM ephys.probe_insertion WHERE {key.probe_where}) AS i "
        "USING (subject_id, session, insertion_number) "
        "JOIN lab.probe_type_electrode AS e "
        "ON e.probe_type = i.probe_type AND e.electrode = p.electrode "
        "LEFT JOIN ccf.annotation_run AS r ON r.ccf_x = p.ccf_x AND r.ccf_z = p.ccf_z "
        "AND p.ccf_y BETWEEN r.ccf_y_start AND r.ccf_y_stop "
        "LEFT JOIN ccf.ccf_brain_region AS b USING (annotation_version, region_id) "
        "ORDER BY e.shank, e.y_coord, b.region_name",
    )
    return some(found, "no histology for this probe")


def regions(sites: pl.DataFrame, ax: Any = None) -> Any:
    """Draw the brain regions along a shank in their colours, with their names.

    Parameters
    ----------
    sites
        y_coord (um), region_name and color_code of the sites of one shank.

    Returns
    -------
    The axes: um from the tip on y.
    """
    ax = own_axes(ax, figsize=(2, 4))
    rows_ = sites.unique("y_coord", keep="first").sort("y_coord").to_dicts()
    steps = np.diff([row["y_coord"] for row in rows_])
    step = float(np.median(steps)) if len(steps) else 20.0
    run: list[dict[str, Any]] = []
    for row in rows_:
        last = run[-1] if run else None
        near = last and row["y_coord"] - last["stop"] <= 2 * step
        if last and near and last["region_name"] == row["region_name"]:
            last["stop"] = row["y_coord"]
        else:
            run.append({**row, "start": row["y_coord"], "stop": row["y_coord"]})
    for part in run:
        low, high = part["start"] - step / 2, part["stop"] + step / 2
        ax.axhspan(low, high, color=colour(part["color_code"]), linewidth=0)
        if high - low > 6 * step:
            _name(ax, part["region_name"] or "outside", (low + high) / 2)
    ax.set(xticks=[], xlabel="region")
    plain(ax)
    ax.spines["bottom"].set_visible(False)
    return ax


def _name(ax: Any, name: str, y: float) -> None:
    import textwrap

    text = "\n".join(textwrap.wrap(name, 16)[:2])
    box = {"facecolor": "white", "alpha": 0.75, "pad": 1, "linewidth": 0}
    ax.text(0.5, y, text, ha="center", va="center", fontsize=7.5, bbox=box, clip_on=True,
            transform=ax.get_yaxis_transform())  # fmt: skip


@figure(
    "drift-map",
    "probe",
    "Drift map of each shank, with brain regions",
    (
        "lab.water_restriction",
        "lab.probe_type_electrode",
        "experiment.session",
        "ephys.probe_insertion",
        "ephys.insertion_location",
        "ephys.recordable_brain_region",
        "ephys.unit",
        "arrays/ephys",
        "histology.electrode_ccf_position",
        "histology.interpolated_electrode_ccf",
        "ccf.annotation_run",
        "ccf.ccf_brain_region",
    ),
)
def drift(lake: Lake, key: Key) -> Any:
    """Draw :func:`drift_map`, :func:`depth_counts` and :func:`regions` of each shank."""
    try:
        maps = drift_maps(lake, key)
    except NotFoundError as error:
        made = blank(7.5, 2.2)
        missing(made.subplots(), error.message)
    else:
        made = blank(9.5, 3.9 * len(maps) if len(maps) < 3 else 3.2 * len(maps))
        axes = made.subplots(len(maps), 3, squeeze=False, width_ratios=(9, 2, 2))
        depth = _insertion_depth(lake, key)
        for line, (shank, found) in zip(axes, maps.items(), strict=True):
            _line(lake, key, found, shank, depth, line)
    made.suptitle(probe_title(lake, key))
    return made


def _line(
    lake: Lake, key: Key, found: DriftMap, shank: int, depth: float | None, axes: Any
) -> None:
    image = drift_map(found, axes[0]).images[0]
    axes[0].set_title(f"shank {shank}: {found.units} units, {found.count.sum():,} spikes")
    axes[0].figure.colorbar(image, ax=axes[0], pad=0.01, label="rate (Hz)", aspect=30)
    depth_counts(found, axes[1]).tick_params(labelleft=False)
    attempt(axes[2], _regions, lake, key, shank)
    if axes[2].axison:
        axes[2].set_ylim(found.depth[[0, -1]])
        axes[2].tick_params(left=False, labelleft=False)
    if depth is not None:
        _brain_depth(axes[2] if axes[2].axison else axes[1], depth)


def _regions(lake: Lake, key: Key, shank: int, ax: Any) -> Any:
    sites = regions_of(lake, key).filter(shank=shank)
    return regions(some(sites, "no histology for this shank"), ax)


def _insertion_depth(lake: Lake, key: Key) -> float | None:
    query = f"SELECT max(depth) AS depth FROM ephys.insertion_location WHERE {key.probe_where}"
    depth = float(values(rows(lake, query), "depth")[0])
    return depth if np.isfinite(depth) else None


def _brain_depth(ax: Any, tip: float) -> None:
    """Add an axis of depth below the brain's surface (mm); the tip is at ``tip`` um (negative)."""
    other = ax.secondary_yaxis(
        "right", functions=(lambda y: -(tip + y) / 1000, lambda mm: -1000 * mm - tip)
    )
    other.set_ylabel("depth in the brain (mm)")
