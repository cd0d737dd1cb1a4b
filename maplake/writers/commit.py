"""The commit: staged files become visible all at once or not at all.

1. Everything that a commit adds lies, synced to disk, in ``.maplake/staging/<id>/``.
2. A journal record that says what goes where is written beside it and renamed into
   ``.maplake/journal/``: from here on the commit is decided.
3. The renames and removals are carried out. Whoever opens the lake next repeats those that a
   crash prevented; each may be repeated any number of times.
4. The record moves to ``.maplake/log/`` and the staging folder goes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from maplake.errors import IntegrityError, LakeError, LakeLockedError, LakeReadOnlyError
from maplake.layout import (
    COMPACT,
    SPARE,
    SPARED_RECORDS,
    Layout,
    is_inside,
    spare_file,
    table_file,
)
from maplake.seal import sealed
from maplake.tables import TABLES, Table
from maplake.version import version
from maplake.writers import files, keep
from maplake.writers.lock import check_held, living_runs, write_lock
from maplake.writers.staged import Staged

if TYPE_CHECKING:
    import pyarrow as pa

_NOTHING = "Nothing of the unfinished commit is visible."


class Stage:
    """Collects the files of one commit in the staging folder.

    Parameters
    ----------
    layout
        The lake.
    run
        Name of the run (see :func:`maplake.writers.lock.staging_run`) that it is part of.
    """

    def __init__(self, layout: Layout, run: str) -> None:
        self.staged = Staged(f"{run}.{uuid.uuid4().hex[:8]}")
        self.folder = layout.staging / self.staged.name
        self._layout = layout
        self._settled: set[str] = set()

    def path(self, target: PurePosixPath) -> Path:
        """Return the place to write the file or folder that will become ``target``."""
        self.staged.writes.append(str(target))
        place = self.folder / target
        files.make_dir(place.parent)
        return place

    def table(
        self,
        table: Table,
        partition: Mapping[str, object],
        data: pa.Table,
        *,
        is_sorted: bool = False,
    ) -> int:
        """Stage the rows of one partition of a table; return their number."""
        from maplake.writers import parquet

        checked = parquet.conform(table, data, is_sorted=is_sorted)
        target = table_file(table, partition)
        place = self.path(target)
        parquet.write(table, checked, place)
        self._record(target, place, checked.num_rows)
        if table.spared:
            shutil.copyfile(place, self.path(spare_file(target)))
        return int(checked.num_rows)

    def copy(self, source: Path, target: PurePosixPath) -> None:
        """Stage a copy of a table's file that is in the lake."""
        import pyarrow.parquet as pq

        place = self.path(target)
        shutil.copyfile(source, place)
        self._record(target, place, pq.read_metadata(place).num_rows)

    def json(self, target: PurePosixPath, value: Any) -> None:
        """Stage a JSON file, with the SHA-256 of its content."""
        content = files.json_bytes(sealed(value))
        files.write_bytes(self.path(target), content)
        if target in SPARED_RECORDS:
            files.write_bytes(self.path(spare_file(target)), content)

    def array(self, target: PurePosixPath) -> Path:
        """Return the place to write the Zarr folder that will become ``target``."""
        return self.path(target)

    def settle(self, target: PurePosixPath) -> None:
        """Sync a Zarr folder to disk, and take down what is in it.

        For large ones, as soon as they are written and beside other work; :meth:`finish` sees to
        the others.
        """
        place = self.folder / target
        for file in sorted(p for p in place.rglob("*") if p.is_file()):
            self._record(target / file.relative_to(place).as_posix(), file, None)
            files.sync_file(file)
        for folder in [place, *(p for p in place.rglob("*") if p.is_dir())]:
            files.sync_dir(folder)
        self._settled.add(str(target))

    def delete(self, target: PurePosixPath | str) -> None:
        """Remove a file or folder of the lake in the same commit."""
        self.staged.deletes.append(str(target))

    def finish(self) -> Staged:
        """Sync everything to disk and return what has been staged."""
        files.make_dir(self.folder)
        for target in self.staged.writes:
            place = self.folder / target
            if place.is_dir():
                if target not in self._settled:
                    self.settle(PurePosixPath(target))
            elif place.suffix == ".parquet":
                files.sync_file(place)
        _sync_names(self.folder, self.staged)
        return self.staged

    def abandon(self) -> None:
        """Throw everything staged away."""
        files.discard(self.folder)

    def _record(self, target: PurePosixPath, place: Path, rows: int | None) -> None:
        with place.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.staged.manifest[str(target)] = {
            "rows": rows,
            "bytes": place.stat().st_size,
            "sha256": digest,
        }


