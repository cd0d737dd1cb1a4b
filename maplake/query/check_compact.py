"""Whether merged files hold what the tables hold that they are merged from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from maplake.layout import COMPACT, compact_glob, relative_glob
from maplake.query.problems import Problem
from maplake.query.sqltext import glob_literal, identifier
from maplake.query.views import has_files, hive_options, is_compact
from maplake.tables import Table

if TYPE_CHECKING:
    import duckdb

__all__ = ["check_compact"]

_REPAIR = "maplake compact"


def check_compact(
    con: duckdb.DuckDBPyConnection, root: Path, table: Table, *, deep: bool
) -> Iterator[Problem]:
    """Compare a table's merged files with its own: their number of rows or, deep, each row."""
    import duckdb

    if not is_compact(root, table) or not has_files(root, table):
        return
    own = f"read_parquet({glob_literal(root, relative_glob(table))}{hive_options(table)})"
    columns = ", ".join(
        identifier(c.name) for c in table.columns if deep or c.name in table.partition
    )
    names = ", ".join(f"any_value({identifier(c)})" for c in ("subject_id",))
    merged = (
        f"read_parquet({glob_literal(root, compact_glob(table))}, hive_partitioning = true, "
        "hive_types = {'subject_id': INTEGER})"
    )
    counted = "SELECT {0}, count(*) AS n FROM {1} GROUP BY ALL"
    one, other = (counted.format(columns, source) for source in (own, merged))
    query = (
        f"SELECT count(*), {names} FROM (({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one}))"
    )
    place = f"{COMPACT}tables/{table.schema}/{table.name}"
    try:
        found = con.execute(query).fetchone()
    except duckdb.Error as error:
        text = str(error).splitlines()[0]
        yield Problem(table.full_name, place, "compact", text, repair=_REPAIR)
        return
    if found and found[0]:
        text = f"merged rows are not those of the table, e.g. of animal {found[1]}"
        yield Problem(table.full_name, place, "compact", text, repair=_REPAIR)
