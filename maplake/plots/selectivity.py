"""Which side units of a probe prefer, where they are, and what photostimulation does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maplake.errors import NotFoundError, QueryError
from maplake.plots.lookup import Key, method_of, probe_title, rows, some, values
from maplake.plots.quality import bubbles, on_probe
from maplake.plots.registry import figure
from maplake.plots.style import CONTRA, FAINT, IPSI, attempt, blank, own_axes

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

PERIODS = ("sample", "delay", "response")
_COLORS = {"contra-selective": CONTRA, "ipsi-selective": IPSI, "non-selective": FAINT}
#: Tables that decide which units prefer which side.
SELECTIVITY_TABLES = (
    "lab.water_restriction",
    "experiment.session",
    "experiment.behavior_trial",
    "experiment.photostim_event",
    "experiment.trial_event",
    "ephys.ephys_trial",
    "ephys.good_trial",
    "ephys.insertion_location",
    "ephys.recordable_brain_region",
    "ephys.unit",
    "ephys.spike",
)


def selectivity_of(lake: Lake, key: Key) -> pl.DataFrame:
    """Return a row per unit and period: selectivity, rates (Hz) and place on the probe (um).

    Raises
    ------
    NotFoundError
        If the probe has no units or no location, or no trial is fit for the test.
    """
    method = method_of(lake, key)
    try:
        found = lake.selectivity(*key.probe, clustering_method=method)
    except QueryError as error:
        raise NotFoundError(f"no selectivity: {error.message}") from error
    found = some(found, "there are no labelled units of this probe")
    if not found["contra_firing_rate"].is_not_null().any():
        raise NotFoundError("no trial is fit for the test: hits of audio delay without early lick")
    places = rows(
        lake,
        f"SELECT unit, unit_posx, unit_posy FROM ephys.unit WHERE {key.probe_where} "
        "AND clustering_method = ?",
        method,
    )
    return found.join(places, on="unit", how="left")


def preferred_sides(found: pl.DataFrame) -> pl.DataFrame:
    """Return unit, unit_selectivity and unit_posy (um) of units that prefer a side.

    A unit is selective if it is in any period; its side is that of the higher mean rate.
    """
    import polars as pl

    ipsi = pl.col("ipsi_firing_rate").mean() > pl.col("contra_firing_rate").mean()
    return (
        found.group_by("unit")
        .agg(
            pl.col("unit_posy").first(),
            (pl.col("period_selectivity") != "non-selective").any().alias("selective"),
            pl.when(ipsi)
            .then(pl.lit("ipsi-selective"))
            .otherwise(pl.lit("contra-selective"))
            .alias("unit_selectivity"),
        )
        .filter(pl.col("selective"))
        .drop("selective")
        .sort("unit_posy", "unit")
    )


def by_position(found: pl.DataFrame, period: str, ax: Any = None) -> Any:
    """Draw the selectivity of units in a period at their place on the probe.

    Parameters
    ----------
    found
        As from :func:`selectivity_of`.
    period
        ``sample``, ``delay`` or ``response``.

    Returns
    -------
    The axes: um across and along the probe from the tip. Circles are as large as the difference
    of the rates in contra and ipsi trials; units without a preference are faint dots.
    """
    ax = own_axes(ax, figsize=(2.5, 5))
    mine = found.filter(period=period)
    rest = mine.filter(period_selectivity="non-selective")
    ax.scatter(values(rest, "unit_posx"), values(rest, "unit_posy"), 8, color=FAINT, linewidths=0)
    some_side = mine.filter(mine["period_selectivity"] != "non-selective")
    difference = values(some_side, "contra_firing_rate") - values(some_side, "ipsi_firing_rate")
    colors = [_COLORS[name] for name in some_side["period_selectivity"]]
    x, y = values(some_side, "unit_posx"), values(some_side, "unit_posy")
    bubbles(ax, x, y, difference, "Hz", colors or FAINT)
    n = max(len(mine), 1)
    share = {
        name: 100 * int((mine["period_selectivity"] == f"{name}-selective").sum()) / n
        for name in ("contra", "ipsi")
    }
    ax.set_title(
        f"{period}, n = {len(mine)}\n{share['contra']:.0f} % contra, {share['ipsi']:.0f} % ipsi",
        pad=18,
    )
    on_probe([ax], found)
    return ax


def photostim_change(lake: Lake, key: Key, units: pl.DataFrame, ax: Any = None) -> Any:
    """Draw the change of rate under bilateral ALM photostimulation at places on the probe.

    Parameters
    ----------
    units
        unit, unit_posx, unit_posy (um).

    Returns
    -------
    The axes: um across and along the probe; circles are as large as the change relative to
    control, in %; units that fire less are blue-grey, units that fire more orange.

    Raises
    ------
    NotFoundError
        If there was no such photostimulation.
    """
    ax = own_axes(ax, figsize=(2.5, 5))
    try:
        effect = lake.photostim_effect(*key.probe, clustering_method=method_of(lake, key))
    except (NotFoundError, QueryError) as error:
        raise NotFoundError("both ALM were never stimulated in recorded trials") from error
    both = effect.join(units.select("unit", "unit_posx", "unit_posy").unique("unit"), on="unit")
    control = values(both, "control_rate")
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(control > 0, 100 * values(both, "difference") / control, np.nan)
    known = np.isfinite(change)
    if not known.any():
        raise NotFoundError("both ALM were never stimulated in recorded trials")
    colors = np.where(change[known] < 0, "#44667A", "#EE7733")
    x, y = values(both, "unit_posx")[known], values(both, "unit_posy")[known]
    bubbles(ax, x, y, change[known], "%", list(colors))
    less = int((change[known] < 0).sum())
    trials = int(str(both["stim_trials"].max()))
    ax.set_title(
        f"both ALM photostim, {trials} trials\n{less} less, {known.sum() - less} more", pad=18
    )
    on_probe([ax], units)
    return ax


@figure(
    "selectivity-by-position",
    "probe",
    "Selectivity by position, and change under bilateral photostimulation",
    (*SELECTIVITY_TABLES, "experiment.photostim", "experiment.photostim_location"),
    ("audio delay",),
)
def selectivity_by_position(lake: Lake, key: Key) -> Any:
    """Draw :func:`by_position` of the three periods, and :func:`photostim_change`."""
    made = blank(10.5, 5.8)
    axes = made.subplots(1, 4)
    attempt(list(axes), _four, lake, key)
    made.suptitle(probe_title(lake, key) + "; contra blue, ipsi red")
    return made


def _four(lake: Lake, key: Key, ax: Any) -> None:
    found = selectivity_of(lake, key)
    for one, period in zip(ax[:3], PERIODS, strict=True):
        by_position(found, period, one)
    on_probe(ax, found)
    for one in ax[1:3]:
        one.set_ylabel("")
    attempt(ax[3], photostim_change, lake, key, found, otherwise="both ALM photostim")
    ax[3].set_ylabel("")
