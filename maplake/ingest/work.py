"""The work of staging one session: what is shared by the kinds that take part in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from maplake.config import Config
from maplake.errors import CorruptFileError, LakeError, MaplakeError, MissingFileError
from maplake.ingest.align import BehaviorTrials
from maplake.ingest.session import IN, SessionPlan
from maplake.ingest.state import SourceState, hash_whole_file, read_manifest
from maplake.layout import Layout, table_file
from maplake.readers.base import Skipped
from maplake.tables import Store, get
from maplake.writers.commit import Stage
from maplake.writers.staged import Staged

if TYPE_CHECKING:
    import polars as pl


@dataclass
class StagedSession:
    """What came of reading a session.

    Attributes
    ----------
    staged
        Files ready to be committed; None if there is nothing to commit.
    states
        New states of the sources that were read.
    lookups
        Rows for global tables.
    errors
        What went wrong, by kind and name of the source; if there is anything, nothing is staged.
    seconds
        Time taken, s.
    overtaken
        Whether another writer changed the session since it was planned; nothing was read then.
    """

    staged: Staged | None = None
    states: list[SourceState] = field(default_factory=list)
    lookups: list[tuple[str, pa.Table]] = field(default_factory=list)
    errors: dict[tuple[str, str], MaplakeError] = field(default_factory=dict)
    seconds: float = 0.0
    overtaken: bool = False


class Work:
    """One session being staged.

    Attributes
    ----------
    config, layout, plan
        Settings, lake and session.
    stage
        Where files go.
    result
        What has come of it so far.
    trials
        The session's behavior, once something asked for it.
    """

    def __init__(self, config: Config, layout: Layout, plan: SessionPlan, run: str) -> None:
        self.config = config
        self.layout = layout
        self.plan = plan
        self.stage = Stage(layout, run)
        self.result = StagedSession()
        self.trials: BehaviorTrials | None = None
        self._whole: set[str] = set()
        self._pool = ThreadPoolExecutor(2)
        self._pending: list[tuple[SourceState, Future[None]]] = []

    def file(self, name: str, partition: Mapping[str, object]) -> Path:
        """Return the file of a partition: the one staged just now, else the one in the lake.

        Raises
        ------
        CorruptFileError
            If a file of this session in the lake is not what was written.
        """
        path = table_file(get(name), partition)
        staged = self.stage.folder / path
        if staged.exists():
            return staged
        if str(path) not in self._whole:
            _check_whole(self.layout, self.plan.name, str(path))
            self._whole.add(str(path))
        return self.layout.root / path

    def rows(self, name: str, partition: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Return rows of a table: those of this work, and for global tables those of the lake.

        Raises
        ------
        MissingFileError
            If there are none.
        """
        import polars as pl

        merged = self.arrow(name, partition)
        keys = [key for key in get(name).key if key in merged.column_names]
        return pl.DataFrame(pl.from_arrow(merged)).unique(keys or None, maintain_order=True)

    def arrow(self, name: str, partition: Mapping[str, object] | None = None) -> pa.Table:
        """Return what :meth:`rows` does; a row of a global table may be there twice.

        Raises
        ------
        MissingFileError
            If there are none.
        """
        table = get(name)
        parts = [data for other, data in self.result.lookups if other == name]
        place = self.file(name, partition or {})
        if place.exists():
            parts.insert(0, pq.ParquetFile(place).read())
        if not parts:
            raise MissingFileError("the lake lacks what a source refers to", file=name)
        schema = table.file_schema
        plain = pa.schema([pa.field(f.name, _plain(f.type)) for f in schema])
        return pa.concat_tables([part.select(schema.names).cast(plain) for part in parts])

    def print_of(self, kind: str, insertion_number: int | None = None) -> str:
        """Return the fingerprint of a source of this session, read just now or in the lake."""
        states = {s.key: s for s in self.plan.state.values() if s.status == IN}
        states |= {s.key: s for s in self.result.states}
        for state in states.values():
            any_insertion = None in (insertion_number, state.insertion_number)
            if state.kind == kind and (any_insertion or state.insertion_number == insertion_number):
                return state.fingerprint
        return ""

    def tables(
        self,
        state: SourceState,
        tables: Mapping[str, pa.Table],
        partition: Mapping[str, object],
        *,
        is_sorted: tuple[str, ...] = (),
    ) -> None:
        """Stage rows of tables; rows of global tables are kept for the commit."""
        for name, data in tables.items():
            table = get(name)
            if table.store is Store.GLOBAL:
                self.result.lookups.append((name, data))
                continue
            if not data.num_rows:
                continue
            rows = self.stage.table(table, partition, data, is_sorted=name in is_sorted)
            state.outputs.append(str(table_file(table, partition)))
            state.rows[name] = rows

    def later(self, state: SourceState, *writes: Callable[[], None]) -> None:
        """Write what is large beside the reading of what follows.

        Packing leaves the interpreter to others. The writes of one source wait at most, as they
        hold its arrays in memory.
        """
        self.settle()
        self._pending = [(state, self._pool.submit(write)) for write in writes]

    def settle(self) -> None:
        """Wait for what :meth:`later` was told; its errors are those of its source."""
        pending, self._pending = self._pending, []
        for state, future in pending:
            try:
                future.result()
            except LakeError:
                raise
            except MaplakeError as error:
                self.result.errors[state.key] = error

    def abandon(self) -> None:
        """Throw everything staged away, once nothing is being written there any more."""
        self._pool.shutdown(cancel_futures=True)
        self.stage.abandon()

    def skipped(self, state: SourceState, source: str, items: list[Skipped]) -> None:
        """Stage what a reader left out, with the reasons."""
        for item in items:
            state.skipped[item.item_type] = state.skipped.get(item.item_type, 0) + 1
        reasons: dict[tuple[str, str], list[str]] = {}
        for item in items:
            reasons.setdefault((item.item_type, item.item), []).append(item.reason)
        schema = get("ingest.skipped").file_schema
        rows = [
            {"item_type": kind, "item": name, "reason": "; ".join(dict.fromkeys(why))}
            for (kind, name), why in reasons.items()
        ]
        data = pa.Table.from_pylist(rows, schema=schema)
        self.tables(state, {"ingest.skipped": data}, {**self.plan.partition, "source": source})

    def finish(self) -> StagedSession:
        """Return the result; nothing stays staged if anything failed."""
        self.settle()
        if self.result.errors or not self.result.states:
            self.abandon()
            self.result.states = []
            self.result.lookups = []
        else:
            self._pool.shutdown()
            self.result.staged = self.stage.finish()
        return self.result


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_whole(layout: Layout, name: str, path: str) -> None:
    """Refuse to align a source to rows of its session that are not what was written."""
    for wait in (0.0, 0.1, 0.5):  # a commit of another writer may be half way
        time.sleep(wait)
        wanted = read_manifest(layout, name).get(path)
        file = layout.root / path
        if wanted is None or (file.is_file() and hash_whole_file(file) == wanted["sha256"]):
            return
    raise CorruptFileError(
        "the lake's own file, which a source is aligned to, is damaged",
        file=layout.root / path,
        hint="`maplake check --deep` says which command repairs it.",
    )
