"""The aligned trials of a probe, looked up once and kept: what rasters and counts start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from maplake.errors import NotFoundError, QueryError
from maplake.layout import table_file
from maplake.query.absent import absent
from maplake.query.connection import Connection, Stamp, file_stamp
from maplake.query.frames import scan
from maplake.query.partition import PartitionViews
from maplake.query.refusal import failures, query_error
from maplake.query.session_trials import go_cues, table_columns, trial_facts
from maplake.query.sqltext import glob_escape, identifier, literal
from maplake.query.views import empty_select
from maplake.tables import get
from maplake.tables.ephys import UNIT_KEY
from maplake.tables.psth import ALIGN_EVENTS

if TYPE_CHECKING:
    import duckdb
    import polars as pl

T = TypeVar("T")

_INSERTION = UNIT_KEY[:3]
_CACHED = 32

#: Which of an event's times in a trial; "after go" is the first from the go cue on.
OCCURRENCES = ("first", "last", "after go")

#: What is asked of aligned trials, with DuckDB's types, whatever types a damaged file has.
_MOMENT = {
    "trial": "INTEGER",
    "spike_trial": "INTEGER",
    "origin_sample": "DOUBLE",
    "sampling_rate": "DOUBLE",
}

#: Below which a p-value is called significant, unless told.
ALPHA = 0.05

#: Time of a spike (s from the event), of a row of spikes ``s`` and one of aligned trials ``a``.
TIME = "(s.spike_sample - a.origin_sample) / a.sampling_rate"


def where(keys: Mapping[str, Any]) -> str:
    """Return an SQL condition: columns equal to values, those without a value left out."""
    parts = [f"{identifier(k)} = {literal(v)}" for k, v in keys.items() if v is not None]
    return " AND ".join(parts) or "true"


def frame(con: Connection, query: str) -> pl.DataFrame:
    """Run a query; an error while it runs is a :class:`QueryError`, too."""
    try:
        return cast("pl.DataFrame", con.sql(query).pl())
    except failures() as error:
        raise query_error(error) from error


def place(keys: Mapping[str, Any]) -> str:
    """Return a key as text for messages."""
    return ", ".join(f"{name} {value}" for name, value in keys.items() if value is not None)


def no_units(con: Connection, keys: Mapping[str, Any]) -> NotFoundError:
    """Return the error that says that there are no such units, and what there is instead."""
    error = absent(lambda query: frame(con, query), keys)
    if error is not None:
        return error
    if keys.get("unit") is not None:
        found = frame(con, f"SELECT DISTINCT unit_quality FROM ephys.unit WHERE {where(keys)}")
        if found["unit_quality"].to_list() == ["all"]:
            return NotFoundError(
                "the unit is of quality 'all'",
                place=place(keys),
                hint="all_units (--all-units) keeps such units.",
            )
    return NotFoundError(
        "there are no units",
        place=place(keys),
        hint="ephys.unit lists them; those of quality 'all' are left out without all_units "
        "(--all-units).",
    )


class Aligned:
    """Trials and units of single probes, kept.

    They are read anew when one of the files that they come from changes; a question about a unit
    then costs one look into one file.
    """

    def __init__(self, root: Path, con: Connection) -> None:
        self.con = con
        self.root = root
        self._kept: dict[tuple[object, ...], pl.DataFrame] = {}
        self._declared: dict[tuple[object, ...], list[tuple[str, str]]] = {}
        self._views = PartitionViews(root, con)
        self._made = 0

    def trials(
        self, keys: Mapping[str, Any], condition: str, options: Mapping[str, Any]
    ) -> pl.DataFrame:
        """Return a condition's trials around an event.

        Its columns: trial; spike_trial, which spikes may fall into the window; origin_sample and
        sampling_rate. ``options`` has event, occurrence, start and stop.
        """
        return self.patterns(keys, [condition], options).drop("conditions", "pattern")

    def patterns(
        self, keys: Mapping[str, Any], conditions: Sequence[str], options: Mapping[str, Any]
    ) -> pl.DataFrame:
        """Return the trials of several conditions around an event.

        Its columns: those of :meth:`trials`; conditions, which of the wanted ones the trial is in;
        and pattern, a number from 0 that trials of the same conditions share.
        """
        chosen = _moment(options)

        def read() -> pl.DataFrame:
            names, members = self._members(keys, conditions)
            rows = self._moments(keys, *chosen).join(members, on="trial")
            return _patterns(rows.sort("trial", "spike_trial"), names)

        return self._keep("patterns", keys, (*conditions, *chosen), read)

    def _moments(
        self, keys: Mapping[str, Any], event: str, occurrence: str, start: float, stop: float
    ) -> pl.DataFrame:
        """Return a probe's trials around an event, whatever their conditions."""
        if event.lower() == "go":
            return go_cues(self._views.files(_part(keys)))
        import polars as pl

        source = _alignment(event, occurrence, start, stop)
        columns = ", ".join(f"{name}::{kind}" for name, kind in _MOMENT.items())
        query = f"SELECT {columns} FROM {source} WHERE {where(_part(keys))}"
        try:
            with self._views.of(_part(keys)) as con:
                rows = _asked(con, query, lambda result: result.fetchall())
        except failures() as error:
            raise query_error(error) from error
        whole, real = pl.Int32(), pl.Float64()
        types = {n: whole if kind == "INTEGER" else real for n, kind in _MOMENT.items()}
        return pl.DataFrame(rows, types, orient="row")

    def _members(
        self, keys: Mapping[str, Any], conditions: Sequence[str]
    ) -> tuple[list[str], pl.DataFrame]:
        """Return conditions by name, and each trial of a session with whether it is in them.

        Its columns: trial, then one per condition, by its number.
        """
        import polars as pl

        predicates = dict(self._predicates(conditions))
        text = " ".join(predicates.values()).lower()
        named = [c.name for c in get("psth.trial").columns if c.name in text]
        facts = trial_facts(self._views.files(_part(keys)), keys, named)
        # The line break keeps a comment at a predicate's end from swallowing the parenthesis.
        columns = [f'coalesce(({p}\n), false) AS "{i}"' for i, p in enumerate(predicates.values())]
        found: Any = _asked(
            self.con.get(),
            f"SELECT {', '.join(columns)} FROM maplake_rows AS trial",
            lambda result: result.fetchnumpy(),
            facts,
        )
        return [*predicates], facts.select("trial").with_columns(
            pl.Series(name, values, pl.Boolean) for name, values in found.items()
        )

    def declared(self, conditions: Sequence[str]) -> list[str]:
        """Return the names of conditions as they are declared, whatever their case.

        Raises
        ------
        QueryError
            If there is no such condition; the message lists those that exist.
        """
        return [name for name, _ in self._predicates(conditions)]

    def _predicates(self, conditions: Sequence[str]) -> list[tuple[str, str]]:
        """Return names as declared and predicates of conditions."""
        key = (self.con.stamp, *conditions)
        if key not in self._declared:
            names = ", ".join(f"psth.condition_name({literal(name)})" for name in conditions)
            places = literal([*range(len(conditions))])
            found = frame(
                self.con,
                "SELECT name, predicate "
                f"FROM (SELECT unnest([{names}]) AS name, unnest({places}) AS place) "
                "JOIN psth.trial_condition ON trial_condition_name = name ORDER BY place",
            )
            self._declared = {key: found.rows()}
        return self._declared[key]

    def _units(self, keys: Mapping[str, Any]) -> pl.DataFrame:
        """Return the probe's units, in order: clustering_method, unit, unit_quality."""
        files = self._views.files(_part(keys))

        def read() -> pl.DataFrame:
            found = table_columns(files, "ephys.unit", "clustering_method", "unit", "unit_quality")
            return found.sort(found.columns)

        return self._keep("units", keys, (), read)

    def methods(self, keys: Mapping[str, Any]) -> list[str]:
        """Return the clustering methods of the probe's units."""
        return self._units(keys)["clustering_method"].unique().sort().to_list()

    def insertions(self, keys: Mapping[str, Any]) -> list[int]:
        """Return the insertion numbers of a session, or the one that is asked for if it exists."""
        table = get("ephys.probe_insertion")
        path = self.root / table_file(table, {**keys, _INSERTION[2]: keys[_INSERTION[2]] or 0})
        folders = path.parents[1].glob(f"{_INSERTION[2]}=*")
        found = (int(f.name.split("=")[1]) for f in folders if (f / path.name).exists())
        return sorted(n for n in found if keys[_INSERTION[2]] in (None, n))

    def chosen_units(self, keys: Mapping[str, Any], *, all_units: bool) -> pl.DataFrame:
        """Return the keys of a probe's units, or of the one asked for, in order.

        Those of quality ``all`` are left out unless ``all_units``.
        """
        import polars as pl

        found = self._units(keys).filter(
            pl.lit(bool(all_units)) | (pl.col("unit_quality") != "all"),
            *(pl.col(k) == keys[k] for k in ("clustering_method", "unit") if keys[k] is not None),
        )
        columns = [pl.lit(int(keys[k]), pl.Int32).alias(k) for k in _INSERTION]
        return found.select(*columns, *UNIT_KEY[3:])

    def spike_file(self, keys: Mapping[str, Any]) -> Path:
        """Return the file of the probe's spikes; there may be none."""
        return self.root / table_file(get("ephys.spike"), _part(keys))

    def file(self, name: str, keys: Mapping[str, Any]) -> str:
        """Return the SQL that reads a table's file of one partition; without any, no rows."""
        table = get(name)
        path = self.root / table_file(table, keys)
        if not path.exists():
            return f"({empty_select(table.file_columns)})"
        file = glob_escape(path.resolve().as_posix())
        return f"read_parquet({literal(file)}, hive_partitioning = false)"

    def spikes(self, keys: Mapping[str, Any]) -> str:
        """Return the SQL that reads the probe's spikes; without any, no rows."""
        return self.file("ephys.spike", keys)

    def method(self, keys: Mapping[str, Any]) -> str:
        """Return the clustering method of one unit.

        Raises
        ------
        NotFoundError
            If there is no such unit, or several clusterings have it.
        """
        chosen = self.chosen_units(keys, all_units=True)
        found = chosen["clustering_method"].unique().sort().to_list()
        if not found:
            raise no_units(self.con, keys)
        if len(found) > 1:
            raise NotFoundError(
                "there are several clusterings",
                place=place(keys),
                found=", ".join(found),
                hint="Name one of them.",
            )
        return str(found[0])

    def raster(
        self, keys: Mapping[str, Any], condition: str, options: Mapping[str, Any]
    ) -> pl.DataFrame:
        """Return trial and spike_time (s from the event) of one unit, in that order."""
        import polars as pl

        method = self.method(keys)
        found: Any = _asked(
            self.con.get(),
            f"SELECT a.trial, {TIME} AS spike_time FROM {self.spikes(keys)} AS s "
            "JOIN maplake_rows AS a ON coalesce(s.trial, 0) = a.spike_trial "
            f"WHERE s.unit = {literal(int(keys['unit']))} "
            f"AND s.clustering_method = {literal(method)} "
            f"AND {TIME} BETWEEN {literal(options['start'])} AND {literal(options['stop'])} "
            "ORDER BY a.trial, spike_time",
            lambda result: result.fetchnumpy(),
            self.trials(keys, condition, options),
        )
        return pl.DataFrame(dict(found), schema={"trial": pl.Int32, "spike_time": pl.Float64})

    def of_probe(self, keys: Mapping[str, Any], query: str) -> pl.DataFrame:
        """Run a query over the views of aligned trials, which read one probe's files alone.

        Without an insertion number they read those of the session, and know of no probe.
        """

        def read() -> pl.DataFrame:
            with self._views.of(_part(keys)) as con:
                return cast("pl.DataFrame", con.sql(query).pl())

        try:
            return self.con.steady(read)
        except failures() as error:
            raise query_error(error) from error

    def rows(self, name: str, keys: Mapping[str, Any]) -> pl.DataFrame:
        """Return the rows of a stored table in a session, or of one probe of it."""
        known = {n: v for n, v in keys.items() if v is not None}
        return self.con.steady(lambda: scan(self.root, get(name), known).collect())

    @contextmanager
    def registered(self, rows: pl.DataFrame) -> Iterator[str]:
        """Let queries use a frame under the name that is returned."""
        con = self.con.get()
        self._made += 1
        name = f"maplake_rows_{self._made}"
        con.register(name, rows.to_arrow())
        try:
            yield name
        finally:
            con.unregister(name)

    def _keep(
        self,
        what: str,
        keys: Mapping[str, Any],
        extra: tuple[object, ...],
        read: Callable[[], pl.DataFrame],
    ) -> pl.DataFrame:
        """Return what was read, read anew if outdated."""
        name = (what, *_part(keys).values(), *extra, *self._stamps(keys))
        if name not in self._kept:
            self._kept[name] = read()
            while len(self._kept) > _CACHED:
                self._kept.pop(next(iter(self._kept)))
        return self._kept[name]

    def _stamps(self, keys: Mapping[str, Any]) -> list[Stamp | None]:
        files = self._views.files(_part(keys)).values()
        return [self.con.stamp, *(file_stamp(file) for file in files)]


