"""Where computed tables that are not maplake's come from; nothing is run here."""

from __future__ import annotations

from pathlib import Path

from maplake.config import Config

__all__ = ["GROUP", "modules_of"]

#: Entry points of packages that bring tables: modules with computations in them.
GROUP = "maplake.tables"

#: A module of tables that need not be named.
_BESIDE = "lake_tables.py"


def modules_of(config: Config) -> list[Path]:
    """Return the lab's own modules: ``lake_tables.py`` beside lake.toml, and those it names."""
    beside = [config.file.with_name(_BESIDE)] if config.file is not None else []
    found = [*(path for path in beside if path.is_file()), *config.tables.modules]
    return list(dict.fromkeys(found))
