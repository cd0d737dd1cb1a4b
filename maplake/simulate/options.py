"""What can be varied about a simulated lab."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Recording", "Sorting", "Task"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """The delay-response task as the rig runs it.

    Attributes
    ----------
    protocol
        The middle part of the behavior file's name. With ``RecordingRig3`` in it, animals whose
        name starts with ``SC`` get their light late in the delay.
    protocol_type, autolearn
        ``GUI.ProtocolType`` and ``GUI.Autolearn`` after the warm-up.
    reversal
        ``GUI.Reversal``: 1 = trial type 1 is left, 2 = the other way round; None = animals take
        turns.
    sample_period, delay_period, answer_period
        Durations in s.
    inter_trial
        Shortest and longest pause between two trials, in s.
    early, ignore, error, auto_water, free_water, stim
        Shares of trials with early licks, without answer, answered wrongly, with auto water, with
        free water (no go cue), and, in animals with photostimulation, with light.
    warm_up
        Number of trials at the start with ``Autolearn`` 1, among them trials whose ``StimTrials``
        is not zero and that still have no light.
    bits
        Length of the bitcodes; None = drawn between 10 and 20 for each session.
    skipped
        Numbers of the trials that a reader must skip (their ``ProtocolType`` is 2).
    """

    protocol: str = "tw2"
    protocol_type: int = 5
    autolearn: int = 4
    reversal: int | None = None
    sample_period: float = 1.2
    delay_period: float = 1.2
    answer_period: float = 1.5
    inter_trial: tuple[float, float] = (0.3, 1.5)
    early: float = 0.1
    ignore: float = 0.06
    error: float = 0.2
    auto_water: float = 0.04
    free_water: float = 0.0
    stim: float = 0.3
    warm_up: int = 5
    bits: int | None = None
    skipped: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recording:
    """How the probes record.

    Attributes
    ----------
    generation
        ``3A``, ``3B`` (Neuropixels 1.0), ``21``, ``2003`` (2.0, one shank), ``24`` or ``2013``
        (2.0, four shanks).
    geom_map
        Write ``~snsGeomMap`` instead of ``~snsShankMap``, as SpikeGLX does since 2023.
    sampling_rate
        In Hz.
    channels
        Number of channels saved, from the first.
    margin
        ``trgTTLMarginS`` in s: how long before each trial its recording starts; 0 leaves the key
        out.
    starts_late, ends_early
        Number of behavior trials that ran before the recording started and after it ended.
    lead, tail
        Recorded time before the first and after the last recorded trial, in s.
    bitcode_seconds
        Give trial starts and go cues in s instead of samples.
    trial_numbers
        Write ``trialNum`` too.
    codes_only
        Write neither ``sTrig`` nor ``goCue``, as early files.
    raw_seconds
        Length of the ``.ap.bin`` in s; 0 = none.
    """

    generation: str = "3B"
    geom_map: bool = False
    sampling_rate: float = 30_000.0
    channels: int = 384
    margin: float = 0.0
    starts_late: int = 0
    ends_early: int = 0
    lead: float = 10.0
    tail: float = 5.0
    bitcode_seconds: bool = False
    trial_numbers: bool = False
    codes_only: bool = False
    raw_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Sorting:
    """What the spike sorter and its curator leave behind.

    Attributes
    ----------
    folder
        Name of the sorter's folder in the probe's folder, ``{imec}`` stands for the probe's number
        from 0; empty = the probe's folder itself.
    matlab
        Arrays as MATLAB's Kilosort writes them: (n, 1) and in Fortran order.
    pc_features
        Write ``pc_features.npy`` and ``pc_feature_ind.npy``.
    pc_channels
        Channels per spike in those; Kilosort 2 has 32, which makes 384 bytes per spike.
    groups_csv
        Write the labels to ``cluster_groups.csv`` too, where some units are ``ok``.
    metrics
        Write ``metrics.csv`` and ``mean_waveforms.npy``.
    phy_log
        Write a ``phy.log`` with a manual curation.
    seconds
        Also write spike times in s, to ``spike_times_sec.npy`` or ``spike_times_sec_adj.npy``;
        ``spike_times.npy`` is then off by a few samples.
    silent
        Number of labelled units without spikes, of all the units.
    position_origin
        Added to x and y of ``channel_positions.npy``, in um; classic maps start at (11, 20).
    kilosort
        Write Kilosort's folder.
    jrclust
        Versions of JRCLUST that sorted the probe too, 3 and 4; a lab takes the latest.
    """

    folder: str = "imec{imec}_ks2"
    matlab: bool = True
    pc_features: bool = True
    pc_channels: int = 12
    groups_csv: bool = False
    metrics: bool = False
    phy_log: bool = False
    seconds: str = ""
    silent: int = 2
    position_origin: tuple[float, float] = (0.0, 0.0)
    kilosort: bool = True
    jrclust: tuple[int, ...] = ()
