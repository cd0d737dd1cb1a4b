"""What discovery finds: sources, below the configured roots; contents are not read.

A source is the files of one thing: a behavior session, a probe's sorting, a session's tracking from
one camera, a probe's histology. There is a ``find_*.py`` for each.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from maplake import readers
from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    MaplakeError,
    UnreadableFileError,
    plain_text,
)
from maplake.readers import Reader, listing
from maplake.readers.base import Records

log = logging.getLogger(__name__)

BEHAVIOR, EPHYS, LFP, NIDQ = "behavior", "ephys", "lfp", "nidq"
TRACKING, HISTOLOGY, CCF = "tracking", "histology", "ccf"


@dataclass(frozen=True)
class Part:
    """One path of a source (with ``more`` of the same kind) and the reader that it is for."""

    kind: str
    reader: str
    path: Path
    more: tuple[Path, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """All paths of the part."""
        return [self.path, *self.more]

    def files(self) -> list[Path]:
        """Return every file that the reader will open."""
        files = self.get_reader().files
        with reading(self.path, self.reader):
            found = [Path(file) for path in self.paths for file in files(path)]
        for path in found:
            if not is_plain(path):
                raise _no_text(path)
        return found

    def read(self, *context: object) -> Records:
        """Read the part's one path; see :func:`reading` for errors."""
        with reading(self.path, self.reader):
            return self.get_reader().read(self.path, *context)

    def get_reader(self) -> Reader:
        """Return the reader."""
        return next(r for r in readers.of_kind(self.kind) if r.name == self.reader)


@contextmanager
def reading(path: Path, reader: str) -> Iterator[None]:
    """Let nothing but maplake errors out of a reader, so that one source keeps no other out.

    Raises
    ------
    UnreadableFileError
        For an error of the operating system.
    CorruptFileError
        For any other: a fault of the reader, which may be another package's.
    """
    try:
        yield
    except MaplakeError as error:
        error.file = error.file or str(path)
        raise
    except OSError as error:
        raise UnreadableFileError(
            "cannot be read", file=error.filename or path, found=error.strerror or error
        ) from error
    except Exception as error:
        log.exception("the reader %s failed at %s", reader, path)
        raise CorruptFileError(
            f"the reader {reader} failed: {type(error).__name__}: {error}",
            file=path,
            hint="Is the file damaged? If it is not, report this as a fault of the reader.",
        ) from error


@dataclass(frozen=True)
class Source:
    """The files of one thing.

    Attributes
    ----------
    kind
        ``behavior``, ``ephys``, ``tracking`` or ``histology``.
    name
        Unique within the kind, and the same wherever the root lies.
    path
        File or folder.
    h2o
        The animal's short name.
    day
        Day of the session.
    start
        Start of the session, where the name tells.
    insertion_number
        Probe insertion.
    nth
        Which of the animal's sessions of that day, from 1, where the name says so.
    rig
        Rig of the root below which it was found.
    parts
        What to read, in order.
    problem
        What is wrong with it already at first sight.
    waits_for
        What is still missing, where that is no fault.
    expected
        The pattern of names, where its own fits none though it looks like a source.
    stat_print
        Hash over names, sizes and times of its files where discovery saw them already, else None.
    """

    kind: str
    name: str
    path: Path
    h2o: str
    day: date
    start: datetime | None = None
    insertion_number: int | None = None
    nth: int | None = None
    rig: str = ""
    parts: tuple[Part, ...] = field(default_factory=tuple)
    problem: MaplakeError | None = None
    waits_for: str | None = None
    expected: str | None = None
    stat_print: str | None = field(default=None, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name."""
        return (self.kind, self.name)

    def part(self, kind: str) -> Part | None:
        """Return the part of a kind, or None."""
        return next((part for part in self.parts if part.kind == kind), None)

    def files(self) -> list[Path]:
        """Return every file that the readers will open, sorted."""
        return sorted({file for part in self.parts for file in part.files()})


@dataclass
class Found:
    """What discovery found.

    ``skipped`` are sources that are left out for good, with the reason.
    """

    sources: list[Source] = field(default_factory=list)
    skipped: list[tuple[Source, str]] = field(default_factory=list)
    _first: dict[str, Source] = field(default_factory=dict)

    def add(self, source: Source) -> None:
        """Add a source, unless one of its name was found before, at a place that goes first."""
        source = _named(source)
        # A fault before it is known what lies there, or a name that does not tell: all are told.
        if not source.h2o or source.expected is not None:
            self.sources.append(source)
            return
        first = self._first.setdefault(source.name, source)
        if first is source:
            self.sources.append(source)
        else:
            self.skip(source, f"the same was found first at {first.path}")

    def skip(self, source: Source, reason: str) -> None:
        """Add a source that is left out for good."""
        self.skipped.append((_named(source), reason))

    def misname(
        self, kind: str, path: Path, expected: str, h2o: str = "", day: date = date.min
    ) -> None:
        """Add what looks like a source but for its name; ``expected`` is the pattern of names."""
        path = Path(plain_text(str(path)))  # what is not read may be called as it is
        self.sources.append(Source(kind, path.name, path, h2o, day, expected=expected))

    def unlisted(self, kind: str, error: OSError) -> None:
        """Add a folder that the operating system refuses to list, as a faulty source."""
        path = Path(error.filename)
        problem = UnreadableFileError("a folder cannot be listed", file=path, found=error.strerror)
        self.fault(kind, path, problem)

    def fault(self, kind: str, path: Path, problem: MaplakeError) -> None:
        """Add a place at which something is wrong before it is known what lies there."""
        self.sources.append(_named(Source(kind, path.name, path, "", date.min, problem=problem)))


def is_plain(path: Path) -> bool:
    """Whether a path is Unicode text, which the records of a lake are."""
    return plain_text(str(path)) == str(path)


def _no_text(path: Path) -> FileFormatError:
    return FileFormatError(
        "a name is no Unicode text", file=path, hint="Rename the file or folder."
    )


def _named(source: Source) -> Source:
    """Return the source; one whose path is no Unicode text is faulty and gets a name that is."""
    if is_plain(source.path):
        return source
    return replace(
        source,
        name=plain_text(source.name),
        path=Path(plain_text(str(source.path))),
        h2o=plain_text(source.h2o),
        problem=source.problem or _no_text(source.path),
    )


def walk(root: Path, kind: str, found: Found) -> Iterator[Path]:
    """Iterate over the files below a folder in a fixed order."""
    yield from listing.walk(root, lambda error: found.unlisted(kind, error))


def folders(path: Path, onerror: Callable[[OSError], object]) -> list[Path]:
    """Return the folders in a folder, sorted; ``onerror`` is told of one that cannot be listed."""
    try:
        with os.scandir(path) as entries:
            return [path / name for name in sorted(e.name for e in entries if e.is_dir())]
    except OSError as error:
        onerror(error)
        return []


def day_of(text: str, form: str) -> date | None:
    """Read a day, or None where the digits are none."""
    try:
        return datetime.strptime(text, form).date()
    except ValueError:
        return None
