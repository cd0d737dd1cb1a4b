"""What several files of tests share and is worth making once."""

from __future__ import annotations

import functools
import inspect
import os

import pytest

from maplake.layout import Layout
from maplake.query import catalog


@pytest.fixture(scope="session", autouse=True)
def _without_power_loss():
    """Do not wait for the disk; what it must survive is tried on processes of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _catalogs_from_an_empty_lake(tmp_path_factory):
    """Make a new lake's catalog of an empty one's: the whole is half of what a small lake costs."""
    whole = catalog.build

    @functools.cache
    def empty():
        folder = tmp_path_factory.mktemp("empty")
        whole(folder)
        return folder

    @functools.wraps(whole)
    def build(root, *, like=None, **options):
        if like is None and not Layout(root).catalog.exists():
            like = empty()
        whole(root, like=like, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "build", build)
        yield


@pytest.fixture
def whole_catalogs(monkeypatch):
    """Make catalogs as they are made in one's first lake."""
    monkeypatch.setattr(catalog, "build", inspect.unwrap(catalog.build))


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
