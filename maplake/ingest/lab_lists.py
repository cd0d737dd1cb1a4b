"""The foraging lab's lists: its people and rigs in ``foraging.lab_meta_dir``, and its animals."""

from __future__ import annotations

from maplake.config import Config
from maplake.errors import SourceError
from maplake.ingest.lakes import changed_globals, stage_global, writing
from maplake.ingest.report import SourceReport
from maplake.ingest.session import FAILED, IN, PLANNED, UNCHANGED
from maplake.ingest.surgery_csv import surgery_csv_of_config
from maplake.layout import Layout
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

LAB = "lab"


def lab_of_config(config: Config, *, dry_run: bool = False) -> list[SourceReport]:
    """Load the foraging lab's people, rigs and animals; in a dry run only say so."""
    return [*_lists_of_config(config, dry_run), *surgery_csv_of_config(config, dry_run)]


def _lists_of_config(config: Config, dry_run: bool) -> list[SourceReport]:
    """Load the people and rigs of ``foraging.lab_meta_dir``."""
    folder = config.foraging.lab_meta_dir
    if folder is None:
        return []
    from maplake.readers.foraging_meta import read_lab

    report = SourceReport(LAB, folder.name, UNCHANGED, path=str(folder))
    try:
        rows = list(read_lab(folder).tables.items())
        if dry_run:
            if any(changed_globals(Layout(config.lake.root), rows, replace=True)):
                report.status, report.rows = PLANNED, sum(data.num_rows for _, data in rows)
            return [report]
        with writing(config) as layout, staging_run(layout.root) as run:
            stage = Stage(layout, run)
            if stage_global(stage, layout, rows, replace=True):
                commit(layout, [stage.finish()], {"command": "ingest", "lab": str(folder)})
                report.status, report.rows = IN, sum(data.num_rows for _, data in rows)
            else:
                stage.abandon()
    except SourceError as error:
        report.status, report.reason = FAILED, str(error)
    return [report]
