"""The health file: what a watch does and when it last succeeded, for people and monitoring."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from maplake.layout import Layout
from maplake.writers import files

#: What a watch can be doing.
STATES = ("waiting", "working", "stopped")


@dataclass
class Health:
    """What a watch says of itself.

    Attributes
    ----------
    state
        One of :data:`STATES`, as last written: a watch that was killed does not say so, but its
        ``last_seen`` grows old.
    pid, host
        The process.
    started, last_seen, last_round, last_success
        Times (ISO, local with offset): of its start, of this file, of the end of its last round,
        and of the last round that ran through; a round with faulty files runs through, one that
        cannot write to the lake does not.
    rounds
        Number of rounds.
    taken_in
        Number of sources taken in since the start.
    interval_s
        Pause between rounds (s): older than some of these, the watch is dead.
    settling
        Sessions whose files still change.
    problems
        What is wrong now, by name: the reason as it was reported.
    fault
        What kept the last round from running through.
    """

    state: str = "waiting"
    pid: int = 0
    host: str = ""
    started: str = ""
    last_seen: str | None = None
    last_round: str | None = None
    last_success: str | None = None
    rounds: int = 0
    taken_in: int = 0
    interval_s: float = 0.0
    settling: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    fault: str | None = None

    def __str__(self) -> str:
        """Say in one line how the watch does."""
        parts = [self.state, f"last seen {_plain(self.last_seen)}"]
        parts.append(f"last succeeded {_plain(self.last_success)}")
        if self.settling:
            parts.append(f"{len(self.settling)} still arriving")
        if self.problems:
            parts.append(f"{len(self.problems)} faulty")
        if self.fault:
            parts.append(f"fault: {self.fault}")
        return ", ".join(parts)


def _plain(time: str | None) -> str:
    return "never" if time is None else time[:19].replace("T", " ")


_FIELDS = {f.name for f in fields(Health)}


def health_file(root: Path) -> Path:
    """Return where a lake's watch writes its health, unless told otherwise."""
    return Layout(root).meta / "watch.json"


def read_health(path: Path) -> Health | None:
    """Return what a watch last said of itself; None if there is nothing to read."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        return Health(**{name: found[name] for name in _FIELDS & set(found)})
    except (OSError, ValueError, TypeError):
        return None


def write_health(path: Path, health: Health) -> None:
    """Write the health file whole, so that nobody reads half of it."""
    files.write_json(path, asdict(health))
