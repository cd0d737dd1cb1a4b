"""Which code a harness tried, for the pages that tell what it found."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@cache
def commit() -> str:
    """Return the commit that is checked out; ``+`` where the package is not as committed."""
    words = [["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "maplake", "cli"]]
    try:
        found = [
            subprocess.run(
                ["git", "-C", str(ROOT), *one], capture_output=True, check=True, encoding="utf-8"
            ).stdout
            for one in words
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found[0].strip() + "+" * bool(found[1])
