"""Schema ``psth``: conditions, alignment and peri-stimulus time histograms."""

from __future__ import annotations

from maplake.tables.ephys import TO_UNIT, UNIT_COLUMNS, UNIT_KEY
from maplake.tables.experiment import ACTION_EVENT_TYPES, TRIAL_EVENT_TYPES
from maplake.tables.model import (
    BOOL,
    INT,
    REAL,
    REALS,
    SESSION,
    SUBJECT_ID,
    TEXT,
    TEXTS,
    TO_BEHAVIOR_TRIAL,
    TRIAL,
    TRIAL_KEY,
    Column,
    Ref,
    Store,
    Table,
)

#: What trials can be aligned to: events of the trial's structure, licks, photostimuli.
ALIGN_EVENTS = (*TRIAL_EVENT_TYPES, *ACTION_EVENT_TYPES, "lick", "photostim")

_CONDITION = Column("trial_condition_name", TEXT, "name of the condition")

_AUDIO = "task = 'audio delay' AND task_protocol = 1"
_CLEAN = "early_lick = 'no early' AND NOT auto_water AND NOT free_water"


def _published() -> tuple[tuple[str, str, str], ...]:
    """Build the 17 conditions of the MAP pipeline: name, predicate, description."""
    rows: list[tuple[str, str, str]] = []
    for name in ("hit", "left_hit", "right_hit", "left_miss", "right_miss"):
        *sides, outcome = name.split("_")
        predicate = f"{_AUDIO} AND {_CLEAN} AND outcome = '{outcome}'"
        predicate += f" AND trial_instruction = '{sides[0]}'" if sides else ""
        rows.append(
            (
                f"good_noearlylick_{name}",
                f"{predicate} AND NOT photostim",
                " ".join([*sides, outcome, "without photostimulation"]),
            )
        )
    for where in ("", "left", "right", "both"):
        for side in ("", "left", "right"):
            stim = f"{where}_alm_stim" if where else "nostim"
            predicate = f"{_AUDIO} AND {_CLEAN} AND outcome <> 'ignore'"
            predicate += f" AND trial_instruction = '{side}'" if side else ""
            predicate += (
                f" AND list_contains(stim_sites, '{where} alm')" if where else " AND NOT photostim"
            )
            text = f"{side or 'all'} answered, "
            text += f"{where} ALM stimulated" if where else "without photostimulation"
            rows.append(("_".join(filter(None, ["all_noearlylick", stim, side])), predicate, text))
    return tuple(rows)


_CHOSEN = {"L": "= 'left'", "R": "= 'right'", "LR": "IN ('left', 'right')"}


def _foraging() -> tuple[tuple[str, str, str], ...]:
    """Build the 14 conditions of the foraging task: name, predicate, description.

    L and R are the water port that the animal chose.
    """
    clean = (
        "task = 'foraging' AND task_protocol = 100 AND NOT auto_water AND NOT free_water "
        "AND NOT photostim"
    )
    quiet = " AND early_lick = 'no early'"
    kinds = {
        "hit": ("L R LR", " AND outcome = 'hit'"),
        "hit_noearlylick": ("L R LR", f" AND outcome = 'hit'{quiet}"),
        "miss": ("L R", " AND outcome = 'miss'"),
        "miss_noearlylick": ("L R LR", f" AND outcome = 'miss'{quiet}"),
        "all_noearlylick": ("L R LR", f" AND outcome <> 'ignore'{quiet}"),
    }
    return tuple(
        (
            f"{side}_{kind}",
            f"{clean} AND water_port {_CHOSEN[side]}{predicate}",
            f"foraging, chose {side.replace('LR', 'L or R')}: {kind.replace('_', ', ')}",
        )
        for kind, (sides, predicate) in kinds.items()
        for side in sides.split()
    )


