"""A small simulated lab in a lake, copied for each test that changes it."""

from __future__ import annotations

import shutil
from dataclasses import replace

from maplake import simulate
from maplake.config import load
from maplake.ingest.lakes import update_catalog
from maplake.simulate import Recording, Sorting


def make_lab(folder, **options):
    return simulate.lab(
        folder, animals=1, probes=2, **({"trials": 30, "units": 6} | options),
        recording=Recording(channels=48), sorting=Sorting(pc_features=False),
    )  # fmt: skip


def copy_lab(lab, folder):
    """Return a copy of a lab and its lake at another place."""
    shutil.copytree(lab.directory, folder)
    moved = replace(lab, directory=folder, config=folder / "lake.toml")
    update_catalog(load(moved.config))
    return moved


def statuses(report):
    return {(d.table, d.subject_id, d.session, d.insertion_number): d.status for d in report.done}