def commit(layout: Layout, parts: Iterable[Staged], note: Mapping[str, Any]) -> None:
    """Make all of ``parts`` visible at once; the caller holds the write lock.

    Parameters
    ----------
    layout
        The lake.
    parts
        What was staged, finished.
    note
        What the log will say of it.

    Raises
    ------
    LakeError
        If the disk fails, or what was staged is not there any more, before the commit is decided,
        and nothing is visible then; or if it fails later, and whoever opens the lake next
        finishes the commit.
    LakeLockedError
        If another process has taken over the write lock; nothing is visible then.
    """
    parts = list(parts)
    for part in parts:
        part.deletes += keep.spares(layout, part)
    if layout.compact_list.exists():
        from maplake.writers import compact

        with files.lake_faults(layout.root):
            merged = compact.follow(layout, parts)
            if merged is not None:
                _sync_names(layout.staging / merged.name, merged)
                parts.append(merged)
    record = {
        "parts": [
            {"name": p.name, "writes": _order(p.writes), "deletes": p.deletes} for p in parts
        ],
        "note": dict(note),
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "maplake": version(),
    }
    body = json.dumps(record, sort_keys=True)
    text = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "body": body})
    with files.lake_faults(layout.root):
        for folder in (layout.journal, layout.log):
            files.make_dir(folder)
        _check_targets(layout, parts)
        keep.keep(layout, parts)
        # What is staged and kept, and every name on the way: the record must not outlive them.
        staged = (layout.staging / part.name / "_" for part in parts)
        for folder in _ancestors([*staged, layout.journal / "_", layout.log / "_"], layout.root):
            files.sync_dir(folder)
        temporary = layout.staging / f"{parts[0].name}.journal"
        files.write_bytes(temporary, text.encode())
        files.sync_through(temporary)
        journal = layout.journal / f"{parts[0].name}.json"
        _check_staged(layout, parts)
        check_held(layout)
        files.replace(temporary, journal)
    with files.lake_faults(layout.root, decided=True):
        files.sync_dir(layout.journal)
        _carry_out(layout, journal, record)


def _check_targets(layout: Layout, parts: Iterable[Staged]) -> None:
    """Refuse what no rename could carry out: once decided, every open would fail over it."""
    disk = layout.staging.stat().st_dev
    for folder in _changed_folders(layout, parts):
        where = folder.relative_to(layout.root).as_posix()
        if folder.stat().st_dev != disk:
            raise LakeError(
                "a part of the lake is on another disk",
                file=layout.root,
                place=where,
                hint="All of a lake must be on one disk: move that folder back, or the whole lake "
                f"to the other one. {_NOTHING}",
            )
        if not os.access(folder, os.W_OK):
            raise LakeReadOnlyError(
                "a folder of the lake cannot be written to",
                file=layout.root,
                place=where,
                hint="Who takes in must be able to write to all of a lake: give the folder to a "
                f"group, with `chmod -R g+w`. {_NOTHING}",
            )


def _changed_folders(layout: Layout, parts: Iterable[Staged]) -> list[Path]:
    """Return the folders in which names come or go, and those that go, as far as they exist."""
    places = {layout.root / t for part in parts for t in (*part.writes, *part.deletes)}
    above = {next(p for p in place.parents if p.is_dir()) for place in places}
    return sorted(above | {place for place in places if place.is_dir()})


def _check_staged(layout: Layout, parts: Iterable[Staged]) -> None:
    """See that all is there, as a writer that took this process for dead cleared it away."""
    for part in parts:
        folder = layout.staging / part.name
        sizes = {target: int(entry["bytes"]) for target, entry in part.manifest.items()}
        for target in dict.fromkeys([*part.writes, *sizes]):
            try:
                size = (folder / target).stat().st_size
            except FileNotFoundError:
                size = None
            if size is None or size != sizes.get(target, size):
                raise LakeError(
                    "a file that was staged has gone, or is another",
                    file=folder,
                    place=target,
                    hint="Perhaps another writer took this process for dead. Nothing of the "
                    "unfinished commit is visible; run the command again.",
                )


def _sync_names(folder: Path, staged: Staged) -> None:
    """Force the names of what is staged in a folder to disk."""
    for place in _ancestors((folder / target for target in staged.writes), folder):
        files.sync_dir(place)


def _order(writes: list[str]) -> list[str]:
    """Order a commit's files so that a row's parents appear after the row itself.

    A query that runs between two renames then finds no session, insertion or unit whose parts
    are not there yet.
    """
    rank = {f"tables/{t.schema}/{t.name}/": -place for place, t in enumerate(TABLES.values())}

    def key(target: str) -> tuple[int, str]:
        target = target.removeprefix(COMPACT)
        if target.startswith(SPARE):  # after what it is the copy of
            return (-len(rank) - 1, target)
        if not target.startswith("tables/"):
            return (-len(rank) - 2, target)
        folder = "/".join(target.split("/")[:3]) + "/"
        return (rank.get(folder, -len(rank)), target)

    return sorted(writes, key=key)


