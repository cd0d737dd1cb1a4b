"""``lake.duckdb`` and ``views.sql``: the lake as any DuckDB client sees it.

Both hold views and macros only, no data, and are rebuilt at will.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from maplake.errors import LakeError, LakeReadOnlyError
from maplake.layout import Layout
from maplake.query.conditions import check_align_types, check_conditions
from maplake.query.own_conditions import Configured, check_conflicts, configured_ones
from maplake.query.sqltext import full_identifier, literal
from maplake.query.views import AlignRow, created, in_quick_order, statements, view_made
from maplake.version import version

if TYPE_CHECKING:
    import duckdb

#: Format of lake.duckdb: one that the DuckDB releases before this one read, too.
_STORAGE = "v1.0.0"

_HEADER = "-- maplake catalog "
_REPLACE = "CREATE OR REPLACE VIEW"
_NOTE = "-- The views and macros of lake.duckdb for an in-memory connection: .read views.sql"
#: Views that hold the conditions and alignments of a lab.
_OWN = {"psth.trial_set", "psth.trial_condition", "psth.align_type"}
_VIEW = re.compile("^CREATE VIEW", re.MULTILINE)
_COMMENT_LINES = re.compile(r"^\s*--.*\n", re.MULTILINE)
#: Nobody writes at a catalog for so long (s).
_LEFTOVER_S = 600
_RETRIES = 20
_RETRY_S = 0.1
#: The sources, below the package, that decide what a catalog says.
_MAKERS = ("query/sql/*.sql", "query/views.py", "query/sqltext.py", "tables/*.py")


class Settings(NamedTuple):
    """What a catalog was built with.

    ``root`` is the lake's folder at that time; ``signature`` covers every statement; ``made_by``
    tells which maplake wrote it, see :func:`made_by`.
    """

    root: str
    signature: str
    conditions: Mapping[str, Configured] = {}
    align_types: Mapping[str, AlignRow] = {}
    made_by: str = ""


@cache
def made_by() -> str:
    """Return a hash of what makes the statements: version, SQL, declarations of tables.

    A catalog of another hash may lack a view or macro that this maplake asks for.
    """
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(version().encode())
    for place in _MAKERS:
        for path in sorted(package.glob(place)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def is_usable(root: Path, settings: Settings | None) -> bool:
    """Whether the catalog, whose settings these are, was made for this place by this maplake."""
    return (
        settings is not None
        and settings.root == str(root.resolve())
        and settings.made_by == made_by()
        and Layout(root).catalog.exists()
    )


def signature(
    root: Path,
    *,
    conditions: Mapping[str, Configured] | None = None,
    align_types: Mapping[str, AlignRow] | None = None,
) -> str:
    """Return a hash that changes whenever the catalog of ``root`` has to be rebuilt."""
    return _hash(statements(root, conditions or {}, align_types or {}))


def is_current(
    root: Path,
    *,
    conditions: Mapping[str, Configured] | None = None,
    align_types: Mapping[str, AlignRow] | None = None,
) -> bool:
    """Whether the catalog of ``root`` is there and says what it should."""
    found = read_settings(root)
    wanted = signature(root, conditions=conditions, align_types=align_types)
    return found is not None and found.signature == wanted and Layout(root).catalog.exists()


def is_due(root: Path) -> bool:
    """Whether a commit came after the catalog and changed what it must say.

    That is so where a writer died before it had seen to the catalog, and for a moment while one
    works.
    """
    layout = Layout(root)
    try:
        if layout.log.stat().st_mtime_ns <= layout.catalog.stat().st_mtime_ns:
            return False
    except OSError:  # a lake without commits or without a catalog
        return False
    settings = read_settings(root)
    if settings is None or settings.root != str(root.resolve()):
        return False
    return not is_current(root, conditions=settings.conditions, align_types=settings.align_types)


def refresh(root: Path) -> None:
    """Write the catalog anew, with the conditions and alignments that it has.

    Raises
    ------
    MaplakeError
        As :func:`build` does.
    """
    settings = read_settings(root)
    if settings is not None and is_due(root):
        build(root, conditions=settings.conditions, align_types=settings.align_types)


def read_settings(root: Path) -> Settings | None:
    """Return what the catalog was built with, or None without a readable one."""
    try:
        with Layout(root).views.open(encoding="utf-8") as file:
            line = file.readline()
        if not line.startswith(_HEADER):
            return None
        return Settings(**json.loads(line.removeprefix(_HEADER)))
    except (OSError, ValueError, TypeError):
        return None


def build(
    root: Path,
    *,
    conditions: Mapping[str, Configured] | None = None,
    align_types: Mapping[str, AlignRow] | None = None,
    like: Path | None = None,
) -> None:
    """Write ``lake.duckdb`` and ``views.sql`` of the lake at ``root``.

    Readers see the old or the new catalog, never half of one.

    Parameters
    ----------
    root
        The lake's folder.
    conditions
        The lab's own trial conditions by name: SQL predicates over ``psth.trial``, or predicate
        and description.
    align_types
        The lab's own alignments by name: trial event, trial offset, time offset (s), start and
        end of the window (s).
    like
        A lake whose catalog may differ from this one in the views of files alone, as that of one
        it was copied from: then it is copied, and those are made anew, in a third of the time.
        Without it the lake's own is tried.

    Raises
    ------
    ConfigError
        If a condition or an alignment is wrong; the message names it and says why.
    LakeError
        If the lake's place cannot be used in SQL or the catalog cannot be replaced.
    LakeReadOnlyError
        If the lake's folder cannot be written to.
    """
    conditions, align_types = dict(conditions or {}), dict(align_types or {})
    check_conditions({n: c.predicate for n, c in configured_ones(conditions).items()})
    check_conflicts(root, conditions)
    check_align_types(align_types)
    made = statements(root, conditions, align_types)
    settings = Settings(str(root.resolve()), _hash(made), conditions, align_types, made_by())
    layout = Layout(root)
    _remove_leftovers(layout)
    tag = uuid.uuid4().hex
    database, views = (root / f".{path.name}.{tag}" for path in (layout.catalog, layout.views))
    try:
        _write(database, layout, made, settings, Layout(like or root))
        views.write_text(as_script(made, settings), encoding="utf-8", newline="\n")
        with suppress(OSError):  # of a program that opened the former catalog to write
            layout.catalog.with_name(f"{layout.catalog.name}.wal").unlink()
        for temporary, final in ((database, layout.catalog), (views, layout.views)):
            _sync(temporary)
            _replace(temporary, final)
        _sync_names(root)
    except OSError as error:
        raise LakeReadOnlyError(
            f"the catalog cannot be written: {error}", file=layout.catalog
        ) from error
    finally:
        for temporary in (database, views, database.with_name(f"{database.name}.wal")):
            with suppress(OSError):  # on a read-only disk even what is not there cannot be removed
                temporary.unlink()


def as_script(made: list[str], settings: Settings) -> str:
    """Return the statements as a script for an in-memory connection."""
    header = _HEADER + json.dumps(settings._asdict(), ensure_ascii=True)
    return f"{header}\n{_body(in_quick_order(Path(settings.root), made))}"


def _body(quick: Iterable[str]) -> str:
    return "\n".join([_NOTE, *(f"{text};\n" for text in quick)])


def _changed_views(layout: Layout, quick: Sequence[str]) -> list[str]:
    """Return the views that differ in a catalog that is there, if nothing else does; else none.

    So it is when tables get their first file, lose their last one or are merged, when the lake was
    moved, and when its own conditions or alignments change. What these views are called and which
    columns they have is always the same, so that views upon them need not be made anew.
    """
    try:
        body = layout.views.read_text(encoding="utf-8").partition("\n")[2]
    except (OSError, ValueError):
        return []
    old = body.removeprefix(f"{_NOTE}\n").removesuffix(";\n").split(";\n\n")
    if body != _body(old):
        return []
    (old_views, old_rest), (views, rest) = _parted(old), _parted(quick)
    if len(rest) != len(old_rest):
        return []
    new = dict(views)
    for before, text in zip(old_rest, rest, strict=True):
        name = view_made(text)
        if text != before and (name not in _OWN or name != view_made(before)):
            return []
        if name not in views and (text != before or name in old_views):
            new[name] = _VIEW.sub(_REPLACE, text, count=1)
    return [text for name, text in new.items() if old_views.get(name) != text]


def _parted(quick: Sequence[str]) -> tuple[dict[str | None, str], list[str]]:
    """Return the views of files by their names, and all other statements."""
    views = {view_made(text): text for text in quick if text.startswith(_REPLACE)}
    return views, [text for text in quick if not text.startswith(_REPLACE)]


def run(con: duckdb.DuckDBPyConnection, made: list[str]) -> None:
    """Carry out statements of the catalog in a connection's default database.

    Raises
    ------
    LakeError
        If the lake's files do not fit them.
    """
    import duckdb

    for text in made:
        try:
            con.execute(text)
        except duckdb.Error as error:
            raise LakeError(
                f"the catalog cannot be built: {error}",
                place=text[text.find("C") :].split(" AS", 1)[0],
                hint="`maplake check` tells which files of the lake are wrong.",
            ) from error


def _write(
    database: Path, layout: Layout, made: list[str], settings: Settings, like: Layout
) -> None:
    """Write a new ``lake.duckdb``: where it can be, a copy of an old one with a few new views."""
    quick, own = in_quick_order(layout.root, made), _catalog_view(settings)
    new, old = _changed_views(like, quick), read_settings(like.root)
    if new and old is not None:
        names = [full_identifier(name) for name in map(view_made, new) if name is not None]
        about = tuple(
            f"COMMENT ON {what}" for n in names for what in (f"VIEW {n} ", f"COLUMN {n}.")
        )
        notes = [";\n".join(text for text in made if text.startswith(about))]
        try:
            shutil.copyfile(like.catalog, database)
            _write_database(database, [_require(old.signature), *new, *filter(None, notes), own])
        except (OSError, LakeError):  # the old one is damaged, or not that of the script
            database.unlink(missing_ok=True)
        else:
            return
    _write_database(database, [*quick, own])


def is_held(error: duckdb.Error) -> bool:
    """Whether a database cannot be opened because another program has it open to write."""
    text = str(error)  # DuckDB has no name for it; the second is what Windows says
    return "Could not set lock" in text or "used by another process" in text


def _write_database(path: Path, made: list[str]) -> None:
    import duckdb

    # Over a thousand small statements: a plan and other threads are most of what each would cost.
    con = duckdb.connect(config={"autoinstall_known_extensions": False, "threads": 1})
    try:
        con.execute("PRAGMA disable_optimizer")
        con.execute(f"ATTACH {literal(str(path))} AS lake (STORAGE_VERSION {literal(_STORAGE)})")
        con.execute("USE lake")
        con.execute("BEGIN")
        run(con, made)
        con.execute("COMMIT")
        con.execute("USE memory")
        con.execute("DETACH lake")
    except duckdb.Error as error:  # a full or faulty disk has several names
        raise OSError(str(error).splitlines()[0]) from error
    finally:
        con.close()


def _remove_leftovers(layout: Layout) -> None:
    """Remove what a killed process left of a catalog long ago."""
    for final in (layout.catalog, layout.views):
        for path in layout.root.glob(f".{final.name}.*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                    path.unlink()


def _catalog_view(settings: Settings) -> str:
    values = {**settings._asdict(), "maplake_version": version()}
    columns = ", ".join(
        f"{literal(v if isinstance(v, str) else json.dumps(v))} AS {name}"
        for name, v in values.items()
    )
    return f"{_REPLACE} ingest.catalog AS SELECT {columns}"


def _require(signature: str) -> str:
    """Return a statement that fails in another catalog."""
    same = f"(SELECT signature FROM ingest.catalog) = {literal(signature)}"
    return f"SELECT CASE WHEN {same} THEN 0 ELSE error('another catalog') END"


def _hash(made: list[str]) -> str:
    return hashlib.sha256(json.dumps([made_by(), made]).encode()).hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_names(folder: Path) -> None:
    """Force a folder's entries to disk, where the operating system can."""
    with suppress(PermissionError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _replace(temporary: Path, final: Path) -> None:
    """Rename over ``final``; where an open file cannot be replaced (Windows), try for 2 s."""
    for attempt in range(_RETRIES):
        try:
            temporary.replace(final)
        except PermissionError as error:
            if attempt == _RETRIES - 1:
                raise LakeError(
                    "the catalog is held open by another program",
                    file=final,
                    hint="Close it there, or use views.sql in an in-memory connection, "
                    "then run `maplake catalog`.",
                ) from error
            time.sleep(_RETRY_S)
        else:
            return


def in_memory(root: Path, settings: Settings | None) -> list[str]:
    """Return the statements for a lake without a usable catalog, with the settings it had."""
    return in_quick_order(root, _statements(root, settings))


def definitions(root: Path) -> dict[str, str]:
    """Return the text of every view and macro by full name, without lines of comment.

    It is as written here: the text that DuckDB keeps is another one in a file, in memory and in
    other releases.
    """
    made = _statements(root, read_settings(root))
    named = ((created(text), text) for text in made)
    return {name: _COMMENT_LINES.sub("", text) for name, text in named if name is not None}


def _statements(root: Path, settings: Settings | None) -> list[str]:
    known = settings or Settings("", "")
    return statements(root, known.conditions, known.align_types)
