"""One clock for a session's NWB file: the behavior rig's, on which trials are.

Every probe has a clock of its own. The start of a trial is known on both: a spike's time from the
start of the trial in which (or after which) it falls is put after that trial's start by the
behavior rig. Within a trial, spikes are then exactly where the lake's own queries see them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from maplake.exports.select import Session, ask, place

if TYPE_CHECKING:
    from maplake.query.lake import Lake

__all__ = ["Clock", "ProbeClock", "read_clock"]

Floats = NDArray[np.float64]

_TRIALS = """
SELECT e.insertion_number, e.start_sample,
    t.start_time - (z.zero_sample - e.start_sample) / z.sampling_rate AS start_time
FROM ephys.ephys_trial AS e JOIN experiment.session_trial AS t USING (subject_id, session, trial)
JOIN ephys.trial_zero AS z USING (subject_id, session, insertion_number, trial)
WHERE {key} ORDER BY e.insertion_number, e.start_sample
"""

_PROBES = """
SELECT i.insertion_number, i.sampling_rate, i.first_trial_sample,
    min(s.spike_sample) AS first, max(s.spike_sample) AS last, bool_or(l.sample_count > 0) AS lfp
FROM ephys.probe_insertion AS i
LEFT JOIN (
    SELECT subject_id, session, insertion_number, min(spike_sample) AS spike_sample
    FROM ephys.spike_file WHERE {inner} GROUP BY ALL
    UNION ALL
    SELECT subject_id, session, insertion_number, max(spike_sample)
    FROM ephys.spike_file WHERE {inner} GROUP BY ALL
) AS s USING (subject_id, session, insertion_number)
LEFT JOIN ephys.lfp AS l USING (subject_id, session, insertion_number)
WHERE {key} GROUP BY ALL ORDER BY i.insertion_number
"""

_EARLIEST = """
SELECT min(t.start_time + e.time), max(greatest(t.stop_time, t.start_time + e.time))
FROM experiment.session_trial AS t LEFT JOIN (
    SELECT subject_id, session, trial, trial_event_time AS time FROM experiment.trial_event
    UNION ALL
    SELECT subject_id, session, trial, action_event_time FROM experiment.action_event
    UNION ALL
    SELECT subject_id, session, trial, photostim_event_time FROM experiment.photostim_event
    UNION ALL
    SELECT subject_id, session, trial, 0 FROM experiment.session_trial
) AS e USING (subject_id, session, trial)
WHERE {key}
"""


@dataclass(frozen=True)
class ProbeClock:
    """From a probe's samples to seconds of the session.

    Attributes
    ----------
    rate
        Samples per s.
    sample, time
        (trials,) start of each recorded trial in samples, and in s from the session's first trial;
        where a trigger starts the recording, that is its margin before the trial itself.
    first, last
        First and last sample with a spike.
    """

    rate: float
    sample: NDArray[np.int64]
    time: Floats
    first: int
    last: int

    def seconds(self, samples: NDArray[np.int64]) -> Floats:
        """Return times (s from the session's first trial) of samples."""
        trial = np.maximum(np.searchsorted(self.sample, samples, side="right") - 1, 0)
        found: Floats = self.time[trial] + (samples - self.sample[trial]) / self.rate
        return found

    @property
    def span(self) -> tuple[float, float]:
        """First and last moment (s) that are known to be recorded."""
        both = self.seconds(np.array([self.first, self.last]))
        return min(float(both[0]), float(self.time[0])), max(float(both[1]), float(self.time[-1]))


@dataclass(frozen=True)
class Clock:
    """A session's clock.

    Attributes
    ----------
    lead
        Whole seconds by which the earliest data precede the session's first trial: added to all
        times, so that none is negative.
    probes
        Clock of each insertion.
    """

    lead: float
    probes: dict[int, ProbeClock]


def read_clock(lake: Lake, session: Session, *, with_lfp: bool) -> Clock:
    """Return the clock of a session and its probes."""
    key = session.key
    trials = ask(lake, _TRIALS.format(key=place(key, "e")))
    found = ask(lake, _PROBES.format(key=place(key, "i"), inner=place(key)))
    probes, starts = {}, [0.0]
    for row in found.to_dicts():
        mine = trials.filter(insertion_number=row["insertion_number"])
        sample = mine["start_sample"].to_numpy()
        time = mine["start_time"].to_numpy()
        if not len(sample):  # nothing to align to: its own zero is the session's
            sample, time = np.array([row["first_trial_sample"]]), np.zeros(1)
        first = int(sample[0]) if row["first"] is None else row["first"]
        last = int(sample[-1]) if row["last"] is None else row["last"]
        probe = ProbeClock(row["sampling_rate"], sample, time, first, last)
        probes[row["insertion_number"]] = probe
        starts.append(probe.span[0])
        if with_lfp and row["lfp"]:
            starts.append(float(probe.seconds(np.zeros(1, np.int64))[0]))
    starts.append(ask(lake, _EARLIEST.format(key=place(key, "t"))).row(0)[0] or 0.0)
    return Clock(float(math.ceil(-min(starts))), probes)
