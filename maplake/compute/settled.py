"""Whether anything happened in a lake since all of its tables were computed; told at a glance."""

from __future__ import annotations

import json
from pathlib import Path

from maplake.layout import Layout
from maplake.version import version
from maplake.writers import files

__all__ = ["commits", "is_settled", "settle"]

_NAME = "computed.json"


def is_settled(root: Path) -> bool:
    """Whether every table was computed, or failed, and nothing was committed since.

    It is no proof that rows are current (a function may have changed), only that an ingest that
    found nothing new has nothing to compute.
    """
    layout = Layout(root)
    if not layout.format_file.exists():
        return True  # there is no lake yet
    try:
        known = json.loads((layout.meta / _NAME).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(known == _point(commits(layout)))


def settle(root: Path, before: set[str], run: str) -> None:
    """Remember that every table was computed.

    Not if another process committed meanwhile: nobody may have computed anything of that.

    Parameters
    ----------
    root
        The lake.
    before
        The :func:`commits` when it was found out what is to be computed.
    run
        Name of the run whose commits came since.
    """
    layout = Layout(root)
    names = commits(layout)
    if all(name.startswith(f"{run}.") for name in names - before):
        with files.lake_faults(root):
            files.write_json(layout.meta / _NAME, _point(names))


def commits(layout: Layout) -> set[str]:
    """Return the names of the commits that were carried out."""
    return {path.name for path in layout.log.iterdir()} if layout.log.is_dir() else set()


def _point(names: set[str]) -> dict[str, object]:
    """Return where in its history a lake of these commits is."""
    return {
        "commits": len(names),
        "last": max(names, default=""),
        "maplake": version(),
    }
