"""``maplake compact``: which tables are kept merged, too, and making their merged files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maplake.config import Config
from maplake.ingest.lakes import update_catalog, writing
from maplake.ingest.state import read_manifest
from maplake.layout import PART, RECORDS, Layout
from maplake.query.known import tables_of
from maplake.tables import Table
from maplake.writers import compact as writer
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

__all__ = ["Compacted", "compact", "undo"]

#: Tables whose files are larger than this on average gain nothing, bytes.
SMALL = 256 << 10
#: An animal's rows of a table are written as a whole with each of its sessions, bytes.
MOST = 32 << 20

Files = Mapping[str, int]


@dataclass(frozen=True)
class Compacted:
    """What became of one table: its files before, its merged files, how many of these are new."""

    table: str
    files: int
    merged: int
    written: int


def compact(config: Config, *, dry_run: bool = False) -> list[Compacted]:
    """Merge small tables into a file per animal for the views, and keep it so.

    ``tables/`` stays as it is. All in one commit; from then on each commit writes the merged
    files of its animal along. Run again, it takes in tables that have grown many files since, and
    mends merged files that are damaged.

    Parameters
    ----------
    config
        Names the lake.
    dry_run
        Only say what would be merged.

    Raises
    ------
    LakeError
        If the lake cannot be written to.
    """
    if dry_run:
        chosen = _chosen(Layout(config.lake.root))
        return [Compacted(t.full_name, len(f), len(_subjects(f)), 0) for t, f in chosen]
    done = []
    with writing(config) as layout, staging_run(layout.root) as run:
        stage = Stage(layout, run)
        chosen = _chosen(layout)
        entries: writer.Entries = {}
        for table, files in chosen:
            subjects = _subjects(files)
            written = 0
            for subject, paths in sorted(subjects.items()):
                sources: dict[str, Path | None] = {path: layout.root / path for path in paths}
                rows = writer.merge(table, sources)
                written += writer.stage_merged(layout, stage.staged, table, subject, rows, entries)
            done.append(Compacted(table.full_name, len(files), len(subjects), written))
        ghosts = [path for path in writer.merged_files(layout) if path not in entries]
        for path in ghosts:  # of animals that have gone, as after an --undo that was killed
            stage.delete(path)
        entries |= {path: None for path in ghosts if _subject(path).isdecimal()}
        names = sorted(table.full_name for table, _ in chosen)
        recorded = writer.stage_records(layout, stage.staged, entries)
        if recorded or ghosts or any(one.written for one in done) or names != _names(layout):
            place = layout.compact_list.relative_to(layout.root).as_posix()
            stage.json(PurePosixPath(place), {"tables": names})
            commit(layout, [stage.finish()], {"command": "compact", "tables": names})
        else:
            stage.abandon()
    update_catalog(config)
    return done


def undo(config: Config) -> int:
    """Remove the merged files; the views read the tables themselves again.

    Returns
    -------
    The number of files removed.
    """
    with writing(config) as layout, staging_run(layout.root) as run:
        if not layout.compact_list.exists():
            return 0
        stage = Stage(layout, run)
        place = layout.compact_list.relative_to(layout.root).as_posix()
        stage.json(PurePosixPath(place), {"tables": []})
        commit(layout, [stage.finish()], {"command": "compact --undo"})
    update_catalog(config)  # before the files go, so that no view is without
    with writing(config) as layout, staging_run(layout.root) as run:
        stage = Stage(layout, run)
        gone = writer.targets(layout)
        for target in (*gone, PurePosixPath(place)):
            stage.delete(target)
        commit(layout, [stage.finish()], {"command": "compact --undo"})
    return sum(target.name == PART for target in gone)


def _names(layout: Layout) -> list[str]:
    return sorted(table.full_name for table in writer.listed(layout))


def _chosen(layout: Layout) -> list[tuple[Table, Files]]:
    """Return the tables that gain from being merged, with their files and sizes."""
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    for book in sorted((layout.meta / "manifest").glob(RECORDS)):
        for path, entry in read_manifest(layout, book.stem).items():
            if path.startswith("tables/") and "subject_id=" in path:
                sizes[".".join(path.split("/")[1:3])][path] = int(entry["bytes"])
    already = set(_names(layout))
    return [
        (table, sizes[name])
        for name, table in tables_of(layout.root).items()
        if sizes[name] and (name in already or _pays(sizes[name]))
    ]


def _pays(files: Files) -> bool:
    subjects = _subjects(files)
    most = max(sum(files[path] for path in paths) for paths in subjects.values())
    return len(files) > len(subjects) and most <= MOST and sum(files.values()) <= SMALL * len(files)


def _subjects(files: Files) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for path in files:
        found[_subject(path)].append(path)
    return found


def _subject(path: str) -> str:
    return path.partition("subject_id=")[2].partition("/")[0]
