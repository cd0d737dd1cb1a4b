"""Values of millions of spikes, looked up by number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["gather"]

_PIECE = 1 << 17  # NumPy makes 64-bit indices first: a piece of them stays in the cache


def gather(values: NDArray[Any], index: NDArray[Any]) -> NDArray[Any]:
    """Return ``values[index]``, without indices of 64 bits for all of them at once.

    Parameters
    ----------
    values
        (n,) what to look up.
    index
        (spikes,) whole numbers of any size, all from 0 to n - 1.

    Returns
    -------
    (spikes,)
    """
    found = np.empty(len(index), values.dtype)
    for start in range(0, len(index), _PIECE):
        piece = slice(start, start + _PIECE)
        # "clip" spares the check of every index, and a second buffer.
        np.take(values, index[piece], mode="clip", out=found[piece])
    return found
