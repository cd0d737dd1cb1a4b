"""The lab's own trial conditions and alignments, checked before they become SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from maplake.errors import ConfigError
from maplake.query.sqltext import sql_type
from maplake.tables import get
from maplake.tables.psth import ALIGN_EVENTS

if TYPE_CHECKING:
    import duckdb

_ALIGN_FIELDS = 5
_TABLE_AND_COLUMN = 2

#: Kinds of expressions that look beyond one row, by DuckDB's names.
_FOREIGN = {
    "SUBQUERY": "a query",
    "WINDOW": "a window function",
    "STAR": "*",
    "POSITIONAL_REFERENCE": "a column by number",
}


def check_conditions(conditions: Mapping[str, str]) -> None:
    """Refuse conditions that are no single boolean expression over ``psth.trial``.

    Raises
    ------
    ConfigError
        Naming the condition and what DuckDB says of it.
    """
    _check_names("condition", conditions, get("psth.trial_condition").rows)
    if not conditions:
        return
    import duckdb

    con = duckdb.connect(config={"autoinstall_known_extensions": False})
    try:
        columns = ", ".join(f"{c.name} {sql_type(c.kind)}" for c in get("psth.trial").columns)
        con.execute(f"CREATE SCHEMA psth; CREATE TABLE psth.trial ({columns})")
        for name, predicate in conditions.items():
            _check_condition(con, name, predicate)
    finally:
        con.close()


def _check_condition(con: duckdb.DuckDBPyConnection, name: str, predicate: str) -> None:
    import duckdb

    place = f"condition {name!r}"
    if not predicate.strip():
        raise ConfigError("it is empty", place=place, expected="an SQL predicate")
    query = f"SELECT trial, (\n{predicate}\n) FROM psth.trial"
    try:
        row = con.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
        parsed = json.loads(row[0]) if row else {}
        if parsed.get("error"):
            raise ConfigError(str(parsed.get("error_message")), place=place, found=predicate)
        if not _is_one_expression(parsed):
            raise ConfigError("it is more than one expression", place=place, found=predicate)
        foreign = _foreign_parts(con, parsed["statements"][0]["node"]["select_list"][1])
        if foreign:
            raise ConfigError(
                "it asks for more than the columns of the trial itself",
                place=place,
                found=", ".join(foreign),
            )
        kind = con.sql(f"{query} LIMIT 0").types[1]
    except duckdb.Error as error:
        raise ConfigError(
            str(error),
            place=place,
            found=predicate,
            hint=f"The columns are: {', '.join(c.name for c in get('psth.trial').columns)}.",
        ) from error
    if str(kind) != "BOOLEAN":
        raise ConfigError("it is not true or false", place=place, found=f"{predicate} ({kind})")


def _is_one_expression(parsed: Mapping[str, Any]) -> bool:
    """Whether a parsed query is still ``SELECT trial, (…) FROM psth.trial`` and nothing more.

    A predicate such as ``true) FROM x WHERE (true`` would change the query around it.
    """
    found = parsed.get("statements", [])
    if len(found) != 1:
        return False
    node = found[0]["node"]
    table = node.get("from_table") or {}
    return (
        node.get("type") == "SELECT_NODE"
        and len(node["select_list"]) == 2
        and table.get("type") == "BASE_TABLE"
        and not node.get("where_clause")
        and not node.get("modifiers")
    )


def _foreign_parts(con: duckdb.DuckDBPyConnection, expression: object) -> list[str]:
    """Return what of a predicate looks beyond the row of a trial, or changes by itself."""
    rows = con.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE'"
    ).fetchall()
    volatile = {name for (name,) in rows} | {"unnest"}
    found = set()
    for node in _nodes(expression):
        name = str(node.get("function_name", "")).lower()
        if node.get("class") in _FOREIGN:
            found.add(_FOREIGN[str(node["class"])])
        elif name in volatile:
            found.add(f"{name}()")
        elif len(node.get("column_names", [])) > _TABLE_AND_COLUMN:
            found.add(f"{'.'.join(node['column_names'])} (name the column alone)")
    return sorted(found)


def _nodes(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield every node of a parsed expression."""
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _nodes(part)


def check_align_types(align_types: Mapping[str, Sequence[object]]) -> None:
    """Refuse alignments to events that do not exist, or named like one.

    Raises
    ------
    ConfigError
        Naming the alignment.
    """
    _check_names("align type", align_types, get("psth.align_type").rows)
    for name, row in align_types.items():
        place = f"align type {name!r}"
        if name.lower() in ALIGN_EVENTS:
            raise ConfigError("a trial event has this name", place=place)
        if len(row) != _ALIGN_FIELDS or row[0] not in ALIGN_EVENTS:
            raise ConfigError(
                "it needs a trial event, two offsets and a window",
                place=place,
                found=list(row),
                expected=f"one of {', '.join(ALIGN_EVENTS)} first",
            )


def _check_names(
    what: str, names: Mapping[str, Any], published: Sequence[Sequence[object]]
) -> None:
    seen = {str(row[0]).lower() for row in published}
    for name in names:
        if not name.strip() or name.lower() in seen:
            raise ConfigError(
                "the name is empty or taken",
                place=f"{what} {name!r}",
                hint="Names compare without regard to case.",
            )
        seen.add(name.lower())
