"""What several files of tests share and is worth making once."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _without_power_loss():
    """Do not wait for the disk; what it must survive is tried on processes of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def whole_lab(tmp_path_factory):
    """A lab with every raw format, and its lake: to be read only."""
    from labs import ingest, reasons

    from maplake import simulate

    lab = simulate.whole_lab(tmp_path_factory.mktemp("whole"), trials=36, units=6, seed=2)
    report = ingest(lab)
    assert not report.failed, reasons(report)
    assert {s.status for s in report.sources} <= {"in", "unchanged"}, reasons(report)
    return lab


@pytest.fixture(scope="session")
def ingested_lab(tmp_path_factory):
    """A small lab with two sessions in its lake: to be copied by ``computelabs.copy_lab``."""
    from computelabs import make_lab
    from labs import ingest, reasons

    lab = make_lab(tmp_path_factory.mktemp("ingested") / "lab", sessions=2)
    report = ingest(lab)
    assert not report.failed, reasons(report)
    return lab


@pytest.fixture(scope="session")
def computed_lab(ingested_lab, tmp_path_factory):
    """The same with all tables computed."""
    from computelabs import copy_lab

    from maplake.compute.run import run
    from maplake.config import load

    lab = copy_lab(ingested_lab, tmp_path_factory.mktemp("computed") / "lab")
    assert not run(load(lab.config)).failed
    return lab
