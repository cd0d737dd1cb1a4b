"""MATLAB files (version 5): cells, field names, limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import QueryError

__all__ = ["cells", "field_names", "pieces", "row", "size", "write"]

#: The format counts the bytes of a variable with 32 bits, and MATLAB reads half of that.
LIMIT = 2**31 - 1
_HEADER = 56  # bytes of a cell besides its data, at least
_NAME = 63


def cells(values: Iterable[Any], shape: tuple[int, int]) -> NDArray[np.object_]:
    """Return values as a cell array of a shape, in order."""
    items = list(values)
    flat = np.empty(len(items), dtype=object)
    for place, item in enumerate(items):
        flat[place] = item
    return flat.reshape(shape)


def row(values: Any) -> NDArray[Any]:
    """Return numbers as a row (1, n)."""
    return np.asarray(values).reshape(1, -1)


def pieces(values: NDArray[Any], owner: NDArray[np.integer[Any]], count: int) -> list[NDArray[Any]]:
    """Cut values into rows (1, n), one per owner 0 to ``count`` - 1; ``owner`` is sorted."""
    bounds = np.searchsorted(owner, np.arange(count + 1))
    line = values.reshape(1, -1)
    return [line[:, a:b] for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


def field_names(words: Sequence[str]) -> list[str]:
    """Return words as names that MATLAB takes for fields: plain, not too long, all different."""
    taken: list[str] = []
    for word in words:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", word)[:_NAME]
        if not plain[:1].isalpha():
            plain = f"x{plain}"[:_NAME]
        name, number = plain, 1
        while name in taken:
            number += 1
            name = f"{plain[: _NAME - len(str(number)) - 1]}_{number}"
        taken.append(name)
    return taken


def size(value: Any) -> int:
    """Return about how many bytes a value takes in the file."""
    if isinstance(value, Mapping):
        return sum(size(item) for item in value.values())
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return sum(size(item) for item in value.flat)
        return _HEADER + int(value.nbytes)
    return _HEADER + 2 * len(value) if isinstance(value, str) else _HEADER + 8


def write(path: Path, variables: Mapping[str, Any]) -> None:
    """Write variables to a file of version 5, which MATLAB and scipy read.

    Raises
    ------
    QueryError
        If a variable is larger than the format allows.
    """
    from scipy.io import savemat

    for name, value in variables.items():
        found = size(value)
        if found > LIMIT:
            raise QueryError(
                f"{name} is too large for a MATLAB file of version 5",
                file=path,
                found=f"{found / 2**30:.1f} GiB",
                expected="less than 2 GiB",
                hint="Leave out videos with --no-tracking, or use `maplake export nwb`.",
            )
    with path.open("wb") as file:
        savemat(file, dict(variables), long_field_names=True, oned_as="row")
