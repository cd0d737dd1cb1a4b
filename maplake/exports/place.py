"""Where exports go: checked names, nothing overwritten unasked, never half a file."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maplake.errors import MaplakeError, QueryError
from maplake.layout import safe_name
from maplake.query.outside import check_outside
from maplake.writers import files

__all__ = ["faults", "free", "named", "ready", "writing"]


def named(folder: Path, stem: str, suffix: str) -> Path:
    """Return a file in ``folder`` whose name holds words from the lake.

    What may not stand in a file name (slashes, dots at the start, …) is percent-encoded.
    """
    return folder / f"{safe_name(stem)}{suffix}"


def free(path: Path, *, force: bool) -> None:
    """Refuse a place that is taken, or in a lake's folder.

    Raises
    ------
    QueryError
        If it is in a lake, or something is there and ``force`` was not given.
    """
    check_outside(path)
    if not force and (path.exists() or path.is_symlink()):
        raise QueryError("is there already", file=path, hint="--force replaces it.")


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn an :class:`OSError` while writing into a :class:`QueryError`."""
    try:
        yield
    except MaplakeError:  # some are OSErrors, too
        raise
    except OSError as error:
        raise QueryError(f"cannot be written: {error.strerror or error}", file=path) from error


@contextmanager
def ready(path: Path) -> Iterator[None]:
    """Let a file be written, with its folder made: anew, whatever is there.

    Raises
    ------
    QueryError
        If it is a folder or in a lake, or cannot be written.
    """
    check_outside(path)
    with faults(path):
        if path.is_dir():
            raise QueryError("is a folder", file=path, expected="a file")
        files.make_dir(path.parent)
        yield


@contextmanager
def writing(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary file beside ``path`` that takes its place when all went well.

    Raises
    ------
    QueryError
        If the place is taken or cannot be written to.
    """
    free(path, force=force)
    with ready(path):
        temporary = path.parent / f".{uuid.uuid4().hex}.part{path.suffix}"
        try:
            yield temporary
            files.sync_file(temporary)
            files.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
