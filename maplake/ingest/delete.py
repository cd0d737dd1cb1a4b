"""``maplake delete``: a session, insertion or animal with all that hangs on it, in one commit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from maplake.config import Config
from maplake.errors import IntegrityError, NotFoundError
from maplake.ingest.decide import ORDER
from maplake.ingest.lakes import read_global, update_catalog, writing
from maplake.ingest.outdated import take_out
from maplake.ingest.session import DELETED, WAITING, State
from maplake.ingest.state import SourceState, read_all, read_manifest, read_state, state_json
from maplake.layout import LAKE_NAME, Layout, manifest_file, session_name, state_file
from maplake.query.known import tables_of
from maplake.tables import Store, Table
from maplake.tables.own import KIND
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

__all__ = ["Deletion", "Target", "delete", "undelete"]

Manifest = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """What to delete: an animal, a session of it, or a probe insertion of that.

    ``subject_id``, ``session`` (None = the animal with all its sessions), ``insertion_number``
    (None = the whole session).
    """

    subject_id: int
    session: int | None = None
    insertion_number: int | None = None

    @property
    def key(self) -> dict[str, int]:
        """The columns that name it."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def __str__(self) -> str:
        words = [f"animal {self.subject_id}"]
        if self.session is not None:
            words.append(f"session {self.session}")
        if self.insertion_number is not None:
            words.append(f"insertion {self.insertion_number}")
        return ", ".join(words)


@dataclass
class Deletion:
    """What goes with a target.

    Attributes
    ----------
    target
        What was asked for.
    rows
        Number of rows by table.
    arrays
        Number of files of arrays.
    sources
        Kind and name of the sources that will not be read again.
    recomputed
        Computed tables that lose rows because these were made from what goes.
    """

    target: Target
    rows: dict[str, int] = field(default_factory=dict)
    arrays: int = 0
    sources: list[tuple[str, str]] = field(default_factory=list)
    recomputed: list[str] = field(default_factory=list)


def delete(config: Config, target: Target, *, dry_run: bool = False) -> Deletion:
    """Remove a target and every row, array and record that depends on it, in one commit.

    Session numbers are not given again. The next ingest leaves the sources out until
    :func:`undelete`; raw files are not touched.

    Parameters
    ----------
    config
        Names the lake.
    target
        What to delete.
    dry_run
        Only count.

    Returns
    -------
    What goes, or would go.

    Raises
    ------
    NotFoundError
        If the lake has no such animal, session or insertion.
    """
    if dry_run:
        return _Plan(Layout(config.lake.root), target).found
    with writing(config) as layout:
        plan = _Plan(layout, target)
        with staging_run(layout.root) as run:
            stage = Stage(layout, run)
            plan.stage(stage)
            commit(layout, [stage.finish()], {"command": "delete", **target.key})
    update_catalog(config)
    return plan.found


