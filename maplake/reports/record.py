"""The report's memory of itself: which files it wrote, and from what."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from maplake.errors import LakeReadOnlyError, QueryError
from maplake.writers import files

RECORD = ".maplake-report.json"
_FORMAT = 1
_SAVE_S = 5.0


@dataclass
class Entry:
    """A figure, the figures of a probe's units, or the pages of a folder.

    Attributes
    ----------
    fingerprint
        What it was made from; empty = to be made again.
    files
        Names of its files in its folder.
    failed
        Why files could not be made, by name.
    absent
        Why there is none of it, where that is no fault.
    """

    fingerprint: str = ""
    files: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    absent: str | None = None


class Record:
    """What is in a report's folder.

    Attributes
    ----------
    entries
        By folder and figure, as ``sessions/101_1/probe1/drift-map``.
    done
        By session (or ``lake``) and level: from what it was whole.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.entries: dict[str, Entry] = {}
        self.done: dict[str, dict[str, str]] = {}
        self._saved = time.monotonic()

    @classmethod
    def load(cls, out: Path) -> Record:
        """Read the record of a folder; an empty one if it has none.

        Raises
        ------
        QueryError
            If the folder holds pages that no report wrote, or a record that cannot be read.
        """
        record, file = cls(out), out / RECORD
        try:
            known = json.loads(file.read_bytes())
            record.entries = {name: Entry(**fields) for name, fields in known["entries"].items()}
            record.done = known["done"]
            record._check(known["format"])
        except FileNotFoundError:
            if (out / "index.html").exists():
                raise QueryError(
                    "the folder has an index.html that no report wrote",
                    file=out,
                    hint="Name another folder with --out.",
                ) from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise QueryError(
                "the record of the report cannot be read",
                file=file,
                found=str(error),
                hint="Remove the folder, or name another one with --out.",
            ) from error
        return record

    def _check(self, version: int) -> None:
        """Refuse names that lead out of the report's folder: files are removed by them."""
        if version != _FORMAT:
            raise ValueError("written by another version")
        for name, entry in self.entries.items():
            for file in entry.files:
                path = PurePosixPath(name).parent / file
                if (
                    path.is_absolute()
                    or ".." in path.parts
                    or "\\" in str(path)
                    or ":" in str(path)
                ):
                    raise ValueError(f"a strange path: {path}")

    def save(self, *, at_once: bool = True) -> None:
        """Write the record; unless ``at_once``, only if that was long ago."""
        if at_once or time.monotonic() - self._saved > _SAVE_S:
            entries = {name: asdict(entry) for name, entry in self.entries.items()}
            with writing(self.out):
                files.make_dir(self.out)
                _put(self.out / RECORD, json.dumps(
                    {"format": _FORMAT, "done": self.done, "entries": entries},
                    ensure_ascii=False, sort_keys=True,
                ).encode())  # fmt: skip
            self._saved = time.monotonic()

    def missing(self, names: Iterable[str]) -> set[str]:
        """Return those entries of which a file is not in its folder."""
        there: dict[str, set[str]] = {}
        gone = set()
        for name in names:
            for file in self.entries[name].files:
                folder, _, last = f"{folder_of(name)}/{file}".rpartition("/")
                if folder not in there:
                    there[folder] = _names_in(self.out / folder.lstrip("/"))
                if last not in there[folder]:
                    gone.add(name)
                    break
        return gone

    def forget(self, name: str, keep: Iterable[str] = ()) -> int:
        """Remove an entry's files, except those to keep, and the entry; return how many."""
        entry, kept = self.entries.pop(name), set(keep)
        old = [file for file in entry.files if file not in kept]
        with writing(self.out):
            for file in old:
                path = self.out / folder_of(name) / file
                files.remove(path)
                files.remove_empty_parents(path, self.out)
        return len(old)


def _names_in(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def folder_of(name: str) -> str:
    """Return the folder of an entry; empty for the report's own."""
    return name.rpartition("/")[0]


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn an :class:`OSError` into an error that names the report's folder.

    Raises
    ------
    LakeReadOnlyError
        If something cannot be written or removed.
    """
    try:
        yield
    except OSError as error:
        raise LakeReadOnlyError(
            "the report cannot be written",
            file=out,
            place=None if error.filename is None else str(error.filename),
            found=error.strerror or str(error),
        ) from error


def put(out: Path, name: str, content: bytes) -> None:
    """Write a file below the report's folder; it is never seen half.

    Raises
    ------
    LakeReadOnlyError
        If it cannot be written.
    """
    with writing(out):
        path = out / name
        files.make_dir(path.parent)
        _put(path, content)


def put_changed(out: Path, name: str, content: bytes) -> bool:
    """Write a file unless it is there with the same content; return whether it was written."""
    with suppress(OSError):
        if (out / name).read_bytes() == content:
            return False
    put(out, name, content)
    return True


def _put(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    files.replace(temporary, path)
