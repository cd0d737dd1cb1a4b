"""Snapshots: the lake as it was, at the cost of what changed since."""

from __future__ import annotations

import errno
import json
import os
import re
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import polars as pl
import pytest
from computelabs import copy_lab
from labs import content, sql
from typer.testing import CliRunner

import maplake
from maplake.config import load
from maplake.errors import (
    IntegrityError,
    LakeError,
    LakeReadOnlyError,
    NotFoundError,
    QueryError,
)
from maplake.ingest import pipeline, snapshot
from maplake.ingest.delete import Target, delete
from maplake.ingest.rebuild import rebuild_session
from maplake.layout import Layout
from maplake.query.check import check
from maplake.writers import files
from maplake.writers.lock import write_lock

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"


@pytest.fixture
def lab(ingested_lab, tmp_path):
    return copy_lab(ingested_lab, tmp_path / "lab")


@pytest.fixture
def config(lab):
    return load(lab.config)


@pytest.fixture
def root(config):
    return config.lake.root


@pytest.fixture
def without_links(monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(files, "os", SimpleNamespace(**{**vars(os), "link": refuse}))


def kept(root):
    return sorted(p.name for p in Layout(root).kept.glob("*/*"))


def inodes(root):
    return {p.stat().st_ino for top in ("tables", "arrays") for p in (root / top).rglob("*")
            if p.is_file()}  # fmt: skip


def change(config, lab):
    """Delete a session, and let settings change the rows of the other."""
    delete(config, Target(lab.sessions[0].subject_id, 1))
    with lab.config.open("a", encoding="utf-8") as file:
        file.write("\n")
    text = lab.config.read_text(encoding="utf-8")
    text = text.replace("[behavior]", '[behavior]\nsession_user = "somebody"')
    lab.config.write_text(text, encoding="utf-8")
    report = pipeline.run(load(lab.config))
    assert any(s.status == "in" for s in report.sources)


def test_a_snapshot_is_the_lake_as_it_was(lab, config, root):
    before, units = content(root), sql(root, "FROM ephys.unit ORDER BY ALL")
    about = snapshot.take(config, "paper-1", "submitted")
    assert (about.sessions, about.files) == (2, len(before))
    assert not kept(root)
    change(config, lab)
    assert content(root) != before
    assert kept(root)
    with maplake.open(root, snapshot="paper-1") as old:
        assert content(old.root) == before
        assert old.sql("FROM ephys.unit ORDER BY ALL").pl().equals(units)
        assert old.table("ephys.unit").collect().height == units.height
        assert check(old.root, deep=True) == []
        glob = old.root / "tables/ephys/unit/**/part.parquet"
        assert pl.read_parquet(str(glob), hive_partitioning=True).height == units.height
        store = old.spikes(lab.sessions[0].subject_id, 1, 1)
        assert len(store) > 0
    assert check(root, deep=True) == []
    (found,) = snapshot.snapshots(root)
    assert found.note == "submitted"
    assert 0 < found.changed_files < found.files


def test_what_did_not_change_is_not_copied(lab, config, root):
    before = inodes(root)
    for name in ("one", "two"):
        snapshot.take(config, name)
        assert inodes(snapshot.opened(root, name)) == before
    records = sum(p.stat().st_size for p in (Layout(root).snapshots / "one").glob("*.json"))
    assert records < 10_000  # manifests and states are second names, too
    rebuild_session(config, lab.sessions[0].h2o, 1)  # the same bytes again
    assert not kept(root)


def test_without_hard_links_what_changes_is_copied(lab, config, root, without_links):
    before = content(root)
    snapshot.take(config, "paper")
    change(config, lab)
    gone = {h for p, h in before.items() if content(root).get(p) != h}
    assert set(kept(root)) == gone
    with maplake.open(root, snapshot="paper") as old:
        assert content(old.root) == before
    assert check(root, deep=True) == []


def test_deleting_a_snapshot_frees_what_no_other_needs(lab, config, root):
    snapshot.take(config, "a")
    rows = delete(config, Target(lab.sessions[0].subject_id, 1)).rows
    assert rows
    first = kept(root)
    snapshot.take(config, "b")
    change_before = content(root)
    delete(config, Target(lab.sessions[0].subject_id, 2))
    both = kept(root)
    assert set(first) < set(both)
    assert snapshot.delete(config, "a") > 0
    left = kept(root)
    assert set(left) < set(both)
    with maplake.open(root, snapshot="b") as old:
        assert content(old.root) == change_before
    with pytest.raises(NotFoundError, match="expected b"):
        maplake.open(root, snapshot="a")
    snapshot.delete(config, "b")
    assert kept(root) == []
    assert check(root, deep=True) == []


def test_an_export_holds_against_a_commit_that_comes_in_between(
    lab, config, root, tmp_path, monkeypatch
):
    snapshot.take(config, "paper")
    was, copy, begun = content(root), files.copy, []

    def late(source, target):
        if not begun:
            begun.append(source)
            change(config, lab)  # some files go, others are replaced
        copy(source, target)

    monkeypatch.setattr(files, "copy", late)
    made = snapshot.export(root, "paper", tmp_path / "export")
    assert content(made) == was != content(root)


def test_a_damaged_file_is_not_exported(config, root, tmp_path):
    snapshot.take(config, "paper")
    damaged = next((root / "tables/experiment/session_trial").rglob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"X")
    with pytest.raises(IntegrityError, match="is lost or damaged"):
        snapshot.export(root, "paper", tmp_path / "export")
    assert not any(tmp_path.glob("*export*"))


def test_an_exported_snapshot_is_a_lake_of_its_own(lab, config, root, tmp_path):
    before = content(root)
    snapshot.take(config, "paper")
    change(config, lab)
    made = snapshot.export(root, "paper", tmp_path / "export")
    assert content(made) == before
    assert check(made, deep=True) == []
    assert sql(made, "FROM experiment.session").height == 2
    assert not inodes(root) & inodes(made)
    with pytest.raises(LakeError, match="exists"):
        snapshot.export(root, "paper", tmp_path / "export")


def test_an_opened_snapshot_is_not_written_to(lab, config, root):
    snapshot.take(config, "paper")
    place = snapshot.opened(root, "paper")
    import dataclasses

    inside = dataclasses.replace(config, lake=dataclasses.replace(config.lake, root=place))
    with pytest.raises(LakeReadOnlyError, match="snapshot"):
        pipeline.run(inside)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", ".hidden", "x" * 101, "é", "a b", "a."])
def test_names_that_are_none(config, name):
    with pytest.raises(QueryError, match="cannot be the name"):
        snapshot.take(config, name)


def test_a_name_is_given_once(config):
    snapshot.take(config, "paper")
    with pytest.raises(QueryError, match="already"):
        snapshot.take(config, "Paper")


def test_check_covers_what_is_kept(lab, config, root):
    snapshot.take(config, "paper")
    change(config, lab)
    files_ = sorted(Layout(root).kept.glob("*/*"))
    data = bytearray(files_[0].read_bytes())
    data[-1] ^= 1
    files_[0].write_bytes(data)
    files_[1].unlink()
    record = next((Layout(root).snapshots / "paper" / "state").iterdir())
    record.write_text("{}", encoding="utf-8")
    found = {p.partition for p in check(root, deep=True) if p.kind == "snapshot"}
    assert {p.rsplit("/", 1)[-1] for p in found} == {files_[0].name, files_[1].name, record.name}
    with pytest.raises(IntegrityError, match="lost"):
        maplake.open(root, snapshot="paper")


def test_what_an_opened_snapshot_lost_is_found_and_given_again(config, root):
    before = content(root)
    snapshot.take(config, "paper")
    opened = snapshot.opened(root, "paper")
    lost = next((opened / "tables/ephys/unit").rglob("part.parquet"))
    lost.unlink()
    assert [p.partition for p in check(root)] == [lost.relative_to(root).as_posix()]
    assert content(snapshot.opened(root, "paper")) == before
    assert check(root, deep=True) == []


@pytest.mark.parametrize("lost", ["lake.duckdb", "views.sql"])
def test_an_opened_snapshot_without_its_catalog_gets_it(config, root, lost):
    """Who opened it first may have been killed before that was written."""
    snapshot.take(config, "paper")
    opened = snapshot.opened(root, "paper")
    (opened / lost).unlink()
    with write_lock(root):  # it can be read meanwhile
        assert snapshot.opened(root, "paper") == opened
    assert not (opened / lost).exists()
    snapshot.opened(root, "paper")
    assert (opened / lost).exists()


def test_an_opened_snapshot_moves_with_its_lake(config, root, tmp_path):
    """Its catalog names files at the old place, which may be gone or those of another lake."""
    snapshot.take(config, "paper")
    opened = snapshot.opened(root, "paper")
    units = sql(opened, "SELECT count(*) FROM ephys.unit").item()
    root.rename(tmp_path / "elsewhere")
    opened = snapshot.opened(tmp_path / "elsewhere", "paper")
    assert sql(opened, "SELECT count(*) FROM ephys.unit").item() == units > 0


def test_what_a_file_manager_leaves_among_snapshots_is_none(lab, config, root):
    snapshot.take(config, "paper")
    (Layout(root).snapshots / ".DS_Store").write_bytes(b"Bud1")
    delete(config, Target(lab.sessions[0].subject_id, 1))
    assert kept(root)
    assert check(root, deep=True) == []


def test_opened_amid_a_commit_whose_writer_died_it_is_as_it_was(lab, config, root, monkeypatch):
    before = content(root)
    snapshot.take(config, "paper")
    plain = files.remove

    def dies(path):
        plain(path)
        if path.name == "part.parquet" and path.is_relative_to(root / "tables"):
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "remove", dies)
    with pytest.raises(KeyboardInterrupt):
        delete(config, Target(lab.sessions[0].subject_id, 1))
    monkeypatch.undo()
    assert any(Layout(root).journal.iterdir())
    assert content(snapshot.opened(root, "paper")) == before


