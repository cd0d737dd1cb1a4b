"""What one commit will add and remove."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Staged:
    """What one commit will add and remove; may be filled in another process.

    Attributes
    ----------
    name
        Its folder below ``.maplake/staging``.
    writes
        Files and folders to add, as paths below the lake's root.
    deletes
        Files and folders to remove before.
    manifest
        ``{path: {"rows", "bytes", "sha256"}}`` of every file added below tables/ and arrays/.
    """

    name: str
    writes: list[str] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    manifest: dict[str, dict[str, Any]] = field(default_factory=dict)
