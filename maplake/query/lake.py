"""``maplake.open(path)``: the lake from Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from maplake.errors import IntegrityError, LakeNotFoundError, LakeVersionError, QueryError
from maplake.layout import FORMAT_VERSION, READABLE_SINCE, Layout, lake_around
from maplake.query.aligned import Aligned, frame
from maplake.query.analysis import Analyses
from maplake.query.asked import moment, number, span, unit_key, whole, word, words
from maplake.query.connection import Connection, connect
from maplake.query.frames import scan
from maplake.query.known import table_of
from maplake.query.lake_conditions import Conditions
from maplake.query.overview import as_html, as_text, overview
from maplake.query.sqltext import full_identifier
from maplake.query.steady import Steady

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from maplake.query.activity import Psth
    from maplake.query.spikes import Spikes

T = TypeVar("T")


def find_root(path: Path) -> Path:
    """Return the lake's folder: ``path`` or the nearest folder above it that is one.

    Raises
    ------
    LakeNotFoundError
        If there is none.
    """
    root = lake_around(path)
    if root is not None:
        return root
    raise LakeNotFoundError(
        "there is no lake here",
        file=path,
        hint="Give the folder that lake.toml names as root; `maplake init` makes a new lake.",
    )


class Lake(Analyses):
    """A lake, open for reading.

    Made by :func:`maplake.open`. Queries of one Lake run one at a time; other threads take a
    connection of their own from :meth:`connect`.

    Parameters
    ----------
    root
        The lake's folder.
    recover
        Finishes a commit that a dead writer left, and returns whether it may write to the lake;
        called when a read comes upon one.

    Raises
    ------
    LakeVersionError
        If the lake was written by a newer maplake.
    IntegrityError
        If its version cannot be read.
    """

    def __init__(self, root: Path, recover: Callable[[Path], bool] | None = None) -> None:
        _check_version(root)
        self.root = root
        self._steady = Steady(root, recover)
        self._con = Connection(root, self._steady)
        self._aligned = Aligned(root, self._con)
        self.conditions = Conditions(root, self.table)

    def sql(
        self, query: str, params: Sequence[Any] | dict[str, Any] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Run SQL over the lake's views and macros.

        Parameters
        ----------
        query
            SQL, with ``?`` or ``$name`` where values go.
        params
            The values: a list or a dictionary.

        Returns
        -------
        A DuckDB relation: ``.pl()`` gives polars, ``.to_arrow_table()`` Arrow, ``.df()`` pandas.

        Raises
        ------
        QueryError
            With DuckDB's message.
        """
        return self._con.sql(word("query", query), params)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a new DuckDB connection with the lake's schemas; the caller closes it."""
        return connect(self.root)

    def table(self, name: str) -> pl.LazyFrame:
        """Return a table or view as a polars LazyFrame.

        Parameters
        ----------
        name
            ``schema.table``.

        Returns
        -------
        Its columns in the order of the declaration; filters on subject_id, session and
        insertion_number leave out files unread.

        Raises
        ------
        NotFoundError
            If there is no such table.
        """
        table = table_of(self.root, word("table", name))
        if table.store.on_disk and not table.computed:
            from maplake.query.steady_frame import steady_frame

            return steady_frame(scan(self.root, table), self._steady)
        return self._con.view(full_identifier(table.full_name))

    def steady(self, read: Callable[[], T]) -> T:
        """Return what a function reads, all of it from between two commits.

        Every query and every ``collect`` is that by itself; this is for several that belong
        together, and for what reads the lake's files in another way.

        Parameters
        ----------
        read
            Called without arguments; again, if a commit came in between.

        Raises
        ------
        LakeLockedError
            If a commit does not end.
        QueryError
            If the lake changes during every try.
        """
        return self._steady(read)

    def tables(self) -> pl.DataFrame:
        """Return an overview: table, rows (null for views), comment."""
        return self._steady(lambda: overview(self.root))

    def sessions(self) -> pl.DataFrame:
        """Return a row per session: what it is, its trials, probes and units."""
        return frame(self._con, _SESSIONS)

    def spikes(
        self,
        subject_id: int,
        session: int,
        insertion_number: int,
        unit: int | None = None,
        clustering_method: str | None = None,
    ) -> Spikes:
        """Return all spikes of a clustering, or of one unit, read when asked for.

        Raises
        ------
        NotFoundError
            If there is no such clustering or unit, or several and none is named.
        """
        from maplake.query.spikes import open_spikes

        return self._steady(
            lambda: open_spikes(
                self.root, subject_id, session, insertion_number, unit, clustering_method
            )
        )

    @overload
    def psth(
        self,
        subject_id: int,
        session: int,
        insertion_number: int | None = ...,
        unit: int | None = ...,
        condition: str = ...,
        *,
        bin: float = ...,
        start: float = ...,
        stop: float = ...,
        event: str = ...,
        occurrence: str = ...,
        clustering_method: str | None = ...,
        all_units: bool = ...,
    ) -> Psth: ...

    @overload
    def psth(
        self,
        subject_id: int,
        session: int,
        insertion_number: int | None = ...,
        unit: int | None = ...,
        *,
        condition: list[str] | tuple[str, ...],
        bin: float = ...,
        start: float = ...,
        stop: float = ...,
        event: str = ...,
        occurrence: str = ...,
        clustering_method: str | None = ...,
        all_units: bool = ...,
    ) -> dict[str, Psth]: ...

    def psth(
        self,
        subject_id: int,
        session: int,
        insertion_number: int | None = None,
        unit: int | None = None,
        condition: str | list[str] | tuple[str, ...] = "good_noearlylick_hit",
        *,
        bin: float = 0.04,  # noqa: A002  (the word that SQL and numpy use)
        start: float = -3.0,
        stop: float = 3.0,
        event: str = "go",
        occurrence: str = "last",
        clustering_method: str | None = None,
        all_units: bool = False,
    ) -> Psth | dict[str, Psth]:
        """Compute PSTHs of a session's units, a probe's, or one.

        Parameters
        ----------
        subject_id, session, insertion_number, unit, clustering_method
            Whose; None = all.
        condition
            Name of a trial condition, or several.
        bin, start, stop
            Width of the bins and window around the event (s).
        event
            A trial event, ``left lick``, ``right lick``, ``middle lick``, ``lick`` for any, or
            ``photostim`` (the trial's own spikes); or an align type (neighbouring trials, too).
        occurrence
            Where an event happens several times in a trial: ``last``, ``first``, or
            ``after go``, the first one from the go cue on.
        all_units
            Whether to keep units of quality ``all``.

        Returns
        -------
        One :class:`Psth`, or one per condition by name.

        Raises
        ------
        NotFoundError
            If there are no such units.
        QueryError
            If there is no such condition or event.
        """
        from maplake.query.activity import psths

        keys = unit_key(subject_id, session, insertion_number, clustering_method, unit)
        options = {
            "bin": number("bin", bin),
            **span(start, stop),
            **moment(event, occurrence),
            "all_units": all_units,
        }
        names = words("condition", condition)
        found = self._steady(lambda: psths(self._aligned, keys, names, options))
        return found[condition] if isinstance(condition, str) else found

    def raster(
        self,
        subject_id: int,
        session: int,
        insertion_number: int,
        unit: int,
        condition: str = "good_noearlylick_hit",
        *,
        start: float = -3.0,
        stop: float = 3.0,
        event: str = "go",
        occurrence: str = "last",
        clustering_method: str | None = None,
    ) -> pl.DataFrame:
        """Return the spikes of one unit around an event.

        Returns
        -------
        Rows of trial and spike_time (s from the event, start to stop), sorted.

        Raises
        ------
        NotFoundError
            If there is no such unit, or several clusterings have it and none is named.
        QueryError
            If there is no such condition or event, or the window ends before its start.
        """
        insertion_number, unit = whole("insertion_number", insertion_number), whole("unit", unit)
        keys = unit_key(subject_id, session, insertion_number, clustering_method, unit)
        within = span(start, stop)
        if not within["start"] <= within["stop"]:
            raise QueryError("the window must end after its start", found=[start, stop])
        name = word("condition", condition)
        options = {**within, **moment(event, occurrence)}
        return self._steady(lambda: self._aligned.raster(keys, name, options))

    def close(self) -> None:
        """Close the connection; the next query opens another."""
        self._con.close()
        self._aligned = Aligned(self.root, self._con)  # what it kept was in the connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return as_text(self.root, self.sessions())

    def _repr_html_(self) -> str:
        return as_html(self.root, self.sessions())


