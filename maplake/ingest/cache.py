"""What was found out before and can be found out again: files that may be thrown away.

Each begins with a hash over its content and over what it follows from. Torn, damaged, or made from
something else, it counts as missing.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any

from maplake.layout import Layout
from maplake.writers import files

__all__ = ["load", "save"]


def load(layout: Layout, name: str, made_from: str) -> Any:
    """Return what was saved under a name, or None.

    Parameters
    ----------
    layout
        The lake.
    name
        Name of the file below ``.maplake/cache``.
    made_from
        All that it follows from and does not tell by itself.
    """
    try:
        seal, _, body = (layout.meta / "cache" / name).read_bytes().partition(b"\n")
        return json.loads(body) if seal == _seal(made_from, body) else None
    except (OSError, ValueError, RecursionError):
        return None


def save(layout: Layout, name: str, made_from: str, content: Any) -> None:
    """Save what :func:`load` shall return, if there is a lake; failing to is no fault."""
    if not layout.meta.is_dir():
        return
    # Names that are no text are found out every time.
    with suppress(OSError, UnicodeEncodeError):
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        files.put(layout.meta / "cache" / name, _seal(made_from, body) + b"\n" + body)


def _seal(made_from: str, body: bytes) -> bytes:
    return hashlib.sha256(f"{made_from}\n".encode() + body).hexdigest().encode()
