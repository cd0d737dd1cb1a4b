"""A smaller lake that works by itself: some sessions of a lake, copied with all they refer to."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from maplake.errors import IntegrityError, LakeError, QueryError
from maplake.exports import lake_globals
from maplake.exports.lake_keys import Keys
from maplake.exports.place import faults
from maplake.layout import (
    FORMAT_VERSION,
    LAKE_NAME,
    OWN_TABLES,
    Layout,
    manifest_file,
    spare_file,
    state_file,
)
from maplake.query import catalog, own_conditions
from maplake.query.known import tables_of
from maplake.query.outside import check_outside
from maplake.query.overview import manifest_files, table_name
from maplake.writers import files
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

if TYPE_CHECKING:
    from maplake.query.lake import Lake

__all__ = ["Exported", "export_lake"]

Manifest = dict[str, dict[str, Any]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Exported:
    """What a smaller lake holds.

    Attributes
    ----------
    root
        Its folder.
    keys
        What it was cut to.
    files, bytes
        Copied or written below tables/ and arrays/.
    """

    root: Path
    keys: Keys
    files: int
    bytes: int


def export_lake(
    lake: Lake,
    keys: Keys,
    root: Path,
    *,
    force: bool = False,
    selection: Mapping[str, object] | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Copy the chosen sessions of a lake, with all that they refer to, to a lake of their own.

    Files of sessions and insertions are copied as they are, checked against their checksums;
    tables of the whole lab are cut to the chosen animals and the people, rigs, probes and viruses
    that are still referred to.

    Parameters
    ----------
    lake
        The lake.
    keys
        What to keep, see :func:`maplake.exports.lake_keys.choose`.
    root
        Folder of the new lake.
    force
        Replace a lake that is there.
    selection
        What was asked for, for the new lake's log.
    progress
        Called with a text, the files done and their number.

    Raises
    ------
    QueryError
        If the place is taken or cannot be written to.
    LakeError
        If the lake changed while it was copied, or is damaged.
    """
    root = root.absolute()
    _check_place(lake.root, root, force=force)
    with faults(root):
        files.make_dir(root.parent)
        temporary = root.parent / f".{uuid.uuid4().hex}.part"
        try:
            done = _Copy(lake, keys, temporary).run(progress or _silent, selection or {})
            _put(temporary, root)
        finally:
            files.remove(temporary)
    settings = catalog.read_settings(lake.root)
    catalog.build(
        root,
        conditions=settings.conditions if settings else {},
        align_types=settings.align_types if settings else {},
        like=lake.root,
    )
    return Exported(root, keys, len(done), sum(int(entry["bytes"]) for entry in done.values()))


def _silent(_text: str, _done: int, _total: int) -> None:
    return None


def _check_place(source: Path, root: Path, *, force: bool) -> None:
    check_outside(root.parent)
    if source.resolve().is_relative_to(root.resolve()):
        raise QueryError("a lake cannot lie inside another one", file=root, found=str(source))
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    if not force:
        raise QueryError("is there already", file=root, hint="--force replaces a lake.")
    if not Layout(root).format_file.is_file():
        raise QueryError("is no lake, so it is not replaced", file=root)


def _put(temporary: Path, root: Path) -> None:
    """Rename the new lake to its place; an old one goes when the new one is there."""
    old = temporary.with_suffix(".old")
    if root.exists():
        files.replace(root, old)
    files.replace(temporary, root)
    files.remove(old)


