"""How results draw themselves, with matplotlib alone; whole figures are in maplake.plots."""

from __future__ import annotations

from typing import Any

import numpy as np

from maplake.query.numbers import Floats

_LINE = "#0077BB"


def rates(ax: Any, time: Floats, rate: Floats, width: float) -> Any:
    """Draw the rate of one unit as a line, or those of several as a heat map.

    Parameters
    ----------
    ax
        Matplotlib axes; None = a new figure.
    time
        Right edges of the bins (s), shape (bins,).
    rate
        Rates (Hz), shape (units, bins).
    width
        Width of a bin (s).

    Returns
    -------
    The axes.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(layout="constrained")
    if len(rate) == 1:
        ax.plot(time - width / 2, rate[0], color=_LINE)
        ax.set(ylabel="rate (Hz)")
        ax.set_ylim(bottom=0)
    else:
        heat_map(ax, time, rate, width)
        ax.set(ylabel="unit")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def heat_map(ax: Any, time: Floats, rate: Floats, width: float) -> None:
    """Draw the z-scored rates of units, the first one at the bottom; see :func:`rates`."""
    spread = rate.std(axis=1, keepdims=True)
    z = (rate - rate.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    image = ax.imshow(
        z,
        aspect="auto",
        origin="lower",
        cmap="cividis",
        vmin=-2.5,
        vmax=2.5,
        interpolation="nearest",
        extent=(time[0] - width, time[-1], -0.5, len(rate) - 0.5),
    )
    ax.figure.colorbar(image, ax=ax, label="rate (z-score)", pad=0.01)
