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
