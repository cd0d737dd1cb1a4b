"""Output folders of Kilosort 2, 2.5, 3 and 4 and pykilosort, curated with phy or not.

What is taken from where:

- times, clusters, templates, amplitudes: :mod:`maplake.readers.ks_spikes`; the depth of a spike:
  :mod:`maplake.readers.spike_depths`; its channel is the peak channel of its template.
- quality, noise label, notes: :mod:`maplake.readers.phy_labels`.
- peak channel, amplitude, SNR and waveform of a unit: ``metrics.csv`` and
  ``mean_waveforms.npy`` where they are there (:mod:`maplake.readers.ks_metrics`), else its
  template and the raw recording (:mod:`maplake.readers.ks_units`).
- x and y of a unit: those of its peak channel in ``channel_positions.npy``.

All belongs to the number of a unit, never to its place in a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, LengthMismatchError, UnknownValueError
from maplake.readers import npy
from maplake.readers.base import Reader, Records, Skipped, SortingContext
from maplake.readers.gather import gather
from maplake.readers.ks_metrics import metric_tables, read_metrics
from maplake.readers.ks_spikes import (
    TIME_FILES,
    Spikes,
    Units,
    check_templates,
    count_units,
    read_spikes,
    time_file,
)
from maplake.readers.ks_tables import label_table, note_tables, sorter, unit_table, waveform_table
from maplake.readers.ks_units import Channels, Properties, unit_properties
from maplake.readers.listing import files_below
from maplake.readers.phy import read_params
from maplake.readers.phy_labels import Labels, label_files, read_labels
from maplake.readers.spike_depths import centre_of_mass
from maplake.readers.waveforms import load_templates

__all__ = ["READER", "files", "find", "read"]

_CLUSTER_FILES = ("spike_clusters.npy", "spike_templates.npy")
_OTHER_FILES = (
    "amplitudes.npy",
    "channel_map.npy",
    "channel_positions.npy",
    "mean_waveforms.npy",
    "metrics.csv",
    "params.py",
    "pc_feature_ind.npy",
    "pc_features.npy",
    "phy.log",
    "spike_times.npy",
    "template_ind.npy",
    "templates.npy",
    "templates_ind.npy",
    "whitening_mat.npy",
    "whitening_mat_inv.npy",
)


def find(folder: Path) -> Sequence[Path]:
    """Return the folders at or below a folder that hold a Kilosort or phy output, sorted.

    Such a folder has spike times and clusters or templates of spikes. A ``params.py`` gives the
    folder that it is in. As published, where some outputs went through quality control (they have
    ``mean_waveforms.npy``), the copies that did not, such as ``imec0_ks2_orig``, are none.
    """
    if folder.is_file():
        return [folder.parent] if folder.name == "params.py" and _is_output(folder.parent) else []
    parents = {path.parent for path in files_below(folder, *TIME_FILES)}
    outputs = sorted(parent for parent in parents if _is_output(parent))
    controlled = [path for path in outputs if (path / "mean_waveforms.npy").is_file()]
    return controlled or outputs


def _is_output(folder: Path) -> bool:
    return any((folder / name).is_file() for name in TIME_FILES) and any(
        (folder / name).is_file() for name in _CLUSTER_FILES
    )


def files(path: Path) -> Sequence[Path]:
    """Return the files that :func:`read` opens, sorted."""
    names = (*_OTHER_FILES, *_CLUSTER_FILES)
    there = {path / name for name in names if (path / name).is_file()}
    return sorted({*there, time_file(path), *label_files(path)})


def read(path: Path, context: SortingContext) -> Records:
    """Read the spikes and units of a folder.

    Parameters
    ----------
    path
        The folder.
    context
        The recording that was sorted. Where its ``sampling_rate`` is not above 0, that of
        ``params.py`` counts.

    Returns
    -------
    records
        As the kind ``sorting`` of :class:`~maplake.readers.base.Records` says. ``waveform`` is
        on all recorded AP channels, NaN where the sorter left one out; ``waveform_channel``
        int32 (channels,) numbers them from 1. Units that are only written about are skipped, and
        so are spikes before sample 0.

    Raises
    ------
    SourceError
        If a file is missing, unreadable or damaged, files contradict each other or the
        recording, or hold words that maplake does not know.
    """
    channels = _channels(path, context)
    every = read_spikes(path, _sampling_rate(path, context))
    templates = load_templates(path, len(channels.map))
    check_templates(path, every.template, len(templates.data))
    peaks = templates.peaks(every.template)
    kept = every.sample >= 0
    spikes = every.take(kept)
    units = count_units(spikes.cluster)
    labels = read_labels(path)
    metrics = read_metrics(path / "metrics.csv") if (path / "metrics.csv").exists() else None
    found = unit_properties(path, context, channels, templates, peaks, spikes, units, metrics)
    depth = _depths(path, channels, every, kept, units, peaks, found)

    method = sorter(path)
    known = labels.units() | set(metrics.first if metrics else ())
    skipped = _skipped(units, labels, known)
    early = len(kept) - len(spikes.sample)
    if early:
        skipped.append(Skipped("spikes", str(early), "before the recording's first sample"))
    result = {
        "ephys.unit": unit_table(method, units, labels, channels, found),
        "ephys.unit_waveform": waveform_table(method, units, channels, found),
        "ephys.clustering_label": label_table(path, method),
        **note_tables(method, units, labels),
    }
    if metrics is not None:
        result |= metric_tables(metrics, method, units.number)
        without = sorted(set(units.number.tolist()) - set(metrics.first))
        skipped += [Skipped("cluster_metric", str(u), "no row in metrics.csv") for u in without]
    arrays = _spike_arrays(spikes, channels, peaks, depth)
    arrays["waveform"] = found.waveform
    arrays["waveform_channel"] = np.arange(1, found.waveform.shape[1] + 1, dtype=np.int32)
    return Records(tables=result, arrays=arrays, skipped=skipped)


def _sampling_rate(path: Path, context: SortingContext) -> float:
    if context.sampling_rate > 0:
        return float(context.sampling_rate)
    rate = read_params(path / "params.py").get("sample_rate", 0.0)
    return float(rate) if isinstance(rate, int | float) else 0.0


def _channels(path: Path, context: SortingContext) -> Channels:
    """Load the sorter's channels and check them against the recording."""
    map_file, position_file = path / "channel_map.npy", path / "channel_positions.npy"
    channel = npy.load_whole(map_file)
    position = np.asarray(npy.load(position_file, ndim=2), dtype=np.float64)
    if not len(channel):
        raise CorruptFileError("there are no channels", file=map_file)
    if len(position) != len(channel) or position.shape[1] < 2:
        raise LengthMismatchError(
            "channel_positions.npy and channel_map.npy differ",
            file=position_file,
            found=f"shape {position.shape}",
            expected=f"({len(channel)}, 2)",
        )
    if not np.isfinite(position).all():
        raise CorruptFileError("a position is not finite", file=position_file)
    recorded = len(context.electrode)
    if channel.max() >= recorded:
        raise UnknownValueError(
            "a channel that was not recorded",
            file=map_file,
            place=f"element {int(channel.argmax())}",
            found=channel.max(),
            expected=f"less than {recorded}",
            hint="Was another recording sorted?",
        )
    return Channels(channel.astype(np.int64), position, recorded)


