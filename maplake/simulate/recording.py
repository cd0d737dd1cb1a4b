"""A probe's recording of a session: its clock, the trials that it saw, its units and spikes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.behavior import photostim_onset
from maplake.simulate.geometry import GENERATIONS, recorded_sites
from maplake.simulate.options import Recording, Sorting
from maplake.simulate.spikes import REFRACTORY, Timeline, draw_spikes, draw_units, timeline
from maplake.simulate.task import Trial, seconds
from maplake.simulate.truth import Probe, Session, Units

Array = np.ndarray[Any, Any]

_JITTER = 6  # samples, between the rigs' clocks
#: Amplitude of a spike (as the sorter gives it) whose size is that of its unit's waveform.
TEMPLATE_SCALE = 20.0


@dataclass(frozen=True)
class Course:
    """What a probe lived through, on its own clock.

    Attributes
    ----------
    trial
        Numbers of the recorded behavior trials, (ephys trials,).
    start_sample, go_sample
        Their starts and go cues in samples; -1 = none.
    lived
        Stretches of constant conditions.
    lag
        Start of the recording in s from the session's start.
    """

    trial: Array
    start_sample: Array
    go_sample: Array
    lived: Timeline
    lag: float


def record(
    session: Session,
    trials: Sequence[Trial],
    folder: Path,
    number: int,
    *,
    units: int,
    rate_hz: float,
    late: bool,
    options: Recording,
    sorting: Sorting,
    good_periods: tuple[tuple[float, float | None], ...] = (),
    rng: np.random.Generator,
) -> Probe:
    """Record a session with one probe; the sorter's own files are yet to be written."""
    seen = _seen(trials, options)
    origin = seconds(seen[0].stamp) - options.lead
    length = seconds(seen[-1].stamp + seen[-1].length) + options.tail - origin
    onsets = [photostim_onset(trial, late=late) for trial in trials]
    lived = timeline(trials, onsets, origin, length)
    start, go = _trial_samples(seen, origin, options.sampling_rate, rng)
    course = Course(
        np.array([trial.plan.number for trial in seen], dtype=np.int32),
        start - round(options.margin * options.sampling_rate),
        go,
        lived,
        origin - seconds(trials[0].stamp),
    )
    probe = record_course(
        session, course, folder, number,
        units=units, rate_hz=rate_hz, options=options, sorting=sorting, rng=rng,
    )  # fmt: skip
    probe.good_periods = good_periods
    return probe


def record_course(
    session: Session,
    course: Course,
    folder: Path,
    number: int,
    *,
    units: int,
    rate_hz: float,
    options: Recording,
    sorting: Sorting,
    rng: np.random.Generator,
) -> Probe:
    """Record what a probe lived through, whatever the task."""
    generation = GENERATIONS[options.generation]
    sites = recorded_sites(generation, options.channels)
    hemisphere = "left" if number % 2 else "right"
    drawn = draw_units(
        units,
        min(sorting.silent, units),
        rate_hz,
        sites,
        np.arange(options.channels),
        labels=sorting.groups_csv,
        rng=rng,
    )
    spikes = _spikes(drawn, course.lived, hemisphere, options.sampling_rate, rng)
    drawn, amplitude = _amplitudes(drawn, spikes["template"], rng)
    return Probe(
        session=session,
        insertion_number=number,
        folder=folder,
        sorting_folder=folder / sorting.folder.format(imec=number - 1),
        serial=f"18{rng.integers(10**8, 10**9)}",
        probe_type=generation.probe_type,
        hemisphere=hemisphere,
        sampling_rate=options.sampling_rate,
        margin_samples=round(options.margin * options.sampling_rate),
        uv_per_bit=generation.uv_per_bit,
        recording_start=(session.start + timedelta(seconds=course.lag)).replace(microsecond=0),
        n_samples=int(float(course.lived.edge[-1]) * options.sampling_rate),
        electrode=sites.electrode,
        position=sites.position,
        ephys_trial=course.trial,
        start_sample=course.start_sample,
        go_sample=course.go_sample,
        good_periods=(),
        units=drawn,
        spike_sample=spikes["sample"],
        spike_unit=drawn.id[spikes["unit"]],
        spike_template=spikes["template"],
        spike_amplitude=amplitude,
        spike_depth=drawn.y[spikes["unit"]],
    )


def _seen(trials: Sequence[Trial], options: Recording) -> Sequence[Trial]:
    return trials[options.starts_late : len(trials) - options.ends_early]


def _trial_samples(
    seen: Sequence[Trial], origin: float, rate: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return starts and go cues of the recorded trials in samples; -1 = no go cue."""
    start = np.array([round((seconds(t.stamp) - origin) * rate) for t in seen], dtype=np.int64)
    cues = [trial.last("ResponseCue") for trial in seen]
    delay = np.array([seconds(cue.start) if cue else -1.0 for cue in cues])
    go = start + np.rint(delay * rate).astype(np.int64) + rng.integers(0, _JITTER, len(seen))
    return start, np.where(delay >= 0, go, -1)


def _spikes(
    units: Units, lived: Timeline, hemisphere: str, rate: float, rng: np.random.Generator
) -> dict[str, Array]:
    """Return sample, unit (row) and template (row) of all spikes, in time order."""
    last = int(lived.edge[-1] * rate) - 1
    times = []
    for row in range(len(units)):
        quiet = units.quality[row] in ("good", "ok")
        expected = lived.rates(units, row, hemisphere=hemisphere)
        drawn = draw_spikes(lived.edge, expected, REFRACTORY if quiet else 0.0, rng)
        times.append(np.minimum((drawn * rate).astype(np.int64), last))
    sample = np.concatenate(times)
    unit = np.repeat(np.arange(len(units), dtype=np.int32), [len(t) for t in times])
    order = np.argsort(sample, kind="stable")
    sample, unit = sample[order], unit[order]
    # The first unit was merged from two templates by the curator.
    second = (unit == 0) & (rng.random(len(unit)) < 0.3)
    return {
        "sample": sample,
        "unit": unit,
        "template": np.where(second, len(units), unit).astype(np.int32),
    }


def _amplitudes(units: Units, template: Array, rng: np.random.Generator) -> tuple[Units, Array]:
    """Draw the spikes' amplitudes, and set the units' to what they come to on average."""
    row = np.where(template == len(units), 0, template)
    amplitude = rng.standard_normal(len(row)) * 2.0 + TEMPLATE_SCALE
    count = np.bincount(row, minlength=len(units))
    total = np.bincount(row, weights=amplitude, minlength=len(units))
    with np.errstate(invalid="ignore"):
        mean = total / np.where(count, count, np.nan)
    return replace(units, amplitude=units.amplitude * mean / TEMPLATE_SCALE), amplitude
