"""What figures look up about a session, a probe or a unit before they draw it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from maplake.errors import NotFoundError
from maplake.plots.style import CONTRA, IPSI
from maplake.query.absent import absent
from maplake.query.aligned import where
from maplake.query.sqltext import literal

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

_EVENTS = ("sample", "delay", "go")


@dataclass(frozen=True)
class Key:
    """What a figure is of; None = everything of it."""

    subject_id: int | None = None
    session: int | None = None
    insertion_number: int | None = None
    unit: int | None = None
    clustering_method: str | None = None

    @property
    def where(self) -> str:
        """An SQL condition on the columns that are given."""
        return where(asdict(self))

    @property
    def session_where(self) -> str:
        """The same for the session alone."""
        return where({"subject_id": self.subject_id, "session": self.session})

    @property
    def probe_where(self) -> str:
        """The same for the probe alone, whatever the clustering."""
        keys = ("subject_id", "session", "insertion_number")
        return where({name: getattr(self, name) for name in keys})

    @property
    def probe(self) -> tuple[int, int, int]:
        """Subject, session and insertion.

        Raises
        ------
        NotFoundError
            If one is not given.
        """
        found = self.subject_id, self.session, self.insertion_number
        if None in found:
            raise NotFoundError("this figure is of a probe: give subject, session and insertion")
        return int(found[0] or 0), int(found[1] or 0), int(found[2] or 0)


def rows(lake: Lake, query: str, *params: object) -> pl.DataFrame:
    """Return the result of a query as a frame."""
    found: pl.DataFrame = lake.sql(query, list(params) or None).pl()
    return found


def some(frame: pl.DataFrame, message: str) -> pl.DataFrame:
    """Return a frame that has rows.

    Raises
    ------
    NotFoundError
        With the message, if it has none.
    """
    if not len(frame):
        raise NotFoundError(message)
    return frame


def check_key(lake: Lake, key: Key) -> None:
    """Check that the lake has what a figure is asked of.

    Raises
    ------
    NotFoundError
        If there is no such session, probe, clustering or unit.
    """
    error = absent(lambda query: rows(lake, query), asdict(key))
    if error is not None:
        raise error


def method_of(lake: Lake, key: Key) -> str:
    """Return the clustering of a probe: the one of the key, else the first by name.

    Raises
    ------
    NotFoundError
        If the probe has no units.
    """
    if key.clustering_method is not None:
        wanted = f"clustering_method = {literal(key.clustering_method)}"
    else:
        wanted = "true"
    # The first with the key's unit, else the first.
    found = rows(
        lake,
        f"SELECT coalesce(min(clustering_method) FILTER ({key.where}), min(clustering_method)) "
        f"FROM ephys.unit WHERE {key.probe_where} AND {wanted}",
    ).item()
    if found is None:
        check_key(lake, key)
        raise NotFoundError("there are no units of this probe")
    return str(found)


def hemisphere(lake: Lake, key: Key) -> str | None:
    """Return ``left`` or ``right``; None without a location, or on the midline."""
    found = rows(
        lake, f"SELECT max(ml_location) FROM ephys.insertion_location WHERE {key.probe_where}"
    ).item()
    return None if not found else "right" if found > 0 else "left"


def sides(lake: Lake, key: Key) -> list[tuple[str, str, str]]:
    """Return name, instructed side and colour of both kinds of trials, contra first.

    A probe in the right hemisphere (positive ml_location) has left trials as contra. Without a
    location the sides are named left and right.
    """
    side = hemisphere(lake, key)
    if side is None:
        return [("left", "left", CONTRA), ("right", "right", IPSI)]
    contra, ipsi = ("left", "right") if side == "right" else ("right", "left")
    return [("contra", contra, CONTRA), ("ipsi", ipsi, IPSI)]


def epoch_times(lake: Lake, key: Key) -> dict[str, float]:
    """Return the median start of sample, delay and go cue (s from the go cue).

    Where an epoch was replayed in a trial, its last start counts.
    """
    session = key.session_where
    found = lake.sql(
        "SELECT e.trial_event_type, median(e.event_time - g.event_time) "
        f"FROM (FROM psth.last_event WHERE {session}) AS e "
        f"JOIN (FROM psth.last_event WHERE {session} AND trial_event_type = 'go') AS g "
        f"USING (trial) WHERE e.trial_event_type IN {_EVENTS} GROUP BY 1 ORDER BY 2"
    ).fetchall()
    return {name: float(time) for name, time in found if time is not None}


def session_title(lake: Lake, key: Key) -> str:
    """Return a session in words: animal, session, day, task."""
    found = rows(
        lake,
        "SELECT coalesce(w.water_restriction_number, s.subject_id::VARCHAR) AS name, s.session, "
        "s.session_date, s.task FROM experiment.session AS s "
        f"LEFT JOIN lab.water_restriction AS w USING (subject_id) WHERE {key.session_where}",
    )
    row = some(found, "there is no such session").row(0, named=True)
    parts = [f"{row['name']} session {row['session']}", str(row["session_date"]), row["task"]]
    return ", ".join(part for part in parts if part)


def area(lake: Lake, key: Key) -> str:
    """Return the areas that a probe was meant for, e.g. ``left ALM``; empty if not known."""
    found = rows(
        lake,
        "SELECT string_agg(hemisphere || ' ' || brain_area, ', ' ORDER BY brain_area) "
        f"FROM ephys.recordable_brain_region WHERE {key.probe_where}",
    ).item()
    return str(found or "")


def probe_title(lake: Lake, key: Key, method: str | None = None) -> str:
    """Return a probe in words: its session, number and areas."""
    words = [f"probe {key.insertion_number}", area(lake, key), method or ""]
    return ", ".join([session_title(lake, key), *(word for word in words if word)])


def task_of(lake: Lake, key: Key) -> str:
    """Return the task of a session; empty if it has none."""
    query = f"SELECT max(task) FROM experiment.session WHERE {key.session_where}"
    return str(rows(lake, query).item() or "")


def values(frame: pl.DataFrame, name: str) -> Any:
    """Return a column as floats, null as NaN, shape (rows,)."""
    import polars as pl

    return frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
