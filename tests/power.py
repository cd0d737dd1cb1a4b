"""A disk that keeps what was synced and nothing else: what a lake looks like after a power cut.

Follows the calls that :mod:`faults` shows. A file's content is safe once it was synced, a name once
its folder was; renames are whole. Two images are made of what may be left:

* ``least``: of every folder the names that were there when it was last synced;
* ``names``: all names as they were at that moment (as journaling file systems often keep them), but
  of every file the content that was last synced, so that a file that never was is empty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from faults import Op

IMAGES = ("least", "names")


@dataclass(eq=False)
class File:
    """A file: what was last synced, None = nothing ever; its time of change (ns)."""

    content: bytes | None = None
    time: int = 0


@dataclass(eq=False)
class Folder:
    """A folder: its entries, and those that were there when it was last synced."""

    entries: dict[str, File | Folder] = field(default_factory=dict)
    safe: dict[str, File | Folder] = field(default_factory=dict)
    time: int = 0


class Disk:
    """The disk below ``root``, everything on it synced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = self._read(root) if root.is_dir() else Folder()

    def _read(self, folder: Path) -> Folder:
        found = Folder(time=folder.stat().st_mtime_ns)
        for path in folder.iterdir():
            time = path.stat().st_mtime_ns
            one = self._read(path) if path.is_dir() else File(path.read_bytes(), time)
            found.entries[path.name] = found.safe[path.name] = one
        return found

    def follow(self, op: Op) -> None:
        """Take note of a call that is about to be carried out."""
        if op.path == "." and op.kind != "sync":
            return
        if op.kind == "sync":
            self._sync(op.path)
        elif op.kind == "open" and op.flags & os.O_CREAT:
            self._add(op.path, File())
        elif op.kind == "mkdir":
            self._add(op.path, Folder())
        elif op.kind == "remove":
            self._take(op.path, only_empty=True)
        elif op.kind in ("rename", "link"):
            self._move(op)

    def _move(self, op: Op) -> None:
        found = self._find(op.path)
        folder, name = self._place(op.other)
        if found is None or folder is None:
            return
        if op.kind == "rename":
            self._take(op.path)
        elif name in folder.entries:
            return
        folder.entries[name] = found

    def _find(self, path: str) -> File | Folder | None:
        found: File | Folder | None = self.top
        for part in PurePosixPath(path).parts:
            if not isinstance(found, Folder):
                return None
            found = found.entries.get(part)
        return found

    def _place(self, path: str) -> tuple[Folder | None, str]:
        pure = PurePosixPath(path)
        folder = self._find(str(pure.parent))
        return (folder if isinstance(folder, Folder) else None), pure.name

    def _add(self, path: str, new: File | Folder) -> None:
        folder, name = self._place(path)
        if folder is not None:
            folder.entries.setdefault(name, new)

    def _take(self, path: str, *, only_empty: bool = False) -> None:
        folder, name = self._place(path)
        found = folder and folder.entries.get(name)
        is_full = isinstance(found, Folder) and bool(found.entries)
        if folder is not None and found is not None and not (only_empty and is_full):
            del folder.entries[name]

    def _sync(self, path: str) -> None:
        found, real = self._find(path), self.root / path
        if isinstance(found, Folder):
            found.safe = dict(found.entries)
        elif found is not None:
            found.content, found.time = real.read_bytes(), real.stat().st_mtime_ns

    def image(self, kind: str, target: Path) -> None:
        """Write what is left of the disk to a folder."""
        self._write(self.top, kind, target, self.root)

    def _write(self, folder: Folder, kind: str, target: Path, live: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for name, one in (folder.safe if kind == "least" else folder.entries).items():
            place = target / name
            if isinstance(one, Folder):
                self._write(one, kind, place, live / name)
            else:
                place.write_bytes(one.content or b"")
                if one.time:
                    os.utime(place, ns=(one.time, one.time))
        if live.is_dir():  # a commit's order is told from the times of folders, too
            time = live.stat().st_mtime_ns
            os.utime(target, ns=(time, time))


def unsafe(disk: Disk) -> Iterator[str]:
    """Yield the paths of what a power cut would take away now."""
    stack: list[tuple[str, Folder]] = [("", disk.top)]
    while stack:
        path, folder = stack.pop()
        for name, one in folder.entries.items():
            below = f"{path}{name}"
            if folder.safe.get(name) is not one:
                yield f"{below} (its name)"
            if isinstance(one, Folder):
                stack.append((f"{below}/", one))
            elif one.content is None:
                yield f"{below} (its content)"
