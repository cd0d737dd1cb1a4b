"""One session from raw files to staged files; runs in a process of its own where asked to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from maplake.config import Config
from maplake.errors import LakeError, MaplakeError, SourceChangedError
from maplake.ingest import behavior, ephys
from maplake.ingest.align import BehaviorTrials
from maplake.ingest.plan import IN, SessionPlan, settings_of, stat_of
from maplake.ingest.sources import BEHAVIOR, Source
from maplake.ingest.state import SourceState, fingerprint, hash_file
from maplake.layout import Layout, spike_store, table_file
from maplake.readers.base import Skipped
from maplake.tables import Store, get
from maplake.writers import spikes
from maplake.writers.commit import Stage, Staged


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
        What went wrong, by source name; if there is anything, nothing is staged.
    seconds
        Time taken, s.
    """

    staged: Staged | None = None
    states: list[SourceState] = field(default_factory=list)
    lookups: list[tuple[str, pa.Table]] = field(default_factory=list)
    errors: dict[tuple[str, str], MaplakeError] = field(default_factory=dict)
    seconds: float = 0.0


def stage_session(config: Config, run: str, plan: SessionPlan) -> StagedSession:
    """Read the sources of a session that must be read, and stage their files.

    Parameters
    ----------
    config
        Settings.
    run
        Name of the run, for its staging folder.
    plan
        The session.
    """
    begin = time.perf_counter()
    work = _Work(config, Layout(config.lake.root), plan, run)
    try:
        for source in plan.todo:
            try:
                work.take(source)
            except LakeError:
                raise
            except MaplakeError as error:
                work.result.errors[(source.kind, source.name)] = error
                if source.kind == BEHAVIOR:
                    break
        result = work.finish()
    except BaseException:
        work.stage.abandon()
        raise
    result.seconds = time.perf_counter() - begin
    return result


class _Work:
    """The state of staging one session."""

    def __init__(self, config: Config, layout: Layout, plan: SessionPlan, run: str) -> None:
        self.config = config
        self.layout = layout
        self.plan = plan
        self.stage = Stage(layout, run)
        self.result = StagedSession()
        self.settings = settings_of(config)
        known = next(
            (s for s in plan.state.values() if s.kind == BEHAVIOR and s.status == IN), None
        )
        self.behavior_print = known.fingerprint if known else ""
        self.trials: BehaviorTrials | None = None

    def take(self, source: Source) -> None:
        """Read one source and stage its rows."""
        before = stat_of(source)
        with ThreadPoolExecutor(1) as pool:
            # Hashing releases the interpreter, so it costs little beside reading.
            hashes = pool.submit(_hashes, source.files())
            state = SourceState(source.kind, source.name, IN)
            if source.kind == BEHAVIOR:
                self._behavior(source, state)
            else:
                self._probe(source, state)
            state.files = hashes.result()
        if stat_of(source) != before:
            raise SourceChangedError(
                "the files changed while they were read",
                file=source.path,
                hint="It will be read again by the next ingest.",
            )
        self._complete(source, state, before)

    def _complete(self, source: Source, state: SourceState, stat: list[list[Any]]) -> None:
        base = source.path if source.path.is_dir() else source.path.parent
        state.fingerprint = fingerprint(state.files, base)
        state.stat = stat
        state.subject_id, state.session = self.plan.subject_id, self.plan.session
        state.insertion_number = source.insertion_number
        state.h2o = source.h2o
        state.start = source.start.isoformat() if source.start else ""
        main = source.parts[-1].get_reader()
        state.reader, state.reader_version = main.name, main.version
        state.settings = self.settings.get(source.kind, "")
        state.time = datetime.now().isoformat(timespec="seconds")
        if source.kind == BEHAVIOR:
            self.behavior_print = state.fingerprint
        else:
            state.depends = self.behavior_print
        self.result.states.append(state)

    def _behavior(self, source: Source, state: SourceState) -> None:
        records = behavior.read(source, self.config.behavior_context)
        tables = behavior.tables(records, source, self.config)
        self.trials = behavior.trials_of_records(records)
        self._tables(state, tables, self.plan.partition)
        lookups = behavior.lookups(tables["experiment.session"])
        self.result.lookups += lookups.items()
        self._skipped(state, BEHAVIOR, records.skipped)

    def _probe(self, source: Source, state: SourceState) -> None:
        if self.trials is None:
            self.trials = behavior.trials_of_lake(self.layout, self.plan.partition)
        partition = {**self.plan.partition, "insertion_number": source.insertion_number or 0}
        data = ephys.read(source, self.trials, partition)
        target = spike_store(partition, data.clustering_method)
        state.outputs.append(str(target))
        with ThreadPoolExecutor(1) as pool:  # packing leaves the interpreter to others
            store = self.stage.array(target)
            packing = pool.submit(spikes.write, store, data.arrays, data.attributes)
            self._tables(state, data.tables, partition)
            packing.result()
        self.result.lookups += data.lookups.items()
        skipped = [item for records in data.records for item in records.skipped]
        self._skipped(state, f"ephys-{source.insertion_number}", skipped)

    def _tables(
        self, state: SourceState, tables: Mapping[str, pa.Table], partition: Mapping[str, int]
    ) -> None:
        for name, data in tables.items():
            table = get(name)
            if table.store is Store.GLOBAL:
                self.result.lookups.append((name, data))
                continue
            is_sorted = name == "ephys.spike"  # sorted with its arrays; millions of rows
            rows = self.stage.table(table, partition, data, is_sorted=is_sorted)
            state.outputs.append(str(table_file(table, partition)))
            state.rows[name] = rows

    def _skipped(self, state: SourceState, source: str, items: list[Skipped]) -> None:
        for item in items:
            state.skipped[item.item_type] = state.skipped.get(item.item_type, 0) + 1
        if items:
            partition = {**self.plan.partition, "source": source}
            table = get("ingest.skipped")
            self.stage.table(table, partition, behavior.skipped_table(items))
            state.outputs.append(str(table_file(table, partition)))
            state.rows[table.full_name] = len(items)

    def finish(self) -> StagedSession:
        """Return the result; nothing stays staged if anything failed."""
        if self.result.errors or not self.result.states:
            self.stage.abandon()
            self.result.states = []
            self.result.lookups = []
        else:
            self.result.staged = self.stage.finish()
        return self.result


def _hashes(paths: list[Path]) -> dict[str, str]:
    return {str(path): hash_file(path) for path in paths}
