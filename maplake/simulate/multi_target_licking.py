"""Multi-target-licking sessions as Bpod saves them, with the truth about every trial."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.mat import MONTHS, cell, struct_array, write_mat

__all__ = ["MtlSession", "simulate_mtl"]

Array = np.ndarray[Any, Any]

_STATES = ("TrigTrialStart", "AnswerPeriod", "Reward", "TrialEnd")
_Y_CENTER = 50_000.0


@dataclass(frozen=True)
class MtlSession:
    """A session as it is true; arrays are (trials,), of the trials that started.

    ``original`` is the number in the file, ``block`` counts from 1 (also those in which no trial
    started), ``order`` the trials that started within the block from 1, ``target`` 1 to 9 at
    ``x``, ``y``, ``z`` in motor units; times in s.
    """

    path: Path
    start: datetime
    start_time: Array
    end_time: Array
    original: Array
    block: Array
    order: Array
    target: Array
    x: Array
    y: float
    z: Array
    auto_water: Array
    free_water: Array
    licks_for_reward: Array
    roll: Array
    bins: int


def simulate_mtl(
    folder: Path,
    h2o: str,
    start: datetime,
    *,
    trials: int = 24,
    per_block: int = 5,
    lost: tuple[int, ...] = (),
    bins: int = 3,
    seed: int = 0,
) -> MtlSession:
    """Write a session; ``lost`` are the numbers of trials that never started."""
    rng = np.random.default_rng(seed)
    path = folder / f"{h2o}_MTL_{start:%Y%m%d_%H%M%S}.mat"
    every = np.arange(trials)
    block, order = every // per_block + 1, every % per_block + 1
    types = np.arange(1, bins * bins + 1).reshape(bins, bins)
    corner = rng.integers(1000, 9000, (trials // per_block + 1, 2))
    x = np.array([corner[b - 1, 0] + 500.0 * (types - 1) for b in block])
    z = np.array([corner[b - 1, 1] - 250.0 * (types - 1) for b in block])
    target = rng.integers(1, bins * bins + 1, trials // per_block + 1)[block - 1]
    kept = np.array([number not in lost for number in every + 1])
    place = [np.argwhere(types == t)[0] for t in target]
    started = np.array([kept[first : e + 1].sum() for e, first in enumerate(every - order + 1)])
    truth = MtlSession(
        path=path,
        start=start,
        start_time=np.cumsum(rng.integers(20_000, 60_000, kept.sum())) / 10_000,
        end_time=rng.integers(10_000, 19_000, kept.sum()) / 10_000,
        original=(every + 1)[kept],
        block=block[kept],
        order=started[kept],
        target=target[kept],
        x=np.array([a[r, c] for a, (r, c) in zip(x, place, strict=True)])[kept],
        y=_Y_CENTER,
        z=np.array([a[r, c] for a, (r, c) in zip(z, place, strict=True)])[kept],
        auto_water=((started == 1) | (every % 7 == 3))[kept],
        free_water=(every % 11 == 5)[kept],
        licks_for_reward=(3 + block % 2)[kept],
        roll=(10.0 * (block - 2))[kept],
        bins=bins,
    )
    guis = [_gui(bins, e % 7 == 3, int(b)) for e, b in zip(every, block, strict=True)]
    data: dict[str, Any] = {
        "Info": {
            "SessionDate": f"{start.day:02d}-{MONTHS[start.month - 1]}-{start.year}",
            "SessionStartTime_UTC": f"{start:%H:%M:%S}",
        },
        "SettingsFile": {"GUI": guis[-1]},
        "MATLABStartTimes": np.where(kept, 738_000.5 + every / 1e4, 0.0),
        "TrialTypes": target.astype(np.uint8),
        "TrialBlockOrder": order.astype(np.uint8),
        "TrialSettings": struct_array([{"GUI": gui} for gui in guis]),
        "trial_type_mat": cell([types.astype(float)] * trials),
        "X_positions_mat": cell(list(x)),
        "Z_positions_mat": cell(list(z)),
        "StimTrials": np.empty((0, 0)),
        "FreeTrials": (every % 11 == 5).astype(np.uint8),
        "TrialStartTimestamp": truth.start_time,
        "RawEvents": {"Trial": cell([_states(end) for end in truth.end_time])},
        "RawData": _raw(truth.end_time),
    }
    write_mat(path, {"SessionData": data}, start)
    return truth


def _gui(bins: int, auto: bool, block: int) -> dict[str, Any]:
    return {
        "X_center": 4000.0,
        "Y_center": _Y_CENTER,
        "Z_center": 6000.0,
        "NumLicksForReward": float(3 + block % 2),
        "RollDeg": 10.0 * (block - 2),
        "num_bins": float(bins),
        "ProtocolType": 1.0,
        "Autowater": 1.0 if auto else 2.0,
    }


def _states(end: float) -> dict[str, Any]:
    visits = {
        "TrigTrialStart": [[0.0, 0.1]],
        "AnswerPeriod": [[0.1, end]],
        "Reward": [[np.nan, np.nan]],
        "TrialEnd": [[end, end + 0.05]],
    }
    return {"States": {name: np.array(rows) for name, rows in visits.items()}}


def _raw(ends: Array) -> dict[str, Any]:
    return {
        "OriginalStateNamesByNumber": cell([cell(_STATES) for _ in ends]),
        "OriginalStateData": cell([np.array([1, 2, 4], dtype=np.uint8) for _ in ends]),
        "OriginalStateTimestamps": cell([np.array([0.0, 0.1, end, end + 0.05]) for end in ends]),
        "OriginalEventData": cell([np.array([69, 70], dtype=np.uint8) for _ in ends]),
        "OriginalEventTimestamps": cell([np.array([0.2, 0.25]) for _ in ends]),
    }
