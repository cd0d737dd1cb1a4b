"""DeepLabCut tracking of one camera of a session: one ``.csv`` or ``.h5`` per trial.

A camera's source is named by a path that is no file: the session's tracking folder, then the
position ``side``, ``bottom`` or ``body``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake.errors import AmbiguousSourceError, LengthMismatchError, MissingFileError
from maplake.readers.base import Reader, Records, Skipped, TrackingContext
from maplake.readers.dlc_csv import read_csv
from maplake.readers.dlc_files import (
    POSITIONS,
    Named,
    TrackingFolder,
    day_label,
    device_of,
    from_zero,
    named_files,
    read_trial_map,
    tracking_folders,
)
from maplake.readers.dlc_h5 import read_h5
from maplake.readers.pose import Pose, sum_of
from maplake.readers.rows import as_table
from maplake.tables.tracking import FRAME_INTERVAL

__all__ = ["READER", "TrackingFolder", "device_of", "find", "read", "tracking_folders"]

_WHISKER = re.compile(r"(?<![A-Za-z0-9])([A-Ea-e][1-6])(?![A-Za-z0-9])")


def find(folder: Path) -> Sequence[Path]:
    """Return ``folder/side``, ``folder/bottom``, ``folder/body`` for the cameras found there.

    Raises
    ------
    UnreadableFileError
        If the folder cannot be listed.
    """
    if not folder.is_dir():
        return []
    found = {item.position for item in named_files(folder) if item.number >= 0}
    return [folder / position for position in POSITIONS if position in found]


def files(path: Path) -> Sequence[Path]:
    """Return the files of one camera; ``path`` is one of those that :func:`find` returns."""
    return [item.path for item in named_files(path.parent) if item.position == path.name]


def read(path: Path, context: TrackingContext) -> Records:
    """Read the tracking of one camera.

    Parameters
    ----------
    path
        One of those that :func:`find` returns.
    context
        The session's animal, rig and trials.

    Raises
    ------
    MissingFileError
        If there is no tracking file of that camera.
    AmbiguousSourceError
        If two files have one number.
    LengthMismatchError
        If there are more files than trials.
    SourceError
        If a file is unreadable, damaged or not DeepLabCut's; see
        :func:`~maplake.readers.dlc_csv.read_csv`.
    """
    session = _Session(path.parent, path.name, context)
    chosen = session.chosen()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        poses = list(pool.map(_read_one, [file for _, file in chosen]))
    trials = np.array([trial for trial, _ in chosen], dtype=np.int32)
    rate = 1 / FRAME_INTERVAL[path.name]
    return Records(
        tables={
            "tracking.tracking": as_table(
                "tracking.tracking",
                {"trial": trials, "tracking_samples": [len(pose.frame) for pose in poses]},
            ),
            "tracking.tracking_position": _positions(trials, poses, rate),
            "tracking.tracked_whisker": _whiskers(f for pose in poses for f in pose.features),
        },
        skipped=session.skipped,
        info={
            "tracking_device": device_of(path.name, context.rig),
            "tracking_position": path.name,
            "sampling_rate": rate,
        },
    )


def _read_one(path: Path) -> Pose:
    return read_h5(path) if path.suffix == ".h5" else read_csv(path)


class _Session:
    """Which file belongs to which trial."""

    def __init__(self, folder: Path, position: str, context: TrackingContext) -> None:
        self.folder = folder
        self.position = position
        self.context = context
        self.skipped: list[Skipped] = []

    def chosen(self) -> list[tuple[int, Path]]:
        """Return trial and file, by trial."""
        ours = [item for item in named_files(self.folder) if item.position == self.position]
        trial_map, word = self._trial_map(ours)
        numbered = self._numbered([item for item in ours if item.number >= 0], word)
        if not numbered:
            raise MissingFileError(
                f"there is no tracking file of the {self.position} camera",
                file=self.folder,
                expected=f"{self.context.h2o}*_{word}_…",
            )
        self._check_count(numbered)
        trials = set(self.context.trials)
        found = {}
        for number, file in sorted(numbered.items()):
            trial = trial_map.get(number) if trial_map else number + self._first()
            if trial is None:
                self._skip(file, "its number is not in the trial map")
            elif trial not in trials:
                self._skip(file, f"the session has no trial {trial}")
            else:
                found[trial] = file
        for trial in sorted(trials - set(found)):
            self.skipped.append(
                Skipped(f"tracking trial, {self.position}", str(trial), "there is no file for it")
            )
        return sorted(found.items())

    def _first(self) -> int:
        return 1 if from_zero(self.context.rig) else 0

    def _trial_map(self, ours: list[Named]) -> tuple[dict[int, int], str]:
        """Return the trial map, empty if there is none, and the word in the files' names."""
        label = day_label(self.folder, self.context.h2o)
        words = POSITIONS[self.position]
        for word in words:
            name = f"{self.context.h2o}_{label}_{word}.txt"
            for item in ours:
                if item.path.name == name:
                    return read_trial_map(item.path), word
        used = {item.word for item in ours if item.number >= 0 and self._is_ours(item)}
        return {}, next((word for word in words if word in used), words[0])

    def _is_ours(self, item: Named) -> bool:
        named = item.path.name.startswith(self.context.h2o)
        return named and item.has_rest != from_zero(self.context.rig)

    def _numbered(self, items: list[Named], word: str) -> dict[int, Path]:
        numbered: dict[int, Named] = {}
        for item in sorted(items, key=lambda item: item.is_filtered):
            if not self._is_ours(item):
                self._skip(item.path, "its name is not of this animal and rig")
            elif item.word != word:
                self._skip(item.path, f"files of this camera named {word} are there")
            elif (other := numbered.get(item.number)) is None:
                numbered[item.number] = item
            elif item.is_filtered and not other.is_filtered:
                self._skip(item.path, f"{other.path.name} is what was tracked")
            elif other.path.stem == item.path.stem:
                kept, left = sorted((other, item), key=lambda one: one.path.suffix)
                numbered[item.number] = kept
                self._skip(left.path, f"{kept.path.name} is the same")
            else:
                raise AmbiguousSourceError(
                    "two tracking files have one number",
                    file=self.folder,
                    found=f"{other.path.name}, {item.path.name}",
                    hint="Move the one that should not be read out of the folder.",
                )
        return {number: item.path for number, item in numbered.items()}

    def _check_count(self, numbered: dict[int, Path]) -> None:
        trials = self.context.trials
        most = self.context.trial_count or max(trials, default=0)
        if len(numbered) > most:
            raise LengthMismatchError(
                "there are more tracking files than trials",
                file=self.folder,
                place=f"{self.position} camera",
                found=f"{len(numbered)} files",
                expected=f"at most {most}",
            )

    def _skip(self, file: Path, reason: str) -> None:
        self.skipped.append(Skipped("tracking file", file.name, reason))