def _asked(
    con: duckdb.DuckDBPyConnection,
    query: str,
    fetch: Callable[[duckdb.DuckDBPyConnection], T],
    rows: pl.DataFrame | None = None,
) -> T:
    """Return what a query gives. As a relation it would be bound twice: a third of what it takes.

    ``rows`` are ``maplake_rows`` in the query. DuckDB finds them by the name of the variable here:
    to register them takes longer than to ask.

    Raises
    ------
    QueryError
        With DuckDB's message.
    """
    maplake_rows = None if rows is None else rows.to_arrow()  # noqa: F841
    try:
        return fetch(con.execute(query))
    except BaseException as error:
        con.abort()  # what is left of a result that was interrupted blocks the next question
        if isinstance(error, failures()):
            raise query_error(error) from error
        raise


def _patterns(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the rows that are in any condition, with the columns conditions and pattern.

    The columns of ``rows`` that have a number say whether a row is in that one of ``names``.
    """
    import numpy as np
    import polars as pl

    numbers = [*map(str, range(len(names)))]
    members = rows.select(numbers).to_numpy()
    some = members.any(axis=1)
    different, first, number = np.unique(
        members[some], axis=0, return_index=True, return_inverse=True
    )
    order = np.argsort(first)  # that of the first row is number 0
    sets = [[n for n, is_in in zip(names, row, strict=True) if is_in] for row in different[order]]
    pattern = pl.Series("pattern", np.argsort(order)[number.ravel()], pl.Int32)
    conditions = pl.Series("conditions", sets, pl.List(pl.String)).gather(pattern)
    return rows.drop(numbers).filter(pl.Series(some)).with_columns(conditions, pattern)


def _part(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {name: keys[name] for name in _INSERTION}


def _moment(options: Mapping[str, Any]) -> list[Any]:
    """Return event, occurrence, start and stop of an alignment."""
    check_occurrence(options["occurrence"])
    return [options[name] for name in ("event", "occurrence", "start", "stop")]


def check_occurrence(name: str) -> None:
    """Refuse a word that does not say which of several events.

    Raises
    ------
    QueryError
        With the words that there are.
    """
    if name.lower() not in OCCURRENCES:
        raise QueryError("there is no such occurrence", found=name, expected=", ".join(OCCURRENCES))


def _alignment(event: str, occurrence: str, start: float, stop: float) -> str:
    """Return the quickest table of aligned trials: that of the go cue, of events, of all."""
    if event.lower() == "go":
        return "psth.go_alignment"
    if event.lower() in ALIGN_EVENTS:
        return f"psth.event_alignment({literal(event)}, {literal(occurrence)})"
    arguments = ", ".join(literal(value) for value in (event, occurrence, start, stop))
    return f"psth.aligned_event({arguments})"
