"""The commit and the write lock."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from lakefiles import trials

from maplake.errors import LakeError, LakeLockedError, LakeReadOnlyError
from maplake.layout import Layout, table_file
from maplake.tables import get
from maplake.writers import commit as commits
from maplake.writers import files, spikes
from maplake.writers.commit import Stage, commit, recover, recover_if_needed
from maplake.writers.lock import living_runs, staging_run, write_lock

TRIALS = get("experiment.session_trial")
KEY = {"subject_id": 1, "session": 2}


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "lake")


def stage_trials(layout, run, n=3, shift=0.0):
    stage = Stage(layout, run)
    stage.table(TRIALS, KEY, trials(n, shift))
    return stage


class TestCommit:
    def test_makes_everything_visible_and_leaves_nothing_behind(self, layout):
        with write_lock(layout.root), staging_run(layout.root) as run:
            stage = stage_trials(layout, run)
            staged = stage.finish()
            assert not (layout.root / "tables").exists()
            commit(layout, [staged], {"why": "test"})
        path = layout.root / table_file(TRIALS, KEY)
        assert pq.read_table(path, partitioning=None).num_rows == 3
        assert not any(layout.journal.iterdir())
        assert not any(layout.staging.iterdir())
        assert len(list(layout.log.iterdir())) == 1
        entry = staged.manifest[str(table_file(TRIALS, KEY))]
        assert entry["rows"] == 3
        assert entry["bytes"] == path.stat().st_size

    def test_replaces_and_deletes(self, layout):
        with write_lock(layout.root), staging_run(layout.root) as run:
            commit(layout, [stage_trials(layout, run).finish()], {})
            stage = Stage(layout, run)
            other = {"subject_id": 1, "session": 3}
            stage.table(TRIALS, other, trials(1))
            stage.delete(table_file(TRIALS, KEY))
            commit(layout, [stage.finish()], {})
        assert not (layout.root / "tables/experiment/session_trial/subject_id=1/session=2").exists()
        assert (layout.root / table_file(TRIALS, other)).exists()

    @pytest.mark.parametrize("torn", [b"", b"{", b'{"sha256": "x", "body": "{}"}'])
    def test_a_torn_journal_record_was_never_decided(self, layout, torn):
        with write_lock(layout.root), staging_run(layout.root) as run:
            stage_trials(layout, run).finish()
        files.make_dir(layout.journal)
        (layout.journal / "x.json").write_bytes(torn)
        with write_lock(layout.root):
            assert recover(layout) == 0
        assert not (layout.root / "tables").exists()
        assert not any(layout.staging.iterdir())


def test_a_journal_record_torn_at_any_length_was_never_decided(layout, monkeypatch):
    monkeypatch.setattr(commits, "_carry_out", lambda *_: None)
    with write_lock(layout.root), staging_run(layout.root) as run:
        commit(layout, [stage_trials(layout, run).finish()], {})
    monkeypatch.undo()
    (journal,) = layout.journal.iterdir()
    whole = journal.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    # What a disk may leave of a last write: its beginning, zeros, what was there before.
    torn = [whole[:size] for size in range(len(whole))]
    torn += [whole[:size] + bytes(len(whole) - size) for size in range(0, len(whole), 7)]
    torn += [whole + b"\0", whole + b"}", bytes(flipped), b"\xff" * len(whole)]
    for content in torn:
        journal.write_bytes(content)
        assert commits._read_journal(journal) is None
    for content in torn[::60]:
        journal.write_bytes(content)
        with write_lock(layout.root):
            assert recover(layout) == 0
        assert not (layout.root / "tables").exists()
    journal.write_bytes(whole)
    assert commits._read_journal(journal) is not None


@pytest.mark.parametrize("target", ["tables", "arrays"])
def test_what_was_cleared_away_while_the_process_slept_is_not_committed(layout, target):
    with write_lock(layout.root), staging_run(layout.root) as run:
        commit(layout, [stage_trials(layout, run).finish()], {})
        stage = stage_trials(layout, run, n=4)
        array = stage.array(PurePosixPath("arrays/a.zarr"))
        array.mkdir()
        (array / "zarr.json").write_text("{}")
        staged = stage.finish()
        files.remove(next(p for p in (stage.folder / target).rglob("*") if p.is_file()))
        with pytest.raises(LakeError, match="has gone"):
            commit(layout, [staged], {})
    path = layout.root / table_file(TRIALS, KEY)
    assert pq.read_table(path, partitioning=None).num_rows == 3
    assert not any(layout.journal.iterdir())


def test_whoever_lost_the_lock_does_not_commit(layout):
    with write_lock(layout.root), staging_run(layout.root) as run:
        stage = stage_trials(layout, run)
        staged = stage.finish()
        marker = layout.lock.with_name(f"{layout.lock.name}.json")
        marker.write_text(json.dumps(json.loads(marker.read_text()) | {"token": "another"}))
        with pytest.raises(LakeLockedError, match="took the lake's lock over"):
            commit(layout, [staged], {})
    assert not (layout.root / "tables").exists()
    assert not any(layout.journal.iterdir())


def test_a_commit_that_is_decided_says_so_though_the_disk_fails(layout, monkeypatch):
    with write_lock(layout.root), staging_run(layout.root) as run:
        staged = stage_trials(layout, run).finish()
        sync = files.sync_dir

        def failing(path):
            if path == layout.journal and any(path.iterdir()):
                raise OSError(errno.EIO, "Input/output error")
            sync(path)

        monkeypatch.setattr(files, "sync_dir", failing)
        with pytest.raises(LakeError, match="The commit is decided"):
            commit(layout, [staged], {})
        monkeypatch.undo()
    with write_lock(layout.root):
        assert recover(layout) == 1
    assert (layout.root / table_file(TRIALS, KEY)).exists()


def test_a_record_that_was_carried_out_long_ago_is_not_carried_out_again(layout, tmp_path):
    """A backup that was made amid a commit, and again later over the same folder, still has it."""
    backup = tmp_path / "backup"
    with write_lock(layout.root), staging_run(layout.root) as run:
        commit(layout, [stage_trials(layout, run).finish()], {})
        stage = stage_trials(layout, run, n=4)
        other = table_file(TRIALS, {"subject_id": 1, "session": 3})
        stage.delete(other)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(commits, "_carry_out", lambda *_: None)
            commit(layout, [stage.finish()], {})
        shutil.copytree(layout.root, backup)
        recover(layout)
        again = stage_trials(layout, run, n=5)
        again.table(TRIALS, {"subject_id": 1, "session": 3}, trials(1))
        commit(layout, [again.finish()], {})
    shutil.copytree(layout.root, backup, dirs_exist_ok=True)
    before = _content(backup)
    with write_lock(backup):
        assert recover(Layout(backup)) == 0
    assert _content(backup) == before == _content(layout.root)
    assert not any(Layout(backup).journal.iterdir())
    assert not any(Layout(backup).staging.iterdir())


_OTHER_DISK = Path("/dev/shm")  # noqa: S108 - a file system of its own, where there is one
_IS_OTHER = _OTHER_DISK.is_dir() and (
    _OTHER_DISK.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev
)


@pytest.mark.skipif(
    not _OTHER_DISK.is_dir()
    or _OTHER_DISK.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev,
    reason="there is one file system only",
)
def test_a_lake_on_two_disks_is_refused_before_the_commit_is_decided(layout):
    with (
        tempfile.TemporaryDirectory(dir=_OTHER_DISK) as folder,
        write_lock(layout.root),
        staging_run(layout.root) as run,
    ):
        commit(layout, [stage_trials(layout, run).finish()], {})
        (layout.root / "arrays").symlink_to(folder)
        stage = stage_trials(layout, run, n=4)
        spikes.write(stage.array(_store()), {"unit": np.arange(3)}, {})
        with pytest.raises(LakeError, match="on another disk"):
            commit(layout, [stage.finish()], {})
        assert not any(layout.journal.iterdir())
        (layout.root / "arrays").unlink()
        stage.abandon()
    path = layout.root / table_file(TRIALS, KEY)
    assert pq.read_table(path, partitioning=None).num_rows == 3


def test_a_folder_that_may_not_be_written_to_is_told_before_the_commit_is_decided(
    layout, monkeypatch
):
    """Else nobody but its owner could open the lake again."""
    with write_lock(layout.root), staging_run(layout.root) as run:
        commit(layout, [stage_trials(layout, run).finish()], {})
        closed = (layout.root / table_file(TRIALS, KEY)).parent
        real = os.access

        def access(path, mode):
            return real(path, mode) and not (path == closed and mode & os.W_OK)

        monkeypatch.setattr(os, "access", access)
        staged = stage_trials(layout, run, n=4).finish()
        with pytest.raises(LakeReadOnlyError, match=r"session=2.*g\+w"):
            commit(layout, [staged], {})
        assert not any(layout.journal.iterdir())
    assert pq.read_table(closed / "part.parquet", partitioning=None).num_rows == 3


def test_a_folder_of_a_containers_image_is_replaced_too(layout, monkeypatch):
    """Overlay file systems refuse to rename a folder that lies in a lower layer."""
    real = files.replace

    def replace(source, target):
        if source.is_dir() and source.is_relative_to(layout.root / "arrays"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(files, "replace", replace)
    for count in (3, 7):
        with write_lock(layout.root), staging_run(layout.root) as run:
            stage = Stage(layout, run)
            spikes.write(stage.array(_store()), {"unit": np.arange(count)}, {})
            commit(layout, [stage.finish()], {})
    group = zarr.open_group(str(layout.root / _store()), mode="r")
    assert group["unit"].shape == (7,)


def test_a_disk_that_is_full_when_a_commit_is_finished_does_not_undo_it(layout, monkeypatch):
    with write_lock(layout.root), staging_run(layout.root) as run, monkeypatch.context() as patch:
        patch.setattr(commits, "_carry_out", lambda *_: None)
        commit(layout, [stage_trials(layout, run).finish()], {})

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with write_lock(layout.root), monkeypatch.context() as patch:
        patch.setattr(files, "make_dir", full)
        with pytest.raises(LakeError, match="disk is full") as caught:
            recover(layout)
    assert "The commit is decided" in str(caught.value)
    assert recover_if_needed(layout.root)
    assert (layout.root / table_file(TRIALS, KEY)).exists()


def test_what_one_part_removes_and_another_writes_stays_when_done_again(layout, monkeypatch):
    with write_lock(layout.root), staging_run(layout.root) as run:
        commit(layout, [stage_trials(layout, run).finish()], {})
        stage = Stage(layout, run)
        stage.delete(table_file(TRIALS, KEY))
        monkeypatch.setattr(files, "replace", _fails_at(files.replace, 3))
        with pytest.raises(LakeError):
            commit(layout, [stage.finish(), stage_trials(layout, run, n=4).finish()], {})
        monkeypatch.undo()
    with write_lock(layout.root):
        assert recover(layout) == 1
    path = layout.root / table_file(TRIALS, KEY)
    assert pq.read_table(path, partitioning=None).num_rows == 4


def test_who_slept_amid_a_commit_removes_nothing_that_came_after_it(layout):
    """Without the system's lock a process that sleeps is taken for dead, its commit finished."""
    with write_lock(layout.root), staging_run(layout.root) as run:
        stage = Stage(layout, run)
        stage.delete(table_file(TRIALS, KEY))
        parts = [{"name": stage.staged.name, "writes": [], "deletes": stage.staged.deletes}]
        commit(layout, [stage_trials(layout, run).finish()], {})
        commits._carry_out(layout, layout.journal / "finished.json", {"parts": parts})
    assert (layout.root / table_file(TRIALS, KEY)).exists()


