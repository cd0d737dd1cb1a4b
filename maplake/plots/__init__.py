"""Figures: functions that take a lake and a key and return matplotlib axes.

``FIGURES`` has the whole figures of reports by name: ``FIGURES["drift-map"].draw(lake, key)``.
"""

from __future__ import annotations

from maplake.plots import (
    behavior,
    brain,
    coding,
    drift,
    foraging,
    population,
    project,
    quality,
    selectivity,
    slices,
    unit_tracking,
    units,
)
from maplake.plots.lookup import Key
from maplake.plots.registry import Figure, Figures

__all__ = ["FIGURES", "Figure", "Key"]

_MODULES = (
    *(behavior, foraging, coding, brain),
    *(quality, selectivity, population, drift, slices),
    *(units, unit_tracking, project),
)
FIGURES = Figures(
    (one.name, one)
    for module in _MODULES
    for one in vars(module).values()
    if isinstance(one, Figure)
)
