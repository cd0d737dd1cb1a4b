"""Bins and smoothing kernels, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from maplake.errors import QueryError
from maplake.query.asked import number

Floats = npt.NDArray[np.float64]

#: Smoothing kernels; the last two look into the past only.
KERNELS = ("gaussian", "boxcar", "half-gaussian", "exponential")
_REACH = 4.0  # of a kernel, in its widths
_MOST_BINS = 1_000_000


def bin_edges(start: float, stop: float, bin: float) -> Floats:  # noqa: A002
    """Return the edges of bins (s), as ``np.arange(start, stop, bin)``.

    Raises
    ------
    QueryError
        If there would be no bin, or more than a million.
    """
    if not (bin > 0 and 1 < (stop - start) / bin <= _MOST_BINS):
        raise QueryError(
            f"bins of {bin} s from {start} to {stop} s: "
            "there must be between 1 and a million of them",
            hint="bin, start and stop (--bin, --start, --stop) set them.",
        )
    return np.arange(start, stop, bin, dtype=np.float64)


def bin_index(times: Floats, edges: Floats) -> npt.NDArray[np.int64]:
    """Return the bin of each time, as ``np.histogram`` sorts them; -1 = in none.

    Parameters
    ----------
    times
        Any order, shape (n,).
    edges
        Evenly spaced edges, shape (bins + 1,). Bins are closed on the left and open on the right,
        the last one is closed on both sides.
    """
    bins = len(edges) - 1
    with np.errstate(invalid="ignore"):
        guess = (times - edges[0]) * (bins / (edges[-1] - edges[0]))
        inside = (times >= edges[0]) & (times <= edges[-1])
    found = np.where(inside, guess, 0.0).astype(np.int64)
    np.minimum(found, bins - 1, out=found)
    # Rounding may be off by one next to an edge: the edges themselves decide.
    found -= times < edges[found]
    np.maximum(found, 0, out=found)
    found += (times >= edges[found + 1]) & (found < bins - 1)
    return np.where(inside, found, -1)


def smooth(
    values: npt.ArrayLike,
    bin: float,  # noqa: A002
    width: float,
    kernel: str = "gaussian",
    axis: int = -1,
) -> Floats:
    """Smooth rates or counts over time.

    Parameters
    ----------
    values
        Any shape; time runs along ``axis``.
    bin
        Width of a bin (s).
    width
        Of the kernel (s): standard deviation of the gaussians, whole width of the boxcar (to an
        odd number of bins), time constant of the exponential.
    kernel
        ``gaussian``, ``boxcar``, or, looking into the past only, ``half-gaussian`` and
        ``exponential``.

    Returns
    -------
    smoothed
        Same shape. At the ends the kernel is cut and scaled to a sum of 1, so that a constant
        stays what it is.

    Raises
    ------
    QueryError
        If there is no such kernel or a width is not positive.
    """
    from scipy.ndimage import convolve1d

    array = np.asarray(values, dtype=np.float64)
    ones = np.ones(array.shape[axis])
    weights = _weights(kernel, number("width", width), bin, len(ones))
    # convolve1d reverses the kernel; of an odd number of weights the middle one is now.
    total = convolve1d(ones, weights, mode="constant")
    shape = [1] * array.ndim
    shape[axis] = len(ones)
    smoothed: Any = convolve1d(array, weights, axis=axis, mode="constant")
    return smoothed / total.reshape(shape)  # type: ignore[no-any-return]


def _weights(kernel: str, width: float, bin: float, most: int) -> Floats:  # noqa: A002
    if kernel not in KERNELS:
        raise QueryError("there is no such kernel", found=kernel, expected=", ".join(KERNELS))
    if not (width > 0 and bin > 0 and np.isfinite(width / bin)):
        raise QueryError("widths of kernel and bins must be positive", found=f"{width}, {bin}")
    reach = width / 2 if kernel == "boxcar" else _REACH * width
    # What is farther away than any value has no weight.
    steps = min(int(reach / bin + (1e-9 if kernel == "boxcar" else 0.5)), most)
    lag = np.arange(-steps, steps + 1) * bin  # how long ago
    weights = {
        "gaussian": np.exp(-0.5 * (lag / width) ** 2),
        "half-gaussian": np.exp(-0.5 * (lag / width) ** 2) * (lag >= 0),
        "exponential": np.exp(-np.maximum(lag, 0) / width) * (lag >= 0),
        "boxcar": np.ones(len(lag)),
    }[kernel]
    scaled: Floats = weights / weights.sum()
    return scaled
