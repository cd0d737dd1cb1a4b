"""How many partitions of each computed table stand where; counted anew only after a change.

What was counted is kept in ``.maplake/cache`` under a hash over all that it follows from: names,
sizes and times of the states and manifests, the catalog, the code. It is no part of the lake: where
it is missing, damaged or of something else, or cannot be written, everything is counted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from maplake.compute.ledger import SETTLED_NS, stamps_in
from maplake.compute.modules import GROUP, modules_of
from maplake.config import Config
from maplake.ingest import cache
from maplake.layout import Layout
from maplake.query import catalog

__all__ = ["counts"]

_FILE = "computed_counts.json"
#: Folders of the package whose code tells where a partition stands.
_CODE = ("", "compute", "ingest", "query", "query/sql", "tables")


def counts(config: Config) -> list[dict[str, Any]]:
    """Return, per computed table, its name as ``table`` and the number of partitions by status.

    Raises
    ------
    ConfigError
        If a module of the lab cannot be run.
    IntegrityError
        If a state or manifest is damaged.
    """
    layout = Layout(config.lake.root)
    key, newest = _key(config, layout)
    found = None if key is None else cache.load(layout, _FILE, key)
    if found is None:
        found = _counted(config)
        # Whatever was written while it was counted makes another key.
        settled = time.time_ns() - newest > SETTLED_NS
        if key is not None and settled and _key(config, layout)[0] == key:
            cache.save(layout, _FILE, key, found)
    return [{"table": table, **dict(by_status)} for table, by_status in found]


def _counted(config: Config) -> list[Any]:
    from maplake.compute.recipes import recipes_of
    from maplake.compute.registry import load
    from maplake.compute.stale import OTHERS, counts_by_session

    layout = Layout(config.lake.root)
    if not layout.format_file.exists():
        return []
    recipes = recipes_of(layout.root, load(config))
    total: dict[str, Counter[str]] = {name: Counter() for name in recipes}
    for counts in counts_by_session(layout, recipes):
        for both, number in counts.pop(OTHERS, {}).items():
            table, status = both.split(" ")
            total.setdefault(table, Counter())[status] += number
        for name, by_status in counts.items():
            total[name].update(by_status)
    return [[table, list(by_status.items())] for table, by_status in total.items() if by_status]


def _key(config: Config, layout: Layout) -> tuple[str | None, int]:
    """Return a hash over all that the counts follow from, and the newest time of change (ns).

    It is None where that cannot be told.
    """
    settings = catalog.read_settings(layout.root)
    if settings is None or not catalog.is_usable(layout.root, settings):
        return None, 0
    stamps = [*stamps_in(layout.meta / "state"), *stamps_in(layout.meta / "manifest")]
    stamps += [s for s in stamps_in(layout.meta) if s[0] == layout.own_tables.name]
    package = Path(__file__).parents[1]
    code = [stamps_in(package / folder) for folder in _CODE]
    parts = [settings._asdict(), stamps, code, _of_the_lab(config)]
    text = json.dumps(parts, sort_keys=True, default=str)
    newest = max((stamp[2] for stamp in stamps), default=0)
    return hashlib.sha256(text.encode()).hexdigest(), newest


def _of_the_lab(config: Config) -> list[tuple[str, str]]:
    """Return the hashes of the lab's own computations; maplake's need not be imported for it."""
    if not (modules_of(config) or entry_points(group=GROUP)):
        return []
    from maplake.compute.registry import load

    return sorted((c.name, c.code_hash()) for c in load(config).values())