class _Plan:
    """What changes in each of the lake's books, and in its global tables."""

    def __init__(self, layout: Layout, target: Target) -> None:
        self._layout, self._target = layout, target
        self.found = Deletion(target)
        self._books = list(self._named())
        self._states: dict[str, State] = {}
        self._manifests: dict[str, Manifest] = {}
        self._gone: list[str] = []
        self._globals: list[tuple[Table, pa.Table]] = list(self._global_rows())
        for name in self._books:
            self._session(name)
        if not self.found.rows and not self._gone:
            raise NotFoundError(
                f"the lake has no {target}", hint="`maplake status` lists what there is."
            )
        self._lake()
        self._count(tables_of(layout.root))

    def _named(self) -> Iterator[str]:
        target = self._target
        if target.session is not None:
            yield session_name(target.subject_id, target.session)
            return
        for name in read_all(self._layout):
            if name.rsplit("_", 1)[0] == str(target.subject_id):
                yield name

    def _session(self, name: str) -> None:
        """Plan what goes of one session."""
        states, manifest = read_state(self._layout, name), read_manifest(self._layout, name)
        if not manifest and any(state.outputs for state in states.values()):
            raise IntegrityError(  # its files would stay, and be of no session
                "a manifest of the lake is missing",
                file=self._layout.root / manifest_file(name),
                hint="`maplake check` says which command repairs it.",
            )
        gone = {path for path in manifest if self._concerns(path)}
        mine = {key for key, state in states.items() if self._is_mine(state)}
        places = [path for key in mine for path in states[key].outputs]
        gone |= {p for p in manifest if any(p == o or p.startswith(f"{o}/") for o in places)}
        left = {path: entry for path, entry in manifest.items() if path not in gone}
        kept: State = {}
        for key, state in states.items():
            if key not in mine:
                outputs = [o for o in state.outputs if o not in gone]
                kept[key] = dataclasses.replace(state, outputs=outputs)
            elif state.kind in ORDER:
                kept[key] = _deleted(state, self._target)
                self.found.sources.append(key)
        kept, outdated = take_out(kept, left, gone)
        self._states[name] = kept
        self._manifests[name] = {p: e for p, e in left.items() if p not in outdated}
        self._gone += [*gone, *outdated]

    def _concerns(self, path: str) -> bool:
        number = self._target.insertion_number
        return number is None or f"insertion_number={number}" in PurePosixPath(path).parts

    def _is_mine(self, state: SourceState) -> bool:
        number = self._target.insertion_number
        return number is None or state.insertion_number == number

    def _global_rows(self) -> Iterator[tuple[Table, pa.Table]]:
        """Yield the global tables that have rows of the target, without these."""
        for table in tables_of(self._layout.root).values():
            names = {column.name for column in table.columns}
            if table.store is not Store.GLOBAL or table.kind == KIND:
                continue
            if not set(self._target.key) <= names:
                continue
            data = read_global(self._layout, table)
            if data is None:
                continue
            keep = pc.invert(_matches(data, self._target.key))
            left = data.filter(pc.fill_null(keep, fill_value=True))
            if left.num_rows < data.num_rows:
                self.found.rows[table.full_name] = data.num_rows - left.num_rows
                yield table, left

    def _lake(self) -> None:
        """Plan what goes of tables that are computed over sessions."""
        states = read_state(self._layout, LAKE_NAME)
        manifest = read_manifest(self._layout, LAKE_NAME)
        everything = dict(manifest)
        for name in read_all(self._layout):
            known = self._manifests.get(name)
            everything |= read_manifest(self._layout, name) if known is None else known
        kept, outdated = take_out(states, everything, self._gone)
        if outdated:
            self._states[LAKE_NAME] = kept
            self._gone += outdated
        self._manifests[LAKE_NAME] = {p: e for p, e in manifest.items() if p not in outdated}

    def _count(self, tables: Mapping[str, Table]) -> None:
        counts = self.found.rows
        before = {p: e for n in {*self._books, LAKE_NAME} for p, e in
                  read_manifest(self._layout, n).items()}  # fmt: skip
        for path in self._gone:
            rows = before[path]["rows"] if path in before else None
            if rows is None:
                self.found.arrays += 1
                continue
            name = ".".join(PurePosixPath(path).parts[1:3])
            counts[name] = counts.get(name, 0) + int(rows)
        order = {name: place for place, name in enumerate(tables)}
        self.found.rows = dict(sorted(counts.items(), key=lambda i: order.get(i[0], len(order))))
        self.found.recomputed = sorted(
            {s.name.split(" ")[0] for states in self._states.values() for s in states.values()
             if s.kind == KIND and s.status == WAITING}
        )  # fmt: skip

    def stage(self, stage: Stage) -> None:
        """Stage all of it."""
        for path in self._deletes(set(self._gone)):
            stage.delete(path)
        for table, left in self._globals:
            stage.table(table, {}, left)
        self._manifests[LAKE_NAME] |= stage.staged.manifest
        for name, files in self._manifests.items():
            stage.json(manifest_file(name), {"files": files})
        for name, states in self._states.items():
            stage.json(state_file(name), state_json(states.values()))

    def _deletes(self, gone: set[str]) -> Iterable[str]:
        """Return files, and of arrays the folders, so that each array goes at once."""
        places = set()
        for path in gone:
            store = next((p for p in PurePosixPath(path).parents if p.suffix == ".zarr"), None)
            places.add(path if store is None else str(store))
        return sorted(places)


def _matches(data: pa.Table, key: Mapping[str, int]) -> pa.ChunkedArray:
    found = None
    for name, value in key.items():
        one = pc.equal(data[name], value)
        found = one if found is None else pc.and_(found, one)
    return found


def _deleted(state: SourceState, target: Target) -> SourceState:
    day = f"{datetime.now():%Y-%m-%d}"
    return SourceState(
        state.kind,
        state.name,
        DELETED,
        f"{target} was deleted on {day}; `maplake delete --undo` lets ingest read it again",
        state.subject_id,
        state.session,
        state.insertion_number,
        path=state.path,
        h2o=state.h2o,
        start=state.start,
    )


def undelete(config: Config, target: Target) -> list[tuple[str, str]]:
    """Forget that a target was deleted, so that the next ingest takes its sources in again.

    Returns
    -------
    Kind and name of the sources.

    Raises
    ------
    NotFoundError
        If nothing of it was deleted.
    """
    done: list[tuple[str, str]] = []
    with writing(config) as layout, staging_run(layout.root) as run:
        stage = Stage(layout, run)
        for name, states in read_all(layout).items():
            found = [
                key
                for key, state in states.items()
                if state.status == DELETED
                and all(getattr(state, n) == value for n, value in target.key.items())
            ]
            if found:
                left = [state for key, state in states.items() if key not in found]
                stage.json(state_file(name), state_json(left))
                done += found
        if not done:
            raise NotFoundError(f"nothing of {target} was deleted")
        commit(layout, [stage.finish()], {"command": "delete --undo", **target.key})
    return sorted(done)
