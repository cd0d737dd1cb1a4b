"""Foraging sessions: choices and rewards, matching and efficiency, licking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maplake.errors import NotFoundError
from maplake.plots.behavior import moving_proportion
from maplake.plots.lookup import Key, rows, session_title, some, values
from maplake.plots.registry import figure
from maplake.plots.style import (
    FAINT,
    NEUTRAL,
    SIDE_COLORS,
    attempt,
    blank,
    legend_above,
    own_axes,
    plain,
)

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

TASKS = ("foraging", "foraging 3lp")
_PORTS = ("left", "right", "middle")
_PLACE = {"left": -0.12, "right": 1.12, "middle": 1.3}
_WINDOW = (-1.0, 3.0)
_BIN_S = 0.05
_EFFICIENCIES = {
    "block_effi_one_p_reward": "of the best port",
    "block_ideal_phat_greedy": "of the best strategy",
}


def trials_of(lake: Lake, key: Key) -> pl.DataFrame:
    """Return the trials of a foraging session: trial, block, water_port, outcome.

    Raises
    ------
    NotFoundError
        If no choice of a port is known.
    """
    session = key.session_where
    return some(
        rows(
            lake,
            "SELECT t.trial, b.block, c.water_port, t.outcome "
            f"FROM (FROM experiment.behavior_trial WHERE {session}) AS t "
            f"JOIN (FROM experiment.water_port_choice WHERE {session}) AS c USING (trial) "
            f"LEFT JOIN (FROM experiment.block_trial WHERE {session}) AS b USING (trial) "
            "ORDER BY t.trial",
        ),
        "this session has no choices of water ports: it is of another task",
    )


def choices(lake: Lake, key: Key, ax: Any = None) -> Any:
    """Draw every choice, rewarded or not, the share of right choices, and reward probabilities.

    Returns
    -------
    The axes: trial on x; probability and share (0 to 1) on y. Choices are ticks outside of 0 to
    1: left below, right above, middle on top; long and dark with water.

    Raises
    ------
    NotFoundError
        If no choice of a port is known.
    """
    found = trials_of(lake, key)
    ax = own_axes(ax, figsize=(8, 3))
    trial = found["trial"].to_numpy()
    _probabilities(lake, key, found, ax)
    hit = (found["outcome"] == "hit").to_numpy()
    for port in _PORTS:
        mine = (found["water_port"] == port).fill_null(value=False).to_numpy()
        for reward, size, alpha in ((True, 9, 1.0), (False, 4, 0.6)):
            at = trial[mine & (hit == reward)]
            ax.plot(
                at, np.full(len(at), _PLACE[port]), "|", color=SIDE_COLORS[port], markersize=size,
                alpha=alpha, markeredgewidth=1.0,
            )  # fmt: skip
    chosen = found["water_port"].is_not_null().to_numpy()
    if chosen.any():
        right = (found["water_port"] == "right").fill_null(value=False).to_numpy()[chosen]
        ax.plot(
            trial[chosen], moving_proportion(right, 10), color=NEUTRAL, linewidth=1.5,
            label="right choices, 10 trials",
        )  # fmt: skip
    ax.set(xlabel="trial", ylabel="probability, share", xlim=(trial[0] - 1, trial[-1] + 1))
    ax.set_yticks(np.arange(0, 1.1, 0.25))
    ignored = int((~chosen).sum())
    title = f"n = {len(trial)} trials, {hit.sum()} rewarded (long ticks), {ignored} ignored"
    legend_above(ax, title, ncols=4)
    plain(ax)
    return ax


def _probabilities(lake: Lake, key: Key, found: pl.DataFrame, ax: Any) -> None:
    query = (
        "SELECT block, water_port, reward_probability FROM experiment.block_reward_probability "
        f"WHERE {key.session_where} ORDER BY block"
    )
    of_port = rows(lake, query).partition_by("water_port", as_dict=True)
    for port in _PORTS:
        mine = of_port.get((port,))
        if mine is None:
            continue
        joined = found.join(mine, on="block", how="left", maintain_order="left")
        ax.step(
            joined["trial"].to_numpy(), values(joined, "reward_probability"), where="mid",
            color=SIDE_COLORS[port], linewidth=1.4, label=f"p(water) {port}",
        )  # fmt: skip


def matching(lake: Lake, key: Key, ax: Any = None) -> Any:
    """Draw choices of the right port against its rewards, block by block, with the fitted line.

    Returns
    -------
    The axes: log2 of rewards right : elsewhere on x, of choices on y.

    Raises
    ------
    NotFoundError
        If no block is long enough.
    """
    found = rows(
        lake,
        "SELECT block_reward_fraction AS reward, block_choice_fraction AS choice "
        f"FROM foraging.block_fraction WHERE {key.session_where} AND water_port = 'right'",
    )
    reward, choice = values(found, "reward"), values(found, "choice")
    inside = (reward > 0) & (reward < 1) & (choice > 0) & (choice < 1)
    if not inside.any():
        raise NotFoundError(
            "no block of more than 30 trials with choices and rewards on both sides"
        )
    ax = own_axes(ax, figsize=(3, 3))
    x = np.log2(reward[inside] / (1 - reward[inside]))
    y = np.log2(choice[inside] / (1 - choice[inside]))
    ax.plot(x, y, "o", color=SIDE_COLORS["right"], markersize=5)
    span = np.array([min(x.min(), -1.0), max(x.max(), 1.0)])
    ax.plot(span, span, color=FAINT, linestyle=":", linewidth=1, label="perfect matching")
    fitted = rows(
        lake,
        f"SELECT match_idx, bias FROM foraging.session_matching WHERE {key.session_where} "
        "AND water_port = 'right' AND match_idx IS NOT NULL",
    )
    for slope, bias in fitted.rows():
        label = f"slope {slope:.2f}, bias {bias:.2f}"
        ax.plot(span, slope * span + bias, color=NEUTRAL, linewidth=1.4, label=label)
    ax.set(xlabel="log₂ rewards right : other", ylabel="log₂ choices right : other")
    legend_above(ax, f"matching, n = {inside.sum()} blocks", ncols=1, lines=1 + len(fitted))
    plain(ax)
    return ax


def efficiency(lake: Lake, key: Key, ax: Any = None) -> Any:
    """Draw the rewards of each block relative to what could be earned.

    Returns
    -------
    The axes: block on x; earned over possible reward on y, 1 = all.

    Raises
    ------
    NotFoundError
        If no block is long enough.
    """
    columns = ", ".join(_EFFICIENCIES)
    query = (
        f"SELECT block, {columns} FROM foraging.block_efficiency "
        f"WHERE {key.session_where} ORDER BY block"
    )
    found = some(rows(lake, query), "no block of more than 30 trials")
    ax = own_axes(ax, figsize=(3, 3))
    for (name, label), color in zip(_EFFICIENCIES.items(), ("#0077BB", "#EE7733"), strict=True):
        if found[name].is_not_null().any():
            ax.plot(
                found["block"].to_numpy(), values(found, name), "o-", color=color, markersize=4,
                label=label,
            )  # fmt: skip
    ax.axhline(1, color=FAINT, linestyle=":", linewidth=1)
    ax.set(xlabel="block", ylabel="earned / possible")
    ax.set_ylim(bottom=0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    legend_above(ax, f"efficiency, n = {len(found)} blocks", ncols=1, lines=2)
    plain(ax)
    return ax


def licking(lake: Lake, key: Key, ax: Any = None) -> Any:
    """Draw the rate of licks at each port around the go cue, over all trials with one.

    Returns
    -------
    The axes: time from the go cue (s) on x, licks per s and trial (Hz) on y; bins of 50 ms.

    Raises
    ------
    NotFoundError
        If there is no go cue, or no lick.
    """
    go = lake.event_times(key.subject_id or 0, key.session or 0, "go")["trial"].n_unique()
    if not go:
        raise NotFoundError("this session has no go cues")
    ax = own_axes(ax, figsize=(3, 3))
    edges = np.arange(_WINDOW[0], _WINDOW[1] + _BIN_S / 2, _BIN_S)
    drawn = 0
    for port in _PORTS:
        licks = lake.event_times(key.subject_id or 0, key.session or 0, f"{port} lick")
        time = values(licks, "time_from_go")
        if not len(time):
            continue
        count = np.histogram(time[np.isfinite(time)], edges)[0]
        ax.stairs(count / go / _BIN_S, edges, color=SIDE_COLORS[port], linewidth=1.3,
                  label=f"{port}, {len(time)} licks")  # fmt: skip
        drawn += len(time)
    if not drawn:
        raise NotFoundError("this session has no licks")
    ax.axvline(0, color=NEUTRAL, linestyle="--", linewidth=0.8, zorder=0)
    ax.set(xlabel="time from go cue (s)", ylabel="licks (Hz)", xlim=_WINDOW)
    ports = len(ax.get_legend_handles_labels()[0])
    legend_above(ax, f"licking, n = {go} trials", ncols=1, lines=ports)
    plain(ax)
    return ax


@figure(
    "foraging-performance",
    "session",
    "Foraging: choices and rewards, matching, efficiency, licking",
    (
        "lab.water_restriction",
        "experiment.session",
        "experiment.behavior_trial",
        "experiment.block_trial",
        "experiment.block_reward_probability",
        "experiment.water_port_choice",
        "experiment.trial_available_reward",
        "experiment.trial_event",
        "experiment.action_event",
    ),
    TASKS,
)
def foraging_performance(lake: Lake, key: Key) -> Any:
    """Draw :func:`choices`, :func:`matching`, :func:`efficiency` and :func:`licking`."""
    made = blank(9, 7)
    upper, lower = made.subfigures(2, 1, height_ratios=(4, 5))
    attempt(upper.subplots(), choices, lake, key)
    panels = (matching, efficiency, licking)
    for ax, panel in zip(lower.subplots(1, 3), panels, strict=True):
        attempt(ax, panel, lake, key, otherwise=panel.__name__)
    made.suptitle(session_title(lake, key))
    return made
