"""Schema ``ephys``: events on the recording's clock, and local field potentials."""

from __future__ import annotations

from maplake.tables.experiment import ACTION_EVENT_TYPES, TRIAL_EVENT_TYPES
from maplake.tables.model import (
    INSERTION,
    INSERTION_KEY,
    INT,
    LABEL,
    LONG,
    REAL,
    SESSION,
    SUBJECT_ID,
    TEXT,
    TO_INSERTION,
    TO_SESSION_TRIAL,
    TRIAL,
    TRIAL_KEY,
    Column,
    Store,
    Table,
)

TABLES = (
    Table(
        "ephys",
        "ephys_trial_event",
        "events of a trial's structure on the recording's clock (foraging)",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            Column("trial_event_id", INT, "number within the trial, from 0"),
            Column("trial_event_type", LABEL, "kind of event", values=TRIAL_EVENT_TYPES),
            Column("trial_event_time", REAL, "time on the recording's clock", "s"),
        ),
        key=(*TRIAL_KEY, "trial_event_id"),
        refs=(TO_SESSION_TRIAL,),
        kind="ephys_event",
    ),
    Table(
        "ephys",
        "ephys_action_event",
        "what the animal did, on the recording's clock (foraging)",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            Column("action_event_id", INT, "number within the trial, from 0"),
            Column("action_event_type", LABEL, "kind of action", values=ACTION_EVENT_TYPES),
            Column("action_event_time", REAL, "time on the recording's clock", "s"),
        ),
        key=(*TRIAL_KEY, "action_event_id"),
        refs=(TO_SESSION_TRIAL,),
        kind="ephys_event",
    ),
    Table(
        "ephys",
        "lfp",
        "local field potential; mean and channels are in the array store",
        (
            SUBJECT_ID,
            SESSION,
            INSERTION,
            Column("lfp_sample_rate", REAL, "sampling rate", "Hz"),
            Column("sample_count", LONG, "number of samples of each channel"),
            Column("channel_count", INT, "number of channels"),
            Column("array_path", TEXT, "Zarr group below the lake's root"),
        ),
        key=INSERTION_KEY,
        store=Store.INSERTION,
        refs=(TO_INSERTION,),
        kind="lfp",
    ),
)
