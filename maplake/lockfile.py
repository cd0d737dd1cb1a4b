"""A lock that one process holds, on local disks and on network file systems.

Two things make the lock. The operating system's lock on a file is dropped when its process dies,
but some network file systems lack it, and on others each machine sees only its own. Beside it
therefore lies a marker, ``<file>.json``, that names the holder and whose time of change the holder
renews: a marker is that of a dead process if the same machine gives the system's lock, if the
process has gone from the same host, or if nobody renewed it for :data:`STALE_S`.
"""

from __future__ import annotations

import errno
import getpass
import json
import logging
import os
import random
import socket
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Self

__all__ = ["BEAT_S", "STALE_S", "HeldError", "Lock", "Onlooker"]

log = logging.getLogger(__name__)

#: How often (s) a holder renews its marker, and the age (s) at which it counts as dead.
BEAT_S, STALE_S = 4.0, 20.0
#: How long (s) writers wait for a reader, at least.
READING_S = 600.0
#: A marker without content is one being written, for no longer than this (s).
_WRITTEN_S = 2.0
_POLL_S = 0.03
#: How often a holder looks for its marker before it believes that it has lost the lock.
_LOOKS = 5
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
_NONE = {
    getattr(errno, name)
    for name in ("ENOSYS", "ENOLCK", "ENOTSUP", "EOPNOTSUPP", "EINVAL")
    if hasattr(errno, name)
}


class HeldError(Exception):
    """Another process holds the lock; ``holder`` says which, as far as is known."""

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__("the lock is held")
        self.holder = holder


@dataclass(frozen=True)
class _Marker:
    """The holder that a marker names, and when (ns) it was renewed."""

    holder: dict[str, Any]
    renewed_ns: int

    @property
    def token(self) -> object:
        return self.holder.get("token")

    @property
    def lasts_s(self) -> float:
        """How long (s) it holds without being renewed."""
        return STALE_S if self.holder else _WRITTEN_S


class Lock:
    """A lock file and its marker.

    Parameters
    ----------
    path
        The lock file; it stays.
    timeout_s
        How long (s) to wait for one holder; whoever comes after it is waited for as long again.
    is_reading
        Whether it is taken to read in peace, which others wait for up to :data:`READING_S`.
    """

    def __init__(self, path: Path, timeout_s: float = 0.0, *, is_reading: bool = False) -> None:
        self._path = path
        self._marker = path.with_name(f"{path.name}.json")
        self._timeout_s = timeout_s
        self._token = uuid.uuid4().hex
        self._is_reading = is_reading
        self._file: int | None = None
        self._seen: tuple[_Marker, float] | None = None
        self._done = threading.Event()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        HeldError
            If one other process keeps it for longer than ``timeout_s``.
        OSError
            If the folder cannot be written to.
        """
        end = time.monotonic() + self._timeout_s
        first = _UNKNOWN
        while not self._try():
            found = _read(self._marker)
            token = _UNKNOWN if found is None else found.token
            if token != first and self._timeout_s > 0:
                first, end = token, time.monotonic() + self._patience(found)
            if time.monotonic() >= end:
                raise HeldError({} if found is None else found.holder)
            time.sleep(_POLL_S * random.uniform(0.5, 1.5))  # noqa: S311 - only to spread tries
        self._done.clear()
        threading.Thread(target=self._renew, daemon=True).start()

    def _patience(self, found: _Marker | None) -> float:
        is_reading = found is not None and found.holder.get("reading")
        return max(self._timeout_s, READING_S) if is_reading else self._timeout_s

    def is_held(self) -> bool:
        """Whether nobody has taken this process for dead and the lock for free since.

        Raises
        ------
        OSError
            If that cannot be told.
        """
        for _ in range(_LOOKS):  # taken away by mistake, the marker is soon given back
            with suppress(FileNotFoundError):
                return _holder(self._marker.read_bytes()).get("token") == self._token
            time.sleep(_POLL_S)
        return False

    def release(self) -> None:
        """Give the lock up."""
        self._done.set()
        found = _read(self._marker)
        if found is not None and found.token == self._token:
            with suppress(OSError):
                self._marker.unlink()
        elif found is not None:
            log.warning("%s was taken over while this process slept", self._path)
        self._close()

    def _try(self) -> bool:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            native = _lock(file)
            is_free = native is not False and _is_in_place(file, self._path)
            if is_free and self._mark(native=native is True):
                self._file = file
                return True
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return False

    def _mark(self, *, native: bool) -> bool:
        """Write the marker; that of a dead process is taken away first."""
        for _ in range(2):
            try:
                handle = os.open(self._marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                found = _read(self._marker)
                if found is not None and not (
                    _is_dead(found, self._path, native=native) or self._is_idle(found)
                ):
                    return False
                self._take_away(found)
            else:
                self._sign(handle)
                return True
        return False

    def _is_idle(self, found: _Marker) -> bool:
        """Whether nobody renewed a marker while this one waited for it.

        One of a machine whose clock was set back since is from the future and never grows old.
        """
        now = time.monotonic()
        if self._seen is None or self._seen[0] != found:
            self._seen = found, now
        return now - self._seen[1] > found.lasts_s

    def _sign(self, handle: int) -> None:
        try:
            with os.fdopen(handle, "wb") as marker:
                marker.write(json.dumps(self._signature()).encode())
        except OSError:  # unsigned, it would hold others up for a while
            found = _read(self._marker)
            with suppress(OSError):
                if found is not None and not found.holder:
                    self._marker.unlink()
            raise

    def _signature(self) -> dict[str, Any]:
        return _me() | {"token": self._token, "reading": self._is_reading}

    def _take_away(self, found: _Marker | None) -> None:
        if found is None:  # gone just now
            return
        aside = self._marker.with_name(f"{self._marker.name}.{self._token}")
        with suppress(FileNotFoundError):
            self._marker.rename(aside)
            moved = _read(aside)
            if moved is not None and moved.token != found.token:
                # Someone else took the dead one's marker away and has the lock: give it back.
                _give_back(aside, self._marker)
            aside.unlink()

    def _renew(self) -> None:
        while not self._done.wait(BEAT_S):
            found = _read(self._marker)
            if found is not None and found.token != self._token:
                return
            # One that cannot be read just now may be there at the next beat.
            with suppress(OSError):
                os.utime(self._marker)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)  # drops the system's lock
        self._file = None


class Onlooker:
    """Looks at a lock for one who may not write, and so cannot try it.

    Parameters
    ----------
    path
        The lock file.
    """

    def __init__(self, path: Path) -> None:
        self._marker = path.with_name(f"{path.name}.json")
        self._last: _Marker | None = None
        self._renewed = self._held = time.monotonic()

    def idle_s(self) -> float:
        """Return how long (s) nobody alive was seen to hold the lock; to be asked repeatedly.

        The clocks of two machines differ, and that of the file system cannot be asked without
        writing: a holder is dead who does not renew the marker for :data:`STALE_S` meanwhile.
        """
        found, now = _read(self._marker), time.monotonic()
        if found != self._last:
            self._last, self._renewed = found, now
        is_renewed = found is not None and now - self._renewed <= STALE_S
        if found is not None and is_renewed and not _is_of_dead_process(found.holder):
            self._held = now
        return now - self._held


_UNKNOWN = object()


def _lock(file: int) -> bool | None:
    """Try the system's lock: whether it was given, or None where there is none."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        if error.errno in _NONE:
            return None
        raise
    return True


