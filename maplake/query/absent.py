"""What part of a key the lake lacks, and what it has instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from maplake.errors import NotFoundError
from maplake.query.sqltext import identifier, literal

if TYPE_CHECKING:
    import polars as pl

#: Parts of a unit's key: what they are called, and a table with all that there are.
_PARTS = {
    "subject_id": ("animal", "experiment.session"),
    "session": ("session", "experiment.session"),
    "insertion_number": ("insertion", "ephys.probe_insertion"),
    "clustering_method": ("clustering", "ephys.unit"),
    "unit": ("unit", "ephys.unit"),
}
_SHOWN = 20


def absent(ask: Callable[[str], pl.DataFrame], keys: Mapping[str, Any]) -> NotFoundError | None:
    """Return the error that names the first part of a key that nothing has.

    Parameters
    ----------
    ask
        Answers an SQL query.
    keys
        Values of the columns of a unit's key; None or missing = any.

    Returns
    -------
    The error, with what there is; None if the lake has something with this key.
    """
    condition = "true"
    outer: list[str] = []
    for name, (word, table) in _PARTS.items():
        value = keys.get(name)
        if value is None:
            continue
        query = f"SELECT DISTINCT {name} FROM {table} WHERE {condition} ORDER BY ALL"
        there = ask(query)[name].to_list()
        if value not in there:
            more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
            known = ", ".join(str(one) for one in there[:_SHOWN]) + more
            return NotFoundError(
                f"there is no {word} {value}",
                place=", ".join(outer) or None,
                hint=f"There are {known}." if there else f"There is no {word} at all.",
            )
        condition += f" AND {identifier(name)} = {literal(value)}"
        outer.append(f"{word} {value}")
    return None
