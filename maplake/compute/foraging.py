"""Built-in table foraging.session_efficiency: what the best strategy had earned by the same luck.

The task draws the water of every trial from a seeded generator; with the seed, which is kept as a
note of the trial, the water that was there can be told again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maplake.compute.model import Computation, Key
from maplake.compute.units import part
from maplake.query.lake import Lake
from maplake.tables import get

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["COMPUTATIONS", "best_choices", "best_rewards", "drawn"]

_DRAWS = 4000  # by the task's protocol, for each port at its start
_UNBAITED = (110, 120)  # protocols whose water does not wait
_PORTS = ("left", "right")


def drawn(seeds: list[tuple[int, int]], trials: int) -> NDArray[np.float64]:
    """Return the numbers that the task drew.

    Parameters
    ----------
    seeds
        First trial (from 1) and seed of each bpod session, in order.
    trials
        Number of trials of the session.

    Returns
    -------
    numbers
        0 to 1, (trials, 2), for left and right; NaN before the first seed and where the task's
        numbers had run out.
    """
    import numpy as np

    numbers = np.full((trials, 2), np.nan)
    for first, seed in seeds:
        # The task's own generator: no other gives the same numbers.
        luck = np.random.RandomState(seed).uniform(0.0, 1.0, (2, _DRAWS)).T
        rest = max(trials - first + 1, 0)
        numbers[first - 1 :] = np.nan
        numbers[first - 1 : first - 1 + _DRAWS] = luck[:rest]
    return numbers


def best_choices(high: float, low: float, trials: int) -> NDArray[np.intp]:
    """Return the best strategy where water waits: 1 = the better port, 0 = the other one.

    Parameters
    ----------
    high, low
        The two probabilities.
    trials
        How many trials.

    Returns
    -------
    choices
        (trials,).
    """
    import numpy as np

    if low == 0 or high >= 1:
        return np.ones(trials, dtype=np.intp)
    stay = int(np.floor(np.log(1 - high) / np.log(1 - low)))
    return (np.arange(trials) % (stay + 1) < stay).astype(np.intp)


def best_rewards(
    probability: NDArray[np.floating], numbers: NDArray[np.floating], *, baited: bool
) -> int:
    """Return how many rewards the best strategy would have got.

    Parameters
    ----------
    probability, numbers
        Reward probabilities of left and right, and the numbers drawn for them, (trials, 2) each.
    baited
        Whether water that is not taken waits; then each block starts without any.
    """
    import numpy as np

    filled = probability >= numbers
    if not baited:
        return int(filled[np.arange(len(filled)), probability.argmax(axis=1)].sum())
    starts = np.flatnonzero(np.diff(probability[:, 0], prepend=np.nan) != 0)
    parts = np.split(np.arange(len(filled)), starts[1:])
    return sum(_baited(probability[p[0]], filled[p]) for p in parts if len(p))


def _baited(probability: NDArray[np.floating], filled: NDArray[np.bool_]) -> int:
    import numpy as np

    better = int(probability.argmax())
    choices = best_choices(float(probability.max()), float(probability.min()), len(filled))
    ports = np.where(choices == 1, better, 1 - better)
    total = 0
    for port in (0, 1):
        # Each visit finds water if any came since the last one.
        visits = np.flatnonzero(ports == port)
        came = np.concatenate([[0], np.cumsum(filled[:, port])])
        since = np.concatenate([[0], visits[:-1] + 1]) if len(visits) else visits
        total += int((came[visits + 1] > came[since]).sum())
    return total


def session_efficiency(lake: Lake, key: Key) -> list[dict[str, float | None]] | None:
    """Compute the efficiency of a session with two ports; of other tasks there is none."""
    import polars as pl

    behavior = part(lake, "experiment.behavior_trial", key)
    if "foraging" not in behavior["task"].to_list():
        return None
    notes = part(lake, "experiment.trial_note", key)
    watered = notes.filter(trial_note_type="autowater").select("trial")
    chosen = behavior.filter(pl.col("outcome").is_in(["hit", "miss"])).join(
        watered, on="trial", how="anti"
    )
    seeds = notes.filter(trial_note_type="random_seed_start").sort("trial")
    found = _efficiency(_probabilities(lake, key, chosen), behavior, _seeds(seeds))
    return [{"session_foraging_eff_optimal_random_seed": found}]


def _seeds(notes: pl.DataFrame) -> list[tuple[int, int]]:
    rows = notes.select("trial", "trial_note").rows()
    return [(trial, int(text)) for trial, text in rows if text.isdecimal() and int(text) < 2**32]


def _probabilities(lake: Lake, key: Key, chosen: pl.DataFrame) -> pl.DataFrame:
    """Return trial, outcome and the probability at both ports, of trials that have both."""
    rates = part(lake, "experiment.block_reward_probability", key)
    trials = chosen.join(part(lake, "experiment.block_trial", key), on="trial")
    for port in _PORTS:
        here = rates.filter(water_port=port).select("block", **{port: "reward_probability"})
        trials = trials.join(here, on="block")
    return trials.sort("trial")


def _efficiency(
    chosen: pl.DataFrame, behavior: pl.DataFrame, seeds: list[tuple[int, int]]
) -> float | None:
    import numpy as np

    if not len(chosen) or not seeds:
        return None
    trials = int(behavior["trial"].to_numpy().max())
    numbers = drawn(seeds, trials)[chosen["trial"].to_numpy() - 1]
    baited = float(np.median(behavior["task_protocol"].to_numpy())) not in _UNBAITED
    best = best_rewards(chosen.select(_PORTS).to_numpy(), numbers, baited=baited)
    got = chosen.filter(outcome="hit").height
    return got / best if best else None  # both are of the same number of trials


COMPUTATIONS = (
    Computation(
        (get("foraging.session_efficiency"),),
        (
            "experiment.session_block",
            "experiment.behavior_trial",
            "experiment.trial_note",
            "experiment.block_trial",
            "experiment.block_reward_probability",
        ),
        session_efficiency,
    ),
)
