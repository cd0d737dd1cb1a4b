"""The delay-response task: trials as they run on the rig, and what is true about them.

A trial is a chain of Bpod states. Times are whole ticks of 0.1 ms, the resolution of Bpod, until
they become seconds in :func:`seconds`, so that the file and the truth hold the same floats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maplake.simulate.options import Task

TICKS = 10_000  # per second
LEFT_IN, LEFT_OUT, RIGHT_IN, RIGHT_OUT = 69, 70, 71, 72  # event codes of the two lick ports
PHOTOSTIMS = (4, 5, 6)  # left, right, both ALM
LATE_ONSET = 0.5  # s before the go cue
STIM_DURATION = 0.5  # s


def seconds(ticks: int) -> float:
    """Return ticks as s."""
    return ticks / TICKS


def ticks(time: float) -> int:
    """Return s as ticks."""
    return round(time * TICKS)


@dataclass(frozen=True)
class Visit:
    """One visit of a state, in ticks from trial start; ``lick`` = a lick ended it."""

    state: str
    start: int
    end: int
    lick: bool = False


@dataclass(frozen=True)
class Plan:
    """What a trial is to be, before it runs."""

    number: int
    left: bool
    outcome: str
    early_sample: bool
    early_delay: bool
    auto_water: str  # "", "setting" or "drop"
    free_water: bool
    stim_trial: int
    protocol_type: int
    autolearn: int
    reversal: int
    bitcode: str
    delay: float

    @property
    def trial_type(self) -> int:
        """``TrialTypes`` in the file."""
        return int(self.left == (self.reversal == 1))


@dataclass(frozen=True)
class Trial:
    """A trial as it ran; ``stamp`` is its start on the rig's clock in ticks."""

    plan: Plan
    stamp: int
    visits: tuple[Visit, ...]
    licks: tuple[tuple[int, int], ...]  # (ticks, code of the port's "in" event)

    def first(self, state: str) -> Visit | None:
        """Return the first visit of a state."""
        return next((v for v in self.visits if v.state == state), None)

    def last(self, state: str) -> Visit | None:
        """Return the last visit of a state."""
        return next((v for v in reversed(self.visits) if v.state == state), None)

    def visited(self, *states: str) -> bool:
        """Return whether any of the states was visited."""
        return any(v.state in states for v in self.visits)

    @property
    def length(self) -> int:
        """Duration in ticks."""
        return self.visits[-1].end


def state_names(bits: int) -> tuple[str, ...]:
    """Return the names of the states of a trial with a bitcode of so many bits, by number."""
    code = [name for bit in range(1, bits + 1) for name in (f"OffState{bit}", f"OnState{bit}")]
    return (
        "TrigTrialStart", "PreSamplePeriod", *code, f"OffState{bits + 1}",
        "SamplePeriod", "EarlyLickSample", "DelayPeriod", "EarlyLickDelay", "ResponseCue",
        "GiveLeftDrop", "GiveRightDrop", "GiveLeftDropShort", "GiveRightDropShort", "AnswerPeriod",
        "Reward", "RewardConsumption", "NoResponse", "TimeOut", "StopLicking", "StopLickingReturn",
        "TrialEnd",
    )  # fmt: skip


