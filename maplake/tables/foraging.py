"""Schema ``foraging``: statistics of the foraging task, all computed when asked."""

from __future__ import annotations

from maplake.tables.experiment_foraging import WATER_PORTS
from maplake.tables.model import (
    BOOL,
    INT,
    LABEL,
    REAL,
    SESSION,
    SESSION_KEY,
    SUBJECT_ID,
    TO_BEHAVIOR_TRIAL,
    TO_SESSION,
    TRIAL,
    TRIAL_KEY,
    Column,
    Ref,
    Store,
    Table,
)

_BLOCK = Column("block", INT, "number of the block, from 1")
_BLOCK_KEY = (*SESSION_KEY, "block")
_TO_BLOCK = Ref(_BLOCK_KEY, "experiment.session_block")
_PORT = Column("water_port", LABEL, "water port", values=WATER_PORTS)
_TO_PORT = Ref(("water_port",), "experiment.water_port")


def _number(name: str, comment: str) -> Column:
    return Column(name, INT, comment)


def _ratio(name: str, comment: str, unit: str = "") -> Column:
    return Column(name, REAL, comment, unit, nullable=True)


_RATE = _ratio("block_reward_per_trial", "rewards over trials with a choice")

TABLES = (
    Table(
        "foraging",
        "trial_stats",
        "licking after the go cue of foraging trials",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            _ratio("reaction_time", "first lick after the go cue; null without a lick", "s"),
            Column("double_dipping", BOOL, "licks on more than one port after the go cue"),
        ),
        key=TRIAL_KEY,
        store=Store.VIEW,
        refs=(TO_BEHAVIOR_TRIAL,),
    ),
    Table(
        "foraging",
        "choice_run",
        "choices of the same port one after the other, trials without a choice passed over",
        (
            SUBJECT_ID,
            SESSION,
            _number("start_trial", "first trial of the run"),
            _number("stop_trial", "last trial of the run"),
            _PORT,
            _number("run_length", "number of choices"),
        ),
        key=(*SESSION_KEY, "start_trial"),
        store=Store.VIEW,
        refs=(TO_SESSION, _TO_PORT),
    ),
    Table(
        "foraging",
        "block_stats",
        "trials and rewards of blocks",
        (
            SUBJECT_ID,
            SESSION,
            _BLOCK,
            _number("block_trial_num", "trials"),
            _number("block_ignore_num", "trials without a response"),
            _ratio("block_reward_rate", "hits / (hits + misses)"),
        ),
        key=_BLOCK_KEY,
        store=Store.VIEW,
        refs=(_TO_BLOCK,),
    ),
    Table(
        "foraging",
        "block_fraction",
        "where rewards and choices went, in blocks of more than 30 trials without a sure reward",
        (
            SUBJECT_ID,
            SESSION,
            _BLOCK,
            _PORT,
            _number("block_length", "trials of the block"),
            _RATE,
            _ratio("block_reward_fraction", "share of the block's rewards"),
            _ratio("block_choice_fraction", "share of the block's choices"),
            _number("reward_num", "rewards at this port"),
            _number("choice_num", "choices of this port"),
        ),
        key=(*_BLOCK_KEY, "water_port"),
        store=Store.VIEW,
        refs=(_TO_BLOCK, _TO_PORT),
    ),
    Table(
        "foraging",
        "block_efficiency",
        "rewards of the blocks of block_fraction against what could be earned",
        (
            SUBJECT_ID,
            SESSION,
            _BLOCK,
            _RATE,
            _ratio("block_effi_one_p_reward", "over the highest reward probability"),
            _ratio("block_effi_sum_p_reward", "over the sum of reward probabilities"),
            _ratio("block_effi_one_a_reward", "over the share of trials with water anywhere"),
            _ratio("block_effi_sum_a_reward", "over the mean number of ports with water"),
            _ratio("block_ideal_phat_greedy", "over what the best strategy of two ports earns"),
            _ratio("regret_ideal_phat_greedy", "what that strategy earns more"),
        ),
        key=_BLOCK_KEY,
        store=Store.VIEW,
        refs=(_TO_BLOCK,),
    ),
    Table(
        "foraging",
        "session_stats",
        "what animals did in foraging sessions",
        (
            SUBJECT_ID,
            SESSION,
            _number("session_total_trial_num", "trials"),
            _number("session_block_num", "blocks"),
            _number("session_hit_num", "hits"),
            _number("session_miss_num", "misses"),
            _number("session_ignore_num", "trials without a response"),
            _ratio("session_early_lick_ratio", "trials with an early lick / (hits + misses)"),
            _number("session_autowater_num", "trials with automatic water"),
            _number("session_pure_choices_num", "hits and misses without automatic water"),
            _ratio("session_length", "end of the last trial, from the first one's start", "s"),
            _ratio(
                "session_double_dipping_ratio",
                "share of pure choices with licks on more than one port; null for sessions up to "
                "2020-08-11, whose ports stayed out of reach after a miss",
            ),
            _ratio("session_double_dipping_ratio_hit", "the same among hits"),
            _ratio("session_double_dipping_ratio_miss", "the same among misses"),
            _ratio("session_reward_rate", "hits among pure choices"),
            _ratio(
                "session_foraging_eff_optimal",
                "reward rate over what the best strategy earns on average (two ports)",
            ),
            _ratio(
                "session_foraging_eff_optimal_random_seed",
                "rewards over what the best strategy had earned with the numbers that the task "
                "drew (two ports); from foraging.session_efficiency",
            ),
            _ratio("session_mean_reward_sum", "mean sum of reward probabilities (two ports)"),
            _ratio(
                "session_mean_reward_contrast",
                "mean ratio of reward probabilities (two ports); 100 in pretraining",
            ),
            _ratio("session_mean_run_length", "mean number of choices of the same port in a row"),
        ),
        key=SESSION_KEY,
        store=Store.VIEW,
        refs=(TO_SESSION,),
    ),
    Table(
        "foraging",
        "session_matching",
        "how choices follow rewards across the blocks of block_fraction",
        (
            SUBJECT_ID,
            SESSION,
            _PORT,
            _ratio("reward_share", "share of the rewards of all these blocks"),
            _ratio("choice_share", "share of the choices of all these blocks"),
            _number("block_count", "blocks that the line is fitted to"),
            _ratio("match_idx", "slope of log2(choice ratio) over log2(reward ratio)"),
            _ratio("bias", "intercept of that line"),
        ),
        key=(*SESSION_KEY, "water_port"),
        store=Store.VIEW,
        refs=(TO_SESSION, _TO_PORT),
    ),
)