def test_damage_that_an_opened_snapshot_keeps_after_the_lake_was_mended_is_found(lab, config, root):
    snapshot.take(config, "paper")
    opened = snapshot.opened(root, "paper")
    path = next((root / "tables/ephys/unit").rglob("part.parquet"))
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)  # of both: they are one file
    assert {p.kind for p in check(root, deep=True)} >= {"checksum"}
    session = next(s for s in lab.sessions if f"subject_id={s.subject_id}/" in str(path))
    number = int(re.search(r"session=(\d+)", str(path))[1])
    rebuild_session(config, session.h2o, number)
    (found,) = check(root, deep=True)
    assert found.kind == "snapshot"
    assert found.partition == (opened / path.relative_to(root)).relative_to(root).as_posix()
    files.remove(opened)
    snapshot.opened(root, "paper")
    assert check(root, deep=True) == []


def test_a_crash_before_the_commit_is_decided_keeps_too_much_at_most(
    lab, config, root, monkeypatch
):
    before = content(root)
    snapshot.take(config, "paper")
    monkeypatch.setattr(files, "write_bytes", _fail_at_journal(files.write_bytes))
    with pytest.raises(LakeError, match="failed"):
        delete(config, Target(lab.sessions[0].subject_id, 1))
    monkeypatch.undo()
    assert content(root) == before
    assert kept(root)
    assert check(root, deep=True) == []
    with maplake.open(root, snapshot="paper") as old:
        assert content(old.root) == before
    snapshot.delete(config, "paper")
    assert not kept(root)


