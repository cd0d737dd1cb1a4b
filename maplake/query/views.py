"""The statements that make the catalog, from the declarations and ``sql/*.sql``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import chain
from pathlib import Path

from maplake.layout import PART, RECORDS, Layout, compact_glob, relative_glob
from maplake.query import own_conditions
from maplake.query.known import schemas_of, tables_of
from maplake.query.sqltext import full_identifier, glob_literal, identifier, literal, sql_type
from maplake.recordfile import read_json
from maplake.tables import Column, Store, Table, get
from maplake.tables.psth import ALIGN_EVENTS

#: Files of sql/ in the order of what builds upon what; the conditions come after the first three.
_BEFORE_CONDITIONS = (
    *("experiment", "ephys", "ephys_quality", "tracking", "ccf", "foraging", "psth_trials"),
)
_AFTER_CONDITIONS = ("psth_bins", "psth_unit", "psth_macros", "psth_period")

_CREATED = re.compile(r'^CREATE (?:OR REPLACE )?(VIEW|MACRO) "?(\w+)"?\."?(\w+)', re.MULTILINE)

AlignRow = Sequence[object]

_COMMENT = "COMMENT ON"

#: Columns whose words compare without regard to case.
_NO_CASE = {"trial_condition_name", "align_type_name"}


def raw_name(table: Table) -> str:
    """Return the name of the view of a table's files.

    It is the table's own, or ``…_file`` where sql/ adds columns and defines the public view.
    """
    return f"{table.full_name}_file" if table.computed else table.full_name


def statements(
    root: Path,
    conditions: Mapping[str, own_conditions.Configured],
    align_types: Mapping[str, AlignRow],
) -> list[str]:
    """Return all statements of the catalog of the lake at ``root``, in order.

    Parameters
    ----------
    root
        The lake's folder; its absolute path becomes part of the views.
    conditions
        The lab's own trial conditions by name: SQL predicates over ``psth.trial``, or predicate
        and description.
    align_types
        The lab's own alignments by name: event, trial offset, time offset (s), start and end of
        the window (s).
    """
    own = own_conditions.configured_ones(conditions) | own_conditions.beside(root, conditions)
    extra: dict[str, list[Sequence[object]]] = {
        "psth.trial_condition": [
            (name, c.predicate, c.description, None) for name, c in own.items()
        ],
        "psth.align_type": [(name, *row) for name, row in align_types.items()],
    }
    predicates = {name: c.predicate for name, c in own.items()}
    tables = tables_of(root)
    return [
        *(f"CREATE SCHEMA IF NOT EXISTS {identifier(s)}" for s in schemas_of(tables)),
        *chain.from_iterable(_stored(root, t) for t in tables.values() if t.store.on_disk),
        *(
            lookup(t, extra.get(t.full_name, ()))
            for t in tables.values()
            if t.store is Store.LOOKUP
        ),
        source_view(root),
        *chain.from_iterable(script(name) for name in _BEFORE_CONDITIONS),
        trial_set(_predicates(predicates)),
        f"CREATE MACRO psth.event_types() AS {literal(ALIGN_EVENTS)}",
        *chain.from_iterable(script(name) for name in _AFTER_CONDITIONS),
        *chain.from_iterable(comments(t) for t in tables.values()),
    ]


def in_quick_order(root: Path, made: Sequence[str]) -> list[str]:
    """Return statements that make the same catalog, and look at hardly any file while they do.

    Whatever builds upon the view of a table's files would list all of them again. So these views
    are empty at first and read their files from the end on; comments are one statement.
    """
    stored = [table for table in tables_of(root).values() if table.store.on_disk]
    empty = {text: _empty_view(table) for table in stored for text in _stored(root, table)}
    empty[source_view(root)] = _empty_view(get("ingest.source"))
    full = [text for text in made if empty.get(text, text) != text]
    notes = [text for text in made if text.startswith(_COMMENT)]
    return [
        *(empty.get(text, text) for text in made if not text.startswith(_COMMENT)),
        *(text.replace("CREATE", "CREATE OR REPLACE", 1) for text in full),
        *([";\n".join(notes)] if notes else []),
    ]


def created(statement: str) -> str | None:
    """Return the full name of the view or macro that a statement makes; None if it makes none."""
    match = _CREATED.search(statement)
    return f"{match[2]}.{match[3]}" if match else None


def view_made(statement: str) -> str | None:
    """Return the full name of the view that a statement makes; None if it makes none."""
    match = _CREATED.search(statement)
    return f"{match[2]}.{match[3]}" if match and match[1] == "VIEW" else None


def script(name: str) -> list[str]:
    """Return the statements of one file of ``sql/``, with their comments."""
    text = files("maplake.query").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return [part.strip() for part in text.split(";\n") if part.strip()]


def _predicates(conditions: Mapping[str, str]) -> dict[str, str]:
    published = {str(row[0]): str(row[1]) for row in get("psth.trial_condition").rows}
    return published | dict(conditions)


def trial_set(predicates: Mapping[str, str]) -> str:
    """Return the view of every trial's conditions: all predicates in one scan of psth.trial."""
    # The line break keeps a comment at a predicate's end from swallowing the parenthesis.
    cases = ",\n        ".join(
        f"CASE WHEN ({text}\n        ) THEN {literal(name)} END"
        for name, text in predicates.items()
    )
    return (
        "CREATE VIEW psth.trial_set AS\n"
        f"SELECT subject_id, session, trial, list_filter([\n        {cases}\n    ], "
        "lambda name: name IS NOT NULL) AS conditions\nFROM psth.trial"
    )