def run(task: Task, trials: int, *, stim: bool, reversal: int,
        rng: np.random.Generator) -> list[Trial]:  # fmt: skip
    """Run a session of so many trials."""
    bits = task.bits or int(rng.integers(10, 21))
    stamp = ticks(rng.uniform(100, 4000))
    done = []
    for number in range(1, trials + 1):
        plan = _plan(task, number, bits, stim=stim, reversal=reversal, rng=rng)
        trial = _Run(plan, task, rng).trial(stamp // 10 * 10)  # starts are stamped to 1 ms
        done.append(trial)
        stamp += trial.length + ticks(rng.uniform(*task.inter_trial))
    return done


def _plan(task: Task, number: int, bits: int, *, stim: bool, reversal: int,
          rng: np.random.Generator) -> Plan:  # fmt: skip
    chance = rng.random(8)  # always as many, so that one share does not change the others' trials
    warm = number <= task.warm_up
    outcome = "ignore" if chance[0] < task.ignore else "hit"
    if outcome == "hit" and chance[1] < task.error:
        outcome = "miss"
    drop = "setting" if chance[2] < 0.5 else "drop"
    kinds = rng.integers(0, len(PHOTOSTIMS))
    bitcode = "".join(map(str, rng.integers(0, 2, bits)))
    lit = stim and not warm and chance[5] < task.stim
    return Plan(
        number=number,
        left=bool(chance[3] < 0.5),
        outcome=outcome,
        early_sample=bool(chance[4] < task.early / 2),
        early_delay=bool(task.early / 2 <= chance[4] < task.early),
        auto_water=drop if chance[6] < task.auto_water else "",
        free_water=bool(chance[7] < task.free_water and not warm),
        stim_trial=PHOTOSTIMS[kinds] if lit else 2 * int(warm and number % 2 == 0),
        protocol_type=2 if number in task.skipped else task.protocol_type,
        autolearn=1 if warm else task.autolearn,
        reversal=reversal,
        bitcode=bitcode,
        delay=task.delay_period,
    )


class _Run:
    """The state machine of one trial."""

    def __init__(self, plan: Plan, task: Task, rng: np.random.Generator) -> None:
        self.plan, self.task, self.rng = plan, task, rng
        self.visits: list[Visit] = []
        self.licks: list[tuple[int, int]] = []

    @property
    def now(self) -> int:
        return self.visits[-1].end if self.visits else 0

    def trial(self, stamp: int) -> Trial:
        self._start()
        if self.plan.free_water:
            self._free_water()
        else:
            self._sample_and_delay()
            self._response()
        self._end()
        licks = {time: code for time, code in sorted(self.licks) if time < self.now}
        return Trial(self.plan, stamp, tuple(self.visits), tuple(licks.items()))

    def _visit(self, state: str, duration: float, *, lick: int = 0) -> None:
        end = self.now + ticks(duration)
        self.visits.append(Visit(state, self.now, end, lick=bool(lick)))
        if lick:
            self.licks.append((end, lick))

    def _start(self) -> None:
        bits = len(self.plan.bitcode)
        self._visit("TrigTrialStart", 0.5)
        self._visit("PreSamplePeriod", 0.01)
        for bit in range(1, bits + 1):
            self._visit(f"OffState{bit}", 0.01)
            self._visit(f"OnState{bit}", 0.01)
        self._visit(f"OffState{bits + 1}", 0.1)

    def _sample_and_delay(self) -> None:
        self._enforce("SamplePeriod", "EarlyLickSample", self.task.sample_period,
                      early=self.plan.early_sample)  # fmt: skip
        self._enforce("DelayPeriod", "EarlyLickDelay", self.plan.delay,
                      early=self.plan.early_delay)  # fmt: skip
        self._visit("ResponseCue", 0.05)

    def _enforce(self, period: str, early_lick: str, duration: float, *, early: bool) -> None:
        # A lick in the period starts it again.
        if early:
            for _ in range(self.rng.integers(1, 4)):
                self._visit(period, self.rng.uniform(0.1, 0.9) * duration, lick=self._any_port())
                self._visit(early_lick, 0.01)
        self._visit(period, duration)

    def _response(self) -> None:
        plan = self.plan
        if plan.auto_water:
            self._visit("GiveLeftDropShort" if plan.left else "GiveRightDropShort", 0.03)
        if plan.outcome == "ignore":
            self._visit("AnswerPeriod", self.task.answer_period)
            self._visit("NoResponse", 1.0)
            return
        hit = plan.outcome == "hit"
        port = LEFT_IN if plan.left == hit else RIGHT_IN
        latency = min(0.06 + self.rng.exponential(0.12), 0.9 * self.task.answer_period)
        self._visit("AnswerPeriod", latency, lick=port)
        self._bout(port)
        if hit:
            self._visit("Reward", 0.03)
            self._visit("RewardConsumption", 1.5)
        else:
            self._visit("TimeOut", 1.0)

    def _free_water(self) -> None:
        self._visit("GiveLeftDrop" if self.plan.left else "GiveRightDrop", 0.03)
        self._visit("RewardConsumption", 1.5)
        self._bout(LEFT_IN if self.plan.left else RIGHT_IN)

    def _end(self) -> None:
        if self.rng.random() < 0.1:
            self._visit("StopLicking", self.rng.uniform(0.1, 1.0), lick=self._any_port())
            self._visit("StopLickingReturn", 0.01)
        self._visit("StopLicking", 1.5)
        self._visit("TrialEnd", 0.25)

    def _bout(self, port: int) -> None:
        gaps = self.rng.normal(0.15, 0.015, self.rng.integers(2, 9)).clip(0.08, 0.3)
        self.licks += [(self.now + ticks(gap), port) for gap in np.cumsum(gaps)]

    def _any_port(self) -> int:
        return LEFT_IN if self.rng.random() < 0.5 else RIGHT_IN
