"""Which figures there are, and whether one would look other than before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maplake.errors import NotFoundError, suggest
from maplake.layout import RECORDS, Layout, manifest_file, session_name
from maplake.plots.lookup import Key, task_of
from maplake.plots.style import SETTINGS
from maplake.tables import get

if TYPE_CHECKING:
    from maplake.query.lake import Lake

LEVELS = ("session", "probe", "unit", "project")
#: Raise it when figures look other than before from the same data.
LOOKS = 1
_SPIKES = "arrays/ephys"


@dataclass(frozen=True)
class Figure:
    """A figure of a report.

    Attributes
    ----------
    name
        Short name, as in ``maplake figure NAME``.
    level
        What it is of: ``session``, ``probe``, ``unit`` or ``project``.
    title
        What it shows.
    draw
        ``draw(lake, key)`` returns a new matplotlib figure. Where data are missing, its axes say
        so. A figure of a unit also takes ``data=``, see its module.
    tables
        Stored tables that it reads; ``arrays/ephys`` stands for the array stores of spikes.
    tasks
        Tasks whose sessions it is for; empty = all.
    """

    name: str
    level: str
    title: str
    draw: Callable[..., Any]
    tables: tuple[str, ...]
    tasks: tuple[str, ...] = ()

    def fits(self, lake: Lake, key: Key) -> bool:
        """Whether the figure is for sessions of this task."""
        return not self.tasks or task_of(lake, key) in self.tasks

    def fingerprint(self, lake: Lake, key: Key) -> str:
        """Return a hash of all files that the figure is drawn from: what changes when it does."""
        parts = dict(_files(lake.root, self.tables, key))
        told = json.dumps([LOOKS, self.name, str(key), sorted(parts.items())])
        return hashlib.sha256(told.encode()).hexdigest()


class Figures(dict[str, Figure]):
    """Figures by name."""

    def __missing__(self, name: str) -> Figure:
        """Refuse a name that no figure has."""
        raise NotFoundError(f"there is no figure {name!r}", hint=suggest(str(name), self))


def figure(
    name: str, level: str, title: str, tables: tuple[str, ...], tasks: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Figure]:
    """Declare a figure: a function of lake and key that returns a matplotlib figure."""

    def declare(draw: Callable[..., Any]) -> Figure:
        @wraps(draw)
        def drawn(lake: Lake, key: Key, **options: Any) -> Any:
            from matplotlib import rc_context

            settings: Any = SETTINGS
            with rc_context(settings):
                return draw(lake, key, **options)

        return Figure(name, level, title, drawn, tables, tasks)

    return declare


def _files(root: Path, tables: tuple[str, ...], key: Key) -> Iterator[tuple[str, str]]:
    """Yield path and hash of each file of some tables that belongs to a key."""
    folders = tuple(_folder(name) for name in tables)
    for manifest in _manifests(root, key):
        for path, facts in manifest.items():
            if path.startswith(folders) and _belongs(path, key):
                yield path, str(facts["sha256"])


def _folder(name: str) -> str:
    if name == _SPIKES:
        return f"{name}/"
    table = get(name)
    return f"tables/{table.schema}/{table.name}/"


def _belongs(path: str, key: Key) -> bool:
    wanted = key.insertion_number
    return wanted is None or "/insertion_number=" not in path or (
        f"/insertion_number={wanted}/" in path
    )  # fmt: skip


def _manifests(root: Path, key: Key) -> Iterator[dict[str, Any]]:
    names = sorted(path.stem for path in (Layout(root).meta / "manifest").glob(RECORDS))
    if key.subject_id is not None and key.session is not None:
        names = ["lake", session_name(key.subject_id, key.session)]
    for name in names:
        path = root / manifest_file(name)
        if path.exists():
            yield json.loads(path.read_bytes())["files"]