def _fails_at(real, number):
    calls = iter(range(1, 1000))

    def failing(*args):
        if next(calls) == number:
            raise OSError(errno.EIO, "Input/output error")
        return real(*args)

    return failing


def _die_at(root, step):
    """Commit in a process that ends at the given file operation, without any clean-up."""
    layout = Layout(root)
    count = 0

    def wrap(name):
        real = getattr(files, name)

        def dying(*args):
            nonlocal count
            count += 1
            if count == step:
                os._exit(9)
            return real(*args)

        setattr(files, name, dying)

    with write_lock(root), staging_run(root) as run:
        stage = Stage(layout, run)
        for name in ("make_dir", "sync_file", "sync_dir", "replace", "remove", "write_bytes"):
            wrap(name)
        stage.table(TRIALS, KEY, trials(5, shift=1.0))
        stage.table(TRIALS, {"subject_id": 1, "session": 9}, trials(1))
        spikes.write(stage.array(_store()), {"unit": np.arange(7)}, {})
        stage.delete(table_file(TRIALS, {"subject_id": 1, "session": 3}))
        commit(layout, [stage.finish()], {})
    os._exit(0)


def _store():
    from maplake.layout import spike_store

    return spike_store({"subject_id": 1, "session": 2, "insertion_number": 1}, "kilosort2")


