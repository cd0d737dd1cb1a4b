"""Every operation by which writers change a file system.

So faults can be injected at one place and the rules of other operating systems are kept in one
place. Beside it only locks and what the query layer may write (the catalog, a lake's own
conditions) rename, remove or sync, as they know no writers.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from maplake.errors import LakeError, LakeReadOnlyError, MaplakeError

_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
#: Whether the system's rules are those of Windows: what somebody has open cannot be renamed over,
#: renamed (a folder with it) or removed, folders cannot be synced, and paths are short.
WINDOWS = os.name == "nt"
#: Readers are soon done with a file.
_RETRIES, _PAUSE_S = 40, 0.05
_LONGEST = 259  # characters of a path on Windows, unless its long paths are enabled
_BEFORE = "Nothing of the unfinished commit is visible; run the command again after "
_DECIDED = "The commit is decided; whoever opens the lake next finishes it, after "


@contextmanager
def lake_faults(root: Path, *, decided: bool = False) -> Iterator[None]:
    """Turn an :class:`OSError` while writing below ``root`` into a :class:`LakeError`.

    ``decided`` says that a commit is only carried out, which the next open can do as well.
    """
    try:
        yield
    except MaplakeError:  # some are OSErrors, too
        raise
    except OSError as error:
        place = None if error.filename is None else str(error.filename)
        hint = _DECIDED if decided else _BEFORE
        if WINDOWS and error.errno == errno.EACCES and Path(place or "").exists():
            raise LakeReadOnlyError(
                "a file of the lake is held open by another program, or may not be changed",
                file=root,
                place=place,
                hint=f"{hint}closing it there.",
            ) from error
        if error.errno in _READ_ONLY:
            raise LakeReadOnlyError(
                "the lake cannot be written to",
                file=root,
                place=place,
                found=error.strerror,
                hint="Check the folder's permissions and whether the disk is mounted read-only.",
            ) from error
        if _is_too_long(error):
            raise LakeError(
                "a path in the lake is longer than the system allows",
                file=root,
                place=place,
                found=f"{len(place or '')} characters",
                hint="Put the lake nearer to the top of its drive, or enable its long paths.",
            ) from error
        full = error.errno in _FULL
        raise LakeError(
            "the lake's disk is full" if full else "writing to the lake failed",
            file=root,
            place=place,
            found=error.strerror or str(error),
            hint=hint + ("making room." if full else "mending the cause."),
        ) from error


def _is_too_long(error: OSError) -> bool:
    # Windows says of a path that is too long that it does not exist.
    long = len(str(error.filename or "")) > _LONGEST
    missing = isinstance(error, FileNotFoundError)
    return error.errno == errno.ENAMETOOLONG or (WINDOWS and long and missing)


def make_dir(path: Path) -> None:
    """Create a folder and its parents."""
    path.mkdir(parents=True, exist_ok=True)


def sync_file(path: Path) -> None:
    """Force a file's content to disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_through(path: Path) -> None:
    """Force everything synced before, and a file, out of the disk's own memory, too.

    Only macOS leaves that to be asked for. It is needed where an order must hold: what is staged
    before the record of its commit, what was moved before the end of that record.
    """
    if sys.platform == "darwin":
        import fcntl

        with path.open("r+b") as file, suppress(OSError):  # not on every file system
            fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)


def sync_dir(path: Path) -> None:
    """Force a folder's entries to disk, where the operating system can."""
    if WINDOWS:
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``, over an existing file."""
    _patiently(lambda: os.replace(source, target))  # noqa: PTH105 - the one that replaces everywhere


def _patiently(step: Callable[[], None]) -> None:
    """Try for some seconds where what somebody else has open stands in the way."""
    for attempt in range(_RETRIES):
        try:
            step()
        except PermissionError:
            if not WINDOWS or attempt == _RETRIES - 1:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def link(source: Path, target: Path) -> None:
    """Give a file a second name, or where the file system has no such thing, a copy of it.

    The second name keeps the content when the first is replaced or removed, at no cost. Nothing
    happens if ``target`` is there.
    """
    if target.exists():
        return
    make_dir(target.parent)
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except FileNotFoundError:
        raise
    except OSError:  # no hard links here, or too many of one file
        copy(source, target)


def copy(source: Path, target: Path) -> None:
    """Copy a file; ``target`` is never seen half."""
    make_dir(target.parent)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    shutil.copyfile(source, temporary)
    sync_file(temporary)
    replace(temporary, target)


def remove(path: Path) -> None:
    """Remove a file or a whole folder; nothing happens if there is none."""
    if path.is_dir() and not path.is_symlink():
        _patiently(lambda: shutil.rmtree(path))
    else:
        _patiently(lambda: path.unlink(missing_ok=True))


def discard(path: Path) -> None:
    """Remove what nobody needs any more; what cannot be removed now stays for the next one."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def remove_empty_parents(path: Path, stop: Path) -> None:
    """Remove the empty folders above ``path``, up to but not including ``stop``."""
    for parent in path.parents:
        if parent == stop or not parent.is_relative_to(stop):
            return
        try:
            parent.rmdir()
        except OSError:
            return


def write_bytes(path: Path, content: bytes) -> None:
    """Write a new file and force it to disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def put(path: Path, content: bytes) -> None:
    """Write a file that may be lost: never seen half, but not forced to disk."""
    make_dir(path.parent)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
        replace(temporary, path)
    except OSError:
        discard(temporary)
        raise


def date(path: Path, mtime_ns: int) -> None:
    """Give a file a later time of change (ns), if it can be had; an earlier one is not given."""
    with suppress(OSError):
        if path.stat().st_mtime_ns < mtime_ns:
            os.utime(path, ns=(mtime_ns, mtime_ns))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file by way of a temporary one, so that it is never seen half."""
    make_dir(path.parent)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    write_bytes(temporary, json_bytes(value))
    replace(temporary, path)
    sync_dir(path.parent)


def json_bytes(value: Any) -> bytes:
    """Encode JSON the same way every time."""
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()
