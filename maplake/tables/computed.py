"""Tables that ``maplake compute`` fills from others, partition by partition."""

from __future__ import annotations

from maplake.tables.ephys import CELL_TYPES, TO_UNIT, UNIT_COLUMNS, UNIT_KEY
from maplake.tables.model import (
    INSERTION,
    INSERTION_KEY,
    INT,
    LABEL,
    REAL,
    REALS,
    SESSION,
    SESSION_KEY,
    SUBJECT_ID,
    TEXT,
    TO_INSERTION,
    TO_SESSION,
    Column,
    Ref,
    Store,
    Table,
)
from maplake.tables.own import KIND

SELECTIVITIES = ("contra-selective", "ipsi-selective", "non-selective")

_INSERTION_COLUMNS = (SUBJECT_ID, SESSION, INSERTION)
_ELECTRODE = Column("electrode", INT, "number of the site, from 1")
_SHANK = Column("shank", INT, "shank, from 1")
_SHANK_KEY = (*INSERTION_KEY, "shank")
_TO_TRACK = Ref(_SHANK_KEY, "histology.interpolated_shank_track")
_VOXEL = (
    Column("ccf_x", INT, "left to right (ML), on the voxel grid", "um"),
    Column("ccf_y", INT, "superior to inferior (DV), on the voxel grid", "um"),
    Column("ccf_z", INT, "anterior to posterior (AP), on the voxel grid", "um"),
)
_ON_SHANK = (*_INSERTION_COLUMNS, _SHANK, *_VOXEL)

TABLES = (
    Table(
        "ephys",
        "unit_cell_type",
        "putative cell types of units, from the width of their mean waveform; without quality all",
        (*UNIT_COLUMNS, Column("cell_type", LABEL, "putative type", values=CELL_TYPES)),
        key=UNIT_KEY,
        refs=(TO_UNIT,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "ephys",
        "map_cluster_metric",
        "how steady a unit's firing was from trial to trial",
        (
            *UNIT_COLUMNS,
            Column(
                "drift_metric",
                REAL,
                "share of rates per trial, averaged over 6 trials (moving mean, then every 6th), "
                "outside of the 5 to 95 % range of a Poisson distribution of their mean; good "
                "trials only where there are some; null with fewer than 6 trials or no spikes",
                nullable=True,
            ),
        ),
        key=UNIT_KEY,
        refs=(TO_UNIT,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "ephys",
        "unit_coarse_brain_location",
        "brain areas of units by depth; of insertions with depth criteria",
        (
            *UNIT_COLUMNS,
            Column("brain_area", TEXT, "area; null between the areas", nullable=True),
            Column("hemisphere", TEXT, "hemisphere of the insertion", nullable=True),
            Column("skull_reference", TEXT, "reference of the insertion", nullable=True),
        ),
        key=UNIT_KEY,
        refs=(TO_UNIT, Ref(("brain_area",), "lab.brain_area")),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "psth",
        "period_selectivity",
        "whether units tell apart ipsi- and contralateral trials in a period",
        (
            *UNIT_COLUMNS,
            Column("period", LABEL, "sample, delay or response"),
            Column("period_selectivity", LABEL, "result of the test", values=SELECTIVITIES),
            Column("ipsi_firing_rate", REAL, "mean over trials", "Hz", nullable=True),
            Column("contra_firing_rate", REAL, "mean over trials", "Hz", nullable=True),
            Column("p_value", REAL, "of a two-sample t-test, equal variances", nullable=True),
        ),
        key=(*UNIT_KEY, "period"),
        refs=(TO_UNIT,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "histology",
        "interpolated_electrode_ccf",
        "positions of recorded sites that the histology left out: linear along shank and column",
        (*_INSERTION_COLUMNS, _ELECTRODE, *_VOXEL),
        key=(*INSERTION_KEY, "electrode"),
        refs=(TO_INSERTION,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "histology",
        "interpolated_electrode_ccf_error",
        "the same, of sites whose position is outside of the annotated volume",
        (*_INSERTION_COLUMNS, _ELECTRODE, *_VOXEL),
        key=(*INSERTION_KEY, "electrode"),
        refs=(TO_INSERTION,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "histology",
        "interpolated_shank_track",
        "shanks with a straight line through their sites and traced points",
        (*_INSERTION_COLUMNS, _SHANK),
        key=_SHANK_KEY,
        refs=(TO_INSERTION,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "histology",
        "shank_track_point",
        "voxels of the line that are inside the annotated volume, dorsal first",
        _ON_SHANK,
        key=(*_SHANK_KEY, "ccf_y"),
        refs=(_TO_TRACK,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "histology",
        "shank_brain_surface_point",
        "where the line meets the brain's surface: its most dorsal voxel",
        _ON_SHANK,
        key=_SHANK_KEY,
        refs=(_TO_TRACK,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "histology",
        "shank_deepest_electrode_point",
        "the recorded site that is the most ventral one",
        _ON_SHANK,
        key=_SHANK_KEY,
        refs=(_TO_TRACK,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "histology",
        "pseudocoronal_slice",
        "the slice of the annotated volume along a shank: at each depth all of ML at the line's AP,"
        " as runs of one region",
        (
            *_INSERTION_COLUMNS,
            _SHANK,
            Column("ccf_y", INT, "superior to inferior (DV)", "um"),
            Column("ccf_z", INT, "anterior to posterior (AP) of the line at this depth", "um"),
            Column("ccf_x_start", INT, "first voxel of the run, ML", "um"),
            Column("ccf_x_stop", INT, "last voxel of the run, ML", "um"),
            Column("region_id", INT, "number of the brain region"),
        ),
        key=(*_SHANK_KEY, "ccf_y", "ccf_x_start"),
        refs=(_TO_TRACK,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "tracking",
        "jaw_tuning",
        "tuning of units to the phase of jaw movement, 5 to 15 Hz, in the side camera",
        (
            *UNIT_COLUMNS,
            Column("spike_count", INT, "spikes with a phase"),
            Column("phase", REALS, "middle of the phase bins, 0 to 2 pi", "rad"),
            Column("rate", REALS, "rate in each phase bin; null without frames", "Hz"),
            Column(
                "preferred_phase", REAL, "phase of the fitted peak, 0 to 2 pi", "rad", nullable=True
            ),
            Column(
                "modulation_index",
                REAL,
                "(highest - lowest) / highest fitted rate; null where no curve fits",
                nullable=True,
            ),
            Column(
                "p_value",
                REAL,
                "Rayleigh test of the phases of its spikes; null without spikes",
                nullable=True,
            ),
        ),
        key=UNIT_KEY,
        refs=(TO_UNIT,),
        store=Store.INSERTION,
        kind=KIND,
    ),
    Table(
        "foraging",
        "session_efficiency",
        "how foraging sessions with two ports compare with what the best strategy had earned there",
        (
            SUBJECT_ID,
            SESSION,
            Column(
                "session_foraging_eff_optimal_random_seed",
                REAL,
                "rewards over those of the best strategy with the numbers that the task drew; null "
                "without a seed or a choice",
                nullable=True,
            ),
        ),
        key=SESSION_KEY,
        refs=(TO_SESSION,),
        store=Store.SESSION,
        kind=KIND,
    ),
)
