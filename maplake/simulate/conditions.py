"""The 17 published trial conditions, spelled out one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from maplake.simulate.trials import Array, Trials


def _clean(t: Trials) -> Array:
    return np.asarray((t.early_lick == "no early") & ~t.auto_water & ~t.free_water)


def _outcome(side: str | None, outcome: str) -> Callable[[Trials], Array]:
    def mask(t: Trials) -> Array:
        chosen = np.asarray(_clean(t) & (t.outcome == outcome) & (t.photo_stim == 0))
        return chosen if side is None else np.logical_and(chosen, t.trial_instruction == side)

    return mask


def _answered(photo_stim: int, side: str | None) -> Callable[[Trials], Array]:
    def mask(t: Trials) -> Array:
        chosen = np.asarray(_clean(t) & (t.outcome != "ignore") & (t.photo_stim == photo_stim))
        return chosen if side is None else np.logical_and(chosen, t.trial_instruction == side)

    return mask


#: Name of a condition to the function that picks its trials. 4, 5, 6: left, right, both ALM.
CONDITIONS: Mapping[str, Callable[[Trials], Array]] = MappingProxyType(
    {
        "good_noearlylick_hit": _outcome(None, "hit"),
        "good_noearlylick_left_hit": _outcome("left", "hit"),
        "good_noearlylick_right_hit": _outcome("right", "hit"),
        "good_noearlylick_left_miss": _outcome("left", "miss"),
        "good_noearlylick_right_miss": _outcome("right", "miss"),
        "all_noearlylick_nostim": _answered(0, None),
        "all_noearlylick_nostim_left": _answered(0, "left"),
        "all_noearlylick_nostim_right": _answered(0, "right"),
        "all_noearlylick_left_alm_stim": _answered(4, None),
        "all_noearlylick_left_alm_stim_left": _answered(4, "left"),
        "all_noearlylick_left_alm_stim_right": _answered(4, "right"),
        "all_noearlylick_right_alm_stim": _answered(5, None),
        "all_noearlylick_right_alm_stim_left": _answered(5, "left"),
        "all_noearlylick_right_alm_stim_right": _answered(5, "right"),
        "all_noearlylick_both_alm_stim": _answered(6, None),
        "all_noearlylick_both_alm_stim_left": _answered(6, "left"),
        "all_noearlylick_both_alm_stim_right": _answered(6, "right"),
    }
)


def condition_mask(trials: Trials, name: str) -> Array:
    """Return which trials belong to a condition, bool (trials,); names ignore case."""
    return CONDITIONS[name.lower()](trials)
