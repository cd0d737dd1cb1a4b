"""Schema ``ephys``: probe insertions, units, spikes and what describes them."""

from __future__ import annotations

from maplake.tables.model import (
    BOOL,
    INSERTION,
    INSERTION_KEY,
    INT,
    LABEL,
    LONG,
    REAL,
    REALS,
    SESSION,
    SUBJECT_ID,
    TEXT,
    TIMESTAMP,
    TO_INSERTION,
    TO_SESSION,
    TRIAL,
    TRIAL_KEY,
    Column,
    Ref,
    Store,
    Table,
)

QUALITIES = ("good", "ok", "multi", "all")
CELL_TYPES = ("Pyr", "FS", "not classified", "all")

METHOD = Column("clustering_method", LABEL, "spike sorter, e.g. kilosort2")
UNIT = Column("unit", INT, "unit number as the sorter gave it")
PROBE_TYPE = Column("probe_type", LABEL, "kind of probe")
CONFIG_NAME = Column("electrode_config_name", LABEL, "recorded electrodes as ranges")

_INSERTION_COLUMNS = (SUBJECT_ID, SESSION, INSERTION)
UNIT_COLUMNS = (*_INSERTION_COLUMNS, METHOD, UNIT)
UNIT_KEY = (*INSERTION_KEY, "clustering_method", "unit")
TO_UNIT = Ref(UNIT_KEY, "ephys.unit")
_INSERTION_STORE = {"store": Store.INSERTION, "kind": "ephys"}
_LOCATION_STORE = {"store": Store.INSERTION, "kind": "insertion_location"}


def _metric(name: str, comment: str, unit: str = "") -> Column:
    return Column(name, REAL, comment, unit, nullable=True)


