"""Which figures there shall be, of the whole lake and of a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maplake.plots import FIGURES
from maplake.plots.lookup import Key
from maplake.reports import facts
from maplake.reports.model import SPIKES, Item, probe_folder, session_folder
from maplake.reports.prints import Prints

if TYPE_CHECKING:
    from maplake.plots.registry import Figure
    from maplake.query.lake import Lake

PROJECT = "project"


@dataclass(frozen=True)
class Expected:
    """What a session's report has.

    Attributes
    ----------
    probes
        A row per probe, see :func:`maplake.reports.facts.probes`.
    units
        A row per unit, by insertion number.
    items
        Figures and the data of units.
    """

    probes: list[facts.Row]
    units: dict[int, list[facts.Row]]
    items: list[Item]

    def of(self, folder: str, level: str) -> list[Item]:
        """Return the items of a level in a folder."""
        return [item for item in self.items if (item.folder, item.level) == (folder, level)]


def project(prints: Prints) -> list[Item]:
    """Return the figures of the whole lake."""
    return [
        Item(PROJECT, one.name, one.level, Key(), prints.figure(one.name, Key()))
        for one in FIGURES.values()
        if one.level == "project"
    ]


def session(lake: Lake, key: Key, prints: Prints) -> Expected:
    """Return what the report of a session has."""
    fitting = [one for one in FIGURES.values() if one.level != "project" and one.fits(lake, key)]
    probes = facts.probes(lake, key)
    folder = session_folder(key.subject_id or 0, key.session or 0)
    items = [
        Item(folder, one.name, one.level, key, prints.figure(one.name, key))
        for one in fitting
        if one.level == "session"
    ]
    units = {}
    for row in probes:
        probe = Key(key.subject_id, key.session, row["insertion_number"])
        units[row["insertion_number"]] = facts.units(lake, probe)
        items += _of_probe(fitting, probe, units[row["insertion_number"]], prints)
    return Expected(probes, units, items)


def _of_probe(
    fitting: list[Figure], key: Key, units: list[facts.Row], prints: Prints
) -> list[Item]:
    folder = probe_folder(*key.probe)
    numbers = tuple(int(row["unit"]) for row in units)
    items = [
        Item(folder, one.name, one.level, key, prints.figure(one.name, key), numbers * _each(one))
        for one in fitting
        if one.level == "probe" or (one.level == "unit" and numbers)
    ]
    if numbers:
        tables = {name for one in fitting if one.level == "unit" for name in one.tables}
        mark = prints.files([SPIKES, str(key)], sorted(tables), key)
        items.append(Item(folder, SPIKES, "probe", key, mark, numbers))
    return items


def _each(one: Figure) -> int:
    """Whether a figure is drawn for each unit."""
    return int(one.level == "unit")
