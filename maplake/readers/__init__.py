"""The readers: one file per raw format.

A new format is one new file here that declares a reader (see :mod:`maplake.readers.base`), and its
name in ``_BUILT_IN``. Other packages add theirs by an entry point in the group
``maplake.readers``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from maplake.errors import ConfigError
from maplake.readers.base import Reader

__all__ = ["Reader", "all_readers", "of_kind"]

_BUILT_IN = (
    "delay_response",
    "multi_target_licking",
    "foraging",
    "spikeglx",
    "jrclust_v4",
    "jrclust_v3",
    "kilosort",
    "bitcode",
    "xa_bitcodes",
    "lfp",
    "nidq",
    "deeplabcut",
    "channel_locations",
    "site_info",
    "animals",
    "insertion_locations",
)


@cache
def all_readers() -> tuple[Reader, ...]:
    """Return every reader: those of maplake, then those that other packages registered.

    Raises
    ------
    ConfigError
        If a registered entry point cannot be loaded or is no :class:`Reader`.
    """
    built_in = [import_module(f"maplake.readers.{name}").READER for name in _BUILT_IN]
    found = []
    for entry in entry_points(group="maplake.readers"):
        try:
            item = entry.load()
        except Exception as error:
            raise ConfigError(
                f"the reader {entry.name!r} of another package cannot be loaded: {error}",
                hint=f"Update or uninstall the package that provides {entry.value}.",
            ) from error
        if not isinstance(item, Reader):
            raise ConfigError(
                f"the entry point {entry.name!r} is no reader",
                found=type(item).__name__,
                expected="a maplake.readers.Reader",
            )
        found.append(item)
    return (*built_in, *sorted(found, key=lambda item: item.name))


def of_kind(kind: str) -> list[Reader]:
    """Return the readers of one kind, best first."""
    return sorted((r for r in all_readers() if r.kind == kind), key=lambda r: r.priority)
