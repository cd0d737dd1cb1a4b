"""The sources of one session, and what is to be done with each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from maplake.ingest.sources import BEHAVIOR, EPHYS, HISTOLOGY, LFP, NIDQ, TRACKING, Source
from maplake.ingest.state import SourceState, state_name

State = dict[tuple[str, str], SourceState]

#: Kinds of the sources that a session is read from.
SESSION_KINDS = (BEHAVIOR, EPHYS, LFP, NIDQ, TRACKING, HISTOLOGY)

#: Nothing was found of a kind that is looked for.
ABSENT = "absent"
IN, UNCHANGED, WAITING, FAILED, SKIPPED, PLANNED = (
    "in",
    "unchanged",
    "waiting",
    "failed",
    "skipped",
    "planned",
)

#: In the lake, but a reader of it was corrected since.
OUTDATED = "outdated"

#: Looks like a source, but its name fits no pattern.
MISNAMED = "misnamed"

#: Status of a source whose rows were deleted on request: ingest leaves it out.
DELETED = "deleted"


@dataclass(frozen=True)
class Item:
    """One source in the plan.

    ``status`` is ``planned`` for what is to be read, else why it is not. ``stat`` are the names,
    sizes and times to remember for a source whose files were touched but not changed;
    ``replaces`` marks a new sorting or histology, whose forerunner goes to the archive.
    """

    source: Source
    status: str
    reason: str | None = None
    stat: list[list[Any]] | None = None
    replaces: bool = False


@dataclass
class SessionPlan:
    """The sources of one session.

    Attributes
    ----------
    subject_id, session, h2o, start
        Which session.
    items
        Its sources.
    state
        What the lake knows of them.
    """

    subject_id: int
    session: int
    h2o: str
    start: datetime
    items: list[Item] = field(default_factory=list)
    state: State = field(default_factory=dict)

    @property
    def partition(self) -> dict[str, int]:
        """subject_id and session."""
        return {"subject_id": self.subject_id, "session": self.session}

    @property
    def name(self) -> str:
        """Name of its state file."""
        return state_name(self.subject_id, self.session)

    @property
    def todo(self) -> list[Item]:
        """What is to be read, in order."""
        return [item for item in self.items if item.status == PLANNED]


def is_overtaken(session: SessionPlan, current: State) -> bool:
    """Whether another writer changed a session in the lake since it was planned."""
    return _standing(session.state) != _standing(current)


def _standing(state: State) -> dict[tuple[str, str], tuple[object, ...]]:
    """Return what a session's rows come from; what was computed from them does not matter."""
    return {
        key: (s.status, s.fingerprint, s.settings, s.depends, s.reader, s.reader_version)
        for key, s in state.items()
        if s.kind in SESSION_KINDS and s.status in (IN, DELETED)
    }
