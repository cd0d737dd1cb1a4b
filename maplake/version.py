"""Which maplake this is."""

from __future__ import annotations


def version() -> str:
    """Return the version of the installed maplake; ``0+unknown`` where none is installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("maplake")
    except PackageNotFoundError:
        return "0+unknown"
