"""The trials of a simulated session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Array", "Trials"]

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Trials:
    """The trials that a reader takes, in order; all arrays are (trials,).

    Times are in s: ``start_time`` and ``stop_time`` from the session's first trial, ``go_time`` and
    ``photostim_onset`` from the trial's start (NaN where there is none). ``photo_stim`` is the
    protocol's number, 0 without light.
    """

    trial: Array
    start_time: Array
    stop_time: Array
    trial_instruction: Array
    early_lick: Array
    outcome: Array
    auto_water: Array
    free_water: Array
    protocol: Array
    autolearn: Array
    bitcode: Array
    go_time: Array
    photo_stim: Array
    photostim_onset: Array

    def __len__(self) -> int:
        return len(self.trial)
