"""What people enter in sheets: which reader knows a sheet, and what loading it changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maplake import readers
from maplake.errors import FileFormatError, MissingFileError
from maplake.readers import Reader


@dataclass
class Changes:
    """What loading a sheet changes, or would change.

    Attributes
    ----------
    added, changed, unchanged
        Number of rows.
    problems
        Rows that cannot be used, each with its number and the reason.
    details
        One line per row that is added, changed or removed.
    removed
        What has no row in the sheet any more, where the sheet is all that there is of it.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def lines(self) -> Iterable[str]:
        """Iterate over one line per change and problem."""
        yield from self.details
        yield from self.problems

    def note(self, what: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> None:
        """Count one row and describe what is new in it."""
        if old is None:
            self.added += 1
            self.details.append(f"+ {what}")
        elif dict(old) == dict(new):
            self.unchanged += 1
        else:
            self.changed += 1
            parts = [f"{k}: {old.get(k)} → {new[k]}" for k in new if old.get(k) != new[k]]
            self.details.append(f"~ {what}: {'; '.join(parts)}")


def sheet_reader(kind: str, path: Path) -> Reader:
    """Return the reader of a sheet.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileFormatError
        If no reader of the kind knows the file's type.
    """
    if not path.exists():
        raise MissingFileError("there is no such spreadsheet", file=path)
    for reader in readers.of_kind(kind):
        if reader.find(path):
            return reader
    raise FileFormatError(
        "not a sheet that can be read",
        file=path,
        found=path.suffix or "no suffix",
        expected=".xlsx or .csv",
    )
