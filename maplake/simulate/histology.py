"""Where probes are in the brain, in both formats of the MAP rigs."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.mat import write_mat

__all__ = ["ShankTrack", "simulate_shank", "write_channel_locations", "write_site_info"]

Array = np.ndarray[Any, Any]

_MM_PER_PIXEL = 0.02
_BREGMA = (5739.0, 5400.0, 332.0)  # um, ML, AP, DV
_EDGE_1, _EDGE_2, _BELOW = 11.0, 27.0, 20.0  # um from where sorters count


@dataclass(frozen=True)
class ShankTrack:
    """A shank in the brain; positions are CCF x (ML), y (DV), z (AP) in um.

    Attributes
    ----------
    shank
        Number from 1.
    position
        Of each site of the shank, tip first, (sites, 3).
    mri
        The same before warping, (sites, 3).
    in_brain
        Which sites are, (sites,).
    track
        Points traced along the dye, (points, 3).
    landmarks
        By name, place in the animal's image and CCF position.
    """

    shank: int
    position: Array
    mri: Array
    in_brain: Array
    track: Array
    landmarks: Mapping[str, tuple[float, ...]]


def simulate_shank(
    rng: np.random.Generator,
    shank: int,
    y: Array,
    *,
    entry: tuple[float, float, float] = (4000.0, 1500.0, 4500.0),
    depth: float = 3800.0,
) -> ShankTrack:
    """Return a straight, slightly tilted shank.

    Parameters
    ----------
    rng
        Source of random numbers.
    shank
        Number from 1; the next one is 250 um to the right.
    y
        Height of each site above the tip in um, (sites,).
    entry
        Where the first shank enters the brain: CCF x, y, z in um.
    depth
        From there to the tip, in um.
    """
    direction = np.array([0.1, 1.0, -0.05])
    direction /= np.linalg.norm(direction)
    start = np.array(entry) + np.array([250.0 * (shank - 1), 0, 0])
    along = depth - np.asarray(y, dtype=np.float64)
    position = start + along[:, None] * direction
    track = start + np.linspace(0, depth, 8)[:, None] * direction + rng.normal(0, 5, (8, 3))
    points = rng.uniform(500, 9000, (5, 6)).round(1)
    return ShankTrack(
        shank,
        position,
        position + rng.normal(0, 30, position.shape),
        along > 0,
        track.round(2),
        {f"Pt-{n}": tuple(map(float, point)) for n, point in enumerate(points)},
    )


def write_site_info(folder: Path, stem: str, shanks: list[ShankTrack], made: datetime) -> None:
    """Write ``{stem}[_{shank}]_siteInfo.mat`` and ``{stem}[_{shank}].csv``."""
    for item in shanks:
        name = f"{stem}_{item.shank}" if len(shanks) > 1 else stem
        ids = np.where(item.in_brain, 315.0, np.nan)
        site = {
            "pos": {**_pixels(item.position), "mmPerPixel": _MM_PER_PIXEL},
            "warp": _pixels(item.mri),
            "ont": {"id": ids},
        }
        write_mat(folder / f"{name}_siteInfo.mat", {"site": site}, made)
        rows: list[list[object]] = [[n, "true", *v] for n, v in item.landmarks.items()]
        rows += [
            [f"Pt-{100 + n}", "false", 0.0, 0.0, 0.0, *point]
            for n, point in enumerate(item.track.tolist())
        ]
        with (folder / f"{name}.csv").open("w", encoding="ascii", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _pixels(position: Array) -> dict[str, Array]:
    return dict(zip("xyz", (position / (_MM_PER_PIXEL * 1000)).T, strict=True))


def write_channel_locations(
    folder: Path,
    prefix: str,
    shanks: list[ShankTrack],
    site: Mapping[int, Array],
    place: Mapping[int, Array],
    *,
    is_first_generation: bool,
) -> None:
    """Write ``{prefix}channel_locations[_shank{N}].json`` and ``{prefix}xyz_picks…``.

    Parameters
    ----------
    folder, prefix
        Where to, and what the names begin with.
    shanks
        What is true.
    site
        By shank, recorded sites as places in ``position``, in the order of the channels.
    place
        By shank, their x and y in um from the lake's origin, (channels, 2).
    is_first_generation
        1.0 probes: counted as in Kilosort's channel map, which shows them from behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for item in shanks:
        if item.shank not in place:  # nothing was recorded from it
            continue
        tail = f"_shank{item.shank}" if len(shanks) > 1 else ""
        x, y = place[item.shank].T
        lateral = 48 - x + _EDGE_1 if is_first_generation else x + _EDGE_2
        channels: dict[str, object] = {}
        positions = _from_bregma(item.position[site[item.shank]])
        for number, point in enumerate(positions):
            channels[f"channel_{number}"] = {
                **dict(zip("xyz", point, strict=True)),
                "axial": float(y[number] + _BELOW),
                "lateral": float(lateral[number]),
                "brain_region_id": 315,
                "brain_region": "Isocortex",
            }
        channels["origin"] = {"bregma": list(_BREGMA)}
        picks = {"xyz_picks": _from_bregma(item.track)}
        for name, content in ((f"channel_locations{tail}", channels), (f"xyz_picks{tail}", picks)):
            text = json.dumps(content, indent=2)
            (folder / f"{prefix}{name}.json").write_text(text, encoding="ascii", newline="\n")


def _from_bregma(ccf: Array) -> list[list[float]]:
    """Return ML, AP, DV from bregma: right, anterior and dorsal are positive."""
    x, y, z = ccf.T
    moved = np.column_stack([x - _BREGMA[0], _BREGMA[1] - z, _BREGMA[2] - y])
    return [[float(value) for value in point] for point in moved]
