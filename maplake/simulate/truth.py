"""What was simulated: the answers that a lake must give, computed straight from their definitions.

Nothing here knows any file format.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import numpy as np

from maplake.simulate.conditions import condition_mask
from maplake.simulate.trials import Array, Trials

__all__ = ["Animal", "Events", "Lab", "Probe", "Session", "Units", "psth_counts"]


@dataclass(frozen=True)
class Animal:
    """An animal; weight in g."""

    h2o: str
    subject_id: int
    username: str
    cage_number: int
    date_of_birth: date
    sex: str
    animal_source: str
    wr_start_date: date
    wr_start_weight: float
    has_photostim: bool


@dataclass(frozen=True)
class Events:
    """Things that happened in trials, sorted by trial and time; all arrays are (events,).

    ``id`` counts from 0 in every trial; ``time`` is in s from trial start, ``duration`` in s (0 for
    licks).
    """

    trial: Array
    id: Array
    type: Array
    time: Array
    duration: Array

    def __len__(self) -> int:
        return len(self.trial)


@dataclass
class Session:
    """A behavior session.

    ``number`` is the session's number in the lake, ``start`` what the file's ``Info`` says,
    ``trial_count`` includes the skipped trials, ``skipped`` names those.
    """

    animal: Animal
    number: int
    start: datetime
    file: Path
    trial_count: int
    trials: Trials
    events: Events
    licks: Events
    skipped: tuple[int, ...]
    probes: list[Probe] = field(default_factory=list, repr=False)

    @property
    def h2o(self) -> str:
        """The animal's short name."""
        return self.animal.h2o

    @property
    def subject_id(self) -> int:
        """The animal's number."""
        return self.animal.subject_id

    def condition_trials(self, name: str) -> Array:
        """Return the numbers of the trials of one of the 17 published conditions."""
        return np.asarray(self.trials.trial[condition_mask(self.trials, name)])


@dataclass(frozen=True)
class Units:
    """The units of a probe, silent ones included; arrays are (units,) unless said.

    Attributes
    ----------
    id
        Number that the sorter gave: sparse and in no order.
    quality
        good, ok, multi or all (unlabelled), in the lake's words.
    noise
        good or noise, the label of the noise templates.
    note
        Curator's note; empty = none.
    cell_type
        Pyr or FS.
    peak
        Place of the peak channel among the sorted channels.
    channel
        The same as 0-based channel of the recording.
    electrode
        The same as electrode number, from 1.
    x, y
        Position of the peak channel, in um.
    rate
        Expected rates in Hz, (units, 4, 2): outside of epochs, sample, delay, response; by contra-
        and ipsilateral instruction.
    stim_factor
        By what light multiplies the rate, (units, 4): no light, left, right, both ALM.
    amplitude
        Peak-to-peak amplitude on the peak channel in uV; NaN for silent units.
    waveform
        Mean waveform on the peak channel in uV, (units, 82).
    """

    id: Array
    quality: Array
    noise: Array
    note: Array
    cell_type: Array
    peak: Array
    channel: Array
    electrode: Array
    x: Array
    y: Array
    rate: Array
    stim_factor: Array
    amplitude: Array
    waveform: Array

    def __len__(self) -> int:
        return len(self.id)

    def row(self, unit: int) -> int:
        """Return the place of the unit with a given id."""
        return int(np.flatnonzero(self.id == unit)[0])


