"""Lists what is below a folder: in a fixed order, through symbolic links, without going round."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from maplake.errors import UnreadableFileError

__all__ = ["files_below", "walk"]


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
    seen = set()
    for folder, names, file_names in os.walk(root, onerror=onerror, followlinks=True):
        try:
            found = os.stat(folder)  # noqa: PTH116 - os.walk gives texts
        except OSError as error:
            onerror(error)
            continue
        if (found.st_dev, found.st_ino) in seen:
            names.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        names.sort()
        for name in sorted(file_names):
            yield Path(folder, name)


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