TABLES = (
    Table(
        "psth",
        "trial",
        "what conditions are written over: a row per behavior trial",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            Column("task", TEXT, "task"),
            Column("task_protocol", INT, "protocol of the task"),
            Column("trial_instruction", TEXT, "instructed side"),
            Column("early_lick", TEXT, "licks before the go cue"),
            Column("outcome", TEXT, "result"),
            Column("auto_water", BOOL, "water was given whatever the response"),
            Column("free_water", BOOL, "water was given without trial structure"),
            Column("start_time", REAL, "trial start", "s"),
            Column("stop_time", REAL, "trial end", "s"),
            Column("photostim", BOOL, "the trial has a photostimulus"),
            Column("stim_sites", TEXTS, "list of side and area, lower case: 'left alm', …"),
            Column("water_port", TEXT, "port that the animal chose (foraging)", nullable=True),
        ),
        key=TRIAL_KEY,
        store=Store.VIEW,
        refs=(TO_BEHAVIOR_TRIAL,),
    ),
    Table(
        "psth",
        "trial_condition",
        "named sets of behavior trials; a lab adds its own in lake.toml or by lake.conditions",
        (
            _CONDITION,
            Column("predicate", TEXT, "SQL over the columns of psth.trial"),
            Column("description", TEXT, "in words", nullable=True),
            Column("task", TEXT, "task whose sessions it is for; null = all", nullable=True),
        ),
        key=("trial_condition_name",),
        store=Store.LOOKUP,
        rows=(
            *((*row, None) for row in _published()),
            *((*row, "foraging") for row in _foraging()),
        ),
    ),
    Table(
        "psth",
        "condition_trial",
        "the trials of each condition",
        (SUBJECT_ID, SESSION, TRIAL, _CONDITION),
        key=(*TRIAL_KEY, "trial_condition_name"),
        store=Store.VIEW,
        refs=(TO_BEHAVIOR_TRIAL, Ref(("trial_condition_name",), "psth.trial_condition")),
    ),
    Table(
        "psth",
        "align_type",
        "named moments to align to; a lab adds its own in lake.toml",
        (
            Column("align_type_name", TEXT, "name"),
            Column("trial_event_type", TEXT, "event"),
            Column("trial_offset", INT, "event of this many trials later"),
            Column("time_offset", REAL, "added to the event's time", "s"),
            Column("psth_win_start", REAL, "window of a PSTH, start", "s"),
            Column("psth_win_end", REAL, "window of a PSTH, end", "s"),
        ),
        key=("align_type_name",),
        store=Store.LOOKUP,
        rows=(
            ("go_cue", "go", 0, 0.0, -2.0, 5.0),
            ("first_lick_after_go_cue", "choice", 0, 0.0, -2.0, 5.0),
            ("iti_start", "trialend", 0, 0.0, -3.0, 10.0),
            ("trial_start", "zaberready", 0, 0.0, -3.0, 2.0),
            ("trial_start_bitcode", "bitcodestart", 0, 0.146, -3.0, 2.0),
            ("next_trial_start", "zaberready", 1, 0.0, -10.0, 3.0),
            ("next_trial_start_bitcode", "bitcodestart", 1, 0.146, -10.0, 3.0),
            ("next_two_trial_start", "zaberready", 2, 0.0, -10.0, 5.0),
            ("next_two_trial_start_bitcode", "bitcodestart", 2, 0.146, -10.0, 5.0),
        ),
    ),
    Table(
        "psth",
        "unit_psth",
        "mean rate around the go cue, per unit and condition; conditions of one task are left out "
        "in sessions of others",
        (
            *UNIT_COLUMNS,
            _CONDITION,
            Column(
                "unit_psth",
                REALS,
                "rate in bins of 40 ms from -3 s to the go cue; time of a "
                "bin is its right edge; null without trials",
                "Hz",
                nullable=True,
            ),
            Column("trial_count", INT, "trials of the condition seen by the probe"),
        ),
        key=(*UNIT_KEY, "trial_condition_name"),
        store=Store.VIEW,
        refs=(TO_UNIT, Ref(("trial_condition_name",), "psth.trial_condition")),
    ),
    Table(
        "psth",
        "period_window",
        "spans of trials between two of their events, by experiment.period; where an event "
        "happens several times in a trial, its last one",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            Column("period", TEXT, "name of the period"),
            Column("start_time", REAL, "start, from the go cue", "s"),
            Column("stop_time", REAL, "end, from the go cue", "s"),
        ),
        key=(*TRIAL_KEY, "period"),
        store=Store.VIEW,
        refs=(TO_BEHAVIOR_TRIAL, Ref(("period",), "experiment.period")),
    ),
    Table(
        "psth",
        "unit_selectivity",
        "which side units prefer, from psth.period_selectivity of sample, delay and response",
        (
            *UNIT_COLUMNS,
            Column("unit_selectivity", TEXT, "contra-selective, ipsi-selective or non-selective"),
        ),
        key=UNIT_KEY,
        store=Store.VIEW,
        refs=(TO_UNIT,),
    ),
)
