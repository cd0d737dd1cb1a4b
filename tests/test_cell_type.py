"""Cell types from the width of waveforms."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from maplake.ingest.cell_type import cell_type, cell_types

# ---- cell types


def test_cell_types():
    time = np.arange(82) / 30000
    waves = [
        -np.exp(-(((time - 1e-3) / 1e-4) ** 2)) + 0.4 * np.exp(-(((time - 1e-3 - w) / 1e-4) ** 2))
        for w in (0.25e-3, 0.38e-3, 0.43e-3, 0.8e-3)
    ]
    assert cell_types(np.array(waves), 30000) == ["FS", "FS", "Pyr", "Pyr"]
    assert cell_types(-np.array(waves), 30000) == ["FS", "FS", "Pyr", "Pyr"]
    assert [cell_type(wave, 30000) for wave in waves] == ["FS", "FS", "Pyr", "Pyr"]
    assert cell_types(np.array([waves[0], waves[0] * np.nan]), 30000) == ["FS", "not classified"]
    assert cell_types(np.empty((0, 82)), 30000) == []
    assert cell_types(np.zeros((1, 1)), 30000) == ["not classified"]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 90))
def test_cell_types_as_published(seed, samples):
    from scipy.interpolate import CubicSpline

    waves = np.random.default_rng(seed).normal(size=(3, samples))
    for wave, found in zip(waves, cell_types(waves, 25000.0), strict=True):
        fine = CubicSpline(range(samples), wave)(np.linspace(0, samples - 1, samples * 100))
        width = abs(np.argmin(fine) - np.argmax(fine)) / (25000.0 * 100)
        assert found == ("FS" if width < 0.4e-3 else "Pyr")