def _carry_out(layout: Layout, journal: Path, record: Mapping[str, Any]) -> None:
    # What one part removes and another writes stays: done again, it would remove what came.
    written = {target for part in record["parts"] for target in part["writes"]}
    touched: set[Path] = set()
    for part in record["parts"]:
        folder = layout.staging / part["name"]
        gone = [target for target in part["deletes"] if target not in written]
        for target in gone:
            if not journal.exists():
                # Done by somebody who took this process for dead while it slept: what has come
                # since must not be removed.
                return
            _remove_target(layout, folder, layout.root / target)
        for target in part["writes"]:
            _move_target(folder, target, layout.root / target)
        touched.update(layout.root / target for target in (*gone, *part["writes"]))
    for folder in _ancestors(touched, layout.root):
        files.sync_dir(folder)
    files.sync_through(journal)
    files.replace(journal, layout.log / journal.name)
    for folder in (layout.log, layout.journal):
        files.sync_dir(folder)
    for part in record["parts"]:
        files.discard(layout.staging / part["name"])


def _move_target(folder: Path, target: str, place: Path) -> None:
    source = folder / target
    if not source.exists():  # an earlier try got this far
        return
    files.make_dir(place.parent)
    if source.is_dir() and place.exists():
        _set_aside(folder, place)
    files.replace(source, place)


def _remove_target(layout: Layout, folder: Path, place: Path) -> None:
    if place.is_dir():
        _set_aside(folder, place)
    elif place.exists():
        files.remove(place)
    files.remove_empty_parents(place, layout.root)


def _set_aside(folder: Path, place: Path) -> None:
    """Move a folder that goes away into the staging folder, so that it goes at once."""
    trash = folder / ".trash"
    files.make_dir(trash)
    try:
        files.replace(place, trash / uuid.uuid4().hex)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        files.remove(place)  # a container cannot rename a folder of its image


def _ancestors(places: Iterable[Path], top: Path) -> list[Path]:
    """Return the folders above places, up to and with ``top``, each once, the deepest first."""
    found: set[Path] = {top}
    for place in places:
        for folder in place.parents:
            if folder in found or not folder.is_relative_to(top):
                break
            found.add(folder)
    present = [folder for folder in found if folder.is_dir()]
    return sorted(present, key=lambda folder: (-len(folder.parts), str(folder)))


def _read_journal(path: Path) -> Mapping[str, Any] | None:
    """Return a journal record, or None if its last write was torn: then nothing was decided."""
    try:
        wrapped = json.loads(path.read_text(encoding="utf-8"))
        body = wrapped["body"]
        if hashlib.sha256(body.encode()).hexdigest() != wrapped["sha256"]:
            return None
        record: Mapping[str, Any] = json.loads(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    parts = record.get("parts") if isinstance(record, dict) else None
    if not isinstance(parts, list) or not all(_is_part(part) for part in parts):
        raise IntegrityError(
            "a commit under way is not one that maplake wrote",
            file=path,
            hint="Look at it; then delete it: nothing of it is in the lake.",
        )
    return record


def _is_part(part: object) -> bool:
    """Whether a part of a record moves and removes files of the lake only."""
    if not isinstance(part, dict) or not is_inside(part.get("name")) or "/" in part["name"]:
        return False
    paths = [part.get("writes"), part.get("deletes")]
    return all(isinstance(some, list) and all(map(is_inside, some)) for some in paths)


def recover(layout: Layout) -> int:
    """Finish decided commits and clear away undecided ones; the caller holds the write lock.

    Returns
    -------
    Number of commits that were finished.
    """
    done = 0
    with files.lake_faults(layout.root):
        if layout.journal.is_dir():
            for journal in sorted(layout.journal.iterdir()):
                # Done before: a backup that was made amid the commit, and again later, has both.
                is_old = (layout.log / journal.name).exists()
                record = None if is_old else _read_journal(journal)
                if record is None:
                    files.remove(journal)
                    continue
                with files.lake_faults(layout.root, decided=True):
                    _carry_out(layout, journal, record)
                done += 1
        if layout.staging.is_dir():
            # Listed first: a run that begins just now is then not among the dead.
            listed = sorted(layout.staging.iterdir())
            living = living_runs(layout.staging)
            for leftover in listed:
                if leftover.name.split(".")[0] in living:
                    continue
                # The lock file of a dead run has gone; one of this name is a new run's, which had
                # not locked it when it was looked at. Windows removes none that is held.
                if leftover.suffix != ".alive" or files.WINDOWS:
                    files.discard(leftover)
    return done


def recover_if_needed(root: Path) -> bool:
    """Finish what a crashed writer left decided, if there is anything and nobody else does.

    For readers: a lake on a read-only disk, or one that a living writer holds, is left as it is.

    Returns
    -------
    Whether this process may write to the lake, so that it can finish later what it could not now.
    """
    layout = Layout(root)
    if not layout.journal.is_dir() or not any(layout.journal.iterdir()):
        return True
    try:
        with write_lock(root, timeout_s=0), suppress(LakeReadOnlyError):
            recover(layout)  # a file that somebody has open on Windows is closed some time
    except LakeLockedError:
        return True
    except LakeReadOnlyError:
        return False
    return True
