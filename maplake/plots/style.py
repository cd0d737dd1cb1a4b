"""What figures share: colours that colour-blind people tell apart, and plain axes."""

from __future__ import annotations

from typing import Any

#: By convention contra is blue and ipsi is red, in shades that colour-blind people tell apart.
CONTRA = "#0077BB"
IPSI = "#CC3311"
EPOCH = "#555555"


def plain(ax: Any) -> None:
    """Take away the frame's top and right side."""
    ax.spines[["top", "right"]].set_visible(False)


def epoch_lines(ax: Any, epochs: dict[str, float], *, names: bool = False) -> None:
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
