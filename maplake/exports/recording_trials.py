"""What a recording's file says about trials: behavior, events, photostimulation.

Every variable has all trials of the session, in order; NaN, or an empty cell, where a trial has
no such thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maplake.exports.matfile import cells, pieces, row
from maplake.exports.select import ask, place

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

__all__ = ["trial_variables", "trials_of"]

Key = dict[str, int]

_OUTCOME = {"hit": 1.0, "miss": 0.0, "ignore": -1.0}
_EARLY = {"no early": 0.0, "early": 1.0, "early, presample only": 1.0}
_TYPE = {"left": "l", "right": "r", "middle": "m", "none": "n"}
_LICK = {"left lick": 0.0, "right lick": 1.0, "middle lick": 2.0}
_SITE = {"left ALM": 1.0, "right ALM": 2.0, "both ALM": 6.0}

_TRIALS = """
SELECT t.trial, b.outcome, b.early_lick, b.free_water::DOUBLE AS free_water,
    b.auto_water::DOUBLE AS auto_water, b.trial_instruction, n.trial_note AS auto_learn
FROM experiment.session_trial AS t
LEFT JOIN experiment.behavior_trial AS b USING (subject_id, session, trial)
LEFT JOIN (FROM experiment.trial_note WHERE trial_note_type = 'autolearn') AS n
    USING (subject_id, session, trial)
WHERE {key} ORDER BY t.trial
"""

# One event per trial and type: its first or its last.
_EVENTS = """
SELECT trial, {pick}(trial_event_time, trial_event_id) AS onset,
    {pick}(duration, trial_event_id) AS duration
FROM experiment.trial_event WHERE {key} AND trial_event_type = '{kind}' GROUP BY trial
"""

_PHOTOSTIM = """
SELECT e.trial, arg_min(e.power, e.photostim_event_id) AS power,
    arg_min(e.photo_stim, e.photostim_event_id) AS photo_stim,
    arg_min(t.laterality || ' ' || t.brain_area, e.photostim_event_id)
        FILTER (NOT t.several_areas) AS site,
    min(e.photostim_event_time) AS onset,
    arg_min(e.photostim_event_time + p.duration, e.photostim_event_id) AS stop
FROM experiment.photostim_event AS e
LEFT JOIN experiment.photostim AS p USING (subject_id, session, photo_stim)
LEFT JOIN experiment.photostim_target AS t USING (subject_id, session, photo_stim)
WHERE {key} GROUP BY e.trial
"""


def trials_of(lake: Lake, key: Key) -> pl.DataFrame:
    """Return a row per trial of a session, in order."""
    return ask(lake, _TRIALS.format(key=place(key, "t")))


def trial_variables(lake: Lake, key: Key, trials: pl.DataFrame) -> dict[str, Any]:
    """Return the variables ``behavior_*``, ``task_*`` and ``trial_end_time``.

    Parameters
    ----------
    lake, key
        The session.
    trials
        Its trials, as :func:`trials_of` returns them.
    """
    number = trials["trial"].to_numpy()
    count = len(number)
    learn = [text or "n/a" for text in trials["auto_learn"]]
    kinds = [_TYPE.get(text, "n") for text in trials["trial_instruction"]]
    return {
        "behavior_report": _coded(trials["outcome"], _OUTCOME),
        "behavior_early_report": _coded(trials["early_lick"], _EARLY),
        **_licks(lake, key, number),
        "behavior_is_free_water": row(trials["free_water"].to_numpy()),
        "behavior_is_auto_water": row(trials["auto_water"].to_numpy()),
        "behavior_auto_learn": cells(learn, (1, count)),
        "task_trial_type": cells(kinds, (1, count)),
        "task_stimulation": _stimulation(lake, key, number),
        "task_sample_time": _event(lake, key, number, "sample"),
        "task_delay_time": _event(lake, key, number, "delay"),
        "task_cue_time": _event(lake, key, number, "go"),
        "trial_end_time": _event(lake, key, number, "trialend", pick="arg_min"),
    }


def _coded(words: pl.Series, codes: dict[str, float]) -> NDArray[np.float64]:
    return row([codes.get(word, np.nan) for word in words]).astype(float)


def _licks(lake: Lake, key: Key, number: NDArray[Any]) -> dict[str, Any]:
    found = ask(
        lake,
        "SELECT trial, action_event_type, action_event_time FROM experiment.action_event "
        f"WHERE {place(key)} ORDER BY trial, action_event_time, action_event_id",
    )
    side = np.array([_LICK.get(word, np.nan) for word in found["action_event_type"]], dtype=float)
    time = found["action_event_time"].to_numpy()
    owner = np.searchsorted(number, found["trial"].to_numpy())
    shape = (1, len(number))
    return {
        "behavior_lick_times": cells(pieces(time, owner, len(number)), shape),
        "behavior_lick_directions": cells(pieces(side, owner, len(number)), shape),
    }


def _event(
    lake: Lake, key: Key, number: NDArray[Any], kind: str, *, pick: str = "arg_max"
) -> NDArray[np.float64]:
    """Return onset (s from trial start) and duration (s) of an event, (2, trials)."""
    found = ask(lake, _EVENTS.format(key=place(key), kind=kind, pick=pick))
    made = np.full((2, len(number)), np.nan)
    where = np.searchsorted(number, found["trial"].to_numpy())
    made[:, where] = found.select("onset", "duration").to_numpy().T
    return made


def _stimulation(lake: Lake, key: Key, number: NDArray[Any]) -> NDArray[np.float64]:
    """Return power (mW), type, on and off (s from trial start), (trials, 4)."""
    found = ask(lake, _PHOTOSTIM.format(key=place(key, "e")))
    made = np.tile([0.0, np.nan, np.nan, np.nan], (len(number), 1))
    where = np.searchsorted(number, found["trial"].to_numpy())
    # Places without a code of their own are told apart by their protocol's number, negative.
    kind = [_SITE.get(site, -float(n)) for site, n in found.select("site", "photo_stim").rows()]
    made[where, 0] = found["power"].to_numpy()
    made[where, 1] = kind
    made[where, 2] = found["onset"].to_numpy()
    made[where, 3] = found["stop"].to_numpy()
    return made
