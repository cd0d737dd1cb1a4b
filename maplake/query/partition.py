"""The views of aligned trials over the files of one probe alone.

A view of the catalog lists every file of each of its tables before it leaves out those that a key
excludes, which takes long in a lake of thousands of sessions. Here the same views, word by word,
are made in memory over the one file of each table that a probe's key names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maplake.layout import table_file
from maplake.query import catalog
from maplake.query.connection import Connection, Stamp
from maplake.query.sqltext import full_identifier, glob_escape, identifier, literal
from maplake.query.views import created, empty_select, hive_options, raw_name
from maplake.tables import Table, get

if TYPE_CHECKING:
    import duckdb

__all__ = ["TABLES", "PartitionViews"]

#: Tables of a session that decide which trials are aligned to what.
TABLES = (
    "experiment.session_trial",
    "experiment.behavior_trial",
    "experiment.photostim_event",
    "experiment.photostim_location",
    "experiment.trial_event",
    "experiment.action_event",
    "experiment.water_port_choice",
    "ephys.ephys_trial",
    "ephys.ephys_trial_event",
    "ephys.good_trial",
    "ephys.probe_insertion",
    "ephys.unit",
)

#: What aligned trials are made of, of all that the catalog has.
_NEEDED = {
    *("psth.trial_condition", "psth.align_type", "psth.event_types", "psth.trial_set"),
    *("experiment.photostim_target", "psth.trial", "psth.recorded_trial", "psth.condition_name"),
    *("psth.is_trial_event", "psth.align_name", "psth.check_occurrence", "psth.event"),
    *("ephys.trial_zero", "ephys.board_event", "psth.event_time", "psth.event_sample"),
    *("psth.trial_reach", "psth.session_alignment", "psth.event_alignment"),
    *("psth.go_alignment", "psth.aligned_event", "psth.aligned_trial"),
    *("experiment.period", "psth.last_event", "psth.period_window"),
}
_NAME = "maplake_partition"


class PartitionViews:
    """A database in memory, beside the lake's, whose views read one probe's files.

    Parameters
    ----------
    root
        The lake.
    con
        The connection that it is made in.
    """

    def __init__(self, root: Path, con: Connection) -> None:
        self._root = root
        self._folder = os.path.realpath(root)
        self._con = con
        self._made_in: tuple[duckdb.DuckDBPyConnection, Stamp | None] | None = None
        self._files: dict[str, str | None] = {}

    @contextmanager
    def of(self, key: Mapping[str, Any]) -> Iterator[duckdb.DuckDBPyConnection]:
        """Make the views of one probe, by its key, the default ones for a while."""
        con = self._con.get()
        if self._made_in != (con, self._con.stamp):
            self._make(con)
        con.execute(f"USE {_NAME}")
        try:
            self._point(con, key)
            yield con
        finally:
            con.execute("USE lake")

    def _make(self, con: duckdb.DuckDBPyConnection) -> None:
        made = catalog.in_memory(self._root, catalog.read_settings(self._root))
        con.execute(f"DETACH DATABASE IF EXISTS {_NAME}; ATTACH ':memory:' AS {_NAME}")
        con.execute(f"USE {_NAME}")
        try:
            schemas = sorted({name.split(".")[0] for name in (*TABLES, *_NEEDED)})
            con.execute("; ".join(f"CREATE SCHEMA {identifier(name)}" for name in schemas))
            self._files = {}
            for name in TABLES:
                con.execute(_view(get(name), has_file=False))
            catalog.run(con, _needed(made))
        finally:
            con.execute("USE lake")
        self._made_in = con, self._con.stamp

    def _point(self, con: duckdb.DuckDBPyConnection, key: Mapping[str, Any]) -> None:
        statements, pointed = [], {}
        for name in TABLES:
            table = get(name)
            path: str | None = os.path.join(self._folder, table_file(table, key))  # noqa: PTH118
            if path is not None and not os.path.exists(path):  # noqa: PTH110
                path = None
            if path == self._files.get(name):
                continue
            if path is not None:
                statements.append(f"SET VARIABLE {_variable(table)} = {_file(path)}")
            if path is None or self._files.get(name) is None:
                statements.append(_view(table, has_file=path is not None))
            pointed[name] = path
        if statements:
            try:
                con.execute("; ".join(statements))
            except BaseException:
                self._made_in = None  # some point to this probe, some still to the last one
                raise
        self._files |= pointed


def _needed(made: Sequence[str]) -> list[str]:
    return [text for text in made if created(text) in _NEEDED]


def _view(table: Table, *, has_file: bool) -> str:
    """Return the view of the file that a variable names: to name another one is quick."""
    head = f"CREATE OR REPLACE VIEW {full_identifier(raw_name(table))} AS"
    if not has_file:
        return f"{head} {empty_select(table.columns)}"
    columns = ", ".join(identifier(c.name) for c in table.columns)
    source = f"read_parquet(getvariable({literal(_variable(table))}){hive_options(table)})"
    return f"{head} SELECT {columns} FROM {source}"


def _variable(table: Table) -> str:
    return f"maplake_{table.schema}_{table.name}"


def _file(path: str) -> str:
    return literal(glob_escape(path.replace(os.sep, "/")))
