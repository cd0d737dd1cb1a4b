"""Lists what is below a folder: in a fixed order, through symbolic links, without going round."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from maplake.errors import UnreadableFileError

__all__ = ["entries", "files_below", "walk"]


def walk(root: Path, onerror: Callable[[OSError], object]) -> Iterator[Path]:
    """Iterate over the files below a folder.

    Symbolic links to folders are followed; a folder that is met again is not entered again.

    Parameters
    ----------
    root
        The folder.
    onerror
        Called with what the operating system says of a folder that cannot be listed.
    """
    return (Path(entry) for entry in entries(root, onerror))


def entries(root: Path, onerror: Callable[[OSError], object]) -> Iterator[os.DirEntry[str]]:
    """Iterate over the same files as :func:`walk`, in the same order, as the system lists them."""
    seen = set()
    todo = [os.fspath(root)]
    while todo:
        folder = todo.pop()
        try:
            found = os.stat(folder)  # noqa: PTH116 - thousands of folders: texts are quick
            if (found.st_dev, found.st_ino) in seen:
                continue
            with os.scandir(folder) as listed:
                inside = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            onerror(error)
            continue
        seen.add((found.st_dev, found.st_ino))
        yield from (entry for entry in inside if not _is_dir(entry))
        todo += [entry.path for entry in reversed(inside) if _is_dir(entry)]


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def files_below(folder: Path, *endings: str) -> list[Path]:
    """Return the files at or below a folder whose names end so, sorted; none without a folder.

    Raises
    ------
    UnreadableFileError
        If a folder cannot be listed.
    """
    named = (path for path in walk(folder, _refuse) if path.name.endswith(endings))
    return sorted(path for path in named if path.is_file())


def _refuse(error: OSError) -> None:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return
    raise UnreadableFileError(
        "a folder cannot be listed", file=error.filename, found=error.strerror
    ) from error
