"""What a reader is: a pure function from raw files to records, and what it recognises.

A reader writes nothing and knows no lake, no other reader and no configuration beyond the
context that it is handed. One file per format; each ends with ``READER = Reader(...)``. Packages
outside maplake register theirs by an entry point in the group ``maplake.readers`` that names such
an object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = [
    "BehaviorContext",
    "Edition",
    "HistologyContext",
    "Identity",
    "PhotostimProtocol",
    "PhotostimSite",
    "ProbeSites",
    "Reader",
    "Records",
    "Skipped",
    "SortingContext",
    "TrackingContext",
]


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that a reader left out: becomes a row of ``ingest.skipped``."""

    item_type: str
    item: str
    reason: str


@dataclass
class Records:
    """What a reader yields.

    Attributes
    ----------
    tables
        Arrow tables by the full name of the lake table that they fill, without the columns that
        the folder names carry (subject_id, session, insertion_number) and without columns that
        only alignment can know (see the kinds below).
    arrays
        Named numpy arrays (memory-mapped ones are welcome).
    skipped
        What was left out and why; nothing is dropped silently.
    info
        Small facts that are no table: see the kinds below.

    Notes
    -----
    Kinds of readers and what theirs hold:

    ``behavior``
        tables ``experiment.*``; of ``experiment.session`` only session_date, session_time,
        session_datetime, task, task_protocol and trial_count (one row).
    ``recording`` (SpikeGLX metadata of one probe)
        tables ``lab.probe_type``, ``lab.probe_type_electrode``, ``lab.probe``,
        ``lab.electrode_config``, ``lab.electrode_config_electrode``; info: probe, probe_type,
        electrode_config_name, sampling_rate (Hz), recording_start (datetime or None),
        margin_samples (int), uv_per_bit (float), saved_channels (int), ap_channels (int),
        bin_path (Path or None); arrays: ``electrode`` int32 (channels,), electrode number of each
        recorded AP channel; ``position`` float64 (channels, 2), x and y in um; where not all
        channels were saved also ``channel`` int32 (channels,), number from 0 of each as acquired.
    ``sorting``
        tables ``ephys.unit`` (clustering_method, unit, unit_quality, channel, unit_posx,
        unit_posy, unit_amp, unit_snr), ``ephys.unit_waveform``, ``ephys.clustering_label`` and, if
        there, unit_note, unit_noise_label, cluster_metric, waveform_metric; arrays, all of one
        length and in time order: ``spike_sample`` int64, ``spike_unit`` int32,
        ``spike_channel`` int32 (1-based channel of the recording), ``spike_depth`` float64 (um),
        ``spike_amplitude`` float64 (as the sorter gives it); ``waveform`` float32
        (units, channels, samples) in uV, units in the order of ``ephys.unit``.
    ``bitcodes``
        arrays ``start_sample`` int64 (trials,), ``go_sample`` int64 (trials,) with -1 where a
        trial has no go cue, not yet corrected for the trigger margin;
        info: codes (list of str), trial_numbers (list of int or None).
        The go cues of free-water trials are missing: ``go_sample`` may be shorter than
        ``start_sample`` and is then matched by alignment.
    ``tracking`` (one camera of a session)
        tables ``tracking.tracking``, ``tracking.tracking_position`` (in the order that the lake
        keeps it in), ``tracking.tracked_whisker``; info: tracking_device, tracking_position,
        sampling_rate (Hz).
    ``histology`` (one probe insertion)
        tables ``histology.electrode_ccf_position``, ``histology.electrode_ccf_position_error``,
        ``histology.labeled_probe_track``, ``histology.labeled_probe_track_point`` and
        ``histology.subject_to_ccf_landmark`` (without subject_id).
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    arrays: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose session a file is, from its name: the animal's h2o and the start."""

    h2o: str
    start: datetime


@dataclass(frozen=True, slots=True)
class PhotostimSite:
    """One place at which a photostimulation protocol aims (um from the reference, degrees)."""

    brain_area: str
    ap_location: float
    ml_location: float
    depth: float = 0.0
    theta: float = 15.0
    phi: float = 15.0
    skull_reference: str = "Bregma"


