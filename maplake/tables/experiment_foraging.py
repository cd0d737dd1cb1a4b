"""Schema ``experiment``: what the foraging and multi-target-licking tasks add, and projects."""

from __future__ import annotations

from maplake.tables.experiment import TRIAL_EVENT_TYPES
from maplake.tables.model import (
    BOOL,
    FLOAT,
    INT,
    LABEL,
    REAL,
    SESSION,
    SESSION_KEY,
    SUBJECT_ID,
    TEXT,
    TO_BEHAVIOR_TRIAL,
    TO_SESSION,
    TO_SESSION_TRIAL,
    TRIAL,
    TRIAL_KEY,
    Column,
    Ref,
    Store,
    Table,
)

WATER_PORTS = ("left", "right", "middle", *(f"mtl-{number}" for number in range(1, 10)))

_FLOATS = FLOAT.listed()
_BLOCK = Column("block", INT, "number of the block, from 1")
_BLOCK_KEY = (*SESSION_KEY, "block")
_WATER_PORT = Column("water_port", LABEL, "water port", values=WATER_PORTS)
_TO_PORT = Ref(("water_port",), "experiment.water_port")
_TO_BLOCK = Ref(_BLOCK_KEY, "experiment.session_block")
_TO_MTL_BLOCK = Ref(_BLOCK_KEY, "experiment.mtl_session_block")


def _trace(name: str, what: str) -> Table:
    """Declare a table of one trace per trial."""
    return Table(
        "experiment",
        name,
        f"{what} of each trial, from the rig's data acquisition board",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            Column(name, _FLOATS, "voltage, one value per sample", "mV"),
            Column("sampling_rate", REAL, "of the trace, whose sample 0 is at trial start", "Hz"),
        ),
        key=TRIAL_KEY,
        refs=(TO_SESSION_TRIAL,),
        kind="nidq",
        row_group=100,
    )


_GENERAL = (
    Table(
        "experiment",
        "water_port",
        "water ports; mtl-1 to mtl-9 are places of a 3 x 3 grid",
        (Column("water_port", TEXT, "name of the port"),),
        key=("water_port",),
        store=Store.LOOKUP,
        rows=tuple((port,) for port in WATER_PORTS),
    ),
    Table(
        "experiment",
        "session_comment",
        "remarks on a session",
        (SUBJECT_ID, SESSION, Column("session_comment", TEXT, "the remark")),
        key=SESSION_KEY,
        refs=(TO_SESSION,),
        kind="session_meta",
    ),
    Table(
        "experiment",
        "session_details",
        "weight and water on the day of a session",
        (
            SUBJECT_ID,
            SESSION,
            Column("session_weight", REAL, "weight before the session", "g", nullable=True),
            Column("session_water_earned", REAL, "water earned in it", "ml", nullable=True),
            Column("session_water_extra", REAL, "water given after it", "ml", nullable=True),
        ),
        key=SESSION_KEY,
        refs=(TO_SESSION,),
        kind="session_meta",
    ),
    Table(
        "experiment",
        "project",
        "projects that sessions belong to",
        (
            Column("project_name", TEXT, "name of the project"),
            Column("project_desc", TEXT, "what it is about", nullable=True),
            Column("publication", TEXT, "e.g. a DOI", nullable=True),
        ),
        key=("project_name",),
        store=Store.GLOBAL,
        rows=(("MAP", "The Mesoscale Activity Map project", None),),
    ),
    Table(
        "experiment",
        "project_session",
        "sessions of projects",
        (SUBJECT_ID, SESSION, Column("project_name", TEXT, "name of the project")),
        key=(*SESSION_KEY, "project_name"),
        refs=(TO_SESSION, Ref(("project_name",), "experiment.project")),
        kind="entered",
    ),
)