def _content(root):
    return {
        str(p.relative_to(root)): p.read_bytes()
        for top in ("tables", "arrays")
        for p in (root / top).rglob("*")
        if p.is_file()
    }


def test_killed_at_any_file_operation_the_lake_is_as_before_or_as_after(tmp_path):
    def fresh(name):
        root = tmp_path / name
        layout = Layout(root)
        with write_lock(root), staging_run(root) as run:
            stage = stage_trials(layout, run)
            stage.table(TRIALS, {"subject_id": 1, "session": 3}, trials(2))
            spikes.write(stage.array(_store()), {"unit": np.arange(3)}, {})
            commit(layout, [stage.finish()], {})
        return root

    context = multiprocessing.get_context("fork" if os.name != "nt" else "spawn")
    before = _content(fresh("before"))
    after = None
    outcomes = set()
    for step in range(1, 200):
        root = fresh(f"step{step}")
        process = context.Process(target=_die_at, args=(root, step))
        process.start()
        process.join()
        if after is None:
            done = fresh("after")
            last = context.Process(target=_die_at, args=(done, 10_000))
            last.start()
            last.join()
            after = _content(done)
            assert after != before
        recover_if_needed(root)
        with write_lock(root):
            recover(Layout(root))
        found = _content(root)
        assert found in (before, after), f"neither before nor after when killed at step {step}"
        outcomes.add(found == after)
        assert not any(Layout(root).staging.iterdir())
        if process.exitcode == 0:
            break
    assert outcomes == {True, False}
    assert process.exitcode == 0


