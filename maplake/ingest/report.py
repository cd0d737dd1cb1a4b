"""What an ingest did, source by source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from maplake.ingest.session import FAILED, IN, Item
from maplake.ingest.state import SourceState


@dataclass
class SourceReport:
    """One source: where it stands and why.

    ``status`` is one of ``in`` (taken in now), ``unchanged``, ``waiting``, ``failed``, ``skipped``,
    ``misnamed``, ``deleted`` and, in a dry run, ``planned``; where every source stands, also
    ``absent``. ``rows`` counts rows
    of all tables, ``skipped`` the items that its reader left out, by type.
    """

    kind: str
    name: str
    status: str
    reason: str | None = None
    subject_id: int | None = None
    session: int | None = None
    insertion_number: int | None = None
    h2o: str = ""
    rows: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    path: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)


@dataclass
class Report:
    """What an ingest did.

    Attributes
    ----------
    sources
        One entry per source.
    dry_run
        Whether nothing was written.
    """

    sources: list[SourceReport] = field(default_factory=list)
    dry_run: bool = False

    @property
    def failed(self) -> bool:
        """Whether any source failed."""
        return any(source.status == FAILED for source in self.sources)

    @property
    def skipped_trials(self) -> int:
        """Number of trials that were left out of the sources taken in."""
        return sum(s.skipped.get("trial", 0) for s in self.sources)

    def count(self, status: str) -> int:
        """Return the number of sources of a status."""
        return sum(source.status == status for source in self.sources)

    @property
    def changed(self) -> bool:
        """Whether anything was taken in."""
        return self.count(IN) > 0


def report_item(
    item: Item,
    place: Mapping[str, int] | None = None,
    state: SourceState | None = None,
    **changes: Any,
) -> SourceReport:
    """Return the report of a planned source, with what its state knows."""
    source = item.source
    fields: dict[str, Any] = {
        "kind": source.kind,
        "name": source.name,
        "status": item.status,
        "reason": item.reason,
        "insertion_number": source.insertion_number,
        "h2o": source.h2o,
        "path": str(source.path),
        **(place or {}),
    }
    if state is not None:
        fields |= {"rows": state.row_count, "skipped": state.skipped}
    return SourceReport(**(fields | changes))
