"""``metrics.csv`` and ``mean_waveforms.npy`` of the ecephys spike sorting pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.truth import Probe

Array = np.ndarray[Any, Any]

_EPOCH = "complete_session"
#: Column and range of the metrics that are only passed on.
_DRAWN = {
    "presence_ratio": (0.8, 1.0),
    "isi_viol": (0.0, 0.5),
    "amplitude_cutoff": (0.0, 0.2),
    "isolation_distance": (10.0, 90.0),
    "l_ratio": (0.0, 0.1),
    "d_prime": (1.0, 8.0),
    "nn_hit_rate": (0.7, 1.0),
    "nn_miss_rate": (0.0, 0.05),
    "silhouette_score": (0.0, 0.3),
    "max_drift": (1.0, 40.0),
    "cumulative_drift": (1.0, 400.0),
    "duration": (0.2, 0.9),
    "halfwidth": (0.05, 0.3),
    "PT_ratio": (0.3, 0.8),
    "repolarization_slope": (0.1, 0.9),
    "recovery_slope": (-0.4, -0.05),
    "spread": (20.0, 200.0),
    "velocity_above": (-0.5, 0.5),
    "velocity_below": (-0.5, 0.5),
    "snr": (0.5, 9.0),
}


def write_metrics(folder: Path, probe: Probe, rng: np.random.Generator) -> dict[str, Array]:
    """Write a row for every unit with spikes, by id, and return the columns as written."""
    ids, counts = np.unique(probe.spike_unit, return_counts=True)
    rows = np.array([probe.units.row(int(unit)) for unit in ids], dtype=int)
    table: dict[str, Array] = {
        "cluster_id": ids,
        "firing_rate": counts / (probe.n_samples / probe.sampling_rate),
    }
    table |= {name: rng.uniform(*limits, len(ids)) for name, limits in _DRAWN.items()}
    table["snr"][:1], table["snr"][1:2] = np.nan, np.inf  # as it happens
    table["l_ratio"][:1] = np.nan
    table |= {
        "peak_channel": probe.units.channel[rows],
        "amplitude": probe.units.amplitude[rows],
        "epoch_name_quality_metrics": np.full(len(ids), _EPOCH),
        "epoch_name_waveform_metrics": np.full(len(ids), _EPOCH),
    }
    lines = [",".join(map(_text, row)) for row in zip(*table.values(), strict=True)]
    text = "\n".join([",".join(table), *lines, ""])
    (folder / "metrics.csv").write_text(text, encoding="utf-8", newline="\n")
    np.save(folder / "mean_waveforms.npy", _mean_waveforms(probe, rows))
    return table


def _text(value: Any) -> str:
    return "" if isinstance(value, float) and np.isnan(value) else str(value)


def _mean_waveforms(probe: Probe, rows: Array) -> Array:
    """Return the mean waveforms in uV, (units, channels, samples), only on their peak channels."""
    waves = np.zeros((len(rows), len(probe.electrode), probe.units.waveform.shape[1]))
    waves[np.arange(len(rows)), probe.units.channel[rows]] = probe.units.waveform[rows]
    return waves