def _hold(root, ready, done):
    with write_lock(root):
        ready.set()
        done.wait(20)


class TestLock:
    def test_names_its_holder(self, tmp_path):
        context = multiprocessing.get_context("spawn")
        ready, done = context.Event(), context.Event()
        process = context.Process(target=_hold, args=(tmp_path, ready, done))
        process.start()
        assert ready.wait(20)
        with (
            pytest.raises(LakeLockedError, match=f"process {process.pid} on ") as caught,
            write_lock(tmp_path, timeout_s=0.1),
        ):
            pass
        assert caught.value.exit_code == 6
        process.kill()
        process.join()
        with write_lock(tmp_path, timeout_s=5):  # a dead process's lock is given up
            pass

    def test_a_living_runs_files_are_left_alone(self, layout):
        with staging_run(layout.root) as run:
            stage = stage_trials(layout, run)
            with write_lock(layout.root):
                recover(layout)
            assert stage.folder.exists()
            assert living_runs(layout.staging) == {run}
        with write_lock(layout.root):
            recover(layout)
        assert not stage.folder.exists()


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        ("ENOSPC", LakeError, "disk is full"),
        ("EROFS", LakeReadOnlyError, "cannot be written"),
        ("EIO", LakeError, "failed"),
    ],
)
def test_disk_faults_are_told_and_nothing_is_visible(layout, monkeypatch, number, kind, text):
    with write_lock(layout.root), staging_run(layout.root) as run:
        staged = stage_trials(layout, run).finish()

        def fail(*_):
            raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)), "x")

        monkeypatch.setattr(files, "replace", fail)
        with pytest.raises(kind, match=text):
            commit(layout, [staged], {})
        monkeypatch.undo()
    assert not (layout.root / "tables").exists()


def test_the_journal_is_readable_json(layout, monkeypatch):
    seen = {}
    monkeypatch.setattr(commits, "_carry_out", lambda _l, j, _r: seen.update(text=j.read_text()))
    with write_lock(layout.root), staging_run(layout.root) as run:
        commit(layout, [stage_trials(layout, run).finish()], {"command": "ingest"})
    assert json.loads(json.loads(seen["text"])["body"])["note"] == {"command": "ingest"}
