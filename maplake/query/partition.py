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
    "experiment.photostim",
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
    *("psth.go_alignment", "psth.aligned_event"),
    *("experiment.period", "psth.last_event", "psth.period_window"),
}
_NAME = "maplake_partition"
#: The variable that names the files, a field per table.
_FILES = "maplake_files"


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
        self._files: dict[str, str] = {}
        self._places: tuple[dict[str, Any], dict[str, str]] = {}, {}

    def files(self, key: Mapping[str, Any]) -> dict[str, str]:
        """Return where the file of each table is, if there is one, by the table's name."""
        if self._places[0] != key:  # asked again and again of one probe
            below = {name: table_file(get(name), key) for name in TABLES}
            found = {name: os.path.join(self._folder, path) for name, path in below.items()}  # noqa: PTH118
            self._places = dict(key), found
        return self._places[1]

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
        files = {n: path for n, path in self.files(key).items() if os.path.exists(path)}  # noqa: PTH110
        if files == self._files:
            return
        fields = (f"{literal(_field(get(n)))}: {_file(path)}" for n, path in files.items())
        statements = [f"SET VARIABLE {_FILES} = {{{', '.join(fields)}}}"] if files else []
        changed = files.keys() ^ self._files.keys()
        statements += [_view(get(name), has_file=name in files) for name in sorted(changed)]
        try:
            con.execute("; ".join(statements))
        except BaseException:
            self._made_in = None  # some point to this probe, some still to the last one
            raise
        self._files = files


def _needed(made: Sequence[str]) -> list[str]:
    return [text for text in made if created(text) in _NEEDED]


def _view(table: Table, *, has_file: bool) -> str:
    """Return the view of the file that the variable names: to name another one is quick."""
    head = f"CREATE OR REPLACE VIEW {full_identifier(raw_name(table))} AS"
    if not has_file:
        return f"{head} {empty_select(table.columns)}"
    columns = ", ".join(identifier(c.name) for c in table.columns)
    file = f"getvariable({literal(_FILES)})[{literal(_field(table))}]"
    return f"{head} SELECT {columns} FROM read_parquet({file}{hive_options(table)})"


def _field(table: Table) -> str:
    return f"{table.schema}_{table.name}"


def _file(path: str) -> str:
    return literal(glob_escape(path.replace(os.sep, "/")))