def _depths(
    path: Path,
    channels: Channels,
    every: Spikes,
    kept: NDArray[np.bool_],
    units: Units,
    peaks: NDArray[np.int64],
    found: Properties,
) -> NDArray[np.float64]:
    """Return the depth of each spike that is kept in um, in the order of the files."""
    y = channels.position[:, 1]
    if all((path / name).is_file() for name in ("pc_features.npy", "pc_feature_ind.npy")):
        depth = centre_of_mass(path, y, every.template, peaks)
        return depth if kept.all() else depth[kept]
    return gather(y[found.peak], units.index)


def _spike_arrays(
    spikes: Spikes,
    channels: Channels,
    peaks: NDArray[np.int64],
    depth: NDArray[np.float64],
) -> dict[str, NDArray[Any]]:
    """Return the arrays of spikes in time order."""
    channel = (channels.map[peaks] + 1).astype(np.int32)
    arrays: dict[str, NDArray[Any]] = {
        "spike_sample": spikes.sample,
        "spike_unit": spikes.cluster.astype(np.int32, copy=False),
        "spike_channel": gather(channel, spikes.template),
        "spike_depth": depth,
        "spike_amplitude": spikes.amplitude,
    }
    if (spikes.sample[1:] < spikes.sample[:-1]).any():
        order = np.argsort(spikes.sample, kind="stable")
        arrays = {name: array[order] for name, array in arrays.items()}
    return arrays


def _skipped(units: Units, labels: Labels, known: set[int]) -> list[Skipped]:
    silent = sorted(known - set(units.number.tolist()))
    return [*labels.skipped, *(Skipped("unit", str(unit), "no spikes") for unit in silent)]


READER = Reader(
    "kilosort",
    kind="sorting",
    priority=20,
    find=find,
    read=read,
    files=files,
    version=3,
    changes={
        2: "a count of a 2.0 probe is 0.763 uV and raw waveforms have an even number of samples, "
        "as published; a folder `output` is of the sorter that the folder above names",
        3: "raw waveforms and SNR are cut at the samples of spike_times.npy, also where the "
        "times themselves come from another clock; template_ind.npy counts before "
        "templates_ind.npy; a curator's noise is a noise label beside other groups, too",
    },
)