TABLES = (
    Table(
        "ephys",
        "probe_insertion",
        "probes inserted in a session",
        (
            *_INSERTION_COLUMNS,
            Column("probe", TEXT, "serial number of the probe"),
            PROBE_TYPE,
            CONFIG_NAME,
            Column("sampling_rate", REAL, "sampling rate of the spike band", "Hz"),
            Column("recording_start", TIMESTAMP, "start of the recording", nullable=True),
            Column("first_trial_sample", LONG, "first recorded trial's start, in samples"),
        ),
        key=INSERTION_KEY,
        refs=(
            TO_SESSION,
            Ref(("probe",), "lab.probe"),
            Ref(("probe_type", "electrode_config_name"), "lab.electrode_config"),
        ),
        **_INSERTION_STORE,
    ),
    Table(
        "ephys",
        "insertion_location",
        "where a probe went in, by the manipulator",
        (
            *_INSERTION_COLUMNS,
            Column("skull_reference", TEXT, "reference point"),
            Column("ap_location", REAL, "anterior of the reference is positive", "um"),
            Column("ml_location", REAL, "right of the reference is positive", "um"),
            Column("depth", REAL, "from the brain's surface, ventral is negative", "um"),
            Column("theta", REAL, "elevation, about the ML axis", "deg", nullable=True),
            Column("phi", REAL, "azimuth, about the DV axis", "deg", nullable=True),
            Column("beta", REAL, "rotation about the shank", "deg", nullable=True),
        ),
        key=INSERTION_KEY,
        refs=(TO_INSERTION, Ref(("skull_reference",), "lab.skull_reference")),
        **_LOCATION_STORE,
    ),
    Table(
        "ephys",
        "recordable_brain_region",
        "what a probe was meant to record from",
        (
            *_INSERTION_COLUMNS,
            Column("brain_area", TEXT, "area in the lab's words"),
            Column("hemisphere", TEXT, "side", values=("left", "right", "both")),
        ),
        key=(*INSERTION_KEY, "brain_area", "hemisphere"),
        refs=(TO_INSERTION, Ref(("brain_area",), "lab.brain_area")),
        **_LOCATION_STORE,
    ),
    Table(
        "ephys",
        "insertion_note",
        "remarks on an insertion",
        (*_INSERTION_COLUMNS, Column("insertion_note", TEXT, "the remark")),
        key=INSERTION_KEY,
        refs=(TO_INSERTION,),
        **_LOCATION_STORE,
    ),
    Table(
        "ephys",
        "probe_insertion_quality",
        "how good an insertion was",
        (
            *_INSERTION_COLUMNS,
            Column("drift_presence", BOOL, "the probe drifted", nullable=True),
            Column("number_of_landmarks", INT, "landmarks of the alignment", nullable=True),
            Column("alignment_confidence", BOOL, "the alignment is trusted", nullable=True),
        ),
        key=INSERTION_KEY,
        refs=(TO_INSERTION,),
        **_LOCATION_STORE,
    ),
    Table(
        "ephys",
        "good_period",
        "spans of a recording worth using",
        (
            *_INSERTION_COLUMNS,
            Column("good_period_start", REAL, "start, from the first trial", "s"),
            Column(
                "good_period_end",
                REAL,
                "end, from the first trial; null = the end",
                "s",
                nullable=True,
            ),
        ),
        key=(*INSERTION_KEY, "good_period_start"),
        refs=(TO_INSERTION,),
        **_LOCATION_STORE,
    ),
    Table(
        "ephys",
        "good_trial",
        "trials wholly inside a good period; an insertion without any has no restriction",
        (*_INSERTION_COLUMNS, TRIAL),
        key=(*INSERTION_KEY, "trial"),
        refs=(TO_INSERTION, Ref(TRIAL_KEY, "experiment.session_trial")),
        **_LOCATION_STORE,
    ),
    Table(
        "ephys",
        "ephys_trial",
        "recorded trials on the probe's clock",
        (
            *_INSERTION_COLUMNS,
            TRIAL,
            Column("start_sample", LONG, "trial start", "samples"),
            Column(
                "go_sample", LONG, "go cue; null in free-water trials", "samples", nullable=True
            ),
            Column("start_time", REAL, "trial start, from the first recorded trial", "s"),
            Column("go_time", REAL, "go cue, from the first recorded trial", "s", nullable=True),
        ),
        key=(*INSERTION_KEY, "trial"),
        refs=(TO_INSERTION, Ref(TRIAL_KEY, "experiment.session_trial")),
        **_INSERTION_STORE,
    ),
    Table(
        "ephys",
        "unit",
        "sorted units",
        (
            *UNIT_COLUMNS,
            Column("unit_uid", LONG, "unique in the lake, the same after a rebuild"),
            Column("unit_quality", LABEL, "the sorter's or curator's judgement", values=QUALITIES),
            PROBE_TYPE,
            CONFIG_NAME,
            Column("electrode_group", INT, "group of electrodes sorted together"),
            Column("electrode", INT, "site with the largest amplitude"),
            Column("unit_posx", REAL, "position across the probe", "um"),
            Column("unit_posy", REAL, "position along the probe, from the tip", "um"),
            Column("unit_amp", REAL, "amplitude", "uV"),
            Column("unit_snr", REAL, "signal to noise ratio"),
            Column("spike_count", LONG, "number of spikes, in and between trials"),
            Column(
                "cell_type",
                LABEL,
                "putative type, from the waveform's width; null for units of quality all",
                nullable=True,
                values=CELL_TYPES,
            ),
            Column("spike_offset", LONG, "place of its first spike in the array store"),
        ),
        key=UNIT_KEY,
        refs=(
            TO_INSERTION,
            Ref(
                ("probe_type", "electrode_config_name", "electrode_group", "electrode"),
                "lab.electrode_config_electrode",
            ),
        ),
        unique=(("unit_uid",),),
        **_INSERTION_STORE,
    ),
    Table(
        "ephys",
        "unit_waveform",
        "mean waveform at the unit's peak channel; all channels are in the array store",
        (*UNIT_COLUMNS, Column("waveform", REALS, "mean waveform, one value per sample", "uV")),
        key=UNIT_KEY,
        refs=(TO_UNIT,),
        **_INSERTION_STORE,
    ),
    Table(
        "ephys",
        "spike",
        "every spike of every unit",
        (
            *UNIT_COLUMNS,
            Column(
                "trial", INT, "trial it falls into; null outside of matched trials", nullable=True
            ),
            Column("spike_sample", LONG, "time on the sorter's clock", "samples"),
        ),
        key=(),
        order=("clustering_method", "unit", "spike_sample"),
        refs=(TO_UNIT, Ref((*INSERTION_KEY, "trial"), "ephys.ephys_trial")),
        encodings={"spike_sample": "DELTA_BINARY_PACKED"},
        computed=(Column("spike_time", REAL, "time from the first recorded trial", "s"),),
        **_INSERTION_STORE,
    ),
    Table(
        "ephys",
        "trial_spikes",
        "spikes in trials, aligned",
        (
            *UNIT_COLUMNS,
            TRIAL,
            Column(
                "spike_time",
                REAL,
                "time from the go cue (multi-target-licking: from trial "
                "start); null in trials without go cue",
                "s",
                nullable=True,
            ),
        ),
        key=(),
        store=Store.VIEW,
        refs=(TO_UNIT, Ref((*INSERTION_KEY, "trial"), "ephys.ephys_trial")),
    ),
    Table(
        "ephys",
        "unit_trial",
        "the trials in which a unit was recorded, silent or not",
        (*UNIT_COLUMNS, TRIAL),
        key=(*UNIT_KEY, "trial"),
        store=Store.VIEW,
        refs=(TO_UNIT, Ref((*INSERTION_KEY, "trial"), "ephys.ephys_trial")),
    ),
    Table(
        "ephys",
        "clustering_label",
        "where a clustering comes from and what was done to it",
        (
            *_INSERTION_COLUMNS,
            METHOD,
            Column("clustering_time", TIMESTAMP, "last curation, else file time of the result"),
            Column("quality_control", BOOL, "quality metrics were computed"),
            Column("manual_curation", BOOL, "units were merged, split or relabelled by hand"),
            Column("clustering_note", TEXT, "remark", nullable=True),
        ),
        key=(*INSERTION_KEY, "clustering_method"),
        refs=(TO_INSERTION,),
        **_INSERTION_STORE,
    ),
    Table(
        "ephys",
        "unit_note",
        "curators' notes on units",
        (
            *UNIT_COLUMNS,
            Column("note_source", LABEL, "which notes: the file's name after cluster_"),
            Column("note_value", TEXT, "the note"),
        ),
        key=(*UNIT_KEY, "note_source"),
        refs=(TO_UNIT,),
        **_INSERTION_STORE,
    ),
    Table(
        "ephys",
        "unit_noise_label",
        "result of the sorting pipeline's noise templates",
        (*UNIT_COLUMNS, Column("noise", LABEL, "unit or noise", values=("good", "noise"))),
        key=UNIT_KEY,
        refs=(TO_UNIT,),
        **_INSERTION_STORE,
    ),
    Table(
        "ephys",
        "cluster_metric",
        "quality metrics of units (ecephys_spike_sorting)",
        (
            *UNIT_COLUMNS,
            Column("epoch_name_quality_metrics", TEXT, "part of the recording measured"),
            _metric("firing_rate", "spikes over the recording", "Hz"),
            _metric("isi_viol", "contamination rate from refractory period violations"),
            _metric("presence_ratio", "share of the recording in which spikes are present"),
            _metric("amplitude_cutoff", "estimated share of spikes missed"),
            _metric("isolation_distance", "Mahalanobis distance to the nearest cluster"),
            _metric("l_ratio", "L-ratio"),
            _metric("d_prime", "classification accuracy by linear discriminants"),
            _metric("nn_hit_rate", "nearest neighbours in the same cluster"),
            _metric("nn_miss_rate", "nearest neighbours in other clusters"),
            _metric("silhouette_score", "cluster overlap"),
            _metric("max_drift", "largest change of spike depth", "um"),
            _metric("cumulative_drift", "summed change of spike depth", "um"),
        ),
        key=(*UNIT_KEY, "epoch_name_quality_metrics"),
        refs=(TO_UNIT,),
        **_INSERTION_STORE,
    ),
    Table(
        "ephys",
        "waveform_metric",
        "waveform metrics of units (ecephys_spike_sorting)",
        (
            *UNIT_COLUMNS,
            Column("epoch_name_waveform_metrics", TEXT, "part of the recording measured"),
            _metric("duration", "trough to peak", "ms"),
            _metric("halfwidth", "width at half amplitude", "ms"),
            _metric("pt_ratio", "peak to trough ratio"),
            _metric("repolarization_slope", "slope after the trough"),
            _metric("recovery_slope", "slope after the peak"),
            _metric("spread", "extent along the probe", "um"),
            _metric("velocity_above", "propagation towards the base", "s/m"),
            _metric("velocity_below", "propagation towards the tip", "s/m"),
        ),
        key=(*UNIT_KEY, "epoch_name_waveform_metrics"),
        refs=(TO_UNIT,),
        **_INSERTION_STORE,
    ),
    Table(
        "ephys",
        "unit_stat",
        "rate and refractory period violations, from the sorter's metrics or the trials' spikes",
        (
            *UNIT_COLUMNS,
            _metric("isi_violation", "contamination rate from ISIs under 2 ms"),
            _metric("avg_firing_rate", "spikes cut into trials over the trials' durations", "Hz"),
            _metric("firing_rate", "spikes between trial start and stop over the same time", "Hz"),
        ),
        key=UNIT_KEY,
        store=Store.VIEW,
        refs=(TO_UNIT,),
    ),
)
