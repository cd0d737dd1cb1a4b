"""What each computed table follows from, apart from the session: code, views, tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maplake.compute.model import Computation
from maplake.compute.plan import Books, Manifest, Sources, Task, place_of, tasks
from maplake.compute.registry import known_tables
from maplake.ingest.outdated import input_hash
from maplake.ingest.state import read_manifest
from maplake.layout import LAKE_NAME, Layout
from maplake.query.lake import Lake
from maplake.tables import Table

__all__ = ["Recipe", "bases_of", "recipes_of"]


@dataclass(frozen=True)
class Recipe:
    """A computation, the stored tables that it reads, and a hash of what computes it."""

    computation: Computation
    stored: tuple[Table, ...]
    code: str

    @property
    def is_by_session(self) -> bool:
        """Whether each of its partitions belongs to a session."""
        return "subject_id" in self.computation.levels

    def tasks(self, books: Books) -> list[Task]:
        """Return all its partitions, current or not, in order."""
        return tasks(books, self.computation, self.stored, self.code)

    def basis(self, manifest: Manifest) -> str:
        """Return a hash of all that its partitions follow from but the records of their sessions.

        Parameters
        ----------
        manifest
            The files of the lake that belong to no session.
        """
        shared = [
            place_of(table, {})
            for table in self.stored
            if "subject_id" not in table.partition
            and table.full_name not in self.computation.constant
        ]
        inputs = {place: input_hash(manifest, place) for place in shared}
        names = sorted(table.full_name for table in self.stored)
        text = json.dumps([self.code, names, inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def recipes_of(root: Path, computations: Mapping[str, Computation]) -> dict[str, Recipe]:
    """Return the recipe of every computation of the lake at ``root``, by name.

    Raises
    ------
    ConfigError
        If an input does not exist.
    """
    found = {}
    with Lake(root) as lake:
        sources = Sources(lake, known_tables(root, computations))
        for name, computation in computations.items():
            stored, views = sources.of(computation)
            code = hashlib.sha256(f"{computation.code_hash()}\0{views}".encode()).hexdigest()
            found[name] = Recipe(computation, tuple(stored), code)
    return found


def bases_of(layout: Layout, recipes: Mapping[str, Recipe]) -> dict[str, str] | None:
    """Return the basis of every recipe by name; None where one is not by session."""
    if not all(recipe.is_by_session for recipe in recipes.values()):
        return None
    manifest = read_manifest(layout, LAKE_NAME)
    return {name: recipe.basis(manifest) for name, recipe in recipes.items()}
