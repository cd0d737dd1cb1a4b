"""Coding directions: how well each probe tells contra from ipsi, and how probes go together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import NotFoundError, QueryError
from maplake.plots.lookup import Key, area, epoch_times, rows, session_title
from maplake.plots.registry import figure
from maplake.plots.style import (
    CONTRA,
    IPSI,
    attempt,
    blank,
    epoch_lines,
    legend_above,
    missing,
    own_axes,
    plain,
)

if TYPE_CHECKING:
    from maplake.query.decoding import CodingDirection
    from maplake.query.lake import Lake

Floats = npt.NDArray[np.float64]

_WINDOW = (-0.4, 0.0)
_BIN_S = 0.04
_MOST_PROBES = 6


def direction_of(lake: Lake, key: Key) -> CodingDirection:
    """Return the coding direction of a probe from -0.4 to 0 s before the go cue.

    Raises
    ------
    NotFoundError
        If it cannot be computed; the message says why.
    """
    try:
        return lake.coding_direction(
            *key.probe, window=_WINDOW, bin=_BIN_S, clustering_method=key.clustering_method
        )
    except QueryError as error:
        raise NotFoundError(f"no coding direction: {error.message}") from error


def mean_sem(trials: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard error over trials, shape (bins,) each."""
    mean = trials.mean(axis=0)
    spread = trials.std(axis=0, ddof=1) if len(trials) > 1 else np.zeros_like(mean)
    return mean, spread / np.sqrt(max(len(trials), 1))


def end_points(found: CodingDirection) -> dict[str, dict[int, float]]:
    """Return the mean projection (Hz) in the window by trial, of both instructed sides."""
    inside = (found.time >= found.window[0]) & (found.time < found.window[1])
    other = {"left": "right", "right": "left"}[found.hemisphere]
    trials = {other: (found.contra_trial, found.contra)}
    trials[found.hemisphere] = (found.ipsi_trial, found.ipsi)
    return {
        side: dict(zip(number.tolist(), rate[:, inside].mean(axis=1).tolist(), strict=True))
        for side, (number, rate) in trials.items()
    }


def projection(
    lake: Lake, key: Key, ax: Any = None, *, found: CodingDirection | None = None
) -> Any:
    """Draw the contra and ipsi trials of a probe projected on its coding direction.

    Returns
    -------
    The axes: time from the go cue (s) on x, projected rate (Hz) on y; lines are means, bands
    standard errors over trials; the window that made the direction is shaded.

    Raises
    ------
    NotFoundError
        If there is no coding direction.
    """
    found = found or direction_of(lake, key)
    ax = own_axes(ax, figsize=(4, 3))
    middle = found.time - _BIN_S / 2
    for name, trials, color in (("contra", found.contra, CONTRA), ("ipsi", found.ipsi, IPSI)):
        mean, error = mean_sem(trials)
        ax.fill_between(middle, mean - error, mean + error, color=color, alpha=0.25, linewidth=0)
        ax.plot(middle, mean, color=color, linewidth=1.4, label=f"{name}, n = {len(trials)}")
    ax.axvspan(*found.window, color="0.9", zorder=-1, linewidth=0)
    epoch_lines(ax, epoch_times(lake, key))
    ax.set(xlabel="time from go cue (s)", ylabel="projection (Hz)", xlim=(-3, 3))
    legend_above(ax, _name(lake, key) + f", {len(found.units)} units")
    plain(ax)
    return ax


def _name(lake: Lake, key: Key) -> str:
    return ", ".join(text for text in (f"probe {key.insertion_number}", area(lake, key)) if text)


def correlation(
    first: CodingDirection, second: CodingDirection, ax: Any = None, *, names: tuple[str, str]
) -> Any:
    """Draw the end points of two probes against each other, trial by trial.

    Sides are those of the first probe; where the second is in the other hemisphere, its
    contralateral trials are the first one's ipsilateral ones.

    Returns
    -------
    The axes: projections (Hz) of the first probe on x, of the second on y; r is Pearson's.

    Raises
    ------
    NotFoundError
        If no trial was recorded by both.
    """
    ours, theirs = end_points(first), end_points(second)
    ipsi = first.hemisphere
    contra = {"left": "right", "right": "left"}[ipsi]
    ax = own_axes(ax, figsize=(3, 3))
    drawn = 0
    for name, side, color in (("contra", contra, CONTRA), ("ipsi", ipsi, IPSI)):
        both = sorted(ours[side].keys() & theirs[side].keys())
        x, y = (np.array([points[side][trial] for trial in both]) for points in (ours, theirs))
        varied = len(both) > 2 and x.std() > 0 and y.std() > 0
        r = f", r = {np.corrcoef(x, y)[0, 1]:.2f}" if varied else ""
        ax.plot(
            x, y, "o", color=color, markersize=3.5, alpha=0.6, markeredgewidth=0,
            label=f"{name}, n = {len(both)}{r}",
        )  # fmt: skip
        drawn += len(both)
    if not drawn:
        raise NotFoundError("no trial was recorded by both probes")
    ax.set(xlabel=f"{names[0]} (Hz)", ylabel=f"{names[1]} (Hz)")
    legend_above(ax, ncols=1, lines=2)
    plain(ax)
    return ax


@figure(
    "coding-direction",
    "session",
    "Coding direction of each probe, and end points of pairs of probes",
    (
        "lab.water_restriction",
        "experiment.behavior_trial",
        "experiment.photostim_event",
        "experiment.trial_event",
        "ephys.ephys_trial",
        "ephys.good_trial",
        "ephys.insertion_location",
        "ephys.recordable_brain_region",
        "ephys.unit",
        "ephys.spike",
    ),
    ("audio delay",),
)
def coding_direction(lake: Lake, key: Key) -> Any:
    """Draw :func:`projection` of each probe, and :func:`correlation` of each pair."""
    query = (
        f"SELECT insertion_number FROM ephys.probe_insertion WHERE {key.session_where} ORDER BY 1"
    )
    probes = rows(lake, query)["insertion_number"].to_list()[:_MOST_PROBES]
    if not probes:
        made = blank(7.5, 2.2)
        missing(made.subplots(), "no probe was inserted in this session")
    else:
        made = _matrix(lake, key, probes)
    made.suptitle(session_title(lake, key))
    return made


def _matrix(lake: Lake, key: Key, probes: list[int]) -> Any:
    size = len(probes)
    made = blank(3.6 * size + (1.4 if size == 1 else 0), 3.1 * size + 0.3)
    axes = made.subplots(size, size, squeeze=False)
    found: dict[int, CodingDirection] = {}
    for row, number in enumerate(probes):
        probe = replace(key, insertion_number=number)
        attempt(axes[row, row], _keep, lake, probe, found, otherwise=_name(lake, probe))
    names = {n: _name(lake, replace(key, insertion_number=n)) for n in probes}
    for row in range(size):
        for column in range(row + 1, size):
            _pair(axes[row, column], [probes[row], probes[column]], found, names)
            axes[column, row].set_axis_off()
    return made


def _keep(lake: Lake, key: Key, found: dict[int, CodingDirection], ax: Any) -> Any:
    mine = direction_of(lake, key)
    found[key.probe[2]] = mine
    return projection(lake, key, ax, found=mine)


def _pair(
    ax: Any, pair: list[int], found: dict[int, CodingDirection], names: dict[int, str]
) -> None:
    if any(number not in found for number in pair):
        missing(ax, "one of the probes has no coding direction")
        return
    first, second = pair
    attempt(ax, correlation, found[first], found[second], names=(names[first], names[second]))