_FORAGING = (
    Table(
        "experiment",
        "session_block",
        "runs of trials with the same reward probabilities (foraging)",
        (
            SUBJECT_ID,
            SESSION,
            _BLOCK,
            Column("block_start_time", REAL, "start of its first trial, from the session's", "s"),
        ),
        key=_BLOCK_KEY,
        refs=(TO_SESSION,),
        kind="behavior",
    ),
    Table(
        "experiment",
        "block_trial",
        "the block of each trial (foraging)",
        (SUBJECT_ID, SESSION, TRIAL, _BLOCK),
        key=TRIAL_KEY,
        refs=(_TO_BLOCK, TO_BEHAVIOR_TRIAL),
        kind="behavior",
    ),
    Table(
        "experiment",
        "block_reward_probability",
        "how likely water is at each port in a block (foraging)",
        (
            SUBJECT_ID,
            SESSION,
            _BLOCK,
            _WATER_PORT,
            Column("reward_probability", REAL, "probability of water, 0 to 1"),
        ),
        key=(*_BLOCK_KEY, "water_port"),
        refs=(_TO_BLOCK, _TO_PORT),
        kind="behavior",
    ),
    Table(
        "experiment",
        "water_port_choice",
        "the port that the animal chose (foraging)",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            Column("water_port", LABEL, "port; null = none", nullable=True, values=WATER_PORTS),
        ),
        key=TRIAL_KEY,
        refs=(TO_BEHAVIOR_TRIAL, _TO_PORT),
        kind="behavior",
    ),
    Table(
        "experiment",
        "water_port_setting",
        "where the water ports were, in units of their motors (foraging)",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            *(
                Column(f"water_port_{axis}_pos", REAL, f"motor position, {axis}", nullable=True)
                for axis in ("lateral", "rostrocaudal", "dorsoventral")
            ),
        ),
        key=TRIAL_KEY,
        refs=(TO_BEHAVIOR_TRIAL,),
        kind="behavior",
    ),
    Table(
        "experiment",
        "water_port_open_duration",
        "how long a port opens for one reward (foraging)",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            _WATER_PORT,
            Column("open_duration", REAL, "time that the valve is open", "s"),
        ),
        key=(*TRIAL_KEY, "water_port"),
        refs=(Ref(TRIAL_KEY, "experiment.water_port_setting"), _TO_PORT),
        kind="behavior",
    ),
    Table(
        "experiment",
        "trial_available_reward",
        "whether a port still holds water from earlier trials when a trial starts (foraging)",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            _WATER_PORT,
            Column("reward_available", BOOL, "water is waiting"),
        ),
        key=(*TRIAL_KEY, "water_port"),
        refs=(TO_BEHAVIOR_TRIAL, _TO_PORT),
        kind="behavior",
    ),
    Table(
        "experiment",
        "period_foraging",
        "named spans between two events, also of later trials (foraging)",
        (
            Column("period", TEXT, "name"),
            Column("start_event_type", TEXT, "event at which it starts", values=TRIAL_EVENT_TYPES),
            Column("start_trial_shift", INT, "event of this many trials later"),
            Column("start_time_shift", REAL, "added to that event's time", "s"),
            Column("end_event_type", TEXT, "event at which it ends", values=TRIAL_EVENT_TYPES),
            Column("end_trial_shift", INT, "event of this many trials later"),
            Column("end_time_shift", REAL, "added to that event's time", "s"),
        ),
        key=("period",),
        store=Store.LOOKUP,
        rows=(
            ("before_2", "bitcodestart", 0, -2.0, "bitcodestart", 0, 0.0),
            ("delay", "zaberready", 0, 0.0, "go", 0, 0.0),
            ("delay_bitcode", "bitcodestart", 0, 0.146, "go", 0, 0.0),
            ("go_to_end", "go", 0, 0.0, "trialend", 0, 0.0),
            ("go_1.2", "go", 0, 0.0, "go", 0, 1.2),
            ("iti_all", "trialend", 0, 0.0, "bitcodestart", 1, 0.0),
            ("iti_first_2", "trialend", 0, 0.0, "trialend", 0, 2.0),
            ("iti_last_2", "bitcodestart", 1, -2.0, "bitcodestart", 1, 0.0),
        ),
    ),
)

_MULTI_TARGET_LICKING = (
    Table(
        "experiment",
        "mtl_session_block",
        "runs of trials with one target (multi-target-licking)",
        (
            SUBJECT_ID,
            SESSION,
            _BLOCK,
            Column("block_start_time", REAL, "start of its first trial, from the session's", "s"),
            Column("trial_count", INT, "number of its trials"),
            Column("num_licks_for_reward", INT, "licks that it takes to release water"),
            Column("roll_deg", REAL, "roll of the ports; positive = head to the right", "deg"),
            Column("position_x_bins", INT, "possible places of the port in X"),
            Column("position_y_bins", INT, "possible places of the port in Y"),
            Column("position_z_bins", INT, "possible places of the port in Z"),
        ),
        key=_BLOCK_KEY,
        refs=(TO_SESSION,),
        kind="behavior",
    ),
    Table(
        "experiment",
        "mtl_block_water_port",
        "the water port of a block (multi-target-licking)",
        (
            SUBJECT_ID,
            SESSION,
            _BLOCK,
            _WATER_PORT,
            Column("position_x", REAL, "lateral position, in motor units"),
            Column("position_y", REAL, "rostrocaudal position, in motor units"),
            Column("position_z", REAL, "dorsoventral position, in motor units"),
        ),
        key=_BLOCK_KEY,
        refs=(_TO_MTL_BLOCK, _TO_PORT),
        kind="behavior",
    ),
    Table(
        "experiment",
        "mtl_block_trial",
        "the block of each trial (multi-target-licking)",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            _BLOCK,
            Column("block_trial_number", INT, "number of the trial within its block, from 1"),
        ),
        key=TRIAL_KEY,
        refs=(_TO_MTL_BLOCK, TO_BEHAVIOR_TRIAL),
        kind="behavior",
    ),
    _trace("breathing", "breathing"),
    _trace("piezoelectric", "signal of the piezo sensor"),
)

TABLES = (*_GENERAL, *_FORAGING, *_MULTI_TARGET_LICKING)