@dataclass(frozen=True, slots=True)
class PhotostimProtocol:
    """A photostimulation protocol as the rig numbers it."""

    photo_stim: int
    sites: tuple[PhotostimSite, ...]
    photostim_device: str = "OBIS470"
    duration: float | None = 0.5
    power: float = 5.5


@dataclass(frozen=True)
class BehaviorContext:
    """What a behavior reader is handed."""

    photostim: Mapping[int, PhotostimProtocol]
    late_delay_subjects: str = "^SC"
    late_delay_rig: str = "RecordingRig3"
    setup_rigs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SortingContext:
    """What a spike sorting reader is handed about the recording.

    ``electrode`` (channels,) and ``position`` (channels, 2) in um are those of the recorded AP
    channels in order; ``bin_path`` is the raw recording where it is still there.
    """

    sampling_rate: float
    uv_per_bit: float
    electrode: np.ndarray[Any, Any]
    position: np.ndarray[Any, Any]
    saved_channels: int
    bin_path: Path | None = None


@dataclass(frozen=True)
class TrackingContext:
    """What a tracking reader is handed about the session.

    ``trials`` are the session's trial numbers, ascending; ``trial_count`` is the number of trials
    that the rig ran, skipped ones included (None = the largest of ``trials``).
    """

    h2o: str
    rig: str
    trials: Sequence[int]
    trial_count: int | None = None


@dataclass(frozen=True)
class ProbeSites:
    """Sites of a kind of probe, in the order of their numbers; all arrays are (sites,).

    ``x`` and ``y`` are in um from the bottom left site; ``shank`` counts from 1.
    """

    electrode: np.ndarray[Any, Any]
    shank: np.ndarray[Any, Any]
    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]


@dataclass(frozen=True)
class HistologyContext:
    """What a histology reader is handed about the probe.

    ``sites`` are all sites of the probe's kind; ``recorded`` (channels,) are the numbers of the
    recorded ones in the order of the channels; ``voxel_um`` is the grid that positions are rounded
    to, in um. ``region_at`` takes arrays of ML, DV, AP in um and returns region ids, 0 = outside
    of the annotated volume; None where the lake has no volume.
    """

    sites: ProbeSites
    recorded: np.ndarray[Any, Any]
    voxel_um: float = 20.0
    region_at: Callable[..., np.ndarray[Any, Any]] | None = None


@dataclass(frozen=True)
class Edition:
    """Which version of a reader there is, and why there was a new one, by version."""

    name: str
    version: int
    changes: Mapping[int, str]


def _itself(path: Path) -> Sequence[Path]:
    return [path]


@dataclass(frozen=True)
class Reader:
    """A format: how to find it, how to read it.

    Attributes
    ----------
    name
        The format, e.g. ``delay_response``.
    kind
        What it holds: ``behavior``, ``recording``, ``sorting``, ``bitcodes``, ….
    version
        Raised whenever the reader yields other rows from the same files; ``changes`` says why.
    find
        From a file or a folder, the paths of this format there (none = not this format), looking
        at names and at no more content than it takes to be sure. It looks at nothing else: what it
        finds is remembered while the file, or all that is below the folder, has the same names,
        sizes and times.
    read
        From one such path and the kind's context to :class:`Records`.
    files
        The files that ``read`` opens for a path; they make up the source's fingerprint.
    identify
        Behavior only: whose session a path is; remembered as what ``find`` finds.
    priority
        Where several formats of a kind are found at one place, the smallest wins.
    recognise
        Tells formats apart that have the same names, by content; None = the name is enough.
    joins
        Behavior only: the files of one animal and day are one session, and ``read`` is handed the
        list of them, in order of start.
    """

    name: str
    kind: str
    find: Callable[[Path], Sequence[Path]]
    read: Callable[..., Records]
    version: int = 1
    changes: Mapping[int, str] = field(default_factory=dict)
    files: Callable[[Path], Sequence[Path]] = _itself
    identify: Callable[[Path], Identity] | None = None
    priority: int = 0
    recognise: Callable[[Path], bool] | None = None
    joins: bool = False

    @property
    def opens_itself_only(self) -> bool:
        """Whether a path is sure to be the one file that is opened for it, now and later."""
        return self.files is _itself

    @property
    def edition(self) -> Edition:
        """Its version, without what reads."""
        return Edition(self.name, self.version, self.changes)
