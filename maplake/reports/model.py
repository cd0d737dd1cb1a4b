"""What a report is asked for and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from maplake.plots.lookup import Key

#: What figures and pages are of.
LEVELS = ("project", "session", "probe", "unit")
#: Raise it when the spikes of units are stored, or pictures saved, other than before.
VERSION = 1


@dataclass(frozen=True)
class Wanted:
    """What to bring up to date; None = all of it.

    Attributes
    ----------
    level
        One of :data:`LEVELS`.
    subject_id, session, insertion_number
        Which sessions and probes.
    """

    level: str | None = None
    subject_id: int | None = None
    session: int | None = None
    insertion_number: int | None = None

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that are wanted."""
        return LEVELS if self.level is None else (self.level,)

    @property
    def is_whole(self) -> bool:
        """Whether it is everything in the lake."""
        return self == Wanted()

    def has(self, subject_id: int, session: int) -> bool:
        """Whether a session is wanted."""
        return self.subject_id in (None, subject_id) and self.session in (None, session)


@dataclass(frozen=True)
class Item:
    """Something to draw: a figure, or the same figure of all units of a probe.

    Attributes
    ----------
    folder
        Where it goes, below the report's folder, with forward slashes.
    figure
        Its name; ``SPIKES`` = the data of units that pages draw themselves.
    level
        One of :data:`LEVELS`.
    key
        What it is of.
    fingerprint
        Changes when the picture may.
    units
        Numbers of the units; empty if it is not of units.
    """

    folder: str
    figure: str
    level: str
    key: Key
    fingerprint: str
    units: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """What the record calls it."""
        return f"{self.folder}/{self.figure}"

    def files(self) -> dict[str, int | None]:
        """Return its file names, each with its unit."""
        if not self.units:
            return {f"{self.figure}.png": None}
        return {unit_file(unit, self.figure): unit for unit in self.units}


SPIKES = "spikes"


def unit_file(unit: int, figure: str) -> str:
    """Return the name of a unit's file."""
    return (
        f"unit{unit}.js" if figure == SPIKES else f"unit{unit}-{figure.removeprefix('unit-')}.png"
    )


def session_folder(subject_id: int, session: int) -> str:
    """Return the folder of a session's page, below the report's."""
    return f"sessions/{subject_id}_{session}"


def probe_folder(subject_id: int, session: int, insertion_number: int) -> str:
    """Return the folder of a probe's page, below the report's."""
    return f"{session_folder(subject_id, session)}/probe{insertion_number}"


@dataclass(frozen=True)
class Failure:
    """A figure that could not be drawn, or the data of a unit that could not be written."""

    file: str
    reason: str


@dataclass
class Report:
    """What became of a report.

    Attributes
    ----------
    index
        The page to open.
    figures, pages, removed
        Number of figures drawn (and units' data written), of pages written, of files removed.
    unchanged
        Whether there was nothing to do.
    failed
        What could not be drawn; it is tried again the next time.
    """

    index: Path
    figures: int = 0
    pages: int = 0
    removed: int = 0
    failed: list[Failure] = field(default_factory=list)

    @property
    def unchanged(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.figures or self.pages or self.removed or self.failed)
