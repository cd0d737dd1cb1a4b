"""Kilosort folders of known truth, shared by several tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maplake import tables
from maplake.readers.base import SortingContext
from maplake.readers.kilosort import READER

IDS = np.array([907, 3, 12, 0, 44])  # sparse, in the order of their templates
RECORDED, SAMPLES = 8, 20
CHANNELS = np.array([1, 0, 2, 5, 4, 6])  # of the recording; 3 and 7 are not sorted
UV = 2.0


def context(**changes):
    values = {
        "sampling_rate": 30000.0,
        "uv_per_bit": UV,
        "electrode": np.arange(1, RECORDED + 1),
        "position": np.zeros((RECORDED, 2)),
        "saved_channels": RECORDED + 1,
    }
    return SortingContext(**(values | changes))


def table(path, *rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


class Folder:
    """A folder with known arrays; ``arrays`` may be changed before ``write``."""

    def __init__(self, path: Path, spikes: int = 400, seed: int = 1):
        rng = np.random.default_rng(seed)
        count, channels = len(IDS), len(CHANNELS)
        template = rng.integers(0, count, spikes)
        templates = rng.normal(0, 0.1, (count, SAMPLES, channels))
        self.peak = np.array([4, 2, 0, 5, 2])
        templates[np.arange(count), SAMPLES // 2, self.peak] = -3
        templates[np.arange(count), SAMPLES // 2 + 5, self.peak] = 1
        self.path = path
        self.arrays = {
            "spike_times": np.sort(rng.integers(100, 9000, spikes)).astype(np.uint64),
            "spike_clusters": IDS[template].astype(np.uint32),
            "spike_templates": template.astype(np.uint32),
            "amplitudes": rng.uniform(5, 20, spikes),
            "templates": templates.astype(np.float32),
            "channel_map": CHANNELS,
            "channel_positions": np.column_stack(
                (rng.uniform(0, 60, channels), np.arange(channels) * 20.0 + 7)
            ),
            "whitening_mat_inv": rng.normal(0, 1, (channels, channels)) + 5 * np.eye(channels),
            "pc_features": rng.normal(1, 2, (spikes, 3, 4)).astype(np.float32),
            "pc_feature_ind": np.array([rng.permutation(channels)[:4] for _ in range(count)]),
        }
        path.mkdir(parents=True, exist_ok=True)

    def write(self, **changes):
        arrays = {name: a for name, a in (self.arrays | changes).items() if a is not None}
        for name, array in arrays.items():
            np.save(self.path / f"{name}.npy", array)
        return self

    def read(self, **changes):
        return READER.read(self.path, context(**changes))

    def depths(self):
        """Centre of mass, spike by spike."""
        depths = []
        y = self.arrays["channel_positions"][:, 1]
        for spike, template in enumerate(self.arrays["spike_templates"]):
            top = bottom = 0.0
            for place, channel in enumerate(self.arrays["pc_feature_ind"][template]):
                f = max(float(self.arrays["pc_features"][spike, 0, place]), 0.0)
                top, bottom = top + y[channel] * f**2, bottom + f**2
            depths.append(top / bottom if bottom else y[self.peak[template]])
        return np.array(depths)


def rows(records, name):
    return records.tables[name].to_pylist()


def by_unit(records, name="ephys.unit"):
    return {row["unit"]: row for row in rows(records, name)}


def write_metrics(folder, ids=IDS, drop=(), **changes):
    names = ["", "cluster_id", "peak_channel", "amplitude", "snr"]
    for name in ("ephys.cluster_metric", "ephys.waveform_metric"):
        names += [
            c.name.replace("pt_ratio", "PT_ratio")
            for c in tables.get(name).file_columns
            if c.name not in ("clustering_method", "unit")
        ]
    lines = [",".join(name for name in names if name not in drop)]
    for row, unit in enumerate(ids):
        values = {name: row + n / 100 for n, name in enumerate(names)}
        values |= {"": row, "cluster_id": unit, "peak_channel": CHANNELS[row % len(CHANNELS)]}
        values |= {name: "complete" for name in names if name.startswith("epoch")}
        values |= {name: value[row] for name, value in changes.items()}
        lines.append(",".join(str(values[name]) for name in names if name not in drop))
    (folder.path / "metrics.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def qualities(records):
    return {row["unit"]: row["unit_quality"] for row in rows(records, "ephys.unit")}
