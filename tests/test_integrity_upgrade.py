"""Lakes of other versions: newer ones are refused, older ones upgraded, whatever happens."""

from __future__ import annotations

import errno
import json
import shutil
from importlib import import_module
from importlib.util import find_spec

import pytest
from computelabs import copy_lab
from labs import content
from typer.testing import CliRunner

import maplake
from maplake.config import load
from maplake.errors import LakeError, LakeVersionError
from maplake.ingest import pipeline
from maplake.ingest import upgrade as module
from maplake.ingest.upgrade import Step, upgrade
from maplake.layout import Layout
from maplake.query.check import check
from maplake.query.log import commits
from maplake.seal import sealed
from maplake.writers import files

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
TABLE = "experiment.trial_event"
OLD, NEW = "tables/experiment/happening/", "tables/experiment/trial_event/"


@pytest.fixture
def lab(ingested_lab, tmp_path):
    return copy_lab(ingested_lab, tmp_path / "lab")


@pytest.fixture
def root(lab):
    return load(lab.config).lake.root


def renamed(value, old, new):
    return json.loads(json.dumps(value).replace(old, new))


@pytest.fixture
def old(lab, root, monkeypatch):
    """Make the lake one of format 0, in which a table had another name."""
    before = content(root)
    shutil.move(root / NEW, root / OLD)
    for kind in ("manifest", "state"):
        for file in (root / ".maplake" / kind).glob("*.json"):
            found = renamed(json.loads(file.read_text()), NEW, OLD)
            file.write_text(json.dumps(sealed(found)))
    Layout(root).format_file.write_text('{"format_version": 0}')
    monkeypatch.setitem(module.STEPS, 0, Step("the table happening is called trial_event", step))
    return before


def step(layout, stage):
    from pathlib import PurePosixPath

    for file in sorted((layout.root / OLD).rglob("part.parquet")):
        below = file.relative_to(layout.root).as_posix()
        stage.copy(file, PurePosixPath(below.replace(OLD, NEW)))
        stage.delete(below)
    for kind in ("manifest", "state"):
        for file in sorted((layout.meta / kind).glob("*.json")):
            target = PurePosixPath(file.relative_to(layout.root).as_posix())
            stage.json(target, renamed(json.loads(file.read_text()), OLD, NEW))


def version(root):
    return json.loads(Layout(root).format_file.read_text())["format_version"]


def test_a_newer_lake_is_refused(lab, root):
    Layout(root).format_file.write_text('{"format_version": 2}')
    config, before = load(lab.config), content(root)
    for what in (maplake.open, lambda _: pipeline.run(config), lambda _: upgrade(config)):
        with pytest.raises(LakeVersionError, match=r"newer maplake.*format 2.*pip install"):
            what(root)
    assert content(root) == before


def test_an_older_lake_is_upgraded(lab, root, old):
    config = load(lab.config)
    for what in (maplake.open, lambda _: pipeline.run(config)):
        with pytest.raises(LakeVersionError, match=r"older maplake.*format 0.*maplake upgrade"):
            what(root)
    app = import_module(f"{PACKAGE}.main").app
    done = CliRunner().invoke(app, ["--config", str(lab.config), "upgrade"])
    assert "format 0 to 1: the table happening" in done.output
    assert content(root) == old
    assert check(root, deep=True) == []
    assert commits(root)[0].note["why"] == "the table happening is called trial_event"
    assert upgrade(config) == []
    assert all(s.status == "unchanged" for s in pipeline.run(config).sources)


@pytest.mark.parametrize("point", [0, 2, 9])
def test_an_upgrade_that_is_cut_off_is_finished_or_undone(lab, root, old, point, monkeypatch):
    config, before = load(lab.config), content(root)
    replace, calls = files.replace, []

    def failing(source, target):
        calls.append(target)
        if len(calls) > point:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(files, "replace", failing)
    with pytest.raises(LakeError):
        upgrade(config)
    monkeypatch.setattr(files, "replace", replace)
    if point == 0:  # the commit was not decided
        assert content(root) == before
        assert version(root) == 0
    upgrade(config)
    assert version(root) == 1
    assert content(root) == old
    assert check(root, deep=True) == []


@pytest.mark.parametrize("point", [0, 1, 9])
def test_an_upgrade_that_is_killed_is_finished_or_undone_by_a_reader(
    lab, root, old, point, monkeypatch
):
    before = content(root)
    replace, calls = files.replace, []

    def killed(source, target):
        calls.append(target)
        if len(calls) > point:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", killed)
        patch.setattr(module.Stage, "abandon", lambda _: None)  # a dead process clears nothing up
        with pytest.raises(KeyboardInterrupt):
            upgrade(load(lab.config))
    assert any(Layout(root).staging.iterdir())
    if point == 0:  # the commit was not decided: the lake is of the old version, and told so
        with pytest.raises(LakeVersionError, match="older maplake"):
            maplake.open(root)
        assert content(root) == before
        upgrade(load(lab.config))
    with maplake.open(root) as lake:
        assert lake.sql(f"SELECT count(*) FROM {TABLE}").fetchall() != [(0,)]
    assert version(root) == 1
    assert content(root) == old
    assert not any(Layout(root).staging.iterdir())
    assert check(root, deep=True) == []


def test_a_lake_that_no_step_leads_on_from(lab, root):
    Layout(root).format_file.write_text('{"format_version": 0}')
    with pytest.raises(LakeVersionError, match="nothing leads on"):
        upgrade(load(lab.config))
