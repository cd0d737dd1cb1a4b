"""What animals did: performance over a session, and with photostimulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import NotFoundError
from maplake.plots.lookup import Key, rows, session_title, some
from maplake.plots.registry import figure
from maplake.plots.style import (
    FAINT,
    NEUTRAL,
    SIDE_COLORS,
    attempt,
    blank,
    legend_above,
    missing,
    own_axes,
    plain,
)

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

Floats = npt.NDArray[np.float64]

_OUTCOMES = (("hit", 1.16, "#0077BB"), ("miss", 1.09, "#CC3311"), ("ignore", 1.02, FAINT))
_TRIALS = ("experiment.session", "experiment.behavior_trial", "lab.water_restriction")


def moving_proportion(hit: npt.ArrayLike, window: int | None = None) -> Floats:
    """Return the share of hits among the trials around each trial.

    Parameters
    ----------
    hit
        Whether each trial was a hit, shape (trials,).
    window
        Number of trials; None = 10 % of them. At the ends it is cut, not filled with misses.

    Returns
    -------
    proportion
        0 to 1, shape (trials,).
    """
    values = np.asarray(hit, dtype=np.float64)
    size = max(1, int(0.1 * len(values)) if window is None else int(window))
    kernel = np.ones(min(size, len(values)))
    total = np.convolve(np.ones(len(values)), kernel, mode="same")
    return np.asarray(np.convolve(values, kernel, mode="same") / total)


def performance(lake: Lake, key: Key, ax: Any = None) -> Any:
    """Draw the outcome of every trial and the moving proportion correct.

    Returns
    -------
    The axes: trial number on x, proportion of hits (0 to 1) on y.

    Raises
    ------
    NotFoundError
        If no trial has an outcome.
    """
    found = some(
        rows(
            lake,
            f"SELECT trial, outcome FROM experiment.behavior_trial WHERE {key.session_where} "
            "AND outcome <> 'N/A' ORDER BY trial",
        ),
        "no trial of this session has an outcome",
    )
    ax = own_axes(ax, figsize=(7, 3))
    trial, outcome = found["trial"].to_numpy(), found["outcome"].to_numpy()
    for name, place, color in _OUTCOMES:
        mine = trial[outcome == name]
        ax.plot(
            mine, np.full(len(mine), place), "|", color=color, markersize=6, label=_n(name, mine)
        )
    window = max(1, int(0.1 * len(trial)))
    ax.plot(
        trial,
        moving_proportion(outcome == "hit", window),
        color=NEUTRAL,
        linewidth=1.8,
        label=f"proportion correct, {window} trials",
    )
    ax.set(
        xlabel="trial",
        ylabel="proportion correct",
        xlim=(trial[0] - 1, trial[-1] + 1),
        ylim=(0, 1.22),
        yticks=np.arange(0, 1.1, 0.25),
    )
    legend_above(ax, ncols=4)
    plain(ax)
    return ax


def _n(name: str, trials: Any) -> str:
    return f"{name}, n = {len(trials)}"


def stimulated_locations(lake: Lake, key: Key) -> pl.DataFrame:
    """Return the photostimulation protocols of a session: photo_stim and name of the location.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    query = (
        "SELECT photo_stim, stim_laterality || ' ' || stim_brain_area || CASE WHEN count(*) OVER "
        "(PARTITION BY stim_laterality, stim_brain_area) > 1 THEN ', protocol ' || photo_stim "
        "ELSE '' END AS location FROM experiment.photostim_brain_region "
        f"WHERE {key.session_where} ORDER BY photo_stim"
    )
    return some(rows(lake, query), "there was no photostimulation in this session")


def photostim_performance(lake: Lake, key: Key, photo_stim: int, ax: Any = None) -> Any:
    """Draw the proportion correct without and with one photostimulation protocol.

    Trials with an early lick are left out. The bars are standard errors of a proportion.

    Returns
    -------
    The axes: control and photostim on x, proportion of hits (0 to 1) on y; a line per instructed
    side.

    Raises
    ------
    NotFoundError
        If no trial without an early lick had this protocol.
    """
    found = some(
        rows(
            lake,
            "SELECT t.trial_instruction AS side, s.trial IS NOT NULL AS stim, count(*) AS n, "
            "avg((t.outcome = 'hit')::INTEGER) AS correct "
            f"FROM (FROM psth.trial WHERE {key.session_where}) AS t LEFT JOIN "
            "(SELECT DISTINCT trial FROM experiment.photostim_event WHERE "
            f"{key.session_where} AND photo_stim = ?) AS s USING (trial) "
            "WHERE t.early_lick = 'no early' AND (NOT t.photostim OR s.trial IS NOT NULL) "
            "AND t.trial_instruction IN ('left', 'right') GROUP BY ALL ORDER BY ALL",
            int(photo_stim),
        ),
        "there are no left or right trials without early licks",
    )
    if not found["stim"].any():
        raise NotFoundError("no trial without an early lick had this photostimulus")
    ax = own_axes(ax, figsize=(3, 3))
    for number, (side, mine) in enumerate(sorted(found.partition_by("side", as_dict=True).items())):
        mine = mine.sort("stim")
        share, n = mine["correct"].to_numpy(), mine["n"].to_numpy()
        ax.errorbar(
            mine["stim"].cast(int).to_numpy() + 0.04 * number,
            share,
            np.sqrt(share * (1 - share) / n),
            color=SIDE_COLORS[str(side[0])],
            marker="o",
            markersize=5,
            capsize=3,
            label=f"{side[0]}, {' / '.join(map(str, n))}",
        )
    ax.set(xticks=[0, 1], xticklabels=["control", "photostim"], ylim=(0, 1.05), xlim=(-0.3, 1.3))
    ax.set_ylabel("proportion correct")
    ax.legend(
        loc="lower left", title="instructed, n control / stim", title_fontsize=9, alignment="left"
    )
    plain(ax)
    return ax


@figure("behavior-performance", "session", "Behavior performance", _TRIALS)
def behavior_performance(lake: Lake, key: Key) -> Any:
    """Draw :func:`performance`."""
    made = blank(7.5, 3)
    attempt(made.subplots(), performance, lake, key)
    made.suptitle(session_title(lake, key))
    return made


@figure(
    "photostim-performance",
    "session",
    "Performance with photostimulation, by location",
    (*_TRIALS, "experiment.photostim_event", "experiment.photostim_location"),
    ("audio delay", "audio mem", "s1 stim"),
)
def photostim_by_location(lake: Lake, key: Key) -> Any:
    """Draw :func:`photostim_performance` of every location."""
    try:
        protocols = stimulated_locations(lake, key).rows()
    except NotFoundError as error:
        made = blank(7.5, 2.2)
        missing(made.subplots(), error.message)
    else:
        count = min(len(protocols), 4)
        lines = -(-len(protocols) // count)
        made = blank(max(2.9 * count, 4.5), 3 * lines + 0.3)
        axes = made.subplots(lines, count, squeeze=False, sharey=True).ravel()
        for ax, (number, location) in zip(axes, protocols, strict=False):
            attempt(ax, photostim_performance, lake, key, number, otherwise=location)
            ax.set_title(location)
            ax.label_outer()
        for ax in axes[len(protocols) :]:
            ax.set_axis_off()
    made.suptitle(session_title(lake, key))
    return made
