"""Compare every file of a lake with what was written when it was committed.

Session by session, so that memory does not grow with the lake.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from maplake.errors import IntegrityError, LakeError
from maplake.layout import (
    LAKE_NAME,
    OWN_TABLES,
    RECORDS,
    SPARED_RECORDS,
    Layout,
    manifest_file,
    spare_file,
    state_file,
)
from maplake.query.check_known import Known
from maplake.query.known import tables_of
from maplake.query.overview import table_name
from maplake.query.problems import Owners, Problem, of_book
from maplake.seal import is_broken
from maplake.tables import TABLES, Table

__all__ = ["check_files", "digest_of", "read_record"]

Progress = Callable[[str, int, int], object]

_SET_ASIDE = "maplake check --set-aside"
_SPARE = "maplake rebuild --spare"


def check_files(root: Path, *, deep: bool, progress: Progress | None = None) -> Iterator[Problem]:
    """Compare files and records with what was committed.

    Parameters
    ----------
    root
        The lake's folder.
    deep
        Also compare the SHA-256 of every file and the seals of maplake's own records.
    progress
        Called with the name of each session, the number done and their total.
    """
    layout = Layout(root)
    yield from _own_tables(root)
    yield from _second_copies(root)
    tables = _tables(root)
    books = sorted(
        {p.stem for kind in ("manifest", "state") for p in (layout.meta / kind).glob(RECORDS)}
    )
    with_states = any((layout.meta / "state").glob(RECORDS))
    known = Known(root, books)
    numbers: dict[tuple[int, str], int] = {}
    for done, book in enumerate(books):
        if progress:
            progress(book, done, len(books))
        yield from _Book(root, book, tables, deep=deep).problems(known, numbers, with_states)
        known.close(book)
    yield from _registry(layout, numbers)
    nobody = Owners("", [], {})
    for path in known.strays():
        problem = nobody.problem(path, "extra", "no manifest knows this file")
        yield replace(problem, repair=_SET_ASIDE)


def _tables(root: Path) -> Mapping[str, Table]:
    try:
        return tables_of(root)
    except IntegrityError:
        return TABLES


def _own_tables(root: Path) -> Iterator[Problem]:
    try:
        read_record(root / OWN_TABLES)
        tables_of(root)
    except FileNotFoundError:
        return
    except (ValueError, IntegrityError) as error:
        yield of_book(LAKE_NAME, str(OWN_TABLES), str(error))


def _second_copies(root: Path) -> Iterator[Problem]:
    """Hold the records of the whole lake against their second copies."""
    for record in SPARED_RECORDS:
        spare = spare_file(record)
        if not (root / spare).exists():
            continue
        if not (root / record).exists():
            yield of_book(LAKE_NAME, str(record), "the record is missing")
        try:
            read_record(root / spare)
        except ValueError as error:
            yield Problem("", str(spare), "spare", str(error), repair=_SPARE)


class _Book:
    """The records of one session (or of the whole lake) and the files that they name."""

    def __init__(self, root: Path, book: str, tables: Mapping[str, Table], *, deep: bool) -> None:
        self._root, self._book, self._deep = root, book, deep
        self._owners = Owners.read(root, book, tables)
        self._tables = tables

    def problems(
        self, known: Known, numbers: dict[tuple[int, str], int], with_states: bool
    ) -> Iterator[Problem]:
        """Yield what is wrong; add the files to ``known``, and the sessions to ``numbers``."""
        needed = with_states and self._book != LAKE_NAME
        states = yield from self._record(str(state_file(self._book)), needed=needed)
        manifest = yield from self._record(str(manifest_file(self._book)), needed=False)
        files = (manifest or {}).get("files", {})
        yield from self._unrecorded(files, states, manifest)
        for state in (states or {}).get("sources", ()):
            if state.get("kind") == "behavior" and state.get("session") is not None:
                numbers[(state["subject_id"], state["name"])] = state["session"]
        for path, entry in files.items():
            if other := known.add(path, self._book):
                text = f"it is in two manifests: {other}, {self._book}"
                yield self._owners.problem(path, "extra", text)
            if isinstance(entry, Mapping):
                yield from self._file(path, entry)
            else:
                text = f"it says nothing of {path}"
                yield of_book(self._book, str(manifest_file(self._book)), text)
        if manifest is None:  # files of which nothing is recorded are those of a lost record
            for path in self._files_of_outputs():
                known.add(path, self._book)

    def _record(
        self, path: str, *, needed: bool
    ) -> Generator[Problem, None, dict[str, Any] | None]:
        """Read a record; one that is not what was written is a problem."""
        try:
            return _read_book(self._root / path)
        except FileNotFoundError:
            if needed:
                yield of_book(self._book, path, "the record is missing")
        except ValueError as error:
            yield of_book(self._book, path, str(error))
        return None

    def _unrecorded(
        self, files: Mapping[str, Any], states: Any, manifest: Any
    ) -> Iterator[Problem]:
        """Hold state and manifest against each other."""
        where = str(manifest_file(self._book))
        if manifest is None:
            lost = bool(self._owners.outputs) and not (self._root / where).exists()
            if lost:
                yield of_book(self._book, where, "the record is missing")
            return
        folders = {path.rsplit(".zarr/", 1)[0] + ".zarr" for path in files if ".zarr/" in path}
        for output in self._owners.outputs:
            if output not in files and output not in folders:
                yield of_book(self._book, where, f"it does not know {output}, which was written")
        if states is not None:
            for path in files:
                if "=" in path and not self._owners.owner(path):
                    text = f"no source is known of {path}"
                    yield of_book(self._book, str(state_file(self._book)), text)

    def _files_of_outputs(self) -> Iterator[str]:
        for output in self._owners.outputs:
            place = self._root / output
            found = place.rglob("*") if place.is_dir() else [place]
            yield from (p.relative_to(self._root).as_posix() for p in found)

    def _file(self, path: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
        file = self._root / path
        try:
            size = file.stat().st_size
        except OSError as error:
            text = f"the manifest's file cannot be found ({error.strerror or error})"
            yield self._owners.problem(path, "missing", text)
            return
        if size != entry.get("bytes"):
            text = f"{size} bytes instead of {entry.get('bytes')}{_readable(file)}"
            yield self._owners.problem(path, "bytes", text)
        elif self._deep and digest_of(file) != entry.get("sha256"):
            yield self._owners.problem(path, "checksum", "its content is not what was written")
        if entry.get("rows") is not None:
            yield from self._rows(file, path, entry["rows"])
        yield from self._spare(path, entry)

    def _rows(self, file: Path, path: str, wanted: object) -> Iterator[Problem]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            found = pq.read_metadata(file).num_rows
        except (OSError, pa.ArrowException) as error:
            yield self._owners.problem(path, "unreadable", str(error).splitlines()[0])
            return
        if found != wanted:
            text = f"{found} rows instead of {wanted}"
            yield self._owners.problem(path, "rows", text, found)

    def _spare(self, path: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
        """Compare a second copy; lakes of earlier versions have none, which is no fault."""
        table = self._tables.get(table_name(path) or "")
        spare = self._root / spare_file(path)
        if not self._deep or table is None or not table.spared or not spare.exists():
            return
        if digest_of(spare) != entry.get("sha256"):
            text = "the second copy is not what was written"
            yield Problem(table.full_name, str(spare_file(path)), "spare", text, repair=_SPARE)


def _readable(file: Path) -> str:
    """Say of a Parquet file that is not what was written whether it can be read all the same."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix != ".parquet":
        return ""
    try:
        with pq.ParquetFile(file) as found:
            writer = found.metadata.created_by
            for _ in found.iter_batches():
                pass
    except (OSError, ValueError, pa.ArrowException):
        return " and it cannot be read"
    return f", yet it is whole: edited by hand? (written by {writer})"


