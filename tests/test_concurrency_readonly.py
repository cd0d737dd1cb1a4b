"""Readers who may not write to the lake: they cannot finish a commit, nor keep writers waiting."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import threading
import time

import pytest

import maplake
from maplake import lockfile
from maplake.config import Config
from maplake.config.settings import LakeSettings
from maplake.errors import LakeLockedError, LakeReadOnlyError, QueryError
from maplake.ingest.lakes import init
from maplake.layout import Layout
from maplake.query import steady
from maplake.writers import commit

SPAWN = multiprocessing.get_context("spawn")
REFUSALS = [errno.EROFS, errno.EACCES, errno.EPERM]


@pytest.fixture
def layout(tmp_path):
    init(Config(lake=LakeSettings(tmp_path / "lake")))
    return Layout(tmp_path / "lake")


@pytest.fixture(params=REFUSALS, ids=errno.errorcode.get)
def read_only(request, layout, monkeypatch):
    """Let no file of the lake be opened to write by this process, as on a read-only disk."""
    plain, root = os.open, str(layout.root)

    def refuse(path, flags, *args, **options):
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(root):
            raise OSError(request.param, os.strerror(request.param), str(path))
        return plain(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refuse)


@pytest.fixture
def decided(layout):
    """A commit under way."""
    record = layout.journal / "x.json"
    record.write_text("{}", encoding="utf-8")
    return record


def sign(layout, **holder):
    """Write the marker of the lock's holder."""
    marker = layout.lock.with_name(f"{layout.lock.name}.json")
    marker.write_text(json.dumps(holder), encoding="utf-8")
    return marker


ELSEWHERE = {"token": "t", "pid": 1, "host": "elsewhere", "machine": "another"}


def told_after(layout):
    begin = time.monotonic()
    with maplake.open(layout.root) as lake, pytest.raises(LakeLockedError, match="does not end"):
        lake.sql("SELECT 1 AS x").fetchall()
    return time.monotonic() - begin


def test_a_commit_that_this_reader_may_not_finish_is_told_at_once(layout, decided, read_only):
    assert 0.9 < told_after(layout) < 10


def test_a_dead_process_of_this_machine_is_not_waited_for(layout, decided, read_only):
    process = SPAWN.Process(target=int)
    process.start()
    process.join()
    sign(layout, **lockfile._me() | {"token": "t", "pid": process.pid})
    assert told_after(layout) < 10


def test_a_holder_elsewhere_who_renews_nothing_is_dead(layout, decided, read_only, monkeypatch):
    monkeypatch.setattr(lockfile, "STALE_S", 1.5)
    sign(layout, **ELSEWHERE)
    assert 2.4 < told_after(layout) < 12


def test_a_living_writer_elsewhere_is_waited_for(layout, decided, read_only, monkeypatch):
    monkeypatch.setattr(lockfile, "STALE_S", 1.0)
    marker = sign(layout, **ELSEWHERE)

    def finish():
        for _ in range(30):  # longer than a dead one is looked at
            time.sleep(0.1)
            os.utime(marker)
        decided.unlink()
        marker.unlink()

    thread = threading.Thread(target=finish)
    thread.start()
    with maplake.open(layout.root) as lake:
        assert lake.sql("SELECT 1 AS x").fetchall() == [(1,)]
    assert not decided.exists()
    thread.join()


def test_who_may_write_but_comes_upon_an_open_file_tries_again(layout, decided, monkeypatch):
    """On Windows; it is closed some time, longer after than a lone commit is looked at."""
    plain, begin = commit.recover, time.monotonic()

    def recover(layout):
        if time.monotonic() < begin + 2:
            raise LakeReadOnlyError("a file of the lake is held open")
        decided.unlink()
        return 1 + plain(layout)

    monkeypatch.setattr(commit, "recover", recover)
    with maplake.open(layout.root) as lake:
        assert lake.sql("SELECT 1 AS x").fetchall() == [(1,)]


def overlapped(layout, times):
    """Return a read that a commit overlaps so many times, and the list of its tries."""
    tries = []

    def read():
        tries.append(1)
        if len(tries) <= times:
            (layout.log / "new").touch()
            (layout.log / "new").unlink()
        return len(tries)

    return read, tries


def test_a_reader_who_may_not_lock_goes_on_trying(layout, monkeypatch):
    monkeypatch.setattr(lockfile.Lock, "acquire", refused)
    read, _ = overlapped(layout, 3 * steady._TRIES)
    with maplake.open(layout.root) as lake:
        assert lake.steady(read) == 3 * steady._TRIES + 1


def test_a_reader_who_may_not_lock_is_told_after_a_while(layout, monkeypatch):
    monkeypatch.setattr(lockfile.Lock, "acquire", refused)
    monkeypatch.setattr(steady, "PATIENCE_S", 1.0)
    read, tries = overlapped(layout, 10**9)
    begin = time.monotonic()
    with maplake.open(layout.root) as lake, pytest.raises(QueryError, match="every try"):
        lake.steady(read)
    assert 1.0 < time.monotonic() - begin < 20
    assert len(tries) > steady._TRIES


def refused(_):
    raise OSError(errno.EROFS, "Read-only file system")
