"""Records of a lake, read as if anyone had written them: of the right kinds, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maplake.layout import is_inside

__all__ = ["MOST", "is_count", "read_files", "read_json"]

#: The largest number that the key columns of tables hold.
MOST = 2**31 - 1


def read_json(path: Path | str) -> Any:
    """Return the content of a JSON file.

    Raises
    ------
    OSError
        If it is not there or cannot be read.
    ValueError
        If it is no JSON, or nested without end.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def is_count(value: object) -> bool:
    """Whether a value is a whole number from 0 on that no true or false stands for."""
    return type(value) is int and 0 <= value < 2**63


def read_files(path: Path) -> dict[str, dict[str, Any]]:
    """Return the files that a manifest lists: rows, bytes and sha256 by path below the lake.

    Raises
    ------
    OSError
        If it is not there or cannot be read.
    ValueError
        If it is damaged, or names a file outside of the lake.
    """
    found = read_json(path)
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, dict):
        raise ValueError("it has no files")  # noqa: TRY004 - the content is wrong, no argument
    for name, entry in files.items():
        if not is_inside(name):
            raise ValueError(f"{name[:80]!r} is no path below the lake")
        if not isinstance(entry, dict) or not _is_entry(name, entry):
            raise ValueError(f"the entry of {name} is damaged")
    return files


def _is_entry(name: str, entry: dict[str, Any]) -> bool:
    has_rows = is_count(entry.get("rows", -1))
    if not name.startswith("tables/"):  # arrays have none
        has_rows = has_rows or entry.get("rows", -1) is None
    return has_rows and is_count(entry.get("bytes")) and type(entry.get("sha256")) is str