def _registry(layout: Layout, numbers: Mapping[tuple[int, str], int]) -> Iterator[Problem]:
    """Hold the register of session numbers against the sessions that are in the lake."""
    place = layout.session_registry.relative_to(layout.root).as_posix()
    try:
        found = json.loads(layout.session_registry.read_bytes())
        known = {(int(s), n): int(v) for s, names in found.items() for n, v in names.items()}
    except FileNotFoundError:
        if numbers:
            yield _of_registry(place, "the register of session numbers is missing")
        return
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        yield _of_registry(place, f"the register of session numbers is damaged: {error}")
        return
    for (subject, name), number in numbers.items():
        if known.get((subject, name)) != number:
            text = f"{name} of animal {subject} is session {number} in the lake"
            yield _of_registry(place, f"{text}, {known.get((subject, name))} in the register")
    if len({(subject, number) for (subject, _), number in known.items()}) < len(known):
        yield _of_registry(place, "two sessions of an animal have one number")


def _of_registry(place: str, message: str) -> Problem:
    return Problem("", place, "record", message, repair=_SPARE)


def read_record(path: Path) -> dict[str, Any]:
    """Return one of maplake's own records.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it cannot be read or is not what was written.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"the record cannot be read: {error}") from error
    if not isinstance(found, dict) or is_broken(found):
        raise ValueError("the record is not what was written")
    return found


def _read_book(path: Path) -> dict[str, Any]:
    """Return a state or a manifest."""
    found = read_record(path)
    if not _is_sound(found):
        raise ValueError("the record is not what was written")
    return found


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Whether the sources of a state and the files of a manifest are such."""
    files, sources = record.get("files", {}), record.get("sources", [])
    return (
        isinstance(files, dict)
        and isinstance(sources, list)
        and all(isinstance(source, dict) for source in sources)
        and all(isinstance(source.get("name"), str) for source in sources)
        and all(isinstance(source.get("subject_id"), int | None) for source in sources)
    )


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file.

    Raises
    ------
    LakeError
        If it cannot be read.
    """
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise LakeError(f"a file of the lake cannot be read: {error}", file=file) from error
