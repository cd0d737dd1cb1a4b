"""Rasters and PSTHs of units, light enough to draw hundreds.

Each figure takes ``data=`` as from :func:`maplake.plots.unit_data.probe_unit_data`, so that a
probe's units are fetched once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maplake.errors import NotFoundError
from maplake.plots.lookup import Key
from maplake.plots.registry import figure
from maplake.plots.selectivity import SELECTIVITY_TABLES
from maplake.plots.style import attempt, blank, epoch_lines, missing, own_axes, plain
from maplake.plots.unit_data import (
    DELAY,
    FORAGING,
    PORTS,
    Panel,
    UnitData,
    probe_unit_data,
    top_rate,
)

if TYPE_CHECKING:
    from maplake.query.lake import Lake

_TABLES = (*SELECTIVITY_TABLES, "ephys.cluster_metric")


def raster(panel: Panel, place: int, ax: Any = None) -> Any:
    """Draw the spikes of a unit trial by trial, the groups one below the other.

    Parameters
    ----------
    panel
        Of a :class:`~maplake.plots.unit_data.UnitData`.
    place
        Row of the unit.

    Returns
    -------
    The axes: time from the event (s) on x, trials downwards on y; a line of ticks per group.

    Raises
    ------
    NotFoundError
        If there are no trials.
    """
    total = sum(len(group.trial) for group in panel.groups)
    if not total:
        raise NotFoundError("there are no such trials")
    ax = own_axes(ax, figsize=(3, 3))
    first = 0
    size = float(np.clip(120 / total, 0.8, 4))
    for group in panel.groups:
        time, row = group.spikes(place)
        ax.plot(time, row + first, "|", color=group.color, markersize=size, markeredgewidth=0.6)
        first += len(group.trial)
        if first < total:
            ax.axhline(first - 0.5, color="0.8", linewidth=0.6)
    ax.set(xlim=panel.window, ylim=(total - 0.5, -0.5))
    plain(ax)
    return ax


def rates(panel: Panel, place: int, ax: Any = None) -> Any:
    """Draw the PSTHs of a unit.

    Returns
    -------
    The axes: time from the event (s) on x, rate (Hz) on y; a line per group that has trials.

    Raises
    ------
    NotFoundError
        If there are no trials.
    """
    if not any(len(group.trial) for group in panel.groups):
        raise NotFoundError("there are no such trials")
    ax = own_axes(ax, figsize=(3, 2))
    for group in panel.groups:
        label = f"{group.name}, n = {len(group.trial)}"
        ax.plot(
            panel.middle,
            group.rate[place],
            color=group.color,
            linewidth=1.1,
            linestyle=(0, (2.5, 1.2)) if group.dashed else "-",
            label=label,
        )
    ax.set(xlabel=f"time from {panel.event} (s)", xlim=panel.window)
    ax.set_ylim(0, top_rate(place, [panel]))
    plain(ax)
    return ax


def heat_map(panel: Panel, place: int, ax: Any = None) -> Any:
    """Draw the PSTHs of a unit as a row per group: time from the event (s) on x, groups on y.

    The image is ``ax.images[0]``, in Hz.

    Raises
    ------
    NotFoundError
        If there are no trials.
    """
    if not panel.groups:
        raise NotFoundError("there are no such trials")
    ax = own_axes(ax, figsize=(3, 2))
    rate = np.array([group.rate[place] for group in panel.groups])
    ax.imshow(
        rate,
        aspect="auto",
        cmap="cividis",
        vmin=0,
        vmax=top_rate(place, [panel]),
        extent=(*panel.edges[[0, -1]], len(rate) - 0.5, -0.5),
    )
    ax.set_yticks(range(len(rate)), [group.name for group in panel.groups])
    ax.set_xlabel(f"time from {panel.event} (s)")
    return ax


def _grid(made: Any, columns: int, top: float, **options: Any) -> Any:
    """Return axes of rasters above PSTHs at fixed places: laying out takes longer than drawing."""
    axes = made.subplots(2, columns, squeeze=False, height_ratios=(3, 2), **options)
    made.subplots_adjust(left=0.09, right=0.985, top=top, bottom=0.11, hspace=0.08, wspace=0.12)
    return axes


def _both(panel: Panel, place: int, upper: Any, lower: Any, epochs: bool = True) -> None:
    attempt(upper, raster, panel, place)
    attempt(lower, rates, panel, place)
    if upper.axison:
        shown = panel.epochs if epochs and panel.epochs else {"": 0.0}
        epoch_lines(upper, shown, names=True)
        epoch_lines(lower, shown)


def _drawable(lake: Lake, key: Key, data: UnitData | None, kind: str) -> UnitData:
    """Return the data of a unit's figure, fetched where they are not given.

    Raises
    ------
    NotFoundError
        If there is no such unit.
    """
    data = data or probe_unit_data(lake, key, kind)
    data.place(key.unit)
    return data


def _missing(error: NotFoundError) -> Any:
    made = blank(6.4, 2.2, constrained=False)
    missing(made.subplots(), error.message)
    return made


@figure(
    "unit-psth",
    "unit",
    "Raster and PSTH, contra and ipsi, correct and incorrect",
    _TABLES,
    ("audio delay", "audio mem", "s1 stim"),
)
def unit_psth(lake: Lake, key: Key, data: UnitData | None = None) -> Any:
    """Draw :func:`raster` and :func:`rates` of correct and incorrect trials."""
    try:
        data = _drawable(lake, key, data, DELAY)
    except NotFoundError as error:
        return _missing(error)
    place = data.place(key.unit)
    made = blank(7.2, 4.8, constrained=False)
    axes = _grid(made, 2, 0.78)
    for panel, upper, lower in zip(data.panels, *axes, strict=True):
        _both(panel, place, upper, lower)
        if upper.axison:
            upper.legend(
                handles=lower.lines[: len(panel.groups)],
                loc="lower center",
                bbox_to_anchor=(0.5, 1.05),
                ncols=2,
                columnspacing=1.0,
            )
        upper.set_title(panel.title, pad=32)
    _level(data, place, axes)
    made.suptitle(data.unit_title(key.unit), y=0.995, fontsize=10)
    return made


def _few_ticks(panel: Panel, top: float, upper: Any, lower: Any) -> None:
    """Put few, round ticks: each costs as much as a hundred spikes."""
    first, last = panel.window
    step = 2.0 if last - first < 8 else 5.0
    ticks = np.arange(np.ceil(first / step), last / step + 0.01) * step + 0.0  # no -0
    lower.set_xticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
    upper.set_xticks(ticks, [""] * len(ticks))
    total = sum(len(group.trial) for group in panel.groups)
    upper.set_yticks([0, total - 1], ["1", str(total)])
    size = 10 ** np.floor(np.log10(top))
    high = float(max(size * factor for factor in (1, 2, 5) if size * factor <= top))
    lower.set_yticks([0, high], ["0", f"{high:g}"])


def _level(data: UnitData, place: int, axes: Any) -> None:
    """Give the PSTHs of a unit the same limits, and labels to the first column."""
    top = top_rate(place, data.panels)
    for column, (upper, lower) in enumerate(axes.T):
        if not lower.axison:
            continue
        lower.set_ylim(0, top)
        _few_ticks(data.panels[column], top, upper, lower)
        if column and axes[1, 0].axison:
            lower.tick_params(labelleft=False)
        elif lower.axison:
            lower.set_ylabel("rate (Hz)")
            upper.set_ylabel("trial")


@figure(
    "unit-psth-foraging",
    "unit",
    "Raster and PSTH by choice and outcome, four alignments",
    (*_TABLES, "experiment.water_port_choice", "experiment.action_event"),
    ("foraging", "foraging 3lp"),
)
def unit_psth_foraging(lake: Lake, key: Key, data: UnitData | None = None) -> Any:
    """Draw :func:`raster` and :func:`rates` around trial start, go cue, lick and trial end."""
    try:
        data = _drawable(lake, key, data, FORAGING)
    except NotFoundError as error:
        return _missing(error)
    place = data.place(key.unit)
    made = blank(11, 4.8, constrained=False)
    spans = [float(panel.edges[-1] - panel.edges[0]) for panel in data.panels]
    axes = _grid(made, len(spans), 0.84, width_ratios=spans)
    made.subplots_adjust(left=0.06)
    for panel, upper, lower in zip(data.panels, *axes, strict=True):
        _both(panel, place, upper, lower, epochs=False)
        lower.set_xlabel(f"from {panel.event} (s)")
    _level(data, place, axes)
    for upper in axes[0, 1:]:
        upper.tick_params(labelleft=False)
    drawn = [lower for lower in axes[1] if lower.axison]
    if drawn:
        handles = drawn[0].lines[: len(data.panels[0].groups)]
        made.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.92), ncols=4)
    made.suptitle(data.unit_title(key.unit), y=0.995, fontsize=10)
    return made


@figure(
    "unit-psth-by-port",
    "unit",
    "Raster and PSTH by water port",
    (*_TABLES, "experiment.mtl_block_trial", "experiment.mtl_block_water_port"),
    ("multi-target-licking",),
)
def unit_psth_by_port(lake: Lake, key: Key, data: UnitData | None = None) -> Any:
    """Draw :func:`raster` and :func:`heat_map` of the trials of each port."""
    try:
        data = _drawable(lake, key, data, PORTS)
    except NotFoundError as error:
        return _missing(error)
    place = data.place(key.unit)
    made = blank(7.2, 4.8, constrained=False)
    upper, lower = made.subplots(1, 2, width_ratios=(5, 6))
    made.subplots_adjust(left=0.15, right=0.97, top=0.84, bottom=0.12, wspace=0.25)
    panel = data.panels[0]
    attempt(upper, raster, panel, place)
    attempt(lower, heat_map, panel, place)
    if upper.axison:
        count = np.array([len(group.trial) for group in panel.groups])
        names = [f"{group.name} ({n})" for group, n in zip(panel.groups, count, strict=True)]
        upper.set_yticks(np.cumsum(count) - count / 2 - 0.5, names, fontsize=8)
        upper.set_xlabel(f"time from {panel.event} (s)")
        upper.set_title(f"n = {count.sum()} trials, port (trials)")
        lower.set_title("mean rate")
        made.colorbar(lower.images[0], ax=lower, label="rate (Hz)", pad=0.03)
    made.suptitle(data.unit_title(key.unit), y=0.995, fontsize=10)
    return made