class _Copy:
    """Fills the folder of a new lake, in one commit."""

    def __init__(self, lake: Lake, keys: Keys, target: Path) -> None:
        self._lake, self._keys = lake, keys
        self._from, self._to = Layout(lake.root), Layout(target)
        self._tables = tables_of(lake.root)

    def run(self, progress: Progress, selection: Mapping[str, object]) -> Manifest:
        with staging_run(self._to.root) as run:
            stage, records = Stage(self._to, run), Stage(self._to, run)
            wanted = self._books(records)
            paths = [(n, path) for n, entries in wanted.items() for path in _whole(entries)]
            for done, (name, path) in enumerate(paths):
                progress(f"copying {name}", done, len(paths))
                self._copy(stage, path)
            lake_globals.write(stage, self._from, self._keys, self._lake)
            staged = stage.finish()
            for name, entries in wanted.items():
                made = {path: staged.manifest[path] for path in entries}
                self._compare(entries, made)
                if name == LAKE_NAME:
                    made |= {p: entry for p, entry in staged.manifest.items() if _is_global(p)}
                records.json(manifest_file(name), {"files": made})
            self._declarations(records)
            note = {"command": "export lake", "selection": dict(selection)}
            commit(self._to, [staged, records.finish()], note)
        self._records()
        return staged.manifest

    def _books(self, stage: Stage) -> dict[str, Manifest]:
        """Stage the states, and return the files to copy of each session and of the lake."""
        wanted: dict[str, Manifest] = {}
        for name, entries in manifest_files(self._from.root).items():
            chosen = {p: e for p, e in entries.items() if _is_part(p) and self._holds(p)}
            states, left_out = self._states(name, chosen)
            chosen = {p: e for p, e in chosen.items() if not _below(p, left_out)}
            if chosen or name == LAKE_NAME:
                wanted[name] = chosen
                stage.json(state_file(name), {"sources": states})
        return wanted

    def _holds(self, path: str) -> bool:
        levels = PurePosixPath(path).parts
        return self._keys.holds(dict(part.split("=", 1) for part in levels if "=" in part))

    def _states(self, name: str, chosen: Manifest) -> tuple[list[dict[str, Any]], set[str]]:
        """Return the records of the sources whose rows are kept, and what others wrote.

        Sources that are left out are new to an ingest into the new lake; so are sheets of the
        whole lab, whose rows were cut.
        """
        path = self._from.root / state_file(name)
        held = {str(parent) for place in chosen for parent in PurePosixPath(place).parents}
        kept, left_out = [], set()
        for state in _read_json(path).get("sources", []):
            outputs = [output for output in state["outputs"] if output in held | set(chosen)]
            lost = not outputs and (state["outputs"] or name == LAKE_NAME)
            if self._keys.holds(state) and not lost:
                kept.append({**state, "outputs": outputs})
            else:
                left_out |= set(outputs)
        return kept, left_out

    def _copy(self, stage: Stage, path: str) -> None:
        source, target = self._from.root / path, PurePosixPath(path)
        try:
            if source.is_dir():
                shutil.copytree(source, stage.array(target))
                return
            if not path.startswith("tables/"):
                shutil.copyfile(source, stage.path(target))
                return
            stage.copy(source, target)
            if self._tables[table_name(path) or ""].spared:
                shutil.copyfile(source, stage.path(spare_file(target)))
        except FileNotFoundError as error:
            raise LakeError(
                "a file went while the lake was copied", file=source, hint="Run it again."
            ) from error

    def _compare(self, entries: Manifest, made: Manifest) -> None:
        for path, entry in entries.items():
            if made[path]["sha256"] != entry["sha256"]:
                raise IntegrityError(
                    "the file is not what was written",
                    file=self._from.root / path,
                    hint="If the lake was being written to, run it again; else `maplake check`.",
                )

    def _declarations(self, stage: Stage) -> None:
        if self._from.own_tables.exists():
            stage.json(OWN_TABLES, _read_json(self._from.own_tables))

    def _records(self) -> None:
        """Write version, session numbers, and the conditions that analysts added."""
        files.write_json(self._to.format_file, {"format_version": FORMAT_VERSION})
        subjects = {str(subject) for subject in self._keys.subjects}
        numbers = _read_json(self._from.session_registry)
        kept = {subject: known for subject, known in numbers.items() if subject in subjects}
        files.write_json(self._to.session_registry, kept)
        conditions = own_conditions.path(self._from.root)
        if conditions.exists():
            shutil.copyfile(conditions, self._to.meta / conditions.name)


def _is_global(path: str) -> bool:
    return path.startswith("tables/") and "=" not in path


def _is_part(path: str) -> bool:
    """Whether a file is copied as it is: all but tables of the whole lab and what is made anew."""
    return path.startswith(("tables/", "arrays/")) and not _is_global(path)


def _below(path: str, places: set[str]) -> bool:
    return path in places or any(str(parent) in places for parent in PurePosixPath(path).parents)


def _whole(entries: Manifest) -> list[str]:
    """Return what to copy: files of tables, and array stores as whole folders."""
    return list(dict.fromkeys(_store(path) for path in entries))


def _store(path: str) -> str:
    head, mark, _ = path.partition(".zarr/")
    return f"{head}.zarr" if mark else path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise IntegrityError("a record of the lake is damaged", file=path) from error
