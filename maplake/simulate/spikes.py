"""Units and their spikes: inhomogeneous Poisson processes with known rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import lambertw

from maplake.simulate import task as rig
from maplake.simulate.geometry import Sites
from maplake.simulate.task import Trial, seconds
from maplake.simulate.truth import Units

Array = np.ndarray[Any, Any]

SAMPLES = 82  # of a template, at 30 kHz
TROUGH = 41  # where its trough is, as in templates of Kilosort 2
RESPONSE = 1.2  # s after the go cue
REFRACTORY = 0.002  # s, of units of quality good and ok
OUTSIDE, SAMPLE, DELAY, RESPONSE_EPOCH = range(4)
_SHARES = {"good": 0.6, "multi": 0.3, "all": 0.1}


@dataclass(frozen=True)
class Timeline:
    """What the animal goes through, as stretches of constant conditions.

    ``edge`` is in s from the start of the recording, (stretches + 1,); the others are
    (stretches,): epoch, side (0 = left, 1 = right instruction), light (0 none, 1 left, 2 right, 3
    both ALM).
    """

    edge: Array
    epoch: Array
    side: Array
    light: Array

    def rates(self, units: Units, row: int, *, hemisphere: str) -> Array:
        """Return the rate of a unit in every stretch, in Hz."""
        contra = 1 if hemisphere == "left" else 0
        ipsi = (self.side != contra).astype(int)
        return np.asarray(units.rate[row, self.epoch, ipsi] * units.stim_factor[row, self.light])


def timeline(trials: Sequence[Trial], onsets: Sequence[float], origin: float, length: float,
             ) -> Timeline:  # fmt: skip
    """Return the stretches of a recording.

    ``onsets`` are those of the light in s from trial start (NaN = none), ``origin`` is the start
    of the recording on the rig's clock and ``length`` its duration, both in s.
    """
    rows = [(0.0, OUTSIDE, 0, 0)]
    for trial, onset in zip(trials, onsets, strict=True):
        if not trial.plan.free_water:
            rows += _stretches(trial, onset, seconds(trial.stamp) - origin)
    rows = [row for row in rows if 0 <= row[0] < length]
    table = np.array(rows)
    epoch, side, light = table[:, 1:].astype(int).T
    return Timeline(np.append(table[:, 0], length), epoch, side, light)


def _stretches(trial: Trial, onset: float, start: float) -> list[tuple[float, int, int, int]]:
    side = int(not trial.plan.left)
    light = 1 + rig.PHOTOSTIMS.index(trial.plan.stim_trial) if np.isfinite(onset) else 0
    edges = {
        _last(trial, "SamplePeriod"): SAMPLE,
        _last(trial, "DelayPeriod"): DELAY,
        _last(trial, "ResponseCue"): RESPONSE_EPOCH,
    }
    end = _last(trial, "ResponseCue") + RESPONSE
    times = sorted({*edges, end, *((onset, onset + rig.STIM_DURATION) if light else ())})
    rows, epoch = [], SAMPLE
    for time in times:
        epoch = edges.get(time, epoch)
        lit = light if light and onset <= time < onset + rig.STIM_DURATION else 0
        rows.append((start + time, OUTSIDE if time == end else epoch, side, lit))
    return rows


def _last(trial: Trial, state: str) -> float:
    visit = trial.last(state)
    return seconds(visit.start) if visit else float("nan")


def draw_spikes(edge: Array, rate: Array, dead_time: float, rng: np.random.Generator) -> Array:
    """Draw spike times in s.

    Without dead time this is a Poisson process. With it, spikes that follow another one too soon
    are left out of a process so much faster that the rate comes out as asked.

    Parameters
    ----------
    edge, rate
        Stretches in s, (n + 1,), and their rates in Hz, (n,).
    dead_time
        Shortest interval, in s.
    """
    if dead_time:
        rate = -np.real(lambertw(-np.minimum(rate * dead_time, 0.36))) / dead_time
    expected = np.concatenate([[0.0], np.cumsum(rate * np.diff(edge))])
    count = rng.poisson(expected[-1])
    times = np.interp(np.sort(rng.uniform(0, expected[-1], count)), expected, edge)
    kept = np.diff(times, prepend=-np.inf) > dead_time if dead_time else slice(None)
    return np.asarray(times[kept])


def draw_units(count: int, silent: int, rate_hz: float, sites: Sites, channel: Array,
               *, labels: bool, rng: np.random.Generator) -> Units:  # fmt: skip
    """Draw the properties of units; the last ``silent`` ones never fire.

    ``rate_hz`` is their mean rate outside of epochs, ``channel`` the 0-based channels that were
    sorted, ``labels`` lets some be ``ok``.
    """
    peak = rng.integers(2, max(3, len(channel) - 2), count)
    cell_type = np.where(rng.random(count) < 0.2, "FS", "Pyr")
    quality = rng.choice(list(_SHARES), count, p=list(_SHARES.values()))
    # Small labs have every kind of label as well.
    quality[: len(_SHARES)] = list(_SHARES)[:count]
    if labels:
        quality[quality == "good"] = rng.choice(["good", "ok"], np.sum(quality == "good"))
    rate = _rates(count, rate_hz, rng)
    rate[max(0, count - silent) :] = 0.0
    size = rng.uniform(60.0, 300.0, count)
    noise, note = np.full(count, "good", dtype="<U5"), np.full(count, "", dtype="<U16")
    noise[rng.random(count) < 0.1] = "noise"
    note[rng.random(count) < 0.2] = "drifts, see log"
    return Units(
        id=_ids(count, rng),
        quality=quality,
        noise=noise,
        note=note,
        cell_type=cell_type,
        peak=peak,
        channel=channel[peak],
        electrode=sites.electrode[channel[peak]],
        x=sites.x[channel[peak]],
        y=sites.y[channel[peak]],
        rate=rate,
        stim_factor=_stim_factors(count, rng),
        amplitude=size.copy(),
        waveform=np.array([_waveform(c == "FS") * s for c, s in zip(cell_type, size, strict=True)]),
    )


def _ids(count: int, rng: np.random.Generator) -> Array:
    # Clusters that were merged or split have new numbers above those of the templates.
    ids = np.arange(count)
    curated = rng.random(count) < 0.4
    curated[0] = True  # the merged one
    new = count + 1 + rng.permutation(3 * count)[: curated.sum()]
    ids[curated] = new
    return ids.astype(np.int32)


def _rates(count: int, rate_hz: float, rng: np.random.Generator) -> Array:
    spread = 0.8
    base = rate_hz * np.exp(spread * rng.standard_normal(count) - spread**2 / 2)
    gain = np.concatenate([np.ones((count, 1)), rng.uniform(0.8, 1.8, (count, 3))], axis=1)
    preference = rng.uniform(-0.7, 0.7, (count, 3)) * (rng.random((count, 3)) < 0.6)
    preference = np.concatenate([np.zeros((count, 1)), preference], axis=1)
    by_side = np.stack([1 + preference, 1 - preference], axis=2)
    return np.asarray(np.clip(base, 0.1, 60.0)[:, np.newaxis, np.newaxis]
                      * gain[:, :, np.newaxis] * by_side)  # fmt: skip


def _stim_factors(count: int, rng: np.random.Generator) -> Array:
    factor = np.tile([1.0, 0.4, 0.4, 0.1], (count, 1))
    factor[:, 1:] *= rng.uniform(0.8, 1.2, (count, 3))
    return factor


def _waveform(narrow: bool) -> Array:
    """Return a waveform of size 1, peak to peak: a trough, then a peak."""
    time = (np.arange(SAMPLES) - TROUGH) / 30.0  # ms
    width, trough, peak = (0.25, 0.07, 0.10) if narrow else (0.65, 0.12, 0.22)
    wave = -np.exp(-((time / trough) ** 2) / 2) + 0.4 * np.exp(-(((time - width) / peak) ** 2) / 2)
    return np.asarray(wave / np.ptp(wave))
