"""What a recording's file says about videos: one struct per camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maplake.exports.matfile import cells, field_names, pieces, row
from maplake.exports.select import ask, place

if TYPE_CHECKING:
    from maplake.query.lake import Lake

__all__ = ["cameras", "tracking"]

_CAMERAS = """
SELECT t.tracking_device, d.tracking_position, d.sampling_rate,
    list(t.trial ORDER BY t.trial) AS trials,
    list(t.tracking_samples ORDER BY t.trial) AS frames
FROM tracking.tracking AS t LEFT JOIN tracking.tracking_device AS d USING (tracking_device)
WHERE {key} GROUP BY ALL ORDER BY ALL
"""


def cameras(lake: Lake, key: dict[str, int]) -> list[dict[str, Any]]:
    """Return a session's cameras: device, position, rate (Hz), trials and frames of each."""
    return ask(lake, _CAMERAS.format(key=place(key, "t"))).to_dicts()


def tracking(lake: Lake, key: dict[str, int]) -> dict[str, Any] | None:
    """Return a struct per camera; None if nothing was tracked.

    Each has ``fs`` (Hz), ``Nframes`` and ``trialNum`` (1, videos) and for every feature ``_x``,
    ``_y`` (px) and ``_likelihood``: cells (1, videos) of (1, frames).
    """
    found = cameras(lake, key)
    words = [f"{c['tracking_device']}_{c['tracking_position']}".lower() for c in found]
    made = {
        name: _camera(lake, key, camera)
        for name, camera in zip(field_names(words), found, strict=True)
    }
    return made or None


def _camera(lake: Lake, key: dict[str, int], camera: dict[str, Any]) -> dict[str, Any]:
    trials = np.array(camera["trials"])
    made: dict[str, Any] = {
        "fs": float(camera["sampling_rate"]),
        "Nframes": row(camera["frames"]).astype(float),
        "trialNum": row(trials).astype(float),
    }
    one = place({**key, "tracking_device": camera["tracking_device"]})
    source = f"FROM tracking.tracking_position WHERE {one}"
    features = ask(lake, f"SELECT DISTINCT feature {source} ORDER BY ALL")["feature"].to_list()
    axes = ("x", "y", "likelihood")
    words = [f"{feature}_{axis}" for feature in features for axis in axes]
    names = iter(field_names([*made, *words])[len(made) :])
    for feature in features:
        frames = ask(
            lake,
            f"SELECT trial, x, y, likelihood {source} AND {place({'feature': feature})} "
            "ORDER BY trial, frame",
        )
        owner = np.searchsorted(trials, frames["trial"].to_numpy())
        for axis in axes:
            parts = pieces(frames[axis].to_numpy(), owner, len(trials))
            made[next(names)] = cells(parts, (1, len(trials)))
    return made