def _positions(trials: NDArray[np.int32], poses: Sequence[Pose], rate: float) -> pa.Table:
    """Return all positions, sorted by trial, feature and frame."""
    names = sorted({feature for pose in poses for feature in pose.features})
    code = {name: np.int32(place) for place, name in enumerate(names)}
    parts = [
        (trial, code[feature], pose.frame, values)
        for trial, pose in zip(trials, poses, strict=True)
        for feature, values in zip(pose.features, pose.values, strict=True)
    ]
    lengths = np.array([len(frame) for _, _, frame, _ in parts], dtype=np.int64)
    frame = _joined([frame for _, _, frame, _ in parts], np.int32)
    codes = np.repeat(np.array([c for _, c, _, _ in parts], dtype=np.int32), lengths)
    feature = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string()))
    columns = {
        "trial": np.repeat(np.array([t for t, _, _, _ in parts], dtype=np.int32), lengths),
        "feature": feature,
        "frame": frame,
        "time": frame / rate,
    }
    for place, name in enumerate(("x", "y", "likelihood")):
        values = _joined([part[3][place] for part in parts], np.float64)
        # NaN becomes null; a sum tells at a glance whether there may be any.
        columns[name] = pa.array(values, from_pandas=bool(np.isnan(sum_of(values))))
    return as_table("tracking.tracking_position", columns)


def _joined(parts: list[NDArray[Any]], kind: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, kind)


def _whiskers(features: Iterable[str]) -> pa.Table:
    names = sorted({name for name in features if "whisker" in name.lower()})
    matches = [_WHISKER.search(name.replace("_", " ")) for name in names]
    return as_table(
        "tracking.tracked_whisker",
        {"feature": names, "whisker": [match and match[1].upper() for match in matches]},
    )


READER = Reader(
    "deeplabcut",
    kind="tracking",
    find=find,
    read=read,
    files=files,
    version=2,
    changes={
        2: "beside the file of a trial, a CSV that was filtered, or is of another network, was "
        "taken for the same and read"
    },
)
