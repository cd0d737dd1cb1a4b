"""Where a probe's histology is, and what the names of its files say.

A probe's source is named by a path that is no file: the folder, then the beginning that its files
share (``landmarks_{h2o}_{YYYYMMDD}[_{HHMMSS}]_{probe}``, or ``…channel_locations``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path, PurePath

from maplake.errors import AmbiguousSourceError, FileFormatError, UnreadableFileError
from maplake.readers.listing import files_below

__all__ = ["Insertion", "Named", "by_shank", "locate", "matching", "named_below", "pair_shanks"]

CHANNEL_LOCATIONS = "channel_locations"
_FOLDER = "histology"
_SHANK = r"(?:_shank_?(?P<shank>\d+))?"
_TAILS = rf"_{CHANNEL_LOCATIONS}{_SHANK}\.json", r"(?:_\d)?(?:_siteInfo\.mat|\.csv)"
_HEADS = "", "landmarks_"
_LOCATIONS = re.compile(rf"(?P<prefix>.*?){CHANNEL_LOCATIONS}{_SHANK}\.json")


@dataclass(frozen=True)
class Insertion:
    """Whose histology is looked for.

    ``start`` is the session's start; ``sessions_that_day`` counts the animal's sessions of that
    day; ``relative`` is the sorting's folder below its ephys root, where the probe has one.
    """

    h2o: str
    start: datetime
    insertion_number: int
    sessions_that_day: int = 1
    relative: PurePath | None = None


@dataclass(frozen=True)
class Named:
    """Whose histology a file is by its name; ``time`` (HHMMSS) only where there is one."""

    path: Path
    h2o: str
    day: date
    time: str | None
    insertion_number: int


def locate(root: Path, insertion: Insertion) -> Path | None:
    """Return the path by which to read an insertion's histology, or None without any.

    Format 2 (``channel_locations``) wins over format 1 (``landmarks``). The name of the path says
    which: :func:`maplake.readers.channel_locations.find` and
    :func:`maplake.readers.site_info.find` recognise their own.

    Raises
    ------
    AmbiguousSourceError
        If there are several sessions that day and the name does not say which is meant, or if
        there are channel_locations in several folders.
    UnreadableFileError
        If a folder cannot be listed.
    """
    animal = root / insertion.h2o
    shared = animal / _FOLDER
    found = _named_locations(shared, insertion)
    if found is None:
        own = [animal / f"{insertion.start:%Y%m%d}_{insertion.insertion_number}"]
        own += [root / insertion.relative] if insertion.relative else []
        found = _only(path for folder in own for path in _all_locations(folder))
    return found or _landmarks(shared, insertion)


def named_below(root: Path) -> Iterator[Named]:
    """Yield the files of ``{h2o}/histology`` whose names say whose they are.

    Raises
    ------
    UnreadableFileError
        If a folder cannot be listed.
    """
    for animal in _entries(root):
        h2o = animal.name
        mine = rf"{re.escape(h2o)}_(?P<day>\d{{8}})(?:_(?P<time>\d{{6}}))?_(?P<number>\d+)"
        patterns = [re.compile(h + mine + t) for h, t in zip(_HEADS, _TAILS, strict=True)]
        for path in _entries(animal / _FOLDER) if animal.is_dir() else ():
            match = next((m for p in patterns if (m := p.fullmatch(path.name))), None)
            with suppress(ValueError):  # a day that there is not
                if match is not None:
                    day = datetime.strptime(match["day"], "%Y%m%d").date()
                    yield Named(path, h2o, day, match["time"], int(match["number"]))


def _names(folder: Path) -> list[str]:
    return [path.name for path in _entries(folder) if path.is_file()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnreadableFileError(
            "a folder cannot be listed", file=folder, found=error.strerror
        ) from error


def _session(insertion: Insertion, head: str, tail: str) -> re.Pattern[str]:
    """Return what names of this insertion's files match: the time may be left out."""
    day = f"{re.escape(insertion.h2o)}_{insertion.start:%Y%m%d}"
    return re.compile(
        rf"(?P<stem>{head}{day}(?:_(?P<time>\d{{6}}))?_{insertion.insertion_number}){tail}"
    )


