"""Commands that ask the lake: tables, erd, sql."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import Output, write_csv, write_json_rows
from .state import JsonOption, State, state_of

_PANEL = "Data out"
_BATCH = 10_000


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(rich_help_panel=_PANEL)(sql)
    app.command(rich_help_panel=_PANEL)(tables)
    app.command(rich_help_panel=_PANEL)(erd)


def tables(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="One table, e.g. ephys.unit.")] = None,
    json: JsonOption = False,
) -> None:
    """List the tables with their row counts, or one table's columns with their units."""
    state = state_of(context, json=json)
    if name is None:
        _list_tables(state)
    else:
        _describe(state, name)


def _list_tables(state: State) -> None:
    rows = _dicts(state.lake().tables())
    if state.output.json:
        state.output.document(rows)
    else:
        state.output.table(rows)


def _describe(state: State, name: str) -> None:
    from maplake.query.known import table_of
    from maplake.query.sqltext import sql_type

    table = table_of(_root(state), name)
    columns = [
        {
            "column": column.name,
            "type": str(column.type),
            "unit": column.unit,
            "key": column.name in table.key,
            "nullable": column.nullable,
            "comment": column.comment,
            "values": list(column.values),
        }
        for column in table.all_columns
    ]
    refs = [
        {"columns": list(ref.columns), "table": ref.table, "to": list(ref.targets)}
        for ref in table.refs
    ]
    if state.output.json:
        facts = {"table": table.full_name, "comment": table.comment, "stored": table.store.value}
        state.output.document({**facts, "columns": columns, "refs": refs})
        return
    state.output.line(f"{table.full_name}: {table.comment} ({table.store.value})")
    # As in SQL and docs/tables.md; Arrow's word for a text that repeats is long.
    shown = [
        facts | {"type": sql_type(column.kind), "values": ", ".join(column.values)}
        for facts, column in zip(columns, table.all_columns, strict=True)
    ]
    state.output.table(shown, [n for n in shown[0] if any(row[n] for row in shown)])
    for ref in refs:
        state.output.line(f"{', '.join(ref['columns'])} → {ref['table']}")


def erd(
    context: typer.Context,
    schema: Annotated[list[str] | None, typer.Option(help="Only this schema; repeatable.")] = None,
) -> None:
    """Print the tables and how they refer to each other as a Mermaid diagram."""
    from maplake.query.erd import mermaid

    state = state_of(context)
    state.output.line(mermaid(schema, _root(state)))


def _root(state: State) -> Path | None:
    """Return the lake's folder, or None without settings: maplake's own tables need none."""
    from maplake.errors import ConfigError

    try:
        return state.config.lake.root
    except ConfigError:
        return None


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help='SQL in quotes, or "-" to read it from the input.')],
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: JsonOption = False,
    parquet: Annotated[Path | None, typer.Option(help="Write a Parquet file.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a table shown to people.")] = 100,
) -> None:
    """Ask the lake in SQL (DuckDB); all rows with --csv, --json or --parquet."""
    if csv + json + (parquet is not None) > 1:
        raise typer.BadParameter("choose one of --csv, --json and --parquet")
    state = state_of(context, json=json)
    with _query_faults():
        relation = _relation(state.lake(), sys.stdin.read() if query == "-" else query)
        if relation is None:
            state.output.note("done, no rows")
        elif parquet is not None:
            _write_parquet(state.output, relation, parquet)
        elif csv:
            write_csv(relation.columns, _batches(relation))
        elif json:
            write_json_rows(_batches(relation))
        else:
            _show(state.output, relation, rows)


def _relation(lake: Any, text: str) -> Any:
    """Return the rows of a query, its columns called differently, or None without any.

    Raises
    ------
    QueryError
        If there is nothing to ask, or more than can be shown.
    """
    import duckdb

    from maplake.errors import QueryError

    try:
        text.encode()
    except UnicodeEncodeError:
        raise QueryError("the query is not UTF-8") from None
    found = duckdb.extract_statements(text)
    if not found:
        raise QueryError("there is nothing to ask", expected="SQL")
    if sum(one.type == duckdb.StatementType.SELECT for one in found) > 1:
        raise QueryError("only one query's rows can be shown", hint="Ask one after the other.")
    relation = lake.sql(text)
    names = [] if relation is None else relation.columns
    if len(set(names)) < len(names):  # of two tables; in a query within a query they are told apart
        relation = lake.sql(f"FROM ({found[-1].query.rstrip().rstrip(';')}\n)")
    return relation


@contextmanager
def _query_faults() -> Iterator[None]:
    """Turn what DuckDB says into an error of ours: some faults show only when rows are read."""
    import duckdb

    from maplake.query.refusal import query_error

    try:
        yield
    except duckdb.Error as error:
        raise query_error(error) from None


def _show(output: Output, relation: Any, limit: int) -> None:
    shown = relation.limit(limit + 1).pl().to_dicts()
    output.table(shown[:limit], relation.columns)
    if len(shown) > limit:
        output.note(f"only the first {limit} rows; --csv, --json or --parquet FILE give all")


def _batches(relation: Any) -> Iterator[Sequence[dict[str, Any]]]:
    """Stream the rows of a relation, so that any number of them passes through."""
    for batch in relation.to_arrow_reader(_BATCH):
        yield batch.to_pylist()


def _write_parquet(output: Output, relation: Any, file: Path) -> None:
    from maplake.exports.place import ready

    with ready(file):
        relation.write_parquet(str(file), compression="zstd")
    output.note(f"wrote {file}")


def _dicts(table: Any) -> list[dict[str, Any]]:
    return table.to_dicts() if hasattr(table, "to_dicts") else [dict(row) for row in table]
