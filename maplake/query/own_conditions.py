"""Trial conditions that analysts add to a lake from Python; they lie in the lake itself."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maplake.errors import ConfigError, IntegrityError, LakeReadOnlyError, NotFoundError
from maplake.layout import Layout

if TYPE_CHECKING:
    import polars as pl

_HINT = "psth.trial_condition lists all; those that were added lie in .maplake/conditions.json."


@dataclass(frozen=True)
class OwnCondition:
    """A set of trials: an SQL predicate over ``psth.trial``, and what it is in words."""

    predicate: str
    description: str | None = None


#: A condition as settings hold it: a predicate, or the fields of :class:`OwnCondition`.
Configured = str | Mapping[str, str | None]


def configured_ones(conditions: Mapping[str, Configured]) -> dict[str, OwnCondition]:
    """Return the conditions of lake.toml, by name."""
    return {
        name: OwnCondition(value) if isinstance(value, str) else _decode(value)
        for name, value in conditions.items()
    }


def path(root: Path) -> Path:
    """Return the file of a lake's own conditions."""
    return Layout(root).meta / "conditions.json"


def read(root: Path) -> dict[str, OwnCondition]:
    """Return the conditions that were added to a lake, by name.

    Raises
    ------
    IntegrityError
        If their file cannot be read.
    """
    file = path(root)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): _decode(value) for name, value in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            f"the lake's trial conditions cannot be read: {error}",
            file=file,
            hint="Correct the file or delete it and add the conditions again.",
        ) from error


def _decode(value: Mapping[str, object]) -> OwnCondition:
    predicate, description = value["predicate"], value.get("description")
    if not isinstance(predicate, str) or not isinstance(description, str | None):
        raise TypeError("predicate and description must be text")
    return OwnCondition(predicate, description)


def beside(root: Path, configured: Mapping[str, Configured]) -> dict[str, OwnCondition]:
    """Return a lake's own conditions that lake.toml does not name."""
    taken = {name.lower() for name in configured}
    return {name: c for name, c in read(root).items() if name.lower() not in taken}


def check_conflicts(root: Path, configured: Mapping[str, Configured]) -> None:
    """Refuse a name that means one thing in lake.toml and another in the lake.

    Raises
    ------
    ConfigError
        Naming the condition.
    """
    texts = {name.lower(): c.predicate for name, c in configured_ones(configured).items()}
    for name, condition in read(root).items():
        if texts.get(name.lower(), condition.predicate).strip() != condition.predicate.strip():
            raise ConfigError(
                "it is in lake.toml and was added to the lake, with another predicate",
                place=f"condition {name!r}",
                found=f"{texts[name.lower()]} and {condition.predicate}",
                hint=_HINT,
            )


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
        LakeReadOnlyError
            If the lake cannot be written to.
        """
        from maplake.query import catalog
        from maplake.query.conditions import check_conditions

        settings = catalog.read_settings(self._root)
        configured = dict(settings.conditions) if settings else {}
        own = read(self._root)
        taken = {other.lower() for other in (*configured, *own)}
        if name.lower() in taken:
            raise ConfigError("the name is taken", place=f"condition {name!r}", hint=_HINT)
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
        own = read(self._root)
        kept = {other: c for other, c in own.items() if other.lower() != name.lower()}
        if len(kept) == len(own):
            raise NotFoundError(
                f"no condition {name!r} was added to the lake", expected=", ".join(own) or "none"
            )
        self._write(kept)

    def _write(self, conditions: Mapping[str, OwnCondition]) -> None:
        from maplake.query import catalog

        file = path(self._root)
        temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
        text = json.dumps({name: asdict(c) for name, c in conditions.items()}, indent=1)
        try:
            temporary.write_text(text, encoding="utf-8", newline="\n")
            temporary.replace(file)
        except OSError as error:
            raise LakeReadOnlyError(
                f"the trial conditions cannot be written: {error}", file=file
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        settings = catalog.read_settings(self._root)
        catalog.build(
            self._root,
            conditions=settings.conditions if settings else {},
            align_types=settings.align_types if settings else {},
        )

    def __repr__(self) -> str:
        return f"<Conditions: {', '.join(self.list()['trial_condition_name'])}>"
