"""Trial conditions of the lab's own: those of lake.toml, and those that lie in the lake itself."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from maplake.errors import ConfigError, IntegrityError, LakeReadOnlyError
from maplake.layout import Layout

#: Where the names that are taken can be seen.
HINT = "psth.trial_condition lists all; those that were added lie in .maplake/conditions.json."


class OwnCondition(NamedTuple):
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


def write(root: Path, conditions: Mapping[str, OwnCondition]) -> None:
    """Write the conditions of a lake's own anew; the catalog must follow.

    Raises
    ------
    LakeReadOnlyError
        If the lake cannot be written to.
    """
    file = path(root)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    text = json.dumps({name: c._asdict() for name, c in conditions.items()}, indent=1)
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())  # a power cut must not leave an empty file of this name
        temporary.replace(file)
    except OSError as error:
        raise LakeReadOnlyError(
            f"the trial conditions cannot be written: {error}", file=file
        ) from error
    finally:
        with suppress(OSError):  # on a read-only disk even what is not there cannot be removed
            temporary.unlink()


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
                hint=HINT,
            )
