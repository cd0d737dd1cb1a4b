"""Schema ``histology``: where probes ended up in the brain."""

from __future__ import annotations

from maplake.tables.model import (
    DATE,
    INSERTION,
    INSERTION_KEY,
    INT,
    REAL,
    SESSION,
    SUBJECT_ID,
    TEXT,
    TO_INSERTION,
    Column,
    Ref,
    Store,
    Table,
)

_INSERTION_COLUMNS = (SUBJECT_ID, SESSION, INSERTION)
_ELECTRODE = Column("electrode", INT, "number of the site, from 1")
_VOXEL = (
    Column("ccf_x", INT, "left to right (ML), on the voxel grid", "um"),
    Column("ccf_y", INT, "superior to inferior (DV), on the voxel grid", "um"),
    Column("ccf_z", INT, "anterior to posterior (AP), on the voxel grid", "um"),
)
_POINT = (
    Column("ccf_x", REAL, "left to right (ML)", "um"),
    Column("ccf_y", REAL, "superior to inferior (DV)", "um"),
    Column("ccf_z", REAL, "anterior to posterior (AP)", "um"),
)
# The published pipeline calls these mm but holds voxels times their size in um, as here.
_MRI = tuple(
    Column(f"mri_{axis}", REAL, "position in the MRI image before warping", "um", nullable=True)
    for axis in "xyz"
)

TABLES = (
    Table(
        "histology",
        "electrode_ccf_position",
        "recorded sites inside the annotated volume of the Common Coordinate Framework",
        (*_INSERTION_COLUMNS, _ELECTRODE, *_VOXEL, *_MRI),
        key=(*INSERTION_KEY, "electrode"),
        refs=(TO_INSERTION,),
        store=Store.INSERTION,
        kind="histology",
    ),
    Table(
        "histology",
        "electrode_ccf_position_error",
        "recorded sites whose position is outside of the annotated volume",
        (
            *_INSERTION_COLUMNS,
            _ELECTRODE,
            *_VOXEL,
            *_MRI,
            Column("reason", TEXT, "why it is no position"),
        ),
        key=(*INSERTION_KEY, "electrode"),
        refs=(TO_INSERTION,),
        store=Store.INSERTION,
        kind="histology",
    ),
    Table(
        "histology",
        "labeled_probe_track",
        "insertions whose track was labelled with dye and traced",
        (
            *_INSERTION_COLUMNS,
            Column("labeling_date", DATE, "day of labelling, if not the session's", nullable=True),
            Column("dye_color", TEXT, "colour of the dye", nullable=True),
        ),
        key=INSERTION_KEY,
        refs=(TO_INSERTION,),
        store=Store.INSERTION,
        kind="histology",
    ),
    Table(
        "histology",
        "labeled_probe_track_point",
        "points of the traced tracks",
        (
            *_INSERTION_COLUMNS,
            Column("order", INT, "place in the file, from 0"),
            Column("shank", INT, "shank, from 1"),
            *_POINT,
        ),
        key=(*INSERTION_KEY, "shank", "order"),
        refs=(Ref(INSERTION_KEY, "histology.labeled_probe_track"),),
        store=Store.INSERTION,
        kind="histology",
    ),
    Table(
        "histology",
        "subject_to_ccf_landmark",
        "points by which an animal's brain was warped to the Common Coordinate Framework",
        (
            SUBJECT_ID,
            Column("landmark_name", TEXT, "name of the point, e.g. Pt-1"),
            *(
                Column(f"subj_{axis}", REAL, "place in the animal's image", "a.u.")
                for axis in "xyz"
            ),
            *_POINT,
        ),
        key=("subject_id", "landmark_name"),
        store=Store.GLOBAL,
        kind="histology",
        refs=(Ref(("subject_id",), "lab.subject"),),
    ),
)
