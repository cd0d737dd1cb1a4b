"""Reading beside writers: a read that a commit overlaps is repeated.

A commit renames its files one after another while its record lies in ``.maplake/journal``. Both
its coming and its going change that folder's time of change. So whoever finds the folder empty and
unchanged before and after a read has read between two commits: no lock, and two looks at a folder.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from maplake.errors import LakeLockedError, QueryError
from maplake.layout import Layout

if TYPE_CHECKING:
    from maplake.lockfile import Lock, Onlooker

__all__ = ["Steady"]

T = TypeVar("T")
Stamp = tuple[int, int]

#: Two changes within one tick of the file system's clock look like one (ns). It is no longer than
#: this, or it is one of whole seconds, of which FAT's takes two.
_TICK_NS, _COARSE_NS, _SECOND_NS = 20_000_000, 2_000_000_000, 1_000_000_000
_POLL_S = 0.005
#: How often a read is repeated before it keeps writers waiting for its turn.
_TRIES = 5
#: How long (s) to wait for a commit to end, and for the writers' lock.
PATIENCE_S = 60.0
#: How long (s) a commit without a living writer is looked at by a reader who may not finish it.
#: Another machine's lock may be seen a little late.
_GRACE_S = 1.0


class Steady:
    """Runs reads of one lake so that each sees whole commits only.

    Parameters
    ----------
    root
        The lake.
    recover
        Finishes what a dead writer left decided; returns whether this process may write to the
        lake. Where it may not, and no writer lives, a commit under way is told at once.
    """

    def __init__(self, root: Path, recover: Callable[[Path], bool] | None = None) -> None:
        self.root = root
        self._layout = Layout(root)
        self._recover = recover
        self._here = threading.local()

    def __call__(self, read: Callable[[], T]) -> T:
        """Return what ``read`` returns, from between two commits; it may be called repeatedly.

        Raises
        ------
        LakeLockedError
            If a writer that died amid a commit left it to someone who may write to the lake.
        QueryError
            If the lake changes all the while and cannot be locked against it.
        """
        if getattr(self._here, "is_reading", False):
            return read()
        self._here.is_reading = True
        try:
            return self._read(read)
        finally:
            self._here.is_reading = False

    def _read(self, read: Callable[[], T]) -> T:
        end = time.monotonic() + PATIENCE_S
        while True:
            for _ in range(_TRIES):
                before = self._settled()
                if before is None:
                    break
                try:
                    found = read()
                except Exception:
                    if self._stamp() == before:
                        raise
                    continue
                if self._stamp() == before:
                    return found
            lock = self._locked(is_last=time.monotonic() > end)
            if lock is None:
                continue
            try:
                # A writer that died amid a commit just now: that is finished first.
                if not _has_entries(self._layout.journal):
                    return read()
            finally:
                lock.release()

    def moment(self) -> Stamp | None:
        """Return what every commit changes; None while one is under way."""
        stamp = self._stamp()
        return None if _has_entries(self._layout.journal) else stamp

    def _stamp(self) -> Stamp:
        """Return what every commit changes, when it begins and when it ends."""
        return _changed(self._layout.journal), _changed(self._layout.log)

    def _settled(self) -> Stamp | None:
        """Wait until no commit is under way; return the stamp of the lake as it is then.

        None where one commit follows the other more quickly than the file system's clock tells.
        """
        end, asked = time.monotonic() + PATIENCE_S, False
        onlooker: Onlooker | None = None
        while True:
            stamp = self._stamp()
            tick = _TICK_NS if max(stamp) % _SECOND_NS else _COARSE_NS
            fresh = tick - abs(time.time_ns() - max(stamp))
            if fresh > 0:
                if time.monotonic() > end:
                    return None
                time.sleep(fresh / 1e9)
            elif not _has_entries(self._layout.journal):
                return stamp
            elif time.monotonic() > end or (onlooker and onlooker.idle_s() > _GRACE_S):
                raise LakeLockedError(
                    "a commit is under way and does not end",
                    file=self._layout.root,
                    hint="If its writer has died, any `maplake` command by someone who may write "
                    "to the lake finishes it.",
                )
            else:
                if not asked and self._recover is not None:
                    # Does nothing while the writer lives.
                    if not self._recover(self._layout.root) and onlooker is None:
                        from maplake.lockfile import Onlooker  # rarely, as below

                        onlooker = Onlooker(self._layout.lock)
                    asked = time.monotonic() > end - PATIENCE_S / 2
                time.sleep(_POLL_S)

    def _locked(self, *, is_last: bool) -> Lock | None:
        """Keep writers waiting, for a read that never fits between two commits.

        None where the lake cannot be written to: then the read has to be tried again, unless that
        was the last time.
        """
        from maplake.lockfile import HeldError, Lock  # rarely: opening a lake waits for imports

        try:
            lock = Lock(self._layout.lock, PATIENCE_S, is_reading=True)
            lock.acquire()
        except (OSError, HeldError) as error:
            if isinstance(error, OSError) and not is_last:
                return None
            raise QueryError(
                "the lake changed during every try to read it",
                file=self._layout.root,
                hint="Ask again when less is written.",
            ) from error
        return lock


def _changed(folder: Path) -> int:
    try:
        if os.name == "nt":
            return folder.stat().st_mtime_ns
        opened = os.open(folder, os.O_RDONLY)  # makes network file systems look anew
    except FileNotFoundError:
        return 0
    try:
        return os.fstat(opened).st_mtime_ns
    finally:
        os.close(opened)


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except FileNotFoundError:
        return False