def _stored(root: Path, table: Table) -> Iterator[str]:
    name = full_identifier(raw_name(table))
    if not has_files(root, table):
        yield _empty_view(table)
        return
    columns = ", ".join(identifier(c.name) for c in table.columns)
    yield f"CREATE VIEW {name} AS\nSELECT {columns}\nFROM {scan(root, table)}"


def _empty_view(table: Table) -> str:
    return f"CREATE VIEW {full_identifier(raw_name(table))} AS\n{empty_select(table.columns)}"


def scan(root: Path, table: Table) -> str:
    """Return the table function that reads a table's files, or where it has them, merged ones."""
    merged = is_compact(root, table)
    files = compact_glob(table) if merged else relative_glob(table)
    return f"read_parquet({glob_literal(root, files)}{hive_options(table, merged=merged)})"


def hive_options(table: Table, *, merged: bool = False) -> str:
    """Return the arguments that make columns of a partitioned table's folders, with their types.

    Merged files are in folders of animals.
    """
    types = {c.name: sql_type(c.kind) for c in table.columns}
    hive = ", ".join(f"{literal(n)}: {types[n]}" for n in table.partition[: 1 if merged else None])
    return f", hive_partitioning = true, hive_types = {{{hive}}}" if hive else ""


def is_compact(root: Path, table: Table) -> bool:
    """Whether a table is kept merged by animal, too."""
    try:
        names = read_json(Layout(root).compact_list)["tables"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return isinstance(names, list) and table.full_name in names


def has_files(root: Path, table: Table) -> bool:
    """Whether a table has any file."""
    return has_files_below(Layout(root).table_dir(table), table.partition)


def has_files_below(folder: str | Path, levels: Sequence[str]) -> bool:
    """Whether a file lies below folders of these keys: looks no further than to the first one."""
    if not levels:
        return os.path.isfile(os.path.join(folder, PART))  # noqa: PTH113, PTH118
    try:
        with os.scandir(folder) as entries:
            return any(
                has_files_below(entry.path, levels[1:])
                for entry in entries
                if entry.name.startswith(f"{levels[0]}=")
            )
    except OSError:
        return False


def empty_select(columns: Sequence[Column]) -> str:
    """Return a query without rows but with all columns in their types."""
    nulls = ", ".join(f"NULL::{sql_type(c.kind)} AS {identifier(c.name)}" for c in columns)
    return f"SELECT {nulls} WHERE false"


def lookup(table: Table, extra: Sequence[Sequence[object]]) -> str:
    """Return the view of a lookup's constant rows."""
    rows = ",\n    ".join(
        f"({', '.join(literal(value) for value in row)})" for row in (*table.rows, *extra)
    )
    columns = ", ".join(
        f"{identifier(c.name)}::{sql_type(c.kind)}"
        f"{' COLLATE NOCASE' if c.name in _NO_CASE else ''} AS {identifier(c.name)}"
        for c in table.columns
    )
    names = ", ".join(identifier(c.name) for c in table.columns)
    return (
        f"CREATE VIEW {full_identifier(table.full_name)} AS\n"
        f"SELECT {columns}\nFROM (VALUES\n    {rows}\n) AS v({names})"
    )


def source_view(root: Path) -> str:
    """Return the view of what became of every source, from the state files."""
    table = get("ingest.source")
    states = Layout(root).meta / "state"
    if not any(states.glob(RECORDS)):
        return _empty_view(table)
    fields = ", ".join(f"{identifier(c.name)} {sql_type(c.kind)}" for c in table.columns)
    columns = ", ".join(f"s.{identifier(c.name)}" for c in table.columns)
    source = glob_literal(root, f".maplake/state/{RECORDS}")
    return (
        f"CREATE VIEW {full_identifier(table.full_name)} AS\n"
        f"SELECT {columns}\nFROM (\n    SELECT unnest(sources) AS s\n"
        f"    FROM read_json({source}, format = 'auto', maximum_object_size = 268435456, "
        f"columns = {{'sources': {literal(f'STRUCT({fields})[]')}}})\n)"
    )


def comments(table: Table) -> Iterator[str]:
    """Yield the comments of a view and its columns, with units."""
    name = full_identifier(table.full_name)
    yield f"{_COMMENT} VIEW {name} IS {literal(table.comment)}"
    for column in table.all_columns:
        text = column.comment + (f" [{column.unit}]" if column.unit else "")
        yield f"{_COMMENT} COLUMN {name}.{identifier(column.name)} IS {literal(text)}"
