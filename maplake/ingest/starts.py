"""When a session began: as its behavior says, and as the name of its file does."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from maplake.errors import MaplakeError
from maplake.ingest.session import SessionPlan
from maplake.ingest.sources import BEHAVIOR
from maplake.layout import Layout, table_file
from maplake.tables import get

__all__ = ["SAME_START_S", "Starts", "session_datetime"]

#: A recording belongs to the session that started within this time of it, s.
SAME_START_S = 120.0


class Starts:
    """The starts of sessions, looked up when they are needed to tell a day's sessions apart."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, tuple[datetime, ...]] = {}

    def of(self, session: SessionPlan) -> tuple[datetime, ...]:
        """Return the start that the behavior tells, where it does, then that of the file's name."""
        if session.name not in self._known:
            own = self._in_lake(session) or _in_file(session)
            self._known[session.name] = (own or session.start, session.start)
        return self._known[session.name]

    def fits(self, session: SessionPlan, start: datetime) -> tuple[bool, ...]:
        """Tell by which of its starts a recording began with a session."""
        return tuple(
            abs((moment - start).total_seconds()) <= SAME_START_S for moment in self.of(session)
        )

    def _in_lake(self, session: SessionPlan) -> datetime | None:
        path = self._layout.root / table_file(get("experiment.session"), session.partition)
        return session_datetime(path)


def session_datetime(path: Path) -> datetime | None:
    """Return when a session began, from its file of experiment.session; None without one."""
    if not path.exists():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.ParquetFile(path).read(["session_datetime"])["session_datetime"]
        start: datetime = column[0].as_py()
    except (pa.ArrowException, OSError, IndexError):
        return None  # a damaged file: `maplake check` tells of it
    return start


def _in_file(session: SessionPlan) -> datetime | None:
    from maplake.readers import bpod

    for item in session.items:
        if item.source.kind == BEHAVIOR and bpod.find(item.source.path):
            try:
                return bpod.start_of(item.source.path)
            except MaplakeError:
                return None  # what is wrong with the file is told when it is read
    return None
