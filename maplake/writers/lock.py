"""The one writer's lock, with the name of its holder."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from maplake.errors import LakeLockedError
from maplake.layout import Layout
from maplake.lockfile import HeldError, Lock
from maplake.writers import files

#: A new run's lock is free but for the moment in which a writer looks whether the run lives.
_FIRST_S = 10.0
#: The write locks that this process holds, by their files.
_HELD: dict[Path, Lock] = {}


@contextmanager
def write_lock(root: Path, timeout_s: float = 30.0) -> Iterator[None]:
    """Hold the lake's write lock; a dead process's lock is given up, see :mod:`maplake.lockfile`.

    Parameters
    ----------
    root
        The lake.
    timeout_s
        How long to wait for another writer, s; for the next one as long again.

    Raises
    ------
    LakeLockedError
        If another process still holds the lock after ``timeout_s``; the message names it.
    LakeReadOnlyError
        If the lake's folder cannot be written to.
    """
    layout = Layout(root)
    with files.lake_faults(root):
        is_new = not root.exists()
        files.make_dir(layout.meta)
        if is_new:  # else a power cut could take the folder with all that is synced in it
            with suppress(PermissionError):  # who may write to it need not be able to read it
                files.sync_dir(root.parent)
        lock = Lock(layout.lock, timeout_s)
        try:
            lock.acquire()
        except HeldError as error:
            raise LakeLockedError(
                f"another process is writing to the lake ({_text(error.holder)})",
                file=root,
                hint="Wait until it has finished, or end it; a lock of a process that no longer "
                "runs is given up by itself.",
            ) from error
    _HELD[layout.lock.absolute()] = lock
    try:
        yield
    finally:
        del _HELD[layout.lock.absolute()]
        lock.release()


def check_held(layout: Layout) -> None:
    """Refuse to go on without the write lock that this process took.

    A process that does not run for a while, as on a machine that sleeps, cannot renew its lock on
    a file system on which that is all that tells of its life: others take it for dead.

    Raises
    ------
    LakeLockedError
        If another process has taken the lock.
    """
    lock = _HELD.get(layout.lock.absolute())
    if lock is not None and not lock.is_held():
        raise LakeLockedError(
            "another process took the lake's lock over while this one did not run",
            file=layout.root,
            hint="Nothing of the unfinished commit is visible; run the command again.",
        )


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
        lock = Lock(staging / f"{run}.alive", _FIRST_S)
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
        try:
            with Lock(path):  # held, so that it is no one else's just now; Windows keeps it then
                files.discard(path)
        except HeldError:
            living.add(path.stem)
    return living


def _text(holder: dict[str, Any]) -> str:
    try:
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except KeyError:
        return "its name is not known"
