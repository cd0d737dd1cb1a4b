"""Drawing figures into files, in whichever process."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from maplake.errors import NotFoundError
from maplake.plots import FIGURES
from maplake.plots.lookup import Key
from maplake.plots.unit_data import UnitData, probe_unit_data
from maplake.plots.unit_tracking import TrackingData, probe_tracking_data
from maplake.query.lake import Lake
from maplake.reports.model import SPIKES, Item, unit_file
from maplake.reports.packed import script
from maplake.reports.record import put

log = logging.getLogger("maplake.reports")

#: Units of a probe that one process draws at a time.
_SHARE = 40
#: Dots per inch; units are many.
_DPI = {"project": 120, "session": 120, "probe": 120, "unit": 100}
_TRACKING = "unit-tracking"


@dataclass(frozen=True)
class Task:
    """What one process draws at a time: a figure, or all that is drawn of some units.

    Attributes
    ----------
    root, out
        The lake's folder and the report's.
    items
        What to draw; several only of the same units.
    units
        Which of their units.
    """

    root: Path
    out: Path
    items: tuple[Item, ...]
    units: tuple[int, ...] = ()

    @property
    def stamp(self) -> str:
        """Changes when what is fetched for its items may."""
        return " ".join(item.fingerprint for item in self.items)

    def __str__(self) -> str:
        key, item = self.items[0].key, self.items[0]
        where = (key.subject_id, key.session, key.insertion_number)
        name = item.figure if not self.units else f"units {self.units[0]} to {self.units[-1]}"
        return " ".join(str(word) for word in (*where, name) if word is not None)


@dataclass
class Drawn:
    """What became of one item of a task.

    Attributes
    ----------
    name
        The item's name.
    files
        Files written.
    failed
        Why others were not, by file.
    absent
        Why there is nothing to draw, where that is no fault.
    """

    name: str
    files: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    absent: str | None = None


def tasks_of(root: Path, out: Path, items: list[Item]) -> Iterator[Task]:
    """Return tasks that draw some items, units first: they take longest."""
    probes: dict[tuple[str, tuple[int, ...]], list[Item]] = {}
    for item in items:
        if item.units:
            probes.setdefault((item.folder, item.units), []).append(item)
    for (_, units), same in probes.items():
        for first in range(0, len(units), _SHARE):
            yield Task(root, out, tuple(same), units[first : first + _SHARE])
    for item in items:
        if not item.units:
            yield Task(root, out, (item,))


def draw(task: Task) -> list[Drawn]:
    """Carry out a task.

    Raises
    ------
    LakeReadOnlyError
        If the report's folder cannot be written to; whatever else goes wrong is told of.
    """
    lake = _lake(task.root)
    return [
        _units(task, item, lake) if item.units else _one(task, item, lake) for item in task.items
    ]


def forget() -> None:
    """Let go of what is kept between tasks."""
    for kept in (_data, _tracking, _lake):
        kept.cache_clear()


@lru_cache(maxsize=1)
def _lake(root: Path) -> Lake:
    return Lake(root)


# The stamp is there to fetch anew what has changed since.
@lru_cache(maxsize=1)
def _data(root: Path, key: Key, _stamp: str) -> UnitData:
    return probe_unit_data(_lake(root), key)


@lru_cache(maxsize=1)
def _tracking(root: Path, key: Key, _stamp: str) -> TrackingData | str:
    try:
        return probe_tracking_data(_lake(root), key)
    except NotFoundError as error:
        return error.message


def _one(task: Task, item: Item, lake: Lake) -> Drawn:
    def make() -> bytes:
        return _png(FIGURES[item.figure].draw(lake, item.key), _DPI[item.level])

    done = Drawn(item.name)
    _into(done, task.out, item, f"{item.figure}.png", make)
    return done


def _units(task: Task, item: Item, lake: Lake) -> Drawn:
    done = Drawn(item.name)
    try:
        options: dict[str, Any] = {"data": _data(task.root, item.key, task.stamp)}
        if item.figure == _TRACKING:
            found = _tracking(task.root, item.key, task.stamp)
            if isinstance(found, str):
                done.absent = found
                return done
            options["tracking"] = found
    except Exception as error:
        reason = _reason(error, item)
        done.failed = {unit_file(unit, item.figure): reason for unit in task.units}
        return done

    def make(unit: int) -> bytes:
        if item.figure == SPIKES:
            return script(options["data"], unit)
        key = replace(item.key, unit=unit)
        return _png(FIGURES[item.figure].draw(lake, key, **options), _DPI["unit"])

    for unit in task.units:
        _into(done, task.out, item, unit_file(unit, item.figure), lambda unit=unit: make(unit))  # type: ignore[misc]
    return done


def _into(done: Drawn, out: Path, item: Item, file: str, make: Callable[[], bytes]) -> None:
    """Make a file's content and write it; what goes wrong in making stops no other."""
    try:
        content = make()
    except Exception as error:
        done.failed[file] = _reason(error, item)
        return
    put(out, f"{item.folder}/{file}", content)
    done.files.append(file)


def _reason(error: Exception, item: Item) -> str:
    """Return why something could not be drawn; faults of the code leave a trace in the log."""
    if isinstance(error, NotFoundError):
        return error.message
    log.debug("%s of %s", item.figure, item.key, exc_info=error)
    return f"{type(error).__name__}: {error}"


def _png(made: Any, dpi: int) -> bytes:
    content = io.BytesIO()
    made.savefig(content, format="png", dpi=dpi)
    return content.getvalue()
