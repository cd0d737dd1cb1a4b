"""Archived results: sortings and histologies that newer ones replaced, whole.

An archived table has the columns of the living one and one more, which names the archived result
by its method and time. The files are the same, moved to another folder.
"""

from __future__ import annotations

from dataclasses import replace

from maplake.tables import ephys, histology
from maplake.tables.model import TEXT, Column, Store, Table

ARCHIVE = Column("archive", TEXT, "which result: method and time of the clustering or histology")

#: Living tables that make up a sorting or a histology, and the names of their archives.
ARCHIVED = {
    "ephys.clustering_label": "ephys.archived_clustering",
    "ephys.unit": "ephys.archived_clustering_unit",
    "ephys.unit_waveform": "ephys.archived_clustering_unit_waveform",
    "ephys.spike": "ephys.archived_clustering_spike",
    "ephys.unit_note": "ephys.archived_clustering_unit_note",
    "ephys.unit_noise_label": "ephys.archived_clustering_unit_noise_label",
    "ephys.cluster_metric": "ephys.archived_clustering_cluster_metric",
    "ephys.waveform_metric": "ephys.archived_clustering_waveform_metric",
    "histology.electrode_ccf_position": "histology.archived_electrode_histology",
    "histology.electrode_ccf_position_error": "histology.archived_electrode_histology_error",
    "histology.labeled_probe_track": "histology.archived_labeled_probe_track",
    "histology.labeled_probe_track_point": "histology.archived_labeled_probe_track_point",
}


def _archived(table: Table) -> Table:
    name = ARCHIVED[table.full_name]
    place = table.store.partition
    columns = [c for c in table.columns if c.name not in place]
    keys = [c for c in table.columns if c.name in place]
    return replace(
        table,
        name=name.split(".")[1],
        comment=f"{table.comment}: of results that were replaced",
        columns=(*keys, ARCHIVE, *columns),
        key=(*place, "archive", *(k for k in table.key if k not in place)) if table.key else (),
        store=Store.ARCHIVE,
        refs=(),
        unique=(),
        kind="archive",
        order=table.sort_columns,
        computed=(),
        merged=False,
    )


TABLES = tuple(
    _archived(table) for table in (*ephys.TABLES, *histology.TABLES) if table.full_name in ARCHIVED
)
