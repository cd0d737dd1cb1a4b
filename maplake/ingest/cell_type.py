"""Putative cell type of units, from the width of their mean waveform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cell_type", "cell_types"]

_UPSAMPLING = 100
_FS_BELOW = 0.4e-3  # trough to peak, s
_BLOCK = 256  # units at a time: 100 times the samples need memory


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
    from scipy.interpolate import CubicSpline  # costs a third of a second

    waveforms = np.asarray(waveforms, dtype=np.float64)
    count, samples = waveforms.shape
    types = np.full(count, "not classified", dtype=object)
    if samples < 2:
        return types.tolist()
    places = np.linspace(0, samples - 1, samples * _UPSAMPLING)
    usable = np.nonzero(np.isfinite(waveforms).all(axis=1))[0]
    for start in range(0, len(usable), _BLOCK):
        units = usable[start : start + _BLOCK]
        fine = CubicSpline(np.arange(samples), waveforms[units], axis=1)(places)
        apart = np.abs(fine.argmin(axis=1) - fine.argmax(axis=1))
        width = apart / (sampling_rate * _UPSAMPLING)
        types[units] = np.where(width < _FS_BELOW, "FS", "Pyr")
    return types.tolist()


def cell_type(waveform: NDArray[np.floating], sampling_rate: float) -> str:
    """Return the putative cell type of one unit; see :func:`cell_types`.

    Parameters
    ----------
    waveform
        (samples,) mean waveform.
    sampling_rate
        In Hz.
    """
    return cell_types(np.asarray(waveform)[None], sampling_rate)[0]
