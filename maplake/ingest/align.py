"""Alignment: the only place where recordings of different sources meet.

Pure functions over arrays. Sample numbers are on the clock of one probe's recording.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import AlignmentError, LengthMismatchError

Ints = NDArray[np.int64]

#: Marks an ephys trial without behavior trial, and a trial without go cue.
NONE = -1

#: So many equal codes in a row are no chance.
_SURE = 3


@dataclass(frozen=True)
class BehaviorTrials:
    """What alignment needs to know of a session's behavior.

    Attributes
    ----------
    trial
        (trials,) numbers of the trials in the lake, ascending.
    code
        (trials,) their bitcodes; None = not known.
    free_water
        (trials,) whether it was a free-water trial, which has no go cue.
    total
        Number of trials in the file, those included that the reader skipped.
    go_time
        (trials,) go cue from trial start, s; NaN = none.
    """

    trial: Ints
    code: list[str | None]
    free_water: NDArray[np.bool_]
    total: int
    go_time: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def codes_by_number(self) -> list[str | None]:
        """Return the codes of trials 1 to ``total``; None matches any code."""
        codes: list[str | None] = [None] * self.total
        for number, code in zip(self.trial.tolist(), self.code, strict=True):
            codes[number - 1] = code
        return codes


@dataclass(frozen=True)
class EphysTrials:
    """The recorded trials of one probe.

    Attributes
    ----------
    trial
        (trials,) behavior trial numbers; -1 where behavior has no such trial.
    start_sample
        (trials,) starts, trigger margin taken off.
    go_sample
        (trials,) go cues; -1 = none.
    dropped
        (starts,) numbers, from 1, of recorded starts that are no trials and were left out.
    """

    trial: Ints
    start_sample: Ints
    go_sample: Ints
    dropped: Ints = field(default_factory=lambda: np.empty(0, np.int64))


def match_trials(
    codes: Sequence[str],
    behavior: BehaviorTrials,
    trial_numbers: Sequence[int] | None = None,
) -> Ints:
    """Find the behavior trial of every recorded trial by its bitcode.

    The recording starts at or after behavior, and either may end first. Trials that the behavior
    reader skipped keep their place and match any code.

    Parameters
    ----------
    codes
        (trials,) bitcodes of the recorded trials.
    behavior
        The session's behavior.
    trial_numbers
        (trials,) the correction ``trialNum``, used where the codes do not match.

    Returns
    -------
    (trials,) behavior trial numbers, -1 where behavior has no such trial.

    Raises
    ------
    AlignmentError
        If the codes do not match and there is no correction; it lists the first that disagree.
    """
    expected = behavior.codes_by_number()
    starts = [i for i, code in enumerate(expected) if codes and code in (codes[0], None)]
    exact = [i for i in starts if expected[i] is not None]
    for start in exact + [i for i in starts if i not in exact]:
        if _agrees(codes, expected[start:], sure=start == exact[0] if exact else False):
            numbers = np.arange(start + 1, start + 1 + len(codes), dtype=np.int64)
            return _known(numbers, behavior)
    if trial_numbers is not None:
        if len(trial_numbers) != len(codes):
            raise LengthMismatchError(
                "trialNum and bitCodeS differ in length",
                found=f"{len(trial_numbers)} and {len(codes)}",
            )
        _check_once(trial_numbers)
        return _known(np.asarray(trial_numbers, dtype=np.int64), behavior)
    raise _mismatch(codes, expected, exact[0] if exact else None)


def _check_once(trial_numbers: Sequence[int]) -> None:
    """Refuse a correction that takes two recorded trials for the same one."""
    numbers, counts = np.unique(np.asarray(trial_numbers, dtype=np.int64), return_counts=True)
    if (counts > 1).any():
        raise AlignmentError(
            "the correction names a trial twice",
            place="trialNum",
            found=f"trial {numbers[counts.argmax()]}, {counts.max()} times",
            expected="every trial once",
        )


def _disagreements(codes: Sequence[str], expected: Sequence[str | None]) -> list[int]:
    pairs = zip(codes, expected, strict=False)  # either may end first
    return [i for i, (code, other) in enumerate(pairs) if other is not None and code != other]


def _agrees(codes: Sequence[str], expected: Sequence[str | None], *, sure: bool) -> bool:
    """Tell whether two runs of codes agree over their common length.

    The first place of the first code is taken at any length, as published. Other places (a code
    that occurs twice, a trial that the reader skipped) need some codes to agree, so that a short
    tail does not match by chance.
    """
    if _disagreements(codes, expected):
        return False
    pairs = zip(codes, expected, strict=False)
    agreeing = sum(other is not None for _, other in pairs)
    return sure or agreeing >= min(_SURE, max(1, len(codes) - 1))


def _by_code(
    codes: Sequence[str],
    behavior: BehaviorTrials,
    trial_numbers: Sequence[int] | None,
    *,
    decoded: bool,
) -> tuple[Ints, NDArray[np.bool_]]:
    """Match trials by their codes; return them, and which of the recorded ones they are.

    Codes that were decoded from edges come with starts too many or too few: as published, each is
    then looked up by itself, and starts without a trial are left out.
    """
    try:
        return match_trials(codes, behavior, trial_numbers), np.ones(len(codes), dtype=np.bool_)
    except AlignmentError:
        found = _look_up(codes, behavior) if decoded else None
        if found is None:
            raise
        return _known(found[found != NONE], behavior), found != NONE


def _look_up(codes: Sequence[str], behavior: BehaviorTrials) -> Ints | None:
    """Return the number of each code, -1 = none; None unless most are found, once and in order."""
    places: dict[str, list[int]] = defaultdict(list)
    for number, code in enumerate(behavior.codes_by_number(), start=1):
        places[code or ""].append(number)
    found = np.array([places[code][0] if code in places else NONE for code in codes], np.int64)
    there = found[found != NONE]
    once = all(len(places[code]) == 1 for code in codes if code in places)
    sure = once and bool((np.diff(there) > 0).all()) and 2 * len(there) > len(codes)
    return found if sure else None


def _known(numbers: Ints, behavior: BehaviorTrials) -> Ints:
    return np.where(np.isin(numbers, behavior.trial), numbers, NONE)


def _mismatch(
    codes: Sequence[str], expected: Sequence[str | None], start: int | None
) -> AlignmentError:
    hint = "Compare the bitcode file with the behavior file: is it of the same session?"
    if start is None:
        return AlignmentError(
            "the first recorded trial's bitcode is not among the behavior trials'",
            found=codes[0] if len(codes) else "no codes",
            expected=", ".join(str(code) for code in expected[:3]) + ", …",
            hint=hint,
        )
    wrong = _disagreements(codes, expected[start:])
    listed = "; ".join(
        f"trial {start + 1 + i}: {codes[i]} recorded, {expected[start + i]} in behavior"
        for i in wrong[:3]
    )
    return AlignmentError(
        f"{len(wrong)} bitcodes disagree with behavior ({listed})",
        hint=hint + " A corrected `trialNum` in the bitcode file would be used.",
    )


def one_to_one(count: int, behavior: BehaviorTrials) -> Ints:
    """Match recorded and behavior trials by their order; for rigs without bitcodes.

    Raises
    ------
    AlignmentError
        If their numbers differ.
    """
    if count != behavior.total:
        raise AlignmentError(
            "without bitcodes, as many trials must be recorded as there are in behavior",
            found=str(count),
            expected=str(behavior.total),
        )
    return _known(np.arange(1, count + 1, dtype=np.int64), behavior)


def place_go_cues(go_sample: Ints, trial: Ints, behavior: BehaviorTrials) -> Ints:
    """Give every recorded trial its go cue; free-water trials have none.

    Parameters
    ----------
    go_sample
        (cues,) go cues in time order; -1 = none.
    trial
        (trials,) behavior trial numbers, or -1.
    behavior
        The session's behavior.

    Returns
    -------
    (trials,) go cues, -1 for trials without.

    Raises
    ------
    AlignmentError
        If fewer cues than trials are missing, or more, than there are free-water trials.
    """
    if len(go_sample) == len(trial):
        return go_sample.astype(np.int64)
    without = np.isin(trial, behavior.trial[behavior.free_water])
    if len(trial) - len(go_sample) != int(without.sum()):
        raise AlignmentError(
            "the number of go cues does not fit the recorded trials",
            found=f"{len(go_sample)} go cues in {len(trial)} trials",
            expected=f"{len(trial) - int(without.sum())}, as {int(without.sum())} of them are "
            "free-water trials",
        )
    placed = np.full(len(trial), NONE, dtype=np.int64)
    placed[~without] = go_sample
    return placed


def go_from_behavior(
    start: NDArray[Any], trial: Ints, behavior: BehaviorTrials, rate: float
) -> Ints:
    """Place go cues by the behavior's clock, for recordings that do not tell them.

    Parameters
    ----------
    start
        (trials,) trial starts, samples or fractions of them.
    trial
        (trials,) behavior trial numbers, or -1.
    behavior
        The session's behavior.
    rate
        Sampling rate, Hz.

    Returns
    -------
    (trials,) go cues in samples, -1 = none.
    """
    place = np.searchsorted(behavior.trial, trial)
    place = np.minimum(place, len(behavior.trial) - 1)
    known = (behavior.trial[place] == trial) & np.isfinite(behavior.go_time[place])
    go = np.full(len(start), NONE, dtype=np.int64)
    cue = np.asarray(start, np.float64) + behavior.go_time[place] * rate
    go[known] = np.rint(cue[known]).astype(np.int64)
    return go


def ephys_trials(
    arrays: Mapping[str, NDArray[Any]],
    codes: Sequence[str],
    behavior: BehaviorTrials,
    *,
    margin_samples: int = 0,
    trial_numbers: Sequence[int] | None = None,
    go_rate: float | None = None,
    may_lack_codes: bool = True,
) -> EphysTrials:
    """Bring the recorded trials of a probe onto the behavior trials.

    Parameters
    ----------
    arrays
        ``start_sample`` (trials,) and ``go_sample`` (trials or fewer,) of the bitcode file; with
        ``go_rate`` also ``start_time`` (trials,) in s, where it is finer.
    codes
        (trials,) bitcodes; none at all = the trials are matched by their order.
    behavior
        The session's behavior.
    margin_samples
        Recording margin before each trial, taken off the starts.
    trial_numbers
        (trials,) the correction ``trialNum``, if there is one.
    go_rate
        Sampling rate, Hz, where the recording does not tell go cues and behavior's are taken.
    may_lack_codes
        Whether trials may be matched by their order.

    Raises
    ------
    AlignmentError
        If there are no trial starts, they are not ascending, or the trials cannot be matched.
    """
    start = np.asarray(arrays["start_sample"], dtype=np.int64) - margin_samples
    if not len(start):
        raise AlignmentError(
            "the bitcode file has codes but no trial starts (sTrig): it tells which trials were "
            "recorded, not when, so no spikes can be cut into trials",
            hint="Extract sTrig and goCue from the sync channel again.",
        )
    falls = np.flatnonzero(np.diff(start) <= 0)
    if falls.size:
        raise AlignmentError(
            "trial starts do not ascend",
            place=f"trial {int(falls[0]) + 2} of the recording",
            found=f"{int(start[falls[0] + 1])} after {int(start[falls[0]])} samples",
        )
    kept = np.ones(len(start), dtype=np.bool_)
    if len(codes):
        trial, kept = _by_code(codes, behavior, trial_numbers, decoded=go_rate is not None)
    elif not may_lack_codes:
        raise AlignmentError(
            "the recording has trial starts but no bitcodes, which this rig must have",
            found=f"{len(start)} trial starts",
            hint="Only sessions of RRig-MTL are matched by the trials' order.",
        )
    else:
        trial = one_to_one(len(start), behavior)
    if go_rate is not None:
        time = arrays.get("start_time")
        raw = (start + margin_samples if time is None else time * go_rate)[kept]
        go = go_from_behavior(raw, trial, behavior, go_rate)
        return EphysTrials(trial, start[kept], go, np.flatnonzero(~kept) + 1)
    go = place_go_cues(np.asarray(arrays["go_sample"], dtype=np.int64), trial, behavior)
    return EphysTrials(trial, start, go)


def trial_of_spikes(spike_sample: Ints, trials: EphysTrials) -> NDArray[np.int32]:
    """Find the trial that each spike falls into: start_i <= t < start_(i+1), the last open-ended.

    The last is the last one that behavior has: where the recording goes on without behavior, what
    it holds belongs to that trial, as published.

    Parameters
    ----------
    spike_sample
        (spikes,) spike times in ascending order.
    trials
        The recorded trials.

    Returns
    -------
    (spikes,) behavior trial numbers; -1 before the first trial and in trials between others that
    are without behavior.
    """
    known = np.flatnonzero(trials.trial != NONE)
    last = int(known[-1]) + 1 if known.size else 0
    edges = np.searchsorted(spike_sample, trials.start_sample[:last], side="left")
    counts = np.diff(edges, prepend=0, append=len(spike_sample))
    return np.repeat(np.concatenate(([NONE], trials.trial[:last])).astype(np.int32), counts)
