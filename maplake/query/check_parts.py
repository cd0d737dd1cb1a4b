"""The files of a table in parts of a few sessions, each of which is checked by itself.

So memory does not grow with the lake: what DuckDB keeps of a file and of a key is one part's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from maplake.layout import PART, Layout, compact_folder
from maplake.query.sqltext import full_identifier, glob_literal
from maplake.query.views import empty_select, hive_options, is_compact, raw_name
from maplake.tables import Table
from maplake.tables.model import SESSION_KEY

__all__ = ["Part", "animals_of", "files_of", "levels_of", "parts_of", "rows_of", "view_of"]

#: Most files of a part, and about how much is in them (bytes), if one session has no more.
_FILES, _BYTES = 128, 32 << 20

#: Folders of sessions (or animals) below that of a table; None = the whole table, by its view.
Part = tuple[str, ...] | None


def levels_of(table: Table, *, merged: bool) -> tuple[str, ...]:
    """Return the keys of which a part has all rows; none where a table is one part."""
    if table.partition[:2] != SESSION_KEY:
        return ()
    return SESSION_KEY[:1] if merged else SESSION_KEY


def parts_of(root: Path, table: Table, *, merged: bool) -> Iterator[Part]:
    """Yield the parts of a table, of its own files or of its merged ones."""
    levels = levels_of(table, merged=merged)
    if not levels:
        yield None
        return
    folders = _folders(_top(root, table, merged=merged), levels)
    yield from _grouped(root, ((f, files_of(root, table, (f,), merged=merged)) for f in folders))


def animals_of(root: Path, table: Table) -> Iterator[Part]:
    """Yield parts of whole animals: those of a table's own files and of its merged ones."""
    tops = [_top(root, table, merged=merged) for merged in (False, True)]
    folders = sorted({folder for top in tops for folder in _folders(top, SESSION_KEY[:1])})
    yield from _grouped(root, ((f, files_of(root, table, (f,), merged=False)) for f in folders))


def _grouped(root: Path, folders: Iterable[tuple[str, list[str]]]) -> Iterator[Part]:
    part: list[str] = []
    count = size = 0
    for folder, files in folders:
        new = sum(_size(root / file) for file in files)
        if part and (count + len(files) > _FILES or size + new > _BYTES):
            yield tuple(part)
            part, count, size = [], 0, 0
        part.append(folder)
        count, size = count + len(files), size + new
    if part:
        yield tuple(part)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # whoever reads it tells
        return 0


def files_of(root: Path, table: Table, folders: Iterable[str], *, merged: bool) -> list[str]:
    """Return the files, below the lake's root, in folders of a table; merged ones are animals'."""
    top = _top(root, table, merged=merged)
    names: tuple[str, ...] = table.partition
    if merged:
        names, folders = names[:1], dict.fromkeys(folder.partition("/")[0] for folder in folders)
    below = top.relative_to(root).as_posix()
    return [
        f"{below}/{place}/{PART}"
        for folder in folders
        for place in _folders(top, names[folder.count("/") + 1 :], folder)
        if os.path.isfile(top / place / PART)  # noqa: PTH113
    ]


def rows_of(root: Path, table: Table, part: Part, *, merged: bool | None = None) -> str:
    """Return what SQL reads a part of a table from: what its view reads, unless told which."""
    if part is None:
        return view_of(table)
    merged = is_compact(root, table) if merged is None else merged
    files = [glob_literal(root, file) for file in files_of(root, table, part, merged=merged)]
    if not files:
        return f"({empty_select(table.columns)})"
    return f"read_parquet([{', '.join(files)}]{hive_options(table, merged=merged)})"


def view_of(table: Table) -> str:
    """Return the view of a table's files."""
    return full_identifier(raw_name(table))


def _top(root: Path, table: Table, *, merged: bool) -> Path:
    return root / compact_folder(table) if merged else Layout(root).table_dir(table)


def _folders(top: Path, levels: Iterable[str], below: str = "") -> Iterator[str]:
    """Yield the folders of these keys, in order."""
    first, *rest = [*levels, ""]
    if not first:
        yield below
        return
    try:
        with os.scandir(top / below) as entries:
            names = sorted(e.name for e in entries if e.name.startswith(f"{first}="))
    except OSError:
        return
    for name in names:
        yield from _folders(top, rest[:-1], f"{below}/{name}" if below else name)
