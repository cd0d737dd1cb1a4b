"""The coding direction of a population, and trials projected on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maplake.errors import QueryError
from maplake.query.counts import TrialCounts
from maplake.query.numbers import Floats

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class CodingDirection:
    """The direction in which a population tells contra- from ipsilateral trials.

    Attributes
    ----------
    direction
        Contra minus ipsi mean rate in the window, of length 1, shape (units,).
    contra, ipsi
        Rates (Hz) projected on it, shape (trials, bins) each.
    contra_trial, ipsi_trial
        The trials, shape (trials,).
    time
        Right edges of the bins (s from the event), shape (bins,).
    window
        Start and end (s) of what the direction was computed from.
    hemisphere
        Side of the probes.
    units
        A row per unit: its key.
    """

    direction: Floats
    contra: Floats
    ipsi: Floats
    contra_trial: npt.NDArray[np.int32]
    ipsi_trial: npt.NDArray[np.int32]
    time: Floats
    window: tuple[float, float]
    hemisphere: str
    units: pl.DataFrame


def direction(contra: TrialCounts, ipsi: TrialCounts, window: tuple[float, float]) -> Floats:
    """Return the normalized difference of mean rates in bins whose time is in [start, stop).

    Raises
    ------
    QueryError
        If a side has no trial, the window no bin, or no unit tells the sides apart.
    """
    inside = (contra.time >= window[0]) & (contra.time < window[1])
    if not inside.any():
        raise QueryError(
            "the window has no bin",
            found=f"{window[0]} to {window[1]} s",
            expected=f"bins between {contra.time[0]:g} and {contra.time[-1]:g} s",
        )
    for name, side in (("contra", contra), ("ipsi", ipsi)):
        if not len(side.trial):
            raise QueryError(f"there is no {name} trial", place=side.condition)
    means = [side.count.mean(axis=1)[:, inside].mean(axis=1) / side.bin for side in (contra, ipsi)]
    difference: Floats = means[0] - means[1]
    length = np.linalg.norm(difference)
    if not length:
        raise QueryError("no unit fires differently in contra and ipsi trials")
    return difference / length


def project_on_coding_direction(
    counts: TrialCounts | npt.ArrayLike, direction: npt.ArrayLike
) -> Floats:
    """Project single trials on a direction.

    Parameters
    ----------
    counts
        Counts of the direction's units in any trials, of any condition; or rates (Hz) as an
        array, shape (units, …), e.g. (units, trials, bins) or the (units, bins) of a PSTH.
    direction
        Shape (units,), e.g. ``CodingDirection.direction``; an array, a list or a polars series.

    Returns
    -------
    projected
        Rates (Hz) along it, shape (trials, bins), or that of the array without its first axis;
        NaN in trials that not all probes recorded.

    Raises
    ------
    QueryError
        If the units are not as many as the direction has.
    """
    axis = np.asarray(direction, dtype=np.float64)
    rates = counts.count / counts.bin if isinstance(counts, TrialCounts) else np.asarray(counts)
    if axis.ndim != 1 or rates.shape[:1] != axis.shape:
        raise QueryError(
            "the direction has other units than the counts",
            found=f"{rates.shape[0] if rates.ndim else 0} units",
            expected=f"{axis.size}",
        )
    projected: Floats = np.tensordot(axis, rates, axes=1)
    if isinstance(counts, TrialCounts):
        projected[~counts.observed.all(axis=0)] = np.nan
    return projected