def _stem(folder: Path, pattern: re.Pattern[str], insertion: Insertion) -> str | None:
    """Return the beginning that the names of the insertion's files share."""
    matches = [m for name in _names(folder) if (m := pattern.fullmatch(name))]
    timed = {m["stem"] for m in matches if m["time"] == f"{insertion.start:%H%M%S}"}
    plain = {m["stem"] for m in matches if m["time"] is None}
    if timed:
        return timed.pop()
    if plain and insertion.sessions_that_day > 1:
        raise AmbiguousSourceError(
            f"{insertion.sessions_that_day} sessions that day, and the name does not say which",
            file=folder / min(plain),
            expected=f"{insertion.start:%H%M%S} after the date",
            hint="Write the session's time into the names, as in its behavior file.",
        )
    return plain.pop() if plain else None


def _named_locations(shared: Path, insertion: Insertion) -> Path | None:
    pattern = _session(insertion, _HEADS[0], _TAILS[0])
    stem = _stem(shared, pattern, insertion)
    return None if stem is None else shared / f"{stem}_{CHANNEL_LOCATIONS}"


def _landmarks(shared: Path, insertion: Insertion) -> Path | None:
    pattern = _session(insertion, _HEADS[1], _TAILS[1])
    stem = _stem(shared, pattern, insertion)
    return None if stem is None else shared / stem


def _all_locations(folder: Path) -> list[Path]:
    """Return the paths of all channel_locations at or below a folder, by their beginnings."""
    files = files_below(folder, ".json")
    matches = [(file.parent, m) for file in files if (m := _LOCATIONS.fullmatch(file.name))]
    return [parent / f"{m['prefix']}{CHANNEL_LOCATIONS}" for parent, m in matches]


def _only(paths: Iterable[Path]) -> Path | None:
    found = sorted(set(paths))
    if len(found) > 1:
        raise AmbiguousSourceError(
            "more than one set of channel locations for one probe",
            file=found[0],
            found=", ".join(map(str, found)),
            hint="Move the ones that should not be read out of the folder.",
        )
    return found[0] if found else None


def matching(path: Path, tail: str) -> dict[int | None, Path]:
    """Return the files whose names are ``path``'s and then ``tail``, by shank (None = not said).

    Raises
    ------
    AmbiguousSourceError
        If two files are of one shank.
    """
    pattern = re.compile(re.escape(path.name) + tail)
    found: dict[int | None, Path] = {}
    for name in _names(path.parent):
        match = pattern.fullmatch(name)
        if match is None:
            continue
        shank = None if match["shank"] is None else int(match["shank"])
        if shank in found:
            raise AmbiguousSourceError(
                "two files are of one shank",
                file=path.parent,
                found=f"{found[shank].name}, {name}",
            )
        found[shank] = path.parent / name
    return found


def by_shank(found: dict[int | None, Path], shanks: Sequence[int], what: str) -> dict[int, Path]:
    """Return one file per shank.

    Parameters
    ----------
    found
        Files by the shank that their names say.
    shanks
        The probe's shanks with recorded sites.
    what
        Name of the kind of file, for messages.

    Raises
    ------
    FileFormatError
        If there is not one file for each shank.
    """
    if len(found) == len(shanks) == 1:
        ((shank, file),) = found.items()
        if shank is None or shank == shanks[0]:
            return {shanks[0]: file}
    if set(found) != set(shanks):
        names = ", ".join(file.name for file in found.values())
        raise FileFormatError(
            f"not one {what} file for each shank",
            file=next(iter(found.values())).parent if found else None,
            found=f"{len(found)}: {names}" if found else "none",
            expected=f"{len(shanks)}, for shank {', '.join(map(str, shanks))}",
            hint="The shank's number belongs at the end of the name.",
        )
    return {shank: found[shank] for shank in shanks}


def pair_shanks(
    found: dict[int | None, Path], shanks: Sequence[int], what: str
) -> dict[int, Path] | None:
    """As :func:`by_shank`, but None where there are no files at all."""
    return by_shank(found, shanks, what) if found else None
