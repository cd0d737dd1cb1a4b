"""PSTHs of groups of units: stacked by depth, averaged, with and without photostimulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import NotFoundError
from maplake.plots.behavior import stimulated_locations
from maplake.plots.lookup import Key, epoch_times, method_of, probe_title, rows, sides, values
from maplake.plots.registry import figure
from maplake.plots.selectivity import SELECTIVITY_TABLES, preferred_sides, selectivity_of
from maplake.plots.style import (
    CONTRA,
    DIVERGING,
    IPSI,
    LIGHT,
    attempt,
    blank,
    epoch_lines,
    legend_above,
    missing,
    own_axes,
    plain,
)
from maplake.query.numbers import smooth

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.activity import Psth
    from maplake.query.lake import Lake

Floats = npt.NDArray[np.float64]

_HITS = "good_noearlylick_{}_hit"
_SMOOTHED_S = 0.2  # five bins of 40 ms
_SELECTIVE = ("contra-selective", "ipsi-selective")


def by_side(lake: Lake, key: Key, condition: str) -> tuple[Psth, Psth]:
    """Return the PSTHs of a probe's units in contra and in ipsi trials.

    Parameters
    ----------
    condition
        Name of a condition with ``{}`` in place of the instructed side.
    """
    return by_sides(lake, key, [condition])[condition]


def by_sides(lake: Lake, key: Key, conditions: list[str]) -> dict[str, tuple[Psth, Psth]]:
    """Return :func:`by_side` of several conditions, their spikes read once."""
    words = [side for _, side, _ in sides(lake, key)]
    names = [condition.format(side) for condition in conditions for side in words]
    found = lake.psth(*key.probe, condition=names, clustering_method=method_of(lake, key))
    contra, ipsi = words
    return {name: (found[name.format(contra)], found[name.format(ipsi)]) for name in conditions}


def places_in(result: Psth, units: pl.DataFrame) -> npt.NDArray[np.intp]:
    """Return the rows of a PSTH that belong to units, in their order."""
    number = {unit: row for row, unit in enumerate(result.units["unit"].to_list())}
    return np.array([number[u] for u in units["unit"].to_list() if u in number], dtype=np.intp)


def stacked_difference(contra: Psth, ipsi: Psth, units: pl.DataFrame) -> Floats:
    """Return contra minus ipsi rates of units, smoothed over 0.2 s, each scaled to its maximum.

    Returns
    -------
    difference
        -1 (ipsi) to 1 (contra), shape (units, bins).
    """
    row = places_in(contra, units)
    difference = smooth(contra.rate[row] - ipsi.rate[row], contra.bin, _SMOOTHED_S, "boxcar")
    largest = np.abs(difference).max(axis=1, keepdims=True, initial=0.0)
    scaled: Floats = difference / np.where(largest > 0, largest, 1.0)
    return scaled


def stacked(contra: Psth, ipsi: Psth, units: pl.DataFrame, ax: Any = None) -> Any:
    """Draw :func:`stacked_difference` of units ordered by depth, the tip below.

    Returns
    -------
    The axes: time from the go cue (s) on x, units on y. Its image is ``ax.images[0]``.

    Raises
    ------
    NotFoundError
        If there is no such unit.
    """
    if not len(units):
        raise NotFoundError("there are no such units")
    ax = own_axes(ax, figsize=(3.5, 3.5))
    ax.imshow(
        stacked_difference(contra, ipsi, units),
        aspect="auto",
        origin="lower",
        cmap=DIVERGING,
        vmin=-1,
        vmax=1,
        extent=(contra.time[0] - contra.bin, contra.time[-1], 0.5, len(units) + 0.5),
    )
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="time from go cue (s)", ylabel="unit, tip of the probe below")
    return ax


def average(
    contra: Psth,
    ipsi: Psth,
    ax: Any = None,
    *,
    units: pl.DataFrame | None = None,
    title: str = "",
) -> Any:
    """Draw mean rates over units in contra and ipsi trials.

    Returns
    -------
    The axes: time from the go cue (s) on x, rate (Hz) on y; bands are standard errors over units.

    Raises
    ------
    NotFoundError
        If there is no unit, or no trial.
    """
    ax = own_axes(ax, figsize=(3.5, 3))
    row = np.arange(len(contra.units)) if units is None else places_in(contra, units)
    if not len(row):
        raise NotFoundError("there are no such units")
    if not (contra.trial_count.any() or ipsi.trial_count.any()):
        raise NotFoundError("there are no such trials")
    for name, result, color in (("contra", contra, CONTRA), ("ipsi", ipsi, IPSI)):
        if not result.trial_count.any():
            continue
        rate = result.rate[row]
        mean, error = rate.mean(axis=0), rate.std(axis=0) / np.sqrt(len(row))
        middle = result.time - result.bin / 2
        ax.fill_between(middle, mean - error, mean + error, color=color, alpha=0.25, linewidth=0)
        label = f"{name}, {result.trial_count.max()} trials"
        ax.plot(middle, mean, color=color, linewidth=1.4, label=label)
    ax.set(xlabel="time from go cue (s)", ylabel="rate (Hz)", xlim=(-3, 3))
    ax.set_ylim(bottom=0)
    legend_above(ax, title or f"{len(row)} units", ncols=1, lines=2)
    plain(ax)
    return ax


@figure(
    "group-psth",
    "probe",
    "Selective units: stacked differences by depth, and averages",
    SELECTIVITY_TABLES,
    ("audio delay",),
)
def group_psth(lake: Lake, key: Key) -> Any:
    """Draw :func:`stacked` and :func:`average` of contra- and ipsi-selective units."""
    made = blank(8, 7.2)
    axes = made.subplots(2, 2, sharex=True, height_ratios=(3, 2))
    attempt(list(axes.ravel()), _groups, lake, key)
    made.suptitle(probe_title(lake, key))
    return made


def _groups(lake: Lake, key: Key, ax: Any) -> None:
    found = preferred_sides(selectivity_of(lake, key))
    contra, ipsi = by_side(lake, key, _HITS)
    epochs = epoch_times(lake, key)
    for column, name in enumerate(_SELECTIVE):
        units = found.filter(unit_selectivity=name)
        title = f"{name}, n = {len(units)} units"
        attempt(ax[column], stacked, contra, ipsi, units, otherwise=title)
        attempt(ax[2 + column], average, contra, ipsi, units=units, otherwise=title)
        for one in (ax[column], ax[2 + column]):
            if one.axison:
                epoch_lines(one, epochs, names=one is ax[column])
        ax[column].set_title(title, pad=18)
        ax[column].set_xlabel("")
    drawn = [one for one in ax[:2] if one.images]
    if drawn:
        bar = ax[0].figure.colorbar(drawn[-1].images[0], ax=ax[:2], pad=0.01, ticks=[-1, 0, 1])
        bar.set_label("contra − ipsi (share of maximum)")
    _same_top(ax[2:])


def _same_top(axes: Any) -> None:
    """Give axes of rates the same limits."""
    drawn = [one for one in axes if one.axison]
    top = max((one.get_ylim()[1] for one in drawn), default=1.0)
    for one in drawn:
        one.set_ylim(0, top)


@figure(
    "photostim-effect",
    "probe",
    "Average PSTHs without and with photostimulation",
    (*SELECTIVITY_TABLES, "experiment.photostim", "experiment.photostim_location"),
    ("audio delay", "audio mem", "s1 stim"),
)
def photostim_effect(lake: Lake, key: Key) -> Any:
    """Draw :func:`average` of control trials and of each stimulated location."""
    try:
        names = stimulated_locations(lake, key)["location"].to_list()
    except NotFoundError as error:
        made = blank(7.5, 2.2)
        missing(made.subplots(), error.message)
    else:
        names = sorted({name.split(",")[0] for name in names})
        made = blank(3.2 * (1 + len(names)), 3.8)
        axes = made.subplots(1, 1 + len(names), sharex=True)
        attempt(list(axes), _stimulated, lake, key, names)
    made.suptitle(probe_title(lake, key))
    return made


def _stimulated(lake: Lake, key: Key, names: list[str], ax: Any) -> None:
    epochs = epoch_times(lake, key)
    conditions = {"control": "all_noearlylick_nostim_{}"}
    conditions |= {n: f"all_noearlylick_{n.lower().replace(' ', '_')}_stim_{{}}" for n in names}
    known = set(
        rows(lake, "SELECT lower(trial_condition_name) FROM psth.trial_condition").to_series()
    )
    declared = [text for text in conditions.values() if text.format("left") in known]
    found = by_sides(lake, key, declared)
    for one, (name, condition) in zip(ax, conditions.items(), strict=True):
        if condition not in found:
            missing(one, f"there is no trial condition {condition}", name)
            continue
        contra, ipsi = found[condition]
        title = f"{name}, {len(contra.units)} units"
        attempt(one, average, contra, ipsi, title=title, otherwise=title)
        if one.axison:
            epoch_lines(one, epochs)
            if name != "control":
                _shade(lake, key, name, one)
    for one in ax[1:]:
        one.set_ylabel("")
    _same_top(ax)


def _shade(lake: Lake, key: Key, location: str, ax: Any) -> None:
    """Shade the mean stimulus of a location; a protocol without a duration gets its onset only."""
    session = key.session_where
    found = rows(
        lake,
        "SELECT avg(e.photostim_event_time - g.event_time) AS onset, avg(p.duration) AS duration "
        f"FROM (FROM experiment.photostim_event WHERE {session}) AS e "
        f"JOIN (FROM experiment.photostim WHERE {session}) AS p USING (photo_stim) "
        f"JOIN (FROM experiment.photostim_brain_region WHERE {session}) AS r USING (photo_stim) "
        f"JOIN (FROM psth.last_event WHERE {session} AND trial_event_type = 'go') AS g "
        "USING (trial) WHERE lower(r.stim_laterality || ' ' || r.stim_brain_area) = ?",
        location.lower(),
    )
    onset, duration = values(found, "onset")[0], values(found, "duration")[0]
    if np.isfinite(onset):
        stop = onset + (duration if np.isfinite(duration) else 0.0)
        ax.axvspan(onset, stop, color=LIGHT, alpha=0.3, linewidth=0, zorder=-1)
