"""DeepLabCut tracking: a body part's path through every trial's video, as csv or HDF5 files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl

__all__ = ["FEATURES", "Camera", "simulate_camera", "tracking_folder", "write_camera"]

Array = np.ndarray[Any, Any]

#: Body parts as DeepLabCut calls them.
FEATURES = ("nose", "tongue", "jaw", "paw_left", "paw_right", "lickport")
#: s per frame
FRAME_INTERVAL = {"side": 0.0034, "bottom": 0.0034, "body": 0.01}
_SCORER = "DLC_resnet50_licking-{}Aug10shuffle1_1030000"
_COORDINATES = ("x", "y", "likelihood")
_MTL = "RRig-MTL"


@dataclass(frozen=True)
class Camera:
    """What one camera saw in a session.

    Attributes
    ----------
    position
        side, bottom or body.
    features
        Names in the file, in its order.
    trial
        Trials with a video, (videos,).
    frames
        Number of frames of each, (videos,).
    values
        By video: x, y (px) and likelihood, float64 (frames, features, 3).
    """

    position: str
    features: tuple[str, ...]
    trial: Array
    frames: Array
    values: tuple[Array, ...]


def simulate_camera(
    rng: np.random.Generator,
    position: str,
    durations: Mapping[int, float],
    features: Sequence[str] = FEATURES,
) -> Camera:
    """Return what a camera sees: features that drift about, and one that jumps now and then.

    Parameters
    ----------
    rng
        Source of random numbers.
    position
        side, bottom or body.
    durations
        Length of each trial with a video, in s, by trial number.
    features
        Body parts, as DeepLabCut calls them.
    """
    frames = np.array([max(1, int(s / FRAME_INTERVAL[position])) for s in durations.values()])
    values = []
    for count in frames:
        path = rng.normal(0, 0.5, (count, len(features), 2)).cumsum(axis=0)
        path += rng.uniform(100, 400, (len(features), 2))
        path[rng.random(count) < 0.01, :1] += 60  # px: frames that the tracker got wrong
        likelihood = rng.beta(8, 0.5, (count, len(features), 1))
        # The network computes in single precision; the file holds its values in full.
        values.append(np.concatenate([path, likelihood], axis=2).astype("f4").astype("f8"))
    trials = np.fromiter(durations, dtype=np.int32)
    return Camera(position, tuple(features), trials, frames, tuple(values))


def tracking_folder(root: Path, rig: str, h2o: str, day: date, n: int, position: str) -> Path:
    """Return the folder of a session's tracking; ``n`` counts the day's sessions from 1."""
    nth = f"_{n}" if n > 1 else ""
    if rig == _MTL:
        return root / position / h2o / f"{day:%Y_%m_%d}{nth}"
    return root / h2o / f"{h2o}_{day:%m%d%y}{nth}"


def write_camera(
    folder: Path,
    h2o: str,
    camera: Camera,
    *,
    word: str = "",
    rig: str = "RRig",
    numbers: Sequence[int] | None = None,
    individual: str = "",
    suffix: str = ".csv",
) -> list[Path]:
    """Write a file per trial.

    Parameters
    ----------
    folder
        The session's tracking folder.
    h2o
        The animal's short name.
    camera
        What to write.
    word
        Position in the names; default: the camera's.
    rig
        Tells how files are numbered.
    numbers
        Number of each video's file, where it is not the trial's; a trial map is then written.
    individual
        Name of the animal in a multi-animal header; empty = a single-animal header.
    suffix
        ``.csv`` or ``.h5``.

    Returns
    -------
    The files of the videos.
    """
    folder.mkdir(parents=True, exist_ok=True)
    word = word or camera.position
    first = 1 if rig == _MTL else 0
    used = [int(t) - first for t in camera.trial] if numbers is None else list(numbers)
    paths = []
    for number, values in zip(used, camera.values, strict=True):
        rest = "" if rig == _MTL else "-0000"
        path = folder / f"{h2o}_{word}_{number}{rest}{suffix}"
        write = _write_h5 if suffix == ".h5" else _write_csv
        write(path, _headers(camera, individual), values.reshape(len(values), -1))
        paths.append(path)
    if numbers is not None:
        day = folder.parent.name if folder.name == "tracking" else folder.name
        lines = (f"{n}\t{t}\n" for n, t in zip(used, camera.trial, strict=True))
        path = folder / f"{h2o}_{day.removeprefix(f'{h2o}_')}_{word}.txt"
        path.write_text("".join(lines), encoding="ascii", newline="\n")
    return paths


def _headers(camera: Camera, individual: str) -> dict[str, list[str]]:
    scorer = _SCORER.format(camera.position)
    columns = [(feature, c) for feature in camera.features for c in _COORDINATES]
    headers = {"scorer": [scorer] * len(columns)}
    if individual:
        headers["individuals"] = [individual] * len(columns)
    return headers | {
        "bodyparts": [feature for feature, _ in columns],
        "coords": [coordinate for _, coordinate in columns],
    }


def _write_csv(path: Path, headers: Mapping[str, list[str]], values: Array) -> None:
    table = pl.DataFrame(values, schema=[str(n) for n in range(values.shape[1])], orient="row")
    table = table.with_row_index("frame").fill_nan(None)
    head = "".join(f"{','.join([name, *words])}\n" for name, words in headers.items())
    path.write_text(head + table.write_csv(include_header=False), encoding="utf-8", newline="\n")


def _write_h5(path: Path, headers: Mapping[str, list[str]], values: Array) -> None:
    """Write a data frame in the fixed layout of pandas."""
    with h5py.File(path, "w", track_order=True) as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_("frame")
        for name in ("axis0", "block0_items"):
            for level, words in enumerate(headers.values()):
                known = sorted(set(words))
                codes = [known.index(word) for word in words]
                group[f"{name}_level{level}"] = np.array(known, dtype="S")
                group[f"{name}_label{level}"] = np.array(codes, dtype=np.int8)
        group["axis1"] = np.arange(len(values))
        group["block0_values"] = values
        group["block0_values"].attrs["transposed"] = 1