def _fail_at_journal(write):
    def failing(path, data):
        if path.name.endswith(".journal"):
            raise OSError(errno.EIO, "Input/output error")
        write(path, data)

    return failing


def test_commands(lab, root, tmp_path):
    def cli(*words):
        done = CliRunner().invoke(app, ["--config", str(lab.config), *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    app = import_module(f"{PACKAGE}.main").app
    assert "no snapshots" in cli("snapshots")
    assert "2 sessions" in cli("snapshot", "paper", "--note", "as submitted")
    cli("delete", "session", lab.sessions[0].h2o, "1", "--yes")
    assert "as submitted" in cli("snapshots")
    (found,) = json.loads(cli("snapshots", "--json"))["snapshots"]
    assert found["changed_files"] > 0
    query = "SELECT count(*) AS n FROM experiment.session"
    assert "2" in cli("--snapshot", "paper", "sql", query)
    assert "1" in cli("sql", query)
    assert "no problems" in cli("--snapshot", "paper", "check", "--deep")
    assert str(tmp_path / "out") in cli("export-snapshot", "paper", str(tmp_path / "out"))
    assert "freed" in cli("delete-snapshot", "paper")
    assert "no snapshots" in cli("snapshots")


def test_what_is_kept_is_on_disk_by_name_before_a_commit_is_decided(config, root, monkeypatch):
    """Else a power cut keeps the commit's record and loses what the snapshot needs."""
    snapshot.take(config, "paper")
    layout, synced, missing, seen = Layout(root), {}, [], []
    sync, replace = files.sync_dir, files.replace

    def note(folder):
        sync(folder)
        synced[folder] = {path.name for path in folder.iterdir()}

    def look(source, target):
        if target.parent == layout.journal:
            for file in (layout.kept, *layout.kept.rglob("*")):
                seen.append(file)
                if file.name not in synced.get(file.parent, ()):
                    missing.append(file)
        replace(source, target)

    monkeypatch.setattr(files, "sync_dir", note)
    monkeypatch.setattr(files, "replace", look)
    delete(config, Target(400001, 1))
    assert len(seen) > 10
    assert missing == []


def test_a_snapshot_is_on_disk_by_name_when_it_is_taken(config, root, monkeypatch):
    synced, sync = {}, files.sync_dir

    def note(folder):
        sync(folder)
        synced[folder] = {path.name for path in folder.iterdir()}

    monkeypatch.setattr(files, "sync_dir", note)
    snapshot.take(config, "paper")
    layout = Layout(root)
    for folder in (layout.snapshots / "paper", layout.snapshots):
        assert folder.name in synced[folder.parent]
