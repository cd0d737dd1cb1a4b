"""``lake.conditions``: trial conditions that analysts add to a lake, list and take out again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from maplake.errors import ConfigError, NotFoundError, near
from maplake.query import catalog, own_conditions
from maplake.query.asked import word
from maplake.query.conditions import check_conditions
from maplake.query.own_conditions import OwnCondition

if TYPE_CHECKING:
    import polars as pl


class Conditions:
    """The trial conditions of a lake: ``lake.conditions``.

    Names compare without regard to case. What is added is part of the lake from then on: in SQL,
    in every function and on the command line, for everyone who opens it.
    """

    def __init__(self, root: Path, table: Callable[[str], pl.LazyFrame]) -> None:
        self._root = root
        self._table = table

    def list(self) -> pl.DataFrame:
        """Return name, predicate, description and task of all conditions."""
        return self._table("psth.trial_condition").collect()

    def add(self, name: str, predicate: str, description: str | None = None) -> None:
        """Add a condition to the lake.

        Parameters
        ----------
        name
            Any name that is not taken.
        predicate
            SQL over the columns of ``psth.trial``, e.g. ``outcome = 'hit' AND trial > 20``.
        description
            In words.

        Raises
        ------
        ConfigError
            If the name is taken or the predicate is no single expression that is true or false.
        QueryError
            If one of them is no text.
        LakeReadOnlyError
            If the lake cannot be written to.
        """
        word("name", name)
        word("predicate", predicate)
        if description is not None:
            word("description", description)
        settings = catalog.read_settings(self._root)
        configured = dict(settings.conditions) if settings else {}
        own = own_conditions.read(self._root)
        taken = {other.lower() for other in (*configured, *own)}
        if name.lower() in taken:
            raise ConfigError(
                "the name is taken", place=f"condition {name!r}", hint=own_conditions.HINT
            )
        check_conditions({name: predicate})
        self._write({**own, name: OwnCondition(predicate, description)})

    def remove(self, name: str) -> None:
        """Take a condition that was added out of the lake.

        Raises
        ------
        NotFoundError
            If none of this name was added; published ones and those of lake.toml stay.
        LakeReadOnlyError
            If the lake cannot be written to.
        """
        own = own_conditions.read(self._root)
        word("name", name)
        kept = {other: c for other, c in own.items() if other.lower() != name.lower()}
        if len(kept) == len(own):
            raise NotFoundError(
                f"no condition {name!r} was added to the lake",
                expected=", ".join(own) or "none",
                hint=near(name, own),
            )
        self._write(kept)

    def _write(self, conditions: Mapping[str, OwnCondition]) -> None:
        own_conditions.write(self._root, conditions)
        settings = catalog.read_settings(self._root)
        catalog.build(
            self._root,
            conditions=settings.conditions if settings else {},
            align_types=settings.align_types if settings else {},
        )

    def __repr__(self) -> str:
        return f"<Conditions: {', '.join(self.list()['trial_condition_name'])}>"
