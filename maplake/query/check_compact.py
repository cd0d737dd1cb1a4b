"""Whether merged files hold what the tables hold that they are merged from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from maplake.layout import compact_folder, compact_record
from maplake.query.check_files import digest_of, read_record
from maplake.query.check_parts import Part, animals_of, files_of, parts_of, rows_of
from maplake.query.problems import Problem
from maplake.query.sqltext import identifier
from maplake.query.views import has_files, is_compact
from maplake.tables import Table

if TYPE_CHECKING:
    import duckdb

__all__ = ["check_compact"]

_REPAIR = "maplake compact"


def check_compact(
    con: duckdb.DuckDBPyConnection, root: Path, table: Table, *, deep: bool
) -> Iterator[Problem]:
    """Compare a table's merged files with its own: their number of rows or, deep, each row.

    Deep, also with the SHA-256 that was recorded; lakes of earlier versions have none.
    """
    import duckdb

    if not is_compact(root, table) or not has_files(root, table):
        return
    place = str(compact_folder(table))
    if deep:
        yield from _changed(root, table)
    for part in animals_of(root, table):
        query = _query(root, table, part, deep=deep)
        try:
            found = con.execute(query).fetchone()
        except duckdb.Error as error:
            text = str(error).splitlines()[0]
            yield Problem(table.full_name, place, "compact", text, repair=_REPAIR)
            return
        if found and found[0]:
            text = f"merged rows are not those of the table, e.g. of animal {found[1]}"
            yield Problem(table.full_name, place, "compact", text, repair=_REPAIR)
            return


def _changed(root: Path, table: Table) -> Iterator[Problem]:
    """Yield the merged files that are not what was written, whatever rows can be read of them."""
    for part in parts_of(root, table, merged=True):
        for folder in part or ():
            record = compact_record(folder.partition("=")[2])
            try:
                recorded = read_record(root / record)["files"]
                for path in files_of(root, table, (folder,), merged=True):
                    if path in recorded and digest_of(root / path) != recorded[path]["sha256"]:
                        text = "its content is not what was written"
                        yield Problem(table.full_name, path, "compact", text, repair=_REPAIR)
            except FileNotFoundError:
                continue
            except (ValueError, KeyError, TypeError) as error:
                yield Problem(table.full_name, str(record), "compact", str(error), repair=_REPAIR)


def _query(root: Path, table: Table, part: Part, *, deep: bool) -> str:
    columns = ", ".join(
        identifier(c.name) for c in table.columns if deep or c.name in table.partition
    )
    one, other = (
        f"SELECT {columns}, count(*) AS n FROM {rows_of(root, table, part, merged=merged)} "
        "GROUP BY ALL"
        for merged in (False, True)
    )
    return (
        "SELECT count(*), any_value(subject_id) FROM "
        f"(({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one}))"
    )
