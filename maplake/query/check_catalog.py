"""Whether ``lake.duckdb`` and ``views.sql`` are what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from maplake.layout import CATALOG, VIEWS, Layout
from maplake.query import catalog
from maplake.query.problems import Problem
from maplake.query.views import statements

__all__ = ["check_catalog"]

_REPAIR = "maplake catalog"


def check_catalog(root: Path) -> Iterator[Problem]:
    """Yield what is wrong with the catalog; one of another place or version is let pass.

    maplake makes views of its own for those, and the next ingest or ``maplake catalog`` writes
    them.
    """
    layout = Layout(root)
    if not layout.catalog.exists() and not layout.views.exists():
        return
    settings = catalog.read_settings(root)
    if settings is None:
        yield _problem(VIEWS, "the script of the views cannot be read")
        return
    conditions, align_types = settings.conditions, settings.align_types
    wanted = catalog.signature(root, conditions=conditions, align_types=align_types)
    if settings.root != str(root.resolve()) or wanted != settings.signature:
        return
    made = statements(root, conditions, align_types)
    if layout.views.read_bytes() != catalog.as_script(made, settings).encode():
        yield _problem(VIEWS, "the script of the views is not what was written")
    if not _says(layout.catalog, settings.signature):
        yield _problem(CATALOG, "the catalog cannot be read or is not what was written")


def _problem(place: str, message: str) -> Problem:
    return Problem("", place, "catalog", message, repair=_REPAIR)


def _says(path: Path, signature: str) -> bool:
    """Whether the database can be read whole and is of the same make as the script."""
    import duckdb

    try:
        with duckdb.connect(str(path), read_only=True) as con:
            con.execute("SELECT sum(length(sql)) FROM duckdb_views()").fetchall()
            row = con.execute("SELECT signature FROM ingest.catalog").fetchone()
    except duckdb.ConnectionException:  # this process holds it open in another way
        return True
    except duckdb.Error as error:
        return catalog.is_held(error)
    return row is not None and row[0] == signature
