"""Schema ``ccf``: the Common Coordinate Framework of the mouse brain (Allen Institute).

Coordinates are in um: x = ML, left to right; y = DV, superior to inferior; z = AP, anterior to
posterior; coordinate = voxel index * voxel size. The volume itself is a Zarr array.
"""

from __future__ import annotations

from maplake.tables.model import INT, REALS, TEXT, Column, Ref, Store, Table

_VERSION = Column("annotation_version", TEXT, "name of the annotation, e.g. CCF_2017")
_REGION = Column("region_id", INT, "number of the brain region (Allen structure id)")
_X = Column("ccf_x", INT, "left to right (ML)", "um")
_Z = Column("ccf_z", INT, "anterior to posterior (AP)", "um")
_VERTICES = REALS.listed()
_FACES = INT.listed().listed()

TABLES = (
    Table(
        "ccf",
        "ccf_label",
        "coordinate frames",
        (
            Column("ccf_label_id", INT, "number of the frame"),
            Column("ccf_version", INT, "revision of the framework"),
            Column("ccf_resolution", INT, "voxel size", "um"),
            Column("ccf_description", TEXT, "what it is"),
        ),
        key=("ccf_label_id",),
        store=Store.GLOBAL,
        kind="ccf",
    ),
    Table(
        "ccf",
        "annotation_version",
        "annotations in the lake",
        (
            _VERSION,
            Column("annotation_desc", TEXT, "where it is from", nullable=True),
            Column("resolution", INT, "voxel size of the volume in the lake", "um"),
        ),
        key=("annotation_version",),
        store=Store.GLOBAL,
        kind="ccf",
    ),
    Table(
        "ccf",
        "ccf_brain_region",
        "names and colours of brain regions",
        (
            _VERSION,
            _REGION,
            Column("region_name", TEXT, "name"),
            Column("color_code", TEXT, "colour, RRGGBB", nullable=True),
        ),
        key=("annotation_version", "region_id"),
        refs=(Ref(("annotation_version",), "ccf.annotation_version"),),
        store=Store.GLOBAL,
        kind="ccf",
    ),
    Table(
        "ccf",
        "annotation_run",
        "the labelled voxels as runs along DV, sorted by region; ccf.annotation expands them",
        (
            _VERSION,
            _REGION,
            _X,
            _Z,
            Column("ccf_y_start", INT, "first voxel of the run, DV", "um"),
            Column("ccf_y_stop", INT, "last voxel of the run, DV", "um"),
            Column("voxel_size", INT, "step from voxel to voxel", "um"),
        ),
        key=("annotation_version", "region_id", "ccf_x", "ccf_z", "ccf_y_start"),
        store=Store.ANNOTATION,
        kind="ccf",
        refs=(Ref(("annotation_version",), "ccf.annotation_version"),),
    ),
    Table(
        "ccf",
        "annotation",
        "voxels of named regions",
        (
            _X,
            Column("ccf_y", INT, "superior to inferior (DV)", "um"),
            _Z,
            _REGION,
            Column("region_name", TEXT, "name"),
            _VERSION,
        ),
        key=("annotation_version", "ccf_x", "ccf_y", "ccf_z"),
        store=Store.VIEW,
        refs=(Ref(("annotation_version", "region_id"), "ccf.ccf_brain_region"),),
    ),
    Table(
        "ccf",
        "annotated_brain_surface",
        "surface of the annotated brain as a mesh of triangles",
        (
            Column("annotated_brain_name", TEXT, "name of the mesh"),
            Column("vertices", _VERTICES, "list of ML, AP, DV; a px is 20 um", "px"),
            Column("faces", _FACES, "list of three places in vertices, from 0"),
        ),
        key=("annotated_brain_name",),
        store=Store.GLOBAL,
        kind="ccf",
    ),
)
