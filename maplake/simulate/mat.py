"""MATLAB v5 files whose bytes depend on their content only."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

_HEADER_BYTES = 116  # descriptive text at the start of a MAT-file
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def write_mat(path: Path, variables: Mapping[str, Any], created: datetime) -> None:
    """Write variables to a MATLAB v5 file that says to be created at ``created``."""
    buffer = io.BytesIO()
    savemat(buffer, dict(variables), long_field_names=True, oned_as="row")
    # scipy puts the present time into the header, which no reader needs.
    day, month = _DAYS[created.weekday()], MONTHS[created.month - 1]
    text = (
        f"MATLAB 5.0 MAT-file, Platform: PCWIN64, Created on: {day} {month} "
        f"{created.day:2d} {created:%H:%M:%S %Y}"
    )
    content = buffer.getbuffer()
    content[:_HEADER_BYTES] = text.encode("ascii").ljust(_HEADER_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def cell(items: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Return a 1 x n cell array."""
    array = np.empty((1, len(items)), dtype=object)
    for place, item in enumerate(items):
        array[0, place] = item
    return array


def struct_array(rows: Sequence[Mapping[str, Any]]) -> np.ndarray[Any, Any]:
    """Return a 1 x n struct array from dictionaries with the same keys."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for place, row in enumerate(rows):
        array[0, place] = tuple(row.values())
    return array
