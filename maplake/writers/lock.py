"""The one writer's lock, with the name of its holder."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from maplake.errors import LakeLockedError
from maplake.layout import Layout
from maplake.writers import files


@contextmanager
def write_lock(root: Path, timeout_s: float = 30.0) -> Iterator[None]:
    """Hold the lake's write lock; the operating system drops a dead process's lock.

    Parameters
    ----------
    root
        The lake.
    timeout_s
        How long to wait for another writer, s.

    Raises
    ------
    LakeLockedError
        If another process still holds the lock after ``timeout_s``; the message names it.
    LakeReadOnlyError
        If the lake's folder cannot be written to.
    """
    meta = Layout(root).meta
    with files.lake_faults(root):
        files.make_dir(meta)
        lock = FileLock(meta / "lock", timeout=timeout_s)
        try:
            lock.acquire()
        except Timeout as error:
            raise LakeLockedError(
                f"another process is writing to the lake ({_holder(meta)})",
                file=root,
                hint="Wait until it has finished, or end it; a lock of a process that no longer "
                "runs is given up by itself.",
            ) from error
    try:
        _sign(meta)
        yield
    finally:
        with contextlib.suppress(OSError):
            files.remove(meta / "lock.json")
        lock.release()


@contextmanager
def staging_run(root: Path) -> Iterator[str]:
    """Name a run whose staging folders nobody else clears away while it lives.

    Sessions are read and staged without the write lock, so that several processes can do so at
    once; a lock file of its own tells each run's folders from those of a dead one.
    """
    staging = Layout(root).staging
    run = f"{datetime.now():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    with files.lake_faults(root):
        files.make_dir(staging)
        lock = FileLock(staging / f"{run}.alive")
        lock.acquire()
    try:
        yield run
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            files.remove(staging / f"{run}.alive")


def living_runs(staging: Path) -> set[str]:
    """Return the names of the runs whose processes live; lock files of dead ones are removed."""
    living = set()
    for path in staging.glob("*.alive"):
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            living.add(path.stem)
        else:
            lock.release()
            with contextlib.suppress(OSError):
                files.remove(path)
    return living


def _sign(meta: Path) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "user": _user(),
        "command": " ".join(sys.argv)[:200],
        "since": datetime.now().isoformat(timespec="seconds"),
    }
    # Only for the message to others; the lock holds without it.
    with contextlib.suppress(OSError):
        (meta / "lock.json").write_text(json.dumps(holder), encoding="utf-8")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _holder(meta: Path) -> str:
    try:
        holder = json.loads((meta / "lock.json").read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its name is not known"
