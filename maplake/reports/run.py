"""Bringing a report up to date: what changed is drawn again, what is no more is removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maplake.errors import LakeLockedError, NotFoundError, QueryError, WorkerLostError
from maplake.executors import open_executor
from maplake.lockfile import HeldError, Lock
from maplake.plots.lookup import Key, check_key
from maplake.query.outside import check_outside
from maplake.reports import facts
from maplake.reports.draw import Drawn, Task, draw, forget, tasks_of
from maplake.reports.expected import Expected, project, session
from maplake.reports.model import Failure, Item, Report, Wanted, session_folder
from maplake.reports.pages import index_page, session_pages
from maplake.reports.prints import Prints
from maplake.reports.record import Entry, Record, put_changed, writing
from maplake.writers import files

if TYPE_CHECKING:
    from maplake.query.lake import Lake

#: Called with a text, the number of things done, and their total.
Progress = Callable[[str, int, int], None]

_LAKE = "lake"
_PAGES = "pages"


def make_report(
    lake: Lake,
    out: Path,
    wanted: Wanted | None = None,
    *,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Bring a report's folder up to date with the lake.

    Parameters
    ----------
    lake
        The lake.
    out
        Folder of figures and pages; made if it is not there.
    wanted
        What to bring up to date; None = everything. The rest of the report stays as it is, save
        that what is no more in the lake is removed.
    workers
        Number of processes that draw; None = one per processor.
    force
        Draw again what has not changed, too.
    progress
        Called before each thing that is drawn.

    Returns
    -------
    What was done. A figure that fails stops no other; its page says why.

    Raises
    ------
    NotFoundError
        If the lake does not have what is wanted.
    QueryError
        If the folder is no place for a report.
    LakeLockedError
        If another process writes the same report.
    LakeReadOnlyError
        If the folder cannot be written to.
    """
    out, wanted = out.expanduser().resolve(), wanted or Wanted()
    check_outside(out)
    if out.exists() and not out.is_dir():
        raise QueryError("is a file", file=out, expected="a folder")
    with _locked(out):
        record, prints = Record.load(out), Prints(lake)
        if wanted.is_whole and not force and _is_done(record, prints):
            return Report(out / "index.html")
        run = _Run(lake, record, prints, wanted, force)
        try:
            run(workers or os.cpu_count() or 1, progress)
        finally:
            forget()
            record.save()
    return run.report


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    with writing(out):
        files.make_dir(out)
        lock = Lock(out / ".maplake-report.lock", 0.0)
    try:
        with writing(out):
            lock.acquire()
    except HeldError as error:
        raise LakeLockedError(
            "another process writes this report", file=out, found=str(error.holder)
        ) from error
    try:
        yield
    finally:
        lock.release()


def _is_done(record: Record, prints: Prints) -> bool:
    """Whether everything in the lake is in the report, and nothing else."""
    whole = record.done.get(_LAKE, {})
    return whole.get("everything") == prints.all and not record.missing(record.entries)


@dataclass
class _Session:
    """A session under way: what it shall have, and how many tasks are still to come."""

    row: facts.Row
    expected: Expected
    left: int = 0


