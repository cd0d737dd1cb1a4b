"""Probes in the brain: tracks in four views, of a session or of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.plots.lookup import Key, rows, session_title, some
from maplake.plots.registry import figure
from maplake.plots.style import attempt, blank, own_axes, plain

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

Floats = npt.NDArray[np.float64]

#: Views: axes of ML, DV, AP to the right and downwards, and their labels.
VIEWS: dict[str, tuple[Floats, str, str]] = {
    "from above": (np.array([[1.0, 0, 0], [0, 0, 1]]), "left to right (mm)", "front to back (mm)"),
    "from the front": (np.array([[1.0, 0, 0], [0, 1, 0]]), "left to right (mm)", "depth (mm)"),
    "from the left": (np.array([[0, 0, 1.0], [0, 1, 0]]), "front to back (mm)", "depth (mm)"),
    "from above, left and behind": (
        np.array([[0.77, 0, 0.64], [-0.29, 0.89, 0.35]]),
        "oblique (mm)",
        "oblique (mm)",
    ),
}
#: Colours of probes that colour-blind people tell apart.
PROBES = ("#0077BB", "#EE7733", "#009988", "#CC3311", "#AA3377", "#33BBEE", "#222222", "#999933")
_MESH_UM = 20.0  # a px of the mesh
_TRACK_TABLES = (
    "lab.water_restriction",
    "lab.probe_type_electrode",
    "experiment.session",
    "ephys.probe_insertion",
    "ephys.recordable_brain_region",
    "histology.electrode_ccf_position",
    "histology.interpolated_electrode_ccf",
    "histology.labeled_probe_track_point",
    "ccf.annotated_brain_surface",
)


def surface(lake: Lake) -> tuple[Floats, npt.NDArray[np.int64]] | None:
    """Return the brain's surface, None if the lake has none.

    Returns
    -------
    vertices
        ML, DV, AP (mm), shape (vertices, 3).
    faces
        Places in vertices, shape (faces, 3).
    """
    found = rows(lake, "SELECT vertices, faces FROM ccf.annotated_brain_surface LIMIT 1")
    if not len(found):
        return None
    vertices = np.array(found["vertices"][0].to_list(), dtype=np.float64)[:, [0, 2, 1]]
    return vertices * _MESH_UM / 1000, np.array(found["faces"][0].to_list(), dtype=np.int64)


def tracks(lake: Lake, key: Key) -> pl.DataFrame:
    """Return points of probe tracks: traced ones, and sites that histology placed.

    Returns
    -------
    Rows of subject_id, session, insertion_number, shank, ml, dv, ap (mm), by depth.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    names = "subject_id, session, insertion_number"
    found = rows(
        lake,
        f"SELECT {names}, shank, ccf_x / 1000 AS ml, ccf_y / 1000 AS dv, ccf_z / 1000 AS ap "
        f"FROM histology.labeled_probe_track_point WHERE {key.probe_where} UNION ALL "
        f"SELECT DISTINCT {names}, e.shank, p.ccf_x / 1000, p.ccf_y / 1000, p.ccf_z / 1000 "
        f"FROM (FROM histology.electrode_position WHERE {key.probe_where}) AS p "
        f"JOIN ephys.probe_insertion AS i USING ({names}) JOIN lab.probe_type_electrode AS e "
        "ON e.probe_type = i.probe_type AND e.electrode = p.electrode "
        f"ORDER BY {names}, shank, dv",
    )
    return some(found, "no histology: no probe track is in the lake")


def view(
    mesh: tuple[Floats, npt.NDArray[np.int64]] | None,
    points: pl.DataFrame,
    name: str,
    ax: Any = None,
    *,
    colors: dict[tuple[int, ...], tuple[str, str]],
) -> Any:
    """Draw the brain's surface and probe tracks from one side.

    Parameters
    ----------
    mesh
        As from :func:`surface`.
    points
        As from :func:`tracks`.
    name
        Of ``VIEWS``.
    colors
        Colour and label of each probe by subject_id, session, insertion_number.

    Returns
    -------
    The axes: mm in CCF coordinates; a line per shank.
    """
    axes, across, down = VIEWS[name]
    ax = own_axes(ax, figsize=(4, 4))
    if mesh is not None:
        _brain(ax, mesh, axes)
    done: set[tuple[int, ...]] = set()
    keys = ["subject_id", "session", "insertion_number"]
    for found, mine in points.partition_by(
        [*keys, "shank"], as_dict=True, maintain_order=True
    ).items():
        x, y = axes @ mine.select("ml", "dv", "ap").to_numpy().T
        probe = tuple(int(str(part)) for part in found[:3])
        color, label = colors[probe]
        # Of tracks at the same place the first one stays visible below the others.
        width = max(3.0 - 0.8 * list(colors).index(probe), 1.0) if len(colors) < 20 else 0.8
        ax.plot(x, y, color=color, linewidth=width, label=None if probe in done else label or None)
        done.add(probe)
    ax.set(xlabel=across, ylabel=down, aspect="equal")
    ax.set_title(name)
    ax.yaxis.set_inverted(True)
    plain(ax)
    return ax


def _brain(ax: Any, mesh: tuple[Floats, npt.NDArray[np.int64]], axes: Floats) -> None:
    """Fill the outline of the surface: all its triangles in one grey."""
    from matplotlib.collections import PolyCollection

    vertices, faces = mesh
    flat: Any = (vertices @ axes.T)[faces]
    shown = PolyCollection(flat, facecolors="0.9", edgecolors="0.9", linewidths=0.3)
    shown.set_rasterized(True)
    ax.add_collection(shown, autolim=True)
    ax.autoscale_view()


def _four(lake: Lake, key: Key, ax: Any, *, labelled: bool) -> None:
    points = tracks(lake, key)
    mesh = surface(lake)
    probes = points.select("subject_id", "session", "insertion_number").unique(maintain_order=True)
    colors = {}
    for number, probe in enumerate(probes.rows()):
        label = f"probe {probe[2]}" if labelled else ""
        colors[probe] = (PROBES[number % len(PROBES)], label)
    for one, name in zip(ax, VIEWS, strict=True):
        view(mesh, points, name, one, colors=colors)
    if labelled:
        ax[0].legend(loc="upper left", fontsize=8)
    if mesh is None:
        ax[1].annotate("no brain surface in the lake", (0, 0), xycoords="axes fraction", fontsize=8)


@figure("probe-tracks", "session", "Probe tracks in the brain, four views", _TRACK_TABLES)
def probe_tracks(lake: Lake, key: Key) -> Any:
    """Draw :func:`view` from four sides, the probes of a session."""
    made = blank(8, 7.5)
    attempt(list(made.subplots(2, 2).ravel()), _four, lake, key, labelled=True)
    made.suptitle(session_title(lake, key))
    return made


@figure("all-probe-tracks", "project", "Probe tracks of all sessions, four views", _TRACK_TABLES)
def all_probe_tracks(lake: Lake, key: Key) -> Any:
    """Draw :func:`view` from four sides, all probes with histology."""
    query = (
        "SELECT count(*) FROM (SELECT DISTINCT subject_id, session, insertion_number FROM "
        f"histology.electrode_position WHERE {key.probe_where})"
    )
    made = blank(8, 7.5)
    attempt(list(made.subplots(2, 2).ravel()), _four, lake, key, labelled=False)
    made.suptitle(f"probe tracks, n = {rows(lake, query).item()} probes")
    return made
