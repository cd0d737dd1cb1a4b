"""The lock: one holder at a time, wherever the lake lies and whoever died over it."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import threading
import time

import pytest

from maplake import lockfile
from maplake.errors import LakeLockedError
from maplake.layout import Layout
from maplake.lockfile import HeldError, Lock
from maplake.writers import commit
from maplake.writers.lock import living_runs, staging_run, write_lock

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(params=["with flock", "without flock", "flock per machine"])
def system(request, monkeypatch):
    """What the file system offers: a lock, none, or one that other machines do not see."""
    use(request.param)
    yield request.param
    use("with flock")


def use(kind):
    real = use.real
    if kind == "with flock":
        lockfile._lock = real
    elif kind == "without flock":
        lockfile._lock = lambda file: None
    else:
        lockfile._lock = lambda file: True


use.real = lockfile._lock


def add_one(path, kind, times):
    """Raise the number in a file, which loses counts if two do so at once."""
    use(kind)
    if kind == "flock per machine":
        lockfile._machine = lambda: f"machine {os.getpid()}"
    for _ in range(times):
        with Lock(path, 30):
            number = path.with_suffix(".number")
            found = int(number.read_text()) if number.exists() else 0
            time.sleep(0.001)
            number.write_text(str(found + 1))


def test_one_holder_at_a_time(tmp_path, system):
    path = tmp_path / "lock"
    processes = [SPAWN.Process(target=add_one, args=(path, system, 15)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert path.with_suffix(".number").read_text() == "60"


def hold(path, kind, ready):
    use(kind)
    Lock(path, 0).acquire()
    ready.set()
    time.sleep(60)


@pytest.mark.parametrize("kind", ["with flock", "without flock"])
def test_a_dead_holders_lock_is_taken_over_at_once(tmp_path, kind):
    path, ready = tmp_path / "lock", SPAWN.Event()
    process = SPAWN.Process(target=hold, args=(path, kind, ready))
    process.start()
    assert ready.wait(30)
    use(kind)
    try:
        with pytest.raises(HeldError) as caught:
            Lock(path, 0.1).acquire()
        assert caught.value.holder["pid"] == process.pid
        process.kill()
        process.join()
        begin = time.monotonic()
        with Lock(path, 5):
            assert time.monotonic() - begin < 2
    finally:
        use("with flock")


def foreign(path, age_s, **changes):
    """Leave a marker as a process of another machine would."""
    marker = path.with_name(f"{path.name}.json")
    holder = {"pid": 1, "host": "elsewhere", "machine": "another", "token": "t", "since": "then"}
    marker.write_text(json.dumps(holder | changes) if changes != {"empty": True} else "")
    then = time.time() - age_s
    os.utime(marker, (then, then))
    return marker


def test_another_machines_holder_counts_as_long_as_it_renews_its_marker(tmp_path, system):
    path = tmp_path / "lock"
    foreign(path, age_s=lockfile.STALE_S / 2)
    with pytest.raises(HeldError) as caught:
        Lock(path, 0.1).acquire()
    assert caught.value.holder["host"] == "elsewhere"
    foreign(path, age_s=lockfile.STALE_S + 5)
    with Lock(path, 0.1):
        pass
    assert not path.with_name("lock.json").exists()


def test_a_dead_holder_from_the_future_is_waited_for_no_longer_than_another(tmp_path, monkeypatch):
    """Its machine died, and its clock was set back when it came up again."""
    monkeypatch.setattr(lockfile, "STALE_S", 0.5)
    path = tmp_path / "lock"
    marker = foreign(path, age_s=-3600)
    stop = threading.Event()

    def renew():
        while not stop.wait(0.05):
            os.utime(marker, (time.time() + 3600,) * 2)

    thread = threading.Thread(target=renew)
    thread.start()
    with pytest.raises(HeldError):  # it lives, whatever its clock says
        Lock(path, 1.5).acquire()
    stop.set()
    thread.join()
    with Lock(path, 3):
        pass


def test_no_system_call_needs_a_number_where_windows_wants_a_name(tmp_path, monkeypatch):
    real = os.utime

    def utime(path, *args, **options):
        if isinstance(path, int):
            raise TypeError("utime: path should be string, bytes or os.PathLike, not int")
        real(path, *args, **options)

    monkeypatch.setattr(os, "utime", utime)
    path = tmp_path / "lock"
    foreign(path, age_s=100)
    with Lock(path, 0.1):
        pass


def test_a_marker_that_was_never_written_does_not_hold_for_long(tmp_path):
    path = tmp_path / "lock"
    foreign(path, 0, empty=True)
    with pytest.raises(HeldError):
        Lock(path, 0).acquire()
    foreign(path, 5, empty=True)
    with Lock(path, 0):
        pass


def test_a_lock_that_could_not_be_signed_is_free_at_once(tmp_path, monkeypatch):
    def broken():
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(lockfile, "_me", broken)
        with pytest.raises(OSError, match="Input/output"):
            Lock(tmp_path / "lock").acquire()
    with Lock(tmp_path / "lock", 0):
        pass


def test_a_holder_renews_its_marker(tmp_path, monkeypatch):
    monkeypatch.setattr(lockfile, "BEAT_S", 0.05)
    path = tmp_path / "lock"
    with Lock(path):
        marker = path.with_name("lock.json")
        os.utime(marker, (1, 1))
        end = time.monotonic() + 10
        while marker.stat().st_mtime < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert marker.stat().st_mtime > 2


def test_a_holder_renews_its_marker_after_a_moment_in_which_it_could_not_be_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(lockfile, "BEAT_S", 0.05)
    path, read, failed = tmp_path / "lock", lockfile._read, []

    def fails_twice(marker):
        if len(failed) < 2:
            failed.append(marker)
            return None  # as after ESTALE
        return read(marker)

    with Lock(path):
        marker = path.with_name("lock.json")
        monkeypatch.setattr(lockfile, "_read", fails_twice)
        end = time.monotonic() + 10
        while len(failed) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        os.utime(marker, (1, 1))
        while marker.stat().st_mtime < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert marker.stat().st_mtime > 2


@pytest.mark.parametrize("links", [True, False])
def test_a_marker_that_was_taken_away_by_mistake_is_given_back(tmp_path, monkeypatch, links):
    path = tmp_path / "lock"
    dead = lockfile._read(foreign(path, 100))
    owner = Lock(path)
    owner.acquire()  # the dead one's lock, meanwhile
    if not links:
        monkeypatch.delattr(os, "link")
        monkeypatch.setattr(os, "link", no_links, raising=False)
    Lock(path)._take_away(dead)
    assert owner.is_held()
    owner.release()


def no_links(*_):
    raise OSError(errno.ENOTSUP, "Operation not supported")


def test_a_holder_knows_when_another_one_took_its_lock(tmp_path):
    path = tmp_path / "lock"
    with Lock(path) as lock:
        assert lock.is_held()
        foreign(path, 0)
        assert not lock.is_held()
        path.with_name("lock.json").unlink()
        assert not lock.is_held()


def test_a_holder_that_slept_too_long_leaves_the_next_ones_marker(tmp_path, caplog):
    path = tmp_path / "lock"
    lock = Lock(path)
    lock.acquire()
    marker = foreign(path, 0)
    lock.release()
    assert json.loads(marker.read_text())["host"] == "elsewhere"
    assert "taken over" in caplog.text


def test_waiting_counts_for_each_holder_anew(tmp_path):
    """Eight writers that each commit in time do not make a ninth one give up."""
    path, stop = tmp_path / "lock", time.monotonic() + 1.2

    def busy():
        while time.monotonic() < stop:
            with Lock(path, 5):
                time.sleep(0.1)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    with Lock(path, 0.4):  # far less than the 1.2 s, more than any one holds it
        pass
    for thread in threads:
        thread.join()


def test_a_system_error_is_told(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(lockfile, "_lock", broken)
    with pytest.raises(OSError, match="Input/output"):
        Lock(tmp_path / "lock").acquire()


def test_the_lake_lock_names_a_holder_on_another_machine(tmp_path, system):
    (tmp_path / ".maplake").mkdir()
    foreign(tmp_path / ".maplake" / "lock", 0)
    with pytest.raises(LakeLockedError, match="process 1 on elsewhere, since then"):  # noqa: SIM117
        with write_lock(tmp_path, timeout_s=0.1):
            pass


def test_a_run_on_another_machine_is_alive(tmp_path, system):
    staging = tmp_path / ".maplake" / "staging"
    staging.mkdir(parents=True)
    (staging / "far.alive").touch()
    foreign(staging / "far.alive", 1)
    with staging_run(tmp_path):
        assert "far" in living_runs(staging)
    foreign(staging / "far.alive", 100)
    assert living_runs(staging) == set()


def begin_runs(root, times):
    for _ in range(times):
        with staging_run(root) as run:
            folder = root / ".maplake" / "staging" / f"{run}.x"
            folder.mkdir()
            time.sleep(0.002)
            assert folder.is_dir()
            folder.rmdir()


def test_a_run_that_begins_is_not_taken_for_dead(tmp_path):
    processes = [SPAWN.Process(target=begin_runs, args=(tmp_path, 40)) for _ in range(2)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        commit.recover(Layout(tmp_path))
    assert [process.exitcode for process in processes] == [0, 0]


def test_a_run_that_takes_the_name_of_a_dead_ones_lock_file_keeps_it(tmp_path, monkeypatch):
    """It had made the file, but not locked it yet, when a writer looked whether it lives."""
    staging = tmp_path / ".maplake" / "staging"
    staging.mkdir(parents=True)
    file = staging / "new.alive"
    file.touch()

    def looked(folder):
        found = living_runs(folder)
        assert not file.exists()
        file.touch()
        return found

    monkeypatch.setattr(commit, "living_runs", looked)
    with write_lock(tmp_path):
        commit.recover(Layout(tmp_path))
    assert file.exists()