class _Run:
    """One run of :func:`make_report`."""

    def __init__(
        self, lake: Lake, record: Record, prints: Prints, wanted: Wanted, force: bool
    ) -> None:
        self.lake, self.record, self.prints = lake, record, prints
        self.wanted, self.force = wanted, force
        self.report = Report(record.out / "index.html")
        self._open: dict[str, _Session] = {}

    def __call__(self, workers: int, progress: Progress | None) -> None:
        rows = facts.sessions(self.lake)
        chosen = self._chosen(rows)
        self._remove_gone(rows)
        items: list[Item] = []
        for row in chosen:
            items += self._begin(row)
        lake_items = project(self.prints)
        if "project" in self.wanted.levels:
            items += self._due(lake_items)
        self._draw(items, workers, progress)
        page = index_page(rows, lake_items, self.record)
        self._write({"index.html": page}, "pages")
        self._finish(rows)

    def _chosen(self, rows: Sequence[facts.Row]) -> list[facts.Row]:
        """Return the sessions that are wanted.

        Raises
        ------
        NotFoundError
            If nothing in the lake is what is wanted.
        """
        mine = [row for row in rows if self.wanted.has(row["subject_id"], row["session"])]
        one = Key(self.wanted.subject_id, self.wanted.session, self.wanted.insertion_number)
        if not mine or None not in (one.subject_id, one.session):
            check_key(self.lake, one)
        if not mine and one != Key():
            raise NotFoundError("there is no such session")
        if self.wanted.level == "project":
            return []
        return mine

    def _begin(self, row: facts.Row) -> list[Item]:
        """Return what has to be drawn of a session; none if it is up to date."""
        folder = session_folder(row["subject_id"], row["session"])
        mark = self.prints.session(row["subject_id"], row["session"])
        done = self.record.done.get(folder, {})
        mine = [name for name in self.record.entries if name.startswith(f"{folder}/")]
        known = all(done.get(level) == mark for level in self.wanted.levels if level != "project")
        if known and not self.force and not self.record.missing(mine):
            return []
        key = Key(row["subject_id"], row["session"])
        expected = session(self.lake, key, self.prints)
        self._remove_unexpected(mine, expected)
        items = self._due([i for i in expected.items if self._is_wanted(i)])
        self._open[folder] = _Session(row, expected)
        if not items:
            self._end(folder)
        return items

    def _is_wanted(self, item: Item) -> bool:
        number = self.wanted.insertion_number
        is_here = number is None or item.key.insertion_number in (None, number)
        is_level = item.level in self.wanted.levels or (
            # The map of a probe's page draws units itself.
            item.level == "probe" and bool(item.units) and "unit" in self.wanted.levels
        )
        return is_here and is_level

    def _due(self, items: Sequence[Item]) -> list[Item]:
        known = [item.name for item in items if item.name in self.record.entries]
        gone = self.record.missing(known)
        return [item for item in items if self._has_changed(item) or item.name in gone]

    def _has_changed(self, item: Item) -> bool:
        entry = self.record.entries.get(item.name)
        return (
            self.force or entry is None or entry.fingerprint != item.fingerprint
            or bool(entry.failed)
        )  # fmt: skip

    def _draw(self, items: list[Item], workers: int, progress: Progress | None) -> None:
        tasks = list(tasks_of(self.lake.root, self.record.out, items))
        if not tasks:
            return
        for task in tasks:
            if under := self._session_of(task):
                under.left += 1
        new: dict[str, list[Drawn]] = {}
        with open_executor(min(workers, len(tasks))) as executor:
            for count, (task, result) in enumerate(executor.run(draw, tasks), 1):
                lost = isinstance(result, WorkerLostError)
                for drawn in _lost(task, result) if lost else result:  # type: ignore[arg-type,union-attr]
                    new.setdefault(drawn.name, []).append(drawn)
                self._after(task, new)
                if progress:
                    progress(str(task), count, len(tasks))

    def _after(self, task: Task, new: dict[str, list[Drawn]]) -> None:
        """Remember items that are whole, and write the pages of a session that is."""
        for item in task.items:
            parts = new[item.name]
            if sum(len(p.files) + len(p.failed) for p in parts) >= len(item.files()) or (
                parts[-1].absent is not None
            ):
                self._remember(item, parts)
        if under := self._session_of(task):
            under.left -= 1
            if not under.left:
                self._end(session_folder(under.row["subject_id"], under.row["session"]))
        self.record.save(at_once=False)

    def _session_of(self, task: Task) -> _Session | None:
        key = task.items[0].key
        if key.subject_id is None or key.session is None:
            return None
        return self._open.get(session_folder(key.subject_id, key.session))

    def _remember(self, item: Item, parts: Sequence[Drawn]) -> None:
        made = [file for part in parts for file in part.files]
        failed = {file: reason for part in parts for file, reason in part.failed.items()}
        if item.name in self.record.entries:
            self.report.removed += self.record.forget(item.name, keep=made)
        absent = parts[-1].absent
        self.record.entries[item.name] = Entry(item.fingerprint, made, failed, absent)
        self.report.figures += len(made)
        self.report.failed += [
            Failure(f"{item.folder}/{file}", reason) for file, reason in failed.items()
        ]

    def _end(self, folder: str) -> None:
        """Write the pages of a session, and note that it is up to date."""
        under = self._open.pop(folder)
        pages = session_pages(under.row, under.expected, self.record)
        self._write(pages, f"{folder}/{_PAGES}")
        wanted = [i for i in under.expected.items if self._is_wanted(i)]
        is_whole = self.wanted.insertion_number is None
        if is_whole and not any(self.record.entries[i.name].failed for i in wanted):
            mark = self.prints.session(under.row["subject_id"], under.row["session"])
            levels = [level for level in self.wanted.levels if level != "project"]
            self.record.done.setdefault(folder, {}).update(dict.fromkeys(levels, mark))

    def _write(self, pages: dict[str, str], name: str) -> None:
        """Write pages that have changed, and remove those of before that are no more."""
        for path, text in pages.items():
            self.report.pages += put_changed(self.record.out, path, text.encode("utf-8"))
        folder = name.rpartition("/")[0]
        prefix = f"{folder}/" if folder else ""
        names = [path.removeprefix(prefix) for path in pages]
        if name in self.record.entries:
            self.report.removed += self.record.forget(name, keep=names)
        self.record.entries[name] = Entry(files=names)

    def _remove_gone(self, rows: Sequence[facts.Row]) -> None:
        there = {session_folder(row["subject_id"], row["session"]) for row in rows}
        for name in list(self.record.entries):
            parts = name.split("/")
            if parts[0] == "sessions" and "/".join(parts[:2]) not in there:
                self.report.removed += self.record.forget(name)
        for folder in [f for f in self.record.done if f != _LAKE and f not in there]:
            del self.record.done[folder]

    def _remove_unexpected(self, mine: Sequence[str], expected: Expected) -> None:
        kept = {item.name for item in expected.items}
        for name in mine:
            if name not in kept and not name.endswith(f"/{_PAGES}"):
                self.report.removed += self.record.forget(name)

    def _finish(self, rows: Sequence[facts.Row]) -> None:
        """Note whether the whole lake is in the report, so that the next look is short."""
        folders = {session_folder(row["subject_id"], row["session"]) for row in rows}
        is_whole = self.wanted.is_whole and folders <= set(self.record.done)
        self.record.done.pop(_LAKE, None)
        if is_whole and not any(entry.failed for entry in self.record.entries.values()):
            self.record.done[_LAKE] = {"everything": self.prints.all}


def _lost(task: Task, error: WorkerLostError) -> list[Drawn]:
    """Return what became of a task whose process died, however often it was tried."""
    return [
        Drawn(item.name, failed=dict.fromkeys(_files(task, item), str(error)))
        for item in task.items
    ]


def _files(task: Task, item: Item) -> list[str]:
    units = item.files()
    return [file for file, unit in units.items() if unit is None or unit in task.units]