@dataclass
class Probe:
    """A probe in one session, with all that it recorded.

    Attributes
    ----------
    insertion_number, folder, sorting_folder
        Number from 1, the probe's folder, the sorter's folder.
    serial, probe_type
        Serial number as text, and the lake's name of the kind of probe.
    hemisphere
        left or right.
    sampling_rate, margin_samples, uv_per_bit
        In Hz, samples, and uV per count.
    recording_start
        What the metadata says.
    n_samples
        Length of the recording.
    electrode, position
        Electrode number (channels,) and x, y in um (channels, 2) of the recorded channels.
    ephys_trial
        Numbers of the recorded behavior trials, skipped ones included (ephys trials,).
    start_sample, go_sample
        Where their recording starts, a margin before the trial, and go cues; -1 = none.
    good_periods
        Start and end (None = the end) in s from the first trial; empty = no restriction.
    units
        The units.
    spike_sample, spike_unit
        Time in samples from the start of the recording, int64, and unit id, int32, in time order.
    spike_template
        Row of the spike's template; row k belongs to unit k, the last row to unit 0 as well.
    spike_amplitude
        As the sorter gives it.
    spike_depth
        In um: the centre of mass of the first principal component where the sorter wrote those,
        else the depth of the peak channel.
    metrics
        Columns of ``metrics.csv`` where it was written, else empty.
    clustering_method
        What the lake calls the sorter.
    """

    session: Session = field(repr=False)
    insertion_number: int
    folder: Path
    sorting_folder: Path
    serial: str
    probe_type: str
    hemisphere: str
    sampling_rate: float
    margin_samples: int
    uv_per_bit: float
    recording_start: datetime
    n_samples: int
    electrode: Array
    position: Array
    ephys_trial: Array
    start_sample: Array
    go_sample: Array
    good_periods: tuple[tuple[float, float | None], ...]
    units: Units
    spike_sample: Array = field(repr=False)
    spike_unit: Array = field(repr=False)
    spike_template: Array = field(repr=False)
    spike_amplitude: Array = field(repr=False)
    spike_depth: Array = field(repr=False)
    metrics: dict[str, Array] = field(default_factory=dict, repr=False)
    clustering_method: str = "kilosort2"

    @property
    def trials(self) -> Array:
        """Numbers of the trials that are both recorded and taken from the behavior file."""
        return np.intersect1d(self.ephys_trial, self.session.trials.trial)

    @property
    def spike_electrode(self) -> Array:
        """Electrode with the largest value of every spike's template (spikes,)."""
        row = np.where(self.spike_template == len(self.units), 0, self.spike_template)
        return np.asarray(self.units.electrode[row])

    def spikes(self, unit: int) -> Array:
        """Return the spike times of a unit in samples, int64 (spikes,)."""
        return np.asarray(self.spike_sample[self.spike_unit == unit])

    def spike_trial(self) -> Array:
        """Return the trial of every spike (spikes,); 0 = in none."""
        place = np.searchsorted(self.start_sample, self.spike_sample, side="right") - 1
        trial = np.where(place >= 0, self.ephys_trial[np.maximum(place, 0)], 0)
        return np.where(np.isin(trial, self.trials), trial, 0)

    def trial_spikes(self, unit: int, trial: int) -> Array:
        """Return a unit's spikes in a trial, in s from the go cue; NaN where there is none."""
        place = int(np.flatnonzero(self.ephys_trial == trial)[0])
        go = self.go_sample[place]
        spikes = self._in_trial(self.spikes(unit), place)
        return (spikes - go) / self.sampling_rate if go >= 0 else np.full(len(spikes), np.nan)

    def _in_trial(self, spikes: Array, place: int) -> Array:
        starts = self.start_sample
        first, last = place, place + 1
        inside = spikes >= starts[first]
        if last < len(starts):
            inside &= spikes < starts[last]
        return np.asarray(spikes[inside])

    def good_trials(self) -> Array:
        """Return the numbers of the trials wholly inside a good period; all without periods."""
        trials = self.session.trials
        if not self.good_periods:
            return np.asarray(trials.trial)
        inside = np.zeros(len(trials), dtype=bool)
        for start, end in self.good_periods:
            last = np.inf if end is None else end
            inside |= (trials.start_time >= start) & (trials.stop_time <= last)
        return np.asarray(trials.trial[inside])

    def condition_trials(self, name: str) -> Array:
        """Return the trials of a condition that this probe recorded and that are good."""
        chosen = np.intersect1d(self.session.condition_trials(name), self.trials)
        return np.intersect1d(chosen, self.good_trials())


@dataclass
class Lab:
    """A simulated lab: where its files are, and what is true about them."""

    directory: Path
    config: Path
    animals: list[Animal]
    sessions: list[Session]
    animals_file: Path
    insertions_file: Path

    @property
    def probes(self) -> list[Probe]:
        """All probes of all sessions."""
        return [probe for session in self.sessions for probe in session.probes]


def psth_counts(
    probe: Probe, unit: int, trials: Iterable[int], start: float, stop: float, width: float
) -> Array:
    """Count a unit's spikes around the go cue, summed over trials.

    Parameters
    ----------
    trials
        Numbers of recorded trials; a spike counts in the trial that it falls into.
    start, stop, width
        Window from the go cue and width of a bin, in s.

    Returns
    -------
    numpy.ndarray
        Spikes per bin, int64 (bins,); a spike on the edge of two bins is in the later one. The
        comparison is exact: edges that are whole samples are compared as such.
    """
    bins = round((stop - start) / width)
    edges = np.round((start + width * np.arange(bins + 1)) * probe.sampling_rate, 6)
    spikes = probe.spikes(unit)
    counts = np.zeros(bins, dtype=np.int64)
    for trial in trials:
        place = int(np.flatnonzero(probe.ephys_trial == trial)[0])
        go = probe.go_sample[place]
        if go < 0:
            continue
        offset = probe._in_trial(spikes, place) - go
        chosen = np.searchsorted(edges, offset, side="right") - 1
        counts += np.bincount(chosen[(chosen >= 0) & (chosen < bins)], minlength=bins)
    return counts
