"""Whether anything happened in a lake since all of its tables were computed; told at a glance."""

from __future__ import annotations

import json
from pathlib import Path

from maplake.layout import Layout
from maplake.version import version
from maplake.writers import files

__all__ = ["is_settled", "settle"]

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
    return bool(known == _point(layout))


def settle(root: Path) -> None:
    """Remember that every table was computed."""
    layout = Layout(root)
    with files.lake_faults(root):
        files.write_json(layout.meta / _NAME, _point(layout))


def _point(layout: Layout) -> dict[str, object]:
    """Return where in its history a lake is."""
    names = [path.name for path in layout.log.iterdir()] if layout.log.is_dir() else []
    return {
        "commits": len(names),
        "last": max(names, default=""),
        "maplake": version(),
    }
