"""Whether every file that a snapshot needs is there, and is what was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maplake.layout import SNAPSHOT_LAKE, Layout, manifest_file
from maplake.query.check_files import digest_of, read_record
from maplake.query.overview import table_name
from maplake.query.problems import Problem
from maplake.recordfile import read_files

__all__ = ["check_snapshots"]

_NEW = "the opened snapshot {} lost or changed it: remove its folder `lake`, it is made anew"
_NO_REPAIR = "take it from a backup, or `maplake delete-snapshot` the snapshot"


def check_snapshots(root: Path, *, deep: bool) -> Iterator[Problem]:
    """Yield what is wrong with the snapshots of a lake.

    A file that the lake still has is checked with the lake.
    """
    layout = Layout(root)
    sound: dict[str, bool] = {}
    for folder in sorted(path for path in layout.snapshots.glob("*") if path.is_dir()):
        about = folder / "snapshot.json"
        try:
            records = read_record(about)["records"]
        except (FileNotFoundError, ValueError, KeyError) as error:
            yield _problem(layout, about, f"the snapshot {folder.name} cannot be read: {error}")
            continue
        for record, digest in records.items():
            file = folder / record
            if not file.is_file() or (deep and digest_of(file) != digest):
                yield _problem(layout, file, "the record of a snapshot is not what was written")
            elif record.startswith("manifest/"):
                yield from _book(layout, folder, Path(record).stem, sound, deep)


def _book(
    layout: Layout, folder: Path, book: str, sound: dict[str, bool], deep: bool
) -> Iterator[Problem]:
    now = _files(layout.root / manifest_file(book))
    opened = folder / SNAPSHOT_LAKE
    is_opened = opened.is_dir()
    for path, entry in _files(folder / "manifest" / f"{book}.json").items():
        digest = str(entry["sha256"])
        kept = layout.kept_file(digest)
        is_there = path in now and now[path]["sha256"] == digest
        if is_opened and not _is_as_it_was(
            opened / path, layout.root / path if is_there else kept, digest, deep=deep
        ):
            place = (opened / path).relative_to(layout.root).as_posix()
            yield Problem(table_name(path) or "", place, "snapshot", _NEW.format(folder.name))
        if is_there:
            continue
        if digest not in sound:
            sound[digest] = kept.is_file() and (not deep or digest_of(kept) == digest)
        if not sound[digest]:
            text = f"{path} of the snapshot {folder.name} is lost or damaged: {_NO_REPAIR}"
            place = kept.relative_to(layout.root).as_posix()
            yield Problem(table_name(path) or "", place, "snapshot", text)


def _is_as_it_was(file: Path, source: Path, digest: str, *, deep: bool) -> bool:
    """Whether a file of an opened snapshot is that of the lake, or another of its content."""
    if not file.is_file() or not deep:
        return file.is_file()
    # A second name of what is checked where it lies.
    return (source.exists() and file.samefile(source)) or digest_of(file) == digest


def _files(path: Path) -> Mapping[str, Any]:
    try:
        return read_files(path)
    except (OSError, ValueError):
        return {}


def _problem(layout: Layout, file: Path, message: str) -> Problem:
    return Problem("", file.relative_to(layout.root).as_posix(), "snapshot", message)
