"""What a lab has: units by brain region; sessions, animals and units over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maplake.plots.lookup import Key, rows, some
from maplake.plots.registry import figure
from maplake.plots.style import CONTRA, FAINT, NEUTRAL, attempt, blank, colour, own_axes, plain

if TYPE_CHECKING:
    from maplake.query.lake import Lake

_MOST = 30  # regions shown


def units_by_region(lake: Lake, key: Key, ax: Any = None) -> Any:
    """Draw the number of units in each brain region, the most first, in the regions' colours.

    Returns
    -------
    The axes: number of labelled units on x, a bar per region.

    Raises
    ------
    NotFoundError
        If no unit has a place in the brain.
    """
    found = some(
        rows(
            lake,
            "SELECT coalesce(c.region_name, 'outside of all regions') AS name, "
            "max(c.color_code) AS code, count(*) AS units FROM ephys.unit_ccf AS c "
            "JOIN ephys.unit AS u "
            "USING (subject_id, session, insertion_number, clustering_method, unit) "
            f"WHERE u.unit_quality <> 'all' AND {key.probe_where} "
            "GROUP BY name ORDER BY units DESC, name",
        ),
        "no histology: no unit has a place in the brain",
    )
    ax = own_axes(ax, figsize=(6, 5))
    shown = found.head(_MOST)
    places = np.arange(len(shown))
    ax.barh(
        places, shown["units"].to_numpy(), color=[colour(code) for code in shown["code"]],
        edgecolor="0.3", linewidth=0.5,
    )  # fmt: skip
    names = [name if len(name) < 42 else name[:40] + "…" for name in shown["name"]]
    ax.set(yticks=places, yticklabels=names, xlabel="labelled units")
    ax.yaxis.set_inverted(True)
    for place, count in zip(places, shown["units"], strict=True):
        ax.annotate(
            str(count), (count, place), xytext=(3, 0), textcoords="offset points", va="center",
            fontsize=8,
        )  # fmt: skip
    ax.margins(x=0.08)
    more = f", the first {_MOST}" if len(found) > _MOST else ""
    ax.set_title(f"{found['units'].sum():,} units in {len(found)} regions{more}")
    plain(ax)
    return ax


def over_time(lake: Lake, key: Key, what: str, ax: Any = None) -> Any:
    """Draw how sessions, animals or units add up over time.

    Parameters
    ----------
    what
        ``sessions``, ``animals`` or ``units`` (of all qualities but ``all``).

    Returns
    -------
    The axes: day on x, number so far on y.

    Raises
    ------
    NotFoundError
        If there is no session.
    """
    found = some(
        rows(
            lake,
            "SELECT s.session_date AS day, count(*)::BIGINT AS sessions, "
            "count(*) FILTER (s.first)::BIGINT AS animals, "
            "coalesce(sum(u.units), 0)::BIGINT AS units FROM (SELECT *, row_number() OVER "
            "(PARTITION BY subject_id ORDER BY session_datetime) = 1 AS first "
            f"FROM experiment.session WHERE {key.session_where}) AS s "
            "LEFT JOIN (SELECT subject_id, session, count(*) AS units FROM ephys.unit "
            "WHERE unit_quality <> 'all' GROUP BY ALL) AS u USING (subject_id, session) "
            "GROUP BY day ORDER BY day",
        ),
        "the lake has no sessions",
    )
    ax = own_axes(ax, figsize=(7, 2.5))
    day, total = found["day"].to_numpy(), found[what].cum_sum().to_numpy()
    color = {"sessions": NEUTRAL, "animals": "#EE7733", "units": CONTRA}[what]
    ax.step(day, total, where="post", color=color, linewidth=1.6)
    ax.plot(day, total, "o", color=color, markersize=3)
    ax.fill_between(day, total, step="post", color=FAINT, alpha=0.3, linewidth=0)
    ax.set(ylabel=what, ylim=(0, None))
    ax.set_title(f"n = {total[-1]:,} {what}", loc="left")
    plain(ax)
    return ax


@figure(
    "units-by-region",
    "project",
    "Units in each brain region",
    (
        "ephys.unit",
        "histology.electrode_ccf_position",
        "histology.interpolated_electrode_ccf",
        "ccf.annotation_run",
        "ccf.ccf_brain_region",
    ),
)
def regions(lake: Lake, key: Key) -> Any:
    """Draw :func:`units_by_region`."""
    made = blank(7.5, 5.5)
    attempt(made.subplots(), units_by_region, lake, key)
    return made


@figure(
    "growth",
    "project",
    "Sessions, animals and units over time",
    ("experiment.session", "ephys.unit"),
)
def growth(lake: Lake, key: Key) -> Any:
    """Draw :func:`over_time` of sessions, animals and units."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    made = blank(7.5, 6)
    axes = made.subplots(3, 1, sharex=True)
    for ax, what in zip(axes, ("sessions", "animals", "units"), strict=True):
        attempt(ax, over_time, lake, key, what)
    if axes[-1].axison:
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        axes[-1].xaxis.set_major_locator(locator)
        axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes[-1].set_xlabel("day of the session")
    return made
