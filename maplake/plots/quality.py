"""How good the units of a probe are, and where on the probe."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.plots.lookup import Key, method_of, probe_title, rows, some, values
from maplake.plots.registry import figure
from maplake.plots.style import CONTRA, NEUTRAL, attempt, blank, own_axes, plain

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

Floats = npt.NDArray[np.float64]

METRICS = {
    "unit_amp": "amplitude (µV)",
    "unit_snr": "signal to noise ratio",
    "isi_violation": "ISI violation",
    "avg_firing_rate": "rate (Hz)",
}
_PLACED = ("unit_amp", "unit_snr", "avg_firing_rate")
_BIGGEST = 220.0  # area of a bubble, points²


def units_of(lake: Lake, key: Key) -> pl.DataFrame:
    """Return a row per unit of a clustering: its key, quality, place (um) and metrics.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    method = method_of(lake, key)
    query = (
        "SELECT u.unit, u.unit_quality, u.electrode, u.unit_posx, u.unit_posy, u.unit_amp, "
        "u.unit_snr, u.cell_type, s.isi_violation, s.avg_firing_rate FROM ephys.unit AS u LEFT "
        f"JOIN (FROM ephys.unit_stat WHERE {key.probe_where}) AS s USING (subject_id, session, "
        f"insertion_number, clustering_method, unit) WHERE {key.probe_where} "
        "AND u.clustering_method = ? ORDER BY u.unit"
    )
    return some(rows(lake, query, method), "there are no units of this probe")


def pair(units: pl.DataFrame, x: str, y: str, ax: Any = None) -> Any:
    """Draw one quality metric of units against another.

    Parameters
    ----------
    units
        As from :func:`units_of`.
    x, y
        Columns, of ``METRICS``.

    Returns
    -------
    The axes: units of quality good are filled, others are open.
    """
    ax = own_axes(ax, figsize=(3, 3))
    good = (units["unit_quality"] == "good").to_numpy()
    for mine, face in ((~good, "none"), (good, CONTRA)):
        ax.scatter(
            values(units, x)[mine], values(units, y)[mine], 14, facecolors=face,
            edgecolors=CONTRA if face != "none" else NEUTRAL, linewidths=0.8,
        )  # fmt: skip
    ax.set(xlabel=METRICS[x], ylabel=METRICS[y])
    ax.margins(0.08)
    plain(ax)
    return ax


def bubbles(
    ax: Any, x: Floats, y: Floats, size: Floats, unit: str, color: Any = NEUTRAL, label: str = ""
) -> None:
    """Draw circles at places on a probe (um) whose areas are proportional to absolute values.

    The largest value gets the largest circle; what its circle means is said in the corner.
    """
    largest = float(np.nanmax(np.abs(size), initial=0.0))
    area = _BIGGEST * np.abs(np.nan_to_num(size)) / (largest or 1.0)
    ax.scatter(x, y, area, facecolors="none", edgecolors=color, linewidths=1.1, label=label or None)
    if unit:
        ax.annotate(
            f"largest: {largest:.3g} {unit}",
            (0.5, 1),
            xycoords="axes fraction",
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
        )


def on_probe(axes: Iterable[Any], units: pl.DataFrame) -> None:
    """Give axes of places on a probe the same limits and labels; only the first has a y label."""
    x, y = values(units, "unit_posx"), values(units, "unit_posy")
    margin = 0.15 * max(float(np.ptp(x)), 60.0)
    for number, ax in enumerate(axes):
        ax.set(xlabel="across (µm)", xlim=(x.min() - margin, x.max() + margin))
        ax.set_ylim(min(0.0, y.min()) - 0.03 * y.max() - 1, 1.05 * y.max() + 1)
        if number:
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel("position from the tip (µm)")
        plain(ax)


def by_position(units: pl.DataFrame, metric: str, ax: Any = None) -> Any:
    """Draw units at their place on the probe, as circles as large as a metric.

    Returns
    -------
    The axes: um across and along the probe from the tip.
    """
    ax = own_axes(ax, figsize=(2.5, 5))
    words = METRICS[metric].rstrip(")").split(" (")
    bubbles(
        ax,
        values(units, "unit_posx"),
        values(units, "unit_posy"),
        values(units, metric),
        words[1] if len(words) > 1 else "",
    )
    if len(words) == 1:
        largest = np.nanmax(values(units, metric))
        ax.annotate(
            f"largest: {largest:.3g}", (0.5, 1), xycoords="axes fraction", xytext=(0, 3),
            textcoords="offset points", ha="center", va="bottom", fontsize=9,
        )  # fmt: skip
    ax.set_title(words[0], pad=18)
    on_probe([ax], units)
    return ax


@figure(
    "clustering-quality",
    "probe",
    "Clustering quality: metrics against each other, and by position",
    (
        "lab.water_restriction",
        "experiment.session",
        "experiment.session_trial",
        "ephys.ephys_trial",
        "ephys.recordable_brain_region",
        "ephys.unit",
        "ephys.spike",
        "ephys.cluster_metric",
    ),
)
def clustering_quality(lake: Lake, key: Key) -> Any:
    """Draw :func:`pair` of the four metrics, and :func:`by_position` of three."""
    made = blank(9.5, 9.5)
    upper, lower = made.subfigures(2, 1, height_ratios=(5, 4))
    attempt([*upper.subplots(2, 3).ravel(), *lower.subplots(1, 3)], _quality, lake, key)
    made.suptitle(probe_title(lake, key))
    return made


def _quality(lake: Lake, key: Key, ax: Any) -> None:
    units = units_of(lake, key)
    for one, (x, y) in zip(ax[:6], combinations(METRICS, 2), strict=True):
        pair(units, x, y, one)
    good = int((units["unit_quality"] == "good").sum())
    ax[0].set_title(f"n = {len(units)} units, {good} good (filled)", loc="left")
    for one, metric in zip(ax[6:], _PLACED, strict=True):
        by_position(units, metric, one)
    on_probe(ax[6:], units)
    for one in ax[7:]:
        one.set_ylabel("")
