"""Seals: records that tell by themselves whether they are what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["is_broken", "sealed"]

_SEAL = "sha256"


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON record with the SHA-256 of its content added."""
    content = {name: value for name, value in record.items() if name != _SEAL}
    return {**content, _SEAL: _digest(content)}


def is_broken(record: Mapping[str, Any]) -> bool:
    """Whether a record's content is not what its seal says; one without a seal is believed."""
    seal = record.get(_SEAL)
    return seal is not None and sealed(record)[_SEAL] != seal


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
