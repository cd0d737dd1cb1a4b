"""Checks of settings that concern more than one key, or the tables' lookups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maplake.config.decode import KeyProblem
from maplake.config.settings import Settings
from maplake.readers.base import PhotostimProtocol
from maplake.tables import TABLES


def check(settings: Settings) -> None:
    """Refuse names given twice, impossible protocols and windows.

    Raises
    ------
    KeyProblem
        For the first thing that is wrong.
    """
    _check_unique(("behavior", "rigs"), [rig.name for rig in settings.behavior.rigs], "name")
    _check_unique(("tracking", "rigs"), [rig.name for rig in settings.tracking.rigs], "name")
    _check_unique(("photostim",), [p.photo_stim for p in settings.photostim], "photo_stim")
    for index, protocol in enumerate(settings.photostim):
        _check_photostim(protocol, ("photostim", index))
    for name, align in settings.align_types.items():
        if align.stop <= align.start:
            raise KeyProblem(
                ("align_types", name, "stop"),
                "the window ends before it starts",
                found=f"{align.stop:g} s",
                expected=f"more than start, {align.start:g} s",
            )
    _check_names("conditions", settings.conditions, "psth.trial_condition")
    _check_names("align_types", settings.align_types, "psth.align_type")


def _check_unique(path: tuple[str, ...], names: Sequence[object], name: str) -> None:
    for index, value in enumerate(names):
        first = names.index(value)
        if first < index:
            dotted = ".".join(path)
            raise KeyProblem(
                (*path, index, name),
                f"{name} {value!r} is given twice",
                expected=f"another {name} than that of {dotted}[{first}]",
            )


def _check_photostim(protocol: PhotostimProtocol, path: tuple[str | int, ...]) -> None:
    devices = [str(row[0]) for row in TABLES["lab.photostim_device"].rows]
    references = [str(row[0]) for row in TABLES["lab.skull_reference"].rows]
    rules: list[tuple[str, bool, object, str]] = [
        ("photo_stim", protocol.photo_stim > 0, protocol.photo_stim, "more than 0"),
        ("power", protocol.power >= 0, protocol.power, "at least 0 (mW)"),
        (
            "duration",
            protocol.duration is None or protocol.duration > 0,
            protocol.duration,
            "more than 0 (s)",
        ),
        ("sites", bool(protocol.sites), "none", "at least one site"),
        ("sites", len(set(protocol.sites)) == len(protocol.sites), "twins", "each site once"),
        (
            "photostim_device",
            protocol.photostim_device in devices,
            repr(protocol.photostim_device),
            f"one of {', '.join(devices)}",
        ),
    ]
    rules += [
        ("sites", site.skull_reference in references, repr(site.skull_reference), str(references))
        for site in protocol.sites
    ]
    for name, right, found, expected in rules:
        if not right:
            raise KeyProblem(
                (*path, name),
                f"the value of {name!r} cannot be used",
                found=found,
                expected=expected,
            )


def _check_names(table: str, names: Mapping[str, object], lookup: str) -> None:
    """Refuse names that maplake or the lab has already given (case does not matter)."""
    taken = {str(row[0]).lower(): "of maplake" for row in TABLES[lookup].rows}
    for name in names:
        if not name.strip() or name.lower() in taken:
            whose = taken.get(name.lower(), "")
            raise KeyProblem(
                (table, name),
                f"the name {name!r} is {'already one ' + whose if whose else 'empty'}",
                expected="a name of its own",
                hint="Results under a name must not depend on the lab's settings.",
            )
        taken[name.lower()] = "of this file"
