"""DuckDB connections to a lake: in memory, with the catalog attached read-only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from maplake.errors import LakeError
from maplake.layout import Layout
from maplake.query import catalog
from maplake.query.outside import check_targets
from maplake.query.refusal import failures, query_error, refused
from maplake.query.sqltext import literal
from maplake.query.steady import Steady
from maplake.query.steady_result import Result

if TYPE_CHECKING:
    import duckdb
    import polars as pl

#: What a reader never needs: extensions from the internet.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}

Stamp = tuple[int, int, int]


def connect(root: Path) -> duckdb.DuckDBPyConnection:
    """Return a new connection in which the lake's schemas are the default ones.

    Raises
    ------
    LakeError
        If the catalog cannot be read.
    """
    import duckdb

    con = duckdb.connect(config=_CONFIG | {"temp_directory": _spill_folder()})
    # It knows a file by its number and second; commits replace files, which changes the number.
    con.execute("SET parquet_metadata_cache = true")
    attach(con, root)
    return con


def _spill_folder() -> str:
    """Return where queries larger than memory go; DuckDB would take the current folder.

    DuckDB makes it when it needs it and removes it with the connection.
    """
    return str(Path(tempfile.gettempdir()) / f"maplake-{os.getpid()}")


def attach(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Attach the lake's catalog; without a usable one, make its views in memory.

    The catalog holds absolute paths: after the folder was moved, or where it is mounted at
    another place, those are wrong, and views for the place it is at now are made instead. So they
    are where another version of maplake wrote the catalog, and while another program has it open
    to write: ``duckdb lake.duckdb`` without ``-readonly`` does.
    """
    import duckdb

    settings = catalog.read_settings(root)
    path = Layout(root).catalog
    usable = catalog.is_usable(root, settings)
    con.execute("USE memory.main")
    con.execute("DETACH DATABASE IF EXISTS lake")
    try:
        if usable:
            con.execute(f"ATTACH {literal(str(path))} AS lake (READ_ONLY)")
            con.execute("USE lake")
            return
        con.execute("ATTACH ':memory:' AS lake")
    except duckdb.Error as error:
        if not catalog.is_held(error):
            raise LakeError(
                f"the catalog cannot be opened: {error}",
                file=path,
                hint="Run `maplake catalog` to write it anew.",
            ) from error
        con.execute("ATTACH ':memory:' AS lake")
    con.execute("USE lake")
    catalog.run(con, catalog.in_memory(root, settings))


class Connection:
    """A connection that follows the catalog when a writer replaces it.

    Parameters
    ----------
    root
        The lake.
    steady
        Keeps commits out of what is read.
    """

    def __init__(self, root: Path, steady: Steady | None = None) -> None:
        self._root = root
        self.steady = steady or Steady(root)
        self._con: duckdb.DuckDBPyConnection | None = None
        self._stamp: Stamp | None = None

    @property
    def stamp(self) -> Stamp | None:
        """What changes whenever the catalog is replaced."""
        return file_stamp(Layout(self._root).catalog)

    def get(self) -> duckdb.DuckDBPyConnection:
        """Return the connection, attached to the catalog as it is now."""
        stamp = self.stamp
        if self._con is None:
            self._con = connect(self._root)
        elif stamp != self._stamp:
            attach(self._con, self._root)
        self._stamp = stamp
        return self._con

    def view(self, name: str) -> pl.LazyFrame:
        """Return a view, named as SQL does, as a frame that reads when it is collected.

        Polars reads the frames of a join side by side, and a connection answers one at a time: each
        reading has its own.
        """
        import duckdb
        from polars.io.plugins import register_io_source

        from maplake.query.steady_frame import steady_frame

        def make() -> pl.LazyFrame:
            con = self.get().cursor()
            con.execute("USE lake")
            return cast("pl.LazyFrame", con.sql(f"FROM {name}").pl(lazy=True))

        def read(
            columns: list[str] | None, where: pl.Expr | None, rows: int | None, _: int | None
        ) -> Iterator[pl.DataFrame]:
            frame = make()
            frame = frame if where is None else frame.filter(where)
            frame = frame if columns is None else frame.select(columns)
            yield (frame if rows is None else frame.head(rows)).collect()

        try:
            schema = self.steady(make).collect_schema()
        except duckdb.Error as error:
            raise refused(error) from error
        return steady_frame(register_io_source(read, schema=schema), self.steady)

    def sql(self, query: str, params: Any = None) -> duckdb.DuckDBPyRelation:
        """Return a relation, which reads between commits.

        What does more than ask (``CREATE TEMP TABLE``, ``COPY``) is carried out once, at once;
        :attr:`steady` keeps commits out of it.

        Raises
        ------
        QueryError
            With DuckDB's message.
        """
        values = _plain(params)

        def make() -> Any:
            return self.get().sql(query, params=values)

        try:
            if not _is_question(self.get(), query):
                check_targets(self.get(), query)
                return cast("duckdb.DuckDBPyRelation", make())
            result: Any = Result(self.steady, make, lambda: self.stamp)
            self._first(result.start)
        except failures() as error:
            raise query_error(error) from error
        return cast("duckdb.DuckDBPyRelation", result)

    def _first(self, make: Callable[[], object]) -> None:
        """Make a relation, to tell at once what is wrong with it."""
        try:
            make()
        except failures():
            # Perhaps a file that it found was replaced before it was opened.
            self.steady(make)

    def close(self) -> None:
        """Close the connection; the next query opens another."""
        if self._con is not None:
            self._con.close()
        self._con = None


def _plain(params: Any) -> Any:
    """Return the values of a query with numpy's numbers as Python's, which DuckDB takes alone."""
    if isinstance(params, dict):
        return {name: _plain_value(value) for name, value in params.items()}
    if isinstance(params, (list, tuple)):
        return [_plain_value(value) for value in params]
    return params


def _plain_value(value: Any) -> Any:
    return value.item() if getattr(value, "shape", None) == () else value


def _is_question(con: duckdb.DuckDBPyConnection, query: str) -> bool:
    """Whether SQL only asks, so that it may be carried out twice."""
    import duckdb

    found = con.extract_statements(query)
    return len(found) == 1 and found[0].type == duckdb.StatementType.SELECT


def file_stamp(path: str | Path) -> Stamp | None:
    """Return what changes when a file is replaced, or None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
