"""What belongs to no session, or was entered by people, put back from its second copy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from maplake.config import Config
from maplake.errors import IntegrityError
from maplake.ingest.lakes import check_version, update_catalog
from maplake.ingest.sources import BEHAVIOR
from maplake.ingest.state import (
    hash_whole_file,
    is_whole,
    read_all,
    read_manifest,
    read_whole,
)
from maplake.layout import LAKE_NAME, RECORDS, SPARED_RECORDS, Layout, manifest_file, spare_file
from maplake.query.known import tables_of
from maplake.writers import files
from maplake.writers.commit import Stage, commit, recover
from maplake.writers.lock import staging_run, write_lock

__all__ = ["restore_spares", "set_aside"]

_BACKUP = "Take it from a backup of the lake."
Numbers = dict[str, dict[str, int]]


def restore_spares(config: Config) -> list[str]:
    """Put second copies in the place of damaged files and records, and make missing copies.

    Returns
    -------
    What was put back, as paths below the lake's root.

    Raises
    ------
    IntegrityError
        If both copies of something are damaged; everything else is put back.
    LakeError
        If the lake cannot be written to.
    """
    root = config.lake.root
    layout = Layout(root)
    check_version(layout)
    with write_lock(root, config.lake.lock_timeout_s), files.lake_faults(root):
        recover(layout)
        done = [*_records(layout), *_registry(layout)]
        found, lost = _tables(layout)
        with staging_run(root) as run:
            stage = Stage(layout, run)
            for source, target in found.items():
                if target.startswith("tables/"):
                    stage.copy(layout.root / source, PurePosixPath(target))
                else:
                    files.copy(layout.root / source, stage.path(PurePosixPath(target)))
            if found:
                restored = [path for path in found.values() if path.startswith("tables/")]
                done += restored
                note = {"command": "rebuild --spare", "files": sorted(found.values())}
                commit(layout, [stage.finish()], note)
            else:
                stage.abandon()
    if lost:
        raise IntegrityError(
            "a table and its second copy are both damaged, or there is no second copy",
            file=root / lost[0],
            found=f"{len(lost)} such files" if len(lost) > 1 else None,
            hint=_BACKUP,
        )
    update_catalog(config)
    return done


def _records(layout: Layout) -> Iterator[str]:
    """Put the lake-wide records back that are not what was written."""
    for record in SPARED_RECORDS:
        place, spare = layout.root / record, layout.root / spare_file(record)
        if is_whole(place):
            if not is_whole(spare):
                files.copy(place, spare)
            continue
        if not (place.exists() or spare.exists()):
            continue
        if not is_whole(spare):
            raise IntegrityError(
                "a record of the lake and its second copy are damaged", file=place, hint=_BACKUP
            )
        files.copy(spare, place)
        yield str(record)


def _registry(layout: Layout) -> Iterator[str]:
    """Make the register of session numbers agree with the sessions that are in the lake."""
    place = layout.session_registry.relative_to(layout.root).as_posix()
    given: Numbers = {}
    for states in read_whole(layout).values():
        for state in states.values():
            if state.kind == BEHAVIOR and state.subject_id is not None and state.session:
                given.setdefault(str(state.subject_id), {})[state.name] = state.session
    spare = layout.root / spare_file(place)
    now, copy = _numbers(layout.session_registry), _numbers(spare)
    if now is not None and _agrees(now, given):
        if now != copy:
            files.write_json(spare, now)
        return
    best = copy if copy is not None and _agrees(copy, given) else {}
    merged = {s: best.get(s, {}) | given.get(s, {}) for s in {*best, *given}}
    for file in (layout.session_registry, spare):
        files.write_json(file, merged)
    yield place


def _agrees(numbers: Numbers, given: Numbers) -> bool:
    """Whether a register says of every session what the lake says, and no number twice."""
    once = all(len(set(names.values())) == len(names) for names in numbers.values())
    return once and all(names.items() <= numbers.get(s, {}).items() for s, names in given.items())


def _numbers(path: Path) -> Numbers | None:
    try:
        found = json.loads(path.read_bytes())
        return {str(s): {str(n): int(v) for n, v in names.items()} for s, names in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _tables(layout: Layout) -> tuple[dict[str, str], list[str]]:
    """Return which copy goes where, and the files of which no whole copy is left."""
    tables = tables_of(layout.root)
    found: dict[str, str] = {}
    lost: list[str] = []
    for path, entry in _entries(layout):
        table = tables.get(".".join(path.split("/")[1:3]))
        if table is None or not table.spared:
            continue
        spare = str(spare_file(path))
        whole, copied = (_has(layout, p, entry) for p in (path, spare))
        if not whole and not copied:
            lost.append(path)
        elif not copied:
            found[path] = spare
        elif not whole:
            found[spare] = path
    return found, lost


def _entries(layout: Layout) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for record in sorted((layout.meta / "manifest").glob(RECORDS)):
        try:
            yield from read_manifest(layout, record.stem).items()
        except IntegrityError:  # of a session, which is rebuilt on its own
            continue


def _has(layout: Layout, path: str, entry: Mapping[str, Any]) -> bool:
    file = layout.root / path
    return file.is_file() and hash_whole_file(file) == entry["sha256"]


def set_aside(config: Config) -> list[str]:
    """Move files that no manifest knows out of the lake's tables and arrays; none is removed.

    Returns
    -------
    Where they lie now, as paths below the lake's root.

    Raises
    ------
    IntegrityError
        If a manifest is damaged or lost: which files belong to the lake is not known then.
    """
    root = config.lake.root
    layout = Layout(root)
    check_version(layout)
    moved = []
    folder = PurePosixPath(".maplake", "set-aside", f"{datetime.now():%Y%m%dT%H%M%S.%f}")
    with write_lock(root, config.lake.lock_timeout_s), files.lake_faults(root):
        recover(layout)
        books = {LAKE_NAME, *(path.stem for path in (layout.meta / "manifest").glob(RECORDS))}
        for book, states in read_all(layout).items():
            if book not in books and any(state.outputs for state in states.values()):
                raise IntegrityError(
                    "a manifest of the lake is missing",
                    file=layout.root / manifest_file(book),
                    hint="`maplake check` says which command repairs it.",
                )
        known = {path for book in books for path in read_manifest(layout, book)}
        for top in ("tables", "arrays"):
            for file in sorted((root / top).rglob("*")):
                below = file.relative_to(root).as_posix()
                if below in known or not (file.is_file() or file.is_symlink()):
                    continue
                target = folder / below
                files.make_dir((root / target).parent)
                files.replace(file, root / target)
                files.remove_empty_parents(file, root)
                moved.append(str(target))
    update_catalog(config)
    return moved
