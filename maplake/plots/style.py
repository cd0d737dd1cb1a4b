"""What figures share: colours that colour-blind people tell apart, and plain axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from maplake.errors import NotFoundError

#: By convention contra is blue and ipsi is red, in shades that colour-blind people tell apart.
CONTRA = "#0077BB"
IPSI = "#CC3311"
#: Sides of the animal, where no hemisphere makes them contra and ipsi.
LEFT = "#EE7733"
RIGHT = "#009988"
MIDDLE = "#AA3377"
NEUTRAL = "#222222"
FAINT = "#BBBBBB"
EPOCH = "#555555"
LIGHT = "#33BBEE"  # of photostimuli
#: From ipsi (low) to contra (high).
DIVERGING = "RdBu"

SIDE_COLORS = {"left": LEFT, "right": RIGHT, "middle": MIDDLE}

#: What makes figures readable at half size.
SETTINGS: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "figure.titlesize": 11,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "image.interpolation": "nearest",
    "text.parse_math": False,  # names of animals and regions are no formulas
}


def blank(width: float, height: float, *, constrained: bool = True) -> Any:
    """Return a new matplotlib figure (inches) that no window knows of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained" if constrained else None)


def own_axes(ax: Any, **options: Any) -> Any:
    """Return the axes given, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained", **options)[1]


def plain(ax: Any) -> None:
    """Take away the frame's top and right side."""
    ax.spines[["top", "right"]].set_visible(False)


def epoch_lines(ax: Any, epochs: Mapping[str, float], *, names: bool = False) -> None:
    """Mark epochs of a trial with dashed lines.

    Parameters
    ----------
    ax
        Matplotlib axes with time on x (s from the go cue).
    epochs
        Time of each epoch's start (s from the go cue).
    names
        Whether to write their names above.
    """
    for name, time in epochs.items():
        ax.axvline(time, color=EPOCH, linestyle="--", linewidth=0.8, zorder=0)
        if names:
            ax.annotate(
                name,
                (time, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
                color=EPOCH,
            )


def missing(ax: Any, message: str, title: str = "") -> Any:
    """Say inside axes why there is nothing to draw; returns the axes."""
    import textwrap

    ax.cla()
    ax.set_axis_off()
    ax.set_title(title, fontsize=10)
    text = "\n".join(textwrap.wrap(message, 34, break_long_words=False))
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=EPOCH)
    return ax


def attempt(
    ax: Any, draw: Callable[..., Any], *args: Any, otherwise: str = "", **options: Any
) -> Any:
    """Draw a panel; where its data are not in the lake, say so in its axes instead.

    Parameters
    ----------
    ax
        Matplotlib axes, or several that the panel fills.
    draw
        Panel function that takes ``ax``.
    otherwise
        Title above the message.
    """
    try:
        return draw(*args, ax=ax, **options)
    except NotFoundError as error:
        axes = list(ax) if isinstance(ax, Sequence) else [ax]
        for other in axes[1:]:
            other.cla()
            other.set_axis_off()
        return missing(axes[0], error.message, otherwise)


def legend_above(ax: Any, title: str = "", *, ncols: int = 2, lines: int = 1) -> None:
    """Put the legend between axes and title, where it hides nothing.

    Parameters
    ----------
    ax
        Matplotlib axes with labelled artists.
    title
        Title of the axes.
    ncols
        Columns of the legend.
    lines
        Lines that it takes, for the distance of the title.
    """
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=ncols,
        columnspacing=1.0,
        handletextpad=0.5,
        borderaxespad=0.1,
    )
    ax.set_title(title, pad=4 + 15 * lines)


def colour(code: str | None) -> str:
    """Return a brain region's colour (RRGGBB) for matplotlib; white without one."""
    return f"#{code}" if code and len(code) == 6 else "#FFFFFF"
