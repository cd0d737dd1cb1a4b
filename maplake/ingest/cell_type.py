"""Putative cell type of units, from the width of their mean waveform."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = ["cell_type", "cell_types"]

_UPSAMPLING = 100
_FS_BELOW = 0.4e-3  # trough to peak, s
_BLOCK = 64  # units at a time: 100 times the samples need memory


def cell_types(waveforms: NDArray[np.floating], sampling_rate: float) -> list[str]:
    """Return the putative cell types of units.

    The waveform is upsampled 100 times with a cubic spline; where trough (smallest value) and
    peak (largest value) are less than 0.4 ms apart, whichever is first, the unit is a fast
    spiking one.

    Parameters
    ----------
    waveforms
        (units, samples) mean waveforms on the peak channels, in any unit.
    sampling_rate
        In Hz.

    Returns
    -------
    types
        ``FS`` or ``Pyr``; ``not classified`` where a waveform is not finite or has fewer than two
        samples.
    """
    import numpy as np

    waveforms = np.asarray(waveforms, dtype=np.float64)
    count, samples = waveforms.shape
    types = np.full(count, "not classified", dtype=object)
    if samples < 2:
        return types.tolist()
    places = np.linspace(0, samples - 1, samples * _UPSAMPLING)
    usable = np.nonzero(np.isfinite(waveforms).all(axis=1))[0]
    for start in range(0, len(usable), _BLOCK):
        units = usable[start : start + _BLOCK]
        fine = _interpolate(waveforms[units], places)
        apart = np.abs(fine.argmin(axis=1) - fine.argmax(axis=1))
        width = apart / (sampling_rate * _UPSAMPLING)
        types[units] = np.where(width < _FS_BELOW, "FS", "Pyr")
    return types.tolist()


def _interpolate(values: NDArray[np.floating], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the cubic splines, without a knot at their last but one points, through rows.

    As scipy's ``CubicSpline`` does, whose import alone takes longer than all of this.

    Parameters
    ----------
    values
        (rows, samples), two samples at least.
    places
        (places,) ascending from 0 to samples - 1.

    Returns
    -------
    (rows, places)
    """
    import numpy as np

    rise = np.diff(values, axis=1)
    slope = _slopes(rise)
    piece = np.minimum(places.astype(np.int64), rise.shape[1] - 1)
    x = places - piece
    bend = slope[:, :-1] + slope[:, 1:] - 2 * rise
    square = rise - slope[:, :-1] - bend
    fine: NDArray[np.float64] = bend[:, piece] * x
    for factor in (square, slope):
        fine += factor[:, piece]
        fine *= x
    fine += values[:, piece]
    return fine


def _slopes(rise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the splines' slopes at all points, from the differences between them."""
    import numpy as np

    count = rise.shape[1] + 1
    if count == 2:
        return np.repeat(rise, 2, axis=1)
    edge = 2.0 if count > 3 else 1.0  # three points make a parabola
    matrix = 4 * np.eye(count) + np.eye(count, k=1) + np.eye(count, k=-1)
    matrix[0, :2] = 1, edge
    matrix[-1, -2:] = edge, 1
    right = np.empty((count, len(rise)))
    right[1:-1] = 3 * (rise[:, :-1] + rise[:, 1:]).T
    inner, outer = (rise[:, [1, -2]].T, rise[:, [0, -1]].T)
    right[[0, -1]] = (5 * outer + inner) / 2 if count > 3 else 2 * outer
    return np.asarray(np.linalg.solve(matrix, right).T, dtype=np.float64)


def cell_type(waveform: NDArray[np.floating], sampling_rate: float) -> str:
    """Return the putative cell type of one unit; see :func:`cell_types`.

    Parameters
    ----------
    waveform
        (samples,) mean waveform.
    sampling_rate
        In Hz.
    """
    import numpy as np

    return cell_types(np.asarray(waveform)[None], sampling_rate)[0]
