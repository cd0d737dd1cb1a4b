"""Foraging views at the edges: nothing chosen, protocols without waiting water, one trial."""

from __future__ import annotations

import numpy as np
import pytest
from lakefiles import datetime, finish, write_lab, write_table

import maplake

KEY = {"subject_id": 101, "session": 1}


def lake_of(root, outcomes, *, protocol=100, odds=(0.4, 0.1), ports=None):
    """Write a session of one block; returns the open lake."""
    trials = np.arange(1, len(outcomes) + 1)
    write_table(root, "experiment.session", KEY, task=["foraging"], task_protocol=[protocol],
                session_date=[datetime(2021, 3, 1).date()])  # fmt: skip
    write_table(root, "experiment.session_trial", KEY, trial=trials, start_time=trials * 6.0,
                stop_time=trials * 6.0 + 5.5)  # fmt: skip
    write_table(
        root, "experiment.behavior_trial", KEY, trial=trials, task=["foraging"] * len(trials),
        task_protocol=[protocol] * len(trials), trial_instruction=["none"] * len(trials),
        early_lick=["no early"] * len(trials), outcome=outcomes,
    )  # fmt: skip
    chosen = ports or [None if o == "ignore" else "left" for o in outcomes]
    write_table(root, "experiment.water_port_choice", KEY, trial=trials, water_port=chosen)
    write_table(root, "experiment.session_block", KEY, block=[1])
    write_table(root, "experiment.block_trial", KEY, trial=trials, block=[1] * len(trials))
    write_table(root, "experiment.block_reward_probability", KEY, block=[1, 1],
                water_port=["left", "right"], reward_probability=list(odds))  # fmt: skip
    write_lab(root, [101])
    finish(root)
    return maplake.open(root)


def one(lake, table):
    return lake.sql(f"FROM foraging.{table}").pl().row(0, named=True)


def test_nothing_was_chosen(tmp_path):
    with lake_of(tmp_path, ["ignore"] * 40) as lake:
        stats = one(lake, "session_stats")
        assert (stats["session_ignore_num"], stats["session_pure_choices_num"]) == (40, 0)
        ratios = ("early_lick_ratio", "reward_rate", "foraging_eff_optimal", "mean_reward_sum")
        assert [stats[f"session_{name}"] for name in ratios] == [None] * 4
        assert one(lake, "block_stats")["block_reward_rate"] is None
        fraction = one(lake, "block_fraction")
        assert (fraction["block_length"], fraction["block_reward_per_trial"]) == (40, 0.0)
        assert (fraction["block_reward_fraction"], fraction["block_choice_fraction"]) == (
            None,
            None,
        )
        assert one(lake, "block_efficiency")["block_effi_one_p_reward"] == 0.0
        rows = lake.sql("SELECT match_idx, bias FROM foraging.session_matching").fetchall()
        assert set(rows) == {(None, None)}
        trial = one(lake, "trial_stats")
        assert (trial["reaction_time"], trial["double_dipping"]) == (None, False)


def test_one_trial(tmp_path):
    with lake_of(tmp_path, ["hit"]) as lake:
        stats = one(lake, "session_stats")
        assert stats["session_reward_rate"] == 1.0
        stay = np.floor(np.log(0.6) / np.log(0.9))
        best = 0.4 + (1 - 0.9 ** (stay + 1) - 0.16) / (stay + 1)
        assert stats["session_foraging_eff_optimal"] == pytest.approx(1 / best, rel=1e-12)
        assert lake.sql("FROM foraging.block_fraction").fetchall() == []  # too short
        matched = lake.sql("FROM foraging.session_matching ORDER BY water_port").pl()
        assert matched["water_port"].to_list() == ["left", "middle", "right"]
        assert matched["block_count"].to_list() == [0, 0, 0]
        nothing = matched.select("reward_share", "choice_share", "match_idx", "bias")
        assert nothing.null_count().row(0) == (3, 3, 3, 3)


@pytest.mark.parametrize(("protocol", "waits", "blocks"), [
    (100, True, 1), (110, False, 1), (120, False, 0),
])  # fmt: skip
def test_protocols(tmp_path, protocol, waits, blocks):
    outcomes = ["hit", "miss"] * 20
    with lake_of(tmp_path, outcomes, protocol=protocol) as lake:
        stay = np.floor(np.log(0.6) / np.log(0.9))
        best = 0.4 + (1 - 0.9 ** (stay + 1) - 0.16) / (stay + 1) if waits else 0.4
        found = one(lake, "session_stats")["session_foraging_eff_optimal"]
        assert found == pytest.approx(0.5 / best, rel=1e-12)
        count = "SELECT count(DISTINCT block) FROM foraging.block_fraction"
        assert lake.sql(count).fetchall() == [(blocks,)]


def test_everything_at_one_port_matches_nothing(tmp_path):
    with lake_of(tmp_path, ["hit"] * 40) as lake:
        rows = lake.sql(
            "SELECT water_port, reward_share, choice_share, match_idx "
            "FROM foraging.session_matching WHERE water_port <> 'middle' ORDER BY water_port"
        ).fetchall()
    assert rows == [("left", 1.0, 1.0, None), ("right", 0.0, 0.0, None)]