def _is_in_place(file: int, path: Path) -> bool:
    """Whether nobody removed the lock file between its opening and its locking."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _read(path: Path) -> _Marker | None:
    """Return a marker, or None without one; opening it makes network file systems look anew."""
    try:
        with path.open("rb") as file:
            renewed = os.fstat(file.fileno()).st_mtime_ns
            text = file.read()
    except OSError:
        return None
    return _Marker(_holder(text), renewed)


def _holder(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:  # being written, or its writer died over it
        return {}
    return found if isinstance(found, dict) else {}


def _give_back(aside: Path, marker: Path) -> None:
    """Put a marker back, unless there is a new one: then both its holders find out by it."""
    try:
        os.link(aside, marker)
    except FileExistsError:
        return
    except OSError:  # no hard links here
        with suppress(OSError), marker.open("xb") as file:
            file.write(aside.read_bytes())


def _is_dead(found: _Marker, path: Path, *, native: bool) -> bool:
    if native and found.holder.get("machine") == _machine():  # it would hold the system's lock
        return True
    if _is_of_dead_process(found.holder):
        return True
    os.utime(path)  # the file system's own clock, whatever that of this machine says
    return (path.stat().st_mtime_ns - found.renewed_ns) / 1e9 > found.lasts_s


def _is_of_dead_process(holder: dict[str, Any]) -> bool:
    """Whether a holder is a process of this very host that has gone."""
    me = (_machine(), socket.gethostname())
    return (holder.get("machine"), holder.get("host")) == me and _has_gone(holder)


def _has_gone(holder: dict[str, Any]) -> bool:
    """Whether a process of this host has gone; not known on Windows."""
    if os.name == "nt":
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return False
    return False


@cache
def _machine() -> str:
    """Return what tells machines apart, whatever they are called: containers of one share it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"  # many are called MacBook-Pro.local


def _me() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "machine": _machine(),
        "user": _user(),
        "command": " ".join(sys.argv)[:200],
        "since": datetime.now().isoformat(timespec="seconds"),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
