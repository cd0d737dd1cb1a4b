"""The tables that a Kilosort or phy folder fills."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from maplake.readers.ks_spikes import Units, time_file
from maplake.readers.ks_units import Channels, Properties
from maplake.readers.phy import file_time, last_curation
from maplake.readers.phy_labels import Labels
from maplake.readers.rows import as_table

__all__ = ["label_table", "note_tables", "sorter", "unit_table", "waveform_table"]

#: Sorter by the name of the output folder; else see :func:`sorter`.
_NAMES = (
    (r"pykilosort|pyks", "pykilosort2.5"),
    (r"(?<![a-z])(?:kilosort|ks)[ _-]?4(?!\d)", "kilosort4"),
    (r"(?<![a-z])(?:kilosort|ks)[ _-]?3(?!\d)", "kilosort3"),
    (r"(?<![a-z])(?:kilosort|ks)[ _-]?2[._]?5(?!\d)", "kilosort2.5"),
    (r"(?<![a-z])kilosort[ _-]?1(?!\d)", "kilosort"),
)


def unit_table(
    method: str, units: Units, labels: Labels, channels: Channels, found: Properties
) -> pa.Table:
    """Return the rows of ``ephys.unit``, with the peak ``channel`` of the recording, from 1."""
    position = channels.position[found.peak]
    columns = {
        "clustering_method": [method] * len(units.number),
        "unit": units.number,
        "unit_quality": [labels.quality.get(unit, "all") for unit in units.number.tolist()],
        "unit_posx": position[:, 0],
        "unit_posy": position[:, 1],
        "unit_amp": found.amplitude,
        "unit_snr": found.snr,
        "channel": channels.map[found.peak] + 1,
    }
    return as_table("ephys.unit", columns, {"channel": pa.int32()})


def waveform_table(method: str, units: Units, channels: Channels, found: Properties) -> pa.Table:
    """Return the mean waveforms on the peak channels."""
    peak = found.waveform[np.arange(len(units.number)), channels.map[found.peak]]
    columns = {
        "clustering_method": [method] * len(units.number),
        "unit": units.number,
        "waveform": peak.astype(np.float64).tolist(),
    }
    return as_table("ephys.unit_waveform", columns)


def note_tables(method: str, units: Units, labels: Labels) -> dict[str, pa.Table]:
    """Return the tables of notes and noise labels that have rows, for units with spikes."""
    there = units.number.tolist()
    result = {}
    notes = [(u, s, n[u]) for u in there for s, n in sorted(labels.notes.items()) if u in n]
    if notes:
        unit, source, value = zip(*notes, strict=True)
        columns = {"clustering_method": [method] * len(unit), "unit": unit}
        columns |= {"note_source": source, "note_value": value}
        result["ephys.unit_note"] = as_table("ephys.unit_note", columns)
    noise = [(u, labels.noise[u]) for u in there if u in labels.noise]
    if noise:
        unit, value = zip(*noise, strict=True)
        columns = {"clustering_method": [method] * len(unit), "unit": unit, "noise": value}
        result["ephys.unit_noise_label"] = as_table("ephys.unit_noise_label", columns)
    return result


def label_table(path: Path, method: str) -> pa.Table:
    """Return what was done to the clustering, and when; without a curation its file's time."""
    curated = last_curation(path / "phy.log")
    columns = {
        "clustering_method": [method],
        "clustering_time": [curated or file_time(time_file(path))],
        "quality_control": [(path / "metrics.csv").is_file()],
        "manual_curation": [curated is not None],
        "clustering_note": [None],
    }
    return as_table("ephys.clustering_label", columns)


def sorter(path: Path) -> str:
    """Return which sorter it was: by the folder's name, by Kilosort 4's own files, or kilosort2.

    Where the name says nothing (``output``, ``sorter_output``), that of the folder above counts.
    Kilosort 2, 2.5 and 3 leave the same files; without a telling name kilosort2 is the name
    that the published pipeline gave to all of them.
    """
    for name in (path.name.lower(), path.parent.name.lower()):
        for pattern, method in _NAMES:
            if re.search(pattern, name):
                return method
    own = {"kilosort4.log", "ops.npy", "spike_positions.npy"}
    there = {name for name in own if (path / name).is_file()}
    if "kilosort4.log" in there or len(there) > 1:
        return "kilosort4"
    return "kilosort2"
