"""Alignment: matching trials by bitcode, and cutting spikes into trials."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from maplake.errors import AlignmentError, LengthMismatchError
from maplake.ingest.align import (
    BehaviorTrials,
    EphysTrials,
    ephys_trials,
    match_trials,
    one_to_one,
    place_go_cues,
    trial_of_spikes,
)


def behavior(codes, skipped=(), free_water=()):
    numbers = np.array([n for n in range(1, len(codes) + 1) if n not in skipped], dtype=np.int64)
    return BehaviorTrials(
        numbers,
        [codes[n - 1] for n in numbers],
        np.isin(numbers, list(free_water)),
        len(codes),
    )


def distinct_codes(n, seed=0):
    rng = np.random.default_rng(seed)
    return [f"{v:016b}" for v in rng.choice(1 << 16, n, replace=False)]


@given(
    st.integers(1, 40),
    st.integers(0, 39),
    st.integers(1, 60),
    st.sets(st.integers(1, 40)),
    st.data(),
)
def test_any_late_start_and_either_early_end_matches(total, late, recorded, skipped, data):
    assume(late < total)
    skipped = {n for n in skipped if n <= total}
    known = [n for n in range(late + 1, min(total, late + recorded) + 1) if n not in skipped]
    assume(late + 1 in known or len(known) >= 3)
    codes = distinct_codes(total + 60)
    ephys = codes[late:total][:recorded]
    if late + recorded > total:  # the recording goes on after behavior has ended
        ephys += codes[total : late + recorded]
    found = match_trials(ephys, behavior(codes[:total], skipped))
    expected = [
        n if n <= total and n not in skipped else -1 for n in range(late + 1, late + 1 + len(ephys))
    ]
    assert found.tolist() == expected


def test_a_dropped_code_in_the_middle_is_an_error_that_lists_the_first_disagreements():
    codes = distinct_codes(20)
    with pytest.raises(AlignmentError, match=r"13 bitcodes disagree.*trial 6: .* in behavior"):
        match_trials(codes[:5] + codes[6:19], behavior(codes))


def test_trial_numbers_correct_what_the_codes_do_not_tell():
    codes = distinct_codes(20)
    numbers = [*range(1, 6), *range(7, 20)]
    found = match_trials(codes[:5] + codes[6:19], behavior(codes), numbers)
    assert found.tolist() == numbers


def test_trial_numbers_are_not_used_where_the_codes_match():
    codes = distinct_codes(5)
    assert match_trials(codes, behavior(codes), [9, 9, 9, 9, 9]).tolist() == [1, 2, 3, 4, 5]


def test_a_correction_that_names_a_trial_twice_is_an_error():
    codes = distinct_codes(5)
    with pytest.raises(AlignmentError, match=r"twice.*trial 2, 2 times"):
        match_trials([codes[0], codes[2], codes[1]], behavior(codes), [1, 2, 2])


def test_trial_numbers_of_another_length_are_an_error():
    codes = distinct_codes(5)
    with pytest.raises(LengthMismatchError):
        match_trials([codes[0], codes[2], codes[1]], behavior(codes), [1, 2])


def test_foreign_codes_are_an_error():
    codes = distinct_codes(30)
    with pytest.raises(AlignmentError, match="not among the behavior trials"):
        match_trials(codes[20:], behavior(codes[:20]))


def test_a_code_that_occurs_twice_is_matched_where_the_run_agrees():
    codes = distinct_codes(20)
    codes[2] = codes[9]
    assert match_trials(codes[9:15], behavior(codes)).tolist() == list(range(10, 16))


def test_a_chance_tail_is_no_match():
    codes = distinct_codes(40)
    ephys = [codes[3], *codes[30:40]]
    ephys_codes = [*codes[:20]]
    ephys_codes[19] = codes[3]  # the first ephys code also is the last behavior code
    with pytest.raises(AlignmentError):
        match_trials(ephys, behavior(ephys_codes))


def test_one_to_one_needs_equal_counts():
    trials = behavior(distinct_codes(4), skipped={2})
    assert one_to_one(4, trials).tolist() == [1, -1, 3, 4]
    with pytest.raises(AlignmentError):
        one_to_one(5, trials)


@given(st.integers(1, 30), st.sets(st.integers(1, 30)))
def test_missing_go_cues_are_those_of_free_water_trials(total, free):
    free = {n for n in free if n <= total}
    trials = behavior(distinct_codes(total), free_water=free)
    go = np.arange(1, total + 1) * 100
    with_cue = go[~np.isin(np.arange(1, total + 1), list(free))]
    placed = place_go_cues(with_cue, np.arange(1, total + 1), trials)
    expected = [-1 if n in free else n * 100 for n in range(1, total + 1)]
    assert placed.tolist() == expected


def test_other_numbers_of_go_cues_are_an_error():
    trials = behavior(distinct_codes(5), free_water={2})
    with pytest.raises(AlignmentError, match="3 go cues in 5 trials"):
        place_go_cues(np.arange(3), np.arange(1, 6), trials)


def test_the_trigger_margin_comes_off_the_starts_only():
    codes = distinct_codes(3)
    arrays = {"start_sample": np.array([100, 200, 300]), "go_sample": np.array([150, 250, 350])}
    found = ephys_trials(arrays, codes, behavior(codes), margin_samples=30)
    assert found.start_sample.tolist() == [70, 170, 270]
    assert found.go_sample.tolist() == [150, 250, 350]


def test_codes_without_starts_cannot_cut_spikes():
    codes = distinct_codes(3)
    empty = {"start_sample": np.array([], int), "go_sample": np.array([], int)}
    with pytest.raises(AlignmentError, match="no trial starts"):
        ephys_trials(empty, codes, behavior(codes))


def test_starts_must_ascend():
    codes = distinct_codes(3)
    arrays = {"start_sample": np.array([100, 300, 200]), "go_sample": np.array([1, 2, 3])}
    with pytest.raises(AlignmentError, match="do not ascend"):
        ephys_trials(arrays, codes, behavior(codes))


@given(
    st.lists(st.integers(0, 1000), max_size=50),
    st.sets(st.integers(0, 1000), min_size=1, max_size=8),
    st.data(),
)
def test_a_spike_belongs_to_the_trial_that_has_started_last(spikes, starts, data):
    starts = np.array(sorted(starts), dtype=np.int64)
    numbers = np.array(
        data.draw(st.lists(st.sampled_from([-1, 5, 7]), min_size=len(starts), max_size=len(starts)))
    )
    sample = np.array(sorted(spikes), dtype=np.int64)
    found = trial_of_spikes(sample, EphysTrials(numbers, starts, starts))
    expected = []
    last = max((i for i, number in enumerate(numbers) if number != -1), default=-1)
    for spike in sample:  # the rule as it is written: start_i <= t < start_(i+1), the last open
        before = [i for i, start in enumerate(starts[: last + 1]) if start <= spike]
        expected.append(numbers[before[-1]] if before else -1)
    assert found.tolist() == expected