_SESSIONS = """
SELECT s.subject_id, s.session, w.water_restriction_number AS h2o, s.session_datetime, s.task,
    s.trial_count, coalesce(i.probes, 0) AS probes, coalesce(u.units, 0) AS units
FROM experiment.session AS s
LEFT JOIN lab.water_restriction AS w USING (subject_id)
LEFT JOIN (SELECT subject_id, session, count(*) AS probes FROM ephys.probe_insertion GROUP BY ALL)
    AS i USING (subject_id, session)
LEFT JOIN (SELECT subject_id, session, count(*) AS units FROM ephys.unit GROUP BY ALL)
    AS u USING (subject_id, session)
ORDER BY s.subject_id, s.session
"""


def _check_version(root: Path) -> None:
    file = Layout(root).format_file
    try:
        found = int(json.loads(file.read_bytes())["format_version"])
    except FileNotFoundError as error:
        raise LakeNotFoundError("there is no lake here", file=root) from error
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise IntegrityError("the lake's version cannot be read", file=file) from error
    if found > FORMAT_VERSION:
        raise LakeVersionError(
            "the lake was written by a newer maplake",
            file=root,
            found=f"format {found}",
            expected=f"format {FORMAT_VERSION} or older",
            hint="Update maplake: pip install --upgrade maplake.",
        )
    if found < READABLE_SINCE:
        raise LakeVersionError(
            "the lake was written by an older maplake",
            file=root,
            found=f"format {found}",
            expected=f"format {READABLE_SINCE} or newer",
            hint="`maplake upgrade` brings it up to date, in one step and in place.",
        )
