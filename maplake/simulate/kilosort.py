"""A Kilosort output folder as phy opens it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.metrics import write_metrics
from maplake.simulate.options import Sorting
from maplake.simulate.recording import TEMPLATE_SCALE
from maplake.simulate.truth import Probe

Array = np.ndarray[Any, Any]

_FALL_OFF = 30.0  # um over which amplitude falls
_SPREAD = 12.0  # um, scatter of spike positions along the probe
_PC_NOISE = 0.4
_CHUNK = 100_000  # spikes
_CLOCK_OFFSET = 7  # samples by which unadjusted spike times are off


def write_kilosort(probe: Probe, options: Sorting, rng: np.random.Generator) -> Path:
    """Write the folder; sets ``probe.spike_depth`` and ``probe.metrics`` to what it says."""
    folder = probe.sorting_folder
    folder.mkdir(parents=True, exist_ok=True)
    _write_params(folder, probe)
    _write_spikes(folder, probe, options)
    _write_channels(folder, probe, options)
    _write_templates(folder, probe, options)
    _write_labels(folder, probe, options)
    if options.pc_features:
        probe.spike_depth = _write_features(folder, probe, options, rng)
    else:
        probe.spike_depth = probe.spike_depth + options.position_origin[1]
    if options.metrics:
        probe.metrics = write_metrics(folder, probe, rng)
    if options.phy_log:
        _write_log(folder, probe)
    return folder


def _write_params(folder: Path, probe: Probe) -> None:
    imec = probe.insertion_number - 1
    rate = probe.sampling_rate
    lines = [
        f"dat_path = r'../{probe.session.h2o}_g0_t0.imec{imec}.ap.bin'",
        f"n_channels_dat = {len(probe.electrode) + 1}",
        "dtype = 'int16'",
        "offset = 0",
        f"sample_rate = {rate:.0f}." if rate == int(rate) else f"sample_rate = {rate!r}",
        "hp_filtered = False",
        "",
    ]
    (folder / "params.py").write_text("\n".join(lines), encoding="utf-8", newline="\n")


def _save(path: Path, array: Array, options: Sorting) -> None:
    """Save as the sorter's language does: MATLAB has no one-dimensional arrays."""
    if options.matlab:
        array = array[:, np.newaxis] if array.ndim == 1 else array
        array = np.asfortranarray(array)
    np.save(path, array, allow_pickle=False)


def _write_spikes(folder: Path, probe: Probe, options: Sorting) -> None:
    shift = _CLOCK_OFFSET if options.seconds else 0
    times = probe.spike_sample + shift
    arrays: dict[str, Array] = {
        "spike_times": times.astype(np.uint64 if options.matlab else np.int64),
        "spike_clusters": probe.spike_unit.astype(np.uint32 if options.matlab else np.int32),
        "spike_templates": probe.spike_template.astype(np.uint32 if options.matlab else np.int32),
        "amplitudes": probe.spike_amplitude,
    }
    if options.seconds:
        arrays[options.seconds] = probe.spike_sample / probe.sampling_rate
    if options.seconds.endswith("_adj"):
        arrays["spike_times_sec"] = times / probe.sampling_rate
    for name, array in arrays.items():
        _save(folder / f"{name}.npy", array, options)


def _write_channels(folder: Path, probe: Probe, options: Sorting) -> None:
    channels = np.arange(len(probe.electrode), dtype=np.int32)
    row = channels[np.newaxis] if options.matlab else channels
    _save(folder / "channel_map.npy", row, options)
    positions = probe.position + np.array(options.position_origin)
    _save(folder / "channel_positions.npy", positions, options)


def _neighbours(probe: Probe, count: int) -> Array:
    """Return the channels nearest to each template's peak, (templates, count or all)."""
    peaks = _template_peaks(probe)
    offset = probe.position[:, np.newaxis] - probe.position[peaks]
    order = np.argsort(np.hypot(offset[..., 0], offset[..., 1]), axis=0, kind="stable")
    return np.asarray(order[:count].T)


def _template_peaks(probe: Probe) -> Array:
    return np.append(probe.units.peak, probe.units.peak[0])


def unwhitened_templates(probe: Probe) -> Array:
    """Return templates in counts per unit of amplitude, (templates, samples, channels)."""
    peaks = _template_peaks(probe)
    offset = probe.position - probe.position[peaks][:, np.newaxis]
    share = np.exp(-np.hypot(offset[..., 0], offset[..., 1]) / _FALL_OFF)
    share[share < 0.01] = 0.0
    wave = np.concatenate([probe.units.waveform, probe.units.waveform[:1]])
    wave = wave / probe.uv_per_bit / TEMPLATE_SCALE
    return np.asarray(wave[:, :, np.newaxis] * share[:, np.newaxis, :])


def _whitening(probe: Probe) -> Array:
    """Return a whitening matrix that couples channels with their neighbours a little."""
    offset = probe.position[:, np.newaxis] - probe.position
    near = np.hypot(offset[..., 0], offset[..., 1]) < _FALL_OFF
    return np.asarray(0.05 * (np.eye(len(near)) - 0.05 * (near & ~np.eye(len(near), dtype=bool))))


def _write_templates(folder: Path, probe: Probe, options: Sorting) -> None:
    white = _whitening(probe)
    templates = (unwhitened_templates(probe) @ white).astype(np.float32)
    channels = np.tile(np.arange(len(white), dtype=float), (len(templates), 1))
    similar = np.eye(len(templates), dtype=np.float32)
    for name, array in {
        "templates": templates,
        "templates_ind": channels,
        "similar_templates": similar,
        "whitening_mat": white,
        "whitening_mat_inv": np.linalg.inv(white),
    }.items():
        _save(folder / f"{name}.npy", array, options)


def _write_features(
    folder: Path, probe: Probe, options: Sorting, rng: np.random.Generator
) -> Array:
    """Write the principal components in pieces; return the depth of every spike in um."""
    near = _neighbours(probe, options.pc_channels)
    dtype = np.uint32 if options.matlab else np.int32
    _save(folder / "pc_feature_ind.npy", near.astype(dtype), options)
    depth = np.empty(len(probe.spike_sample))
    path = folder / "pc_features.npy"
    np.lib.format.open_memmap(
        path,
        mode="w+",
        dtype=np.float32,
        shape=(len(depth), 3, near.shape[1]),
        fortran_order=options.matlab,
    )
    x, y = np.moveaxis(probe.position[near].astype(np.float32), -1, 0)
    home = probe.position[_template_peaks(probe)].astype(np.float32)
    for first in range(0, len(depth), _CHUNK):
        part = slice(first, first + _CHUNK)
        template = probe.spike_template[part]
        pc = _first_component(x[template], y[template], home[template], rng)
        _store_features(path, part, pc)
        power = np.square(np.maximum(pc, 0), dtype=np.float64)
        depth[part] = np.sum(y[template] * power, axis=1) / np.sum(power, axis=1)
    return depth + options.position_origin[1]


def _store_features(path: Path, part: slice, first: Array) -> None:
    # Mapped anew for every piece, so that what was written does not stay in memory.
    features = np.lib.format.open_memmap(path, mode="r+")
    for component, share in enumerate((1.0, -0.4, 0.2)):
        features[part, component] = np.float32(share) * first


def _first_component(x: Array, y: Array, home: Array, rng: np.random.Generator) -> Array:
    """Return the first component, (spikes, channels): noisy, and largest where the spike is."""
    count = len(x)
    here = home[:, 1] + np.float32(_SPREAD) * rng.standard_normal(count, dtype=np.float32)
    distance = np.square(x - home[:, :1]) + np.square(y - here[:, np.newaxis])
    size = rng.uniform(15, 40, (count, 1)).astype(np.float32)
    noise = rng.standard_normal(x.shape, dtype=np.float32) * np.float32(_PC_NOISE)
    return np.asarray(size * np.exp(-distance / np.float32(2 * _FALL_OFF**2)) + noise)


def _write_labels(folder: Path, probe: Probe, options: Sorting) -> None:
    units = probe.units
    words = {"good": "good", "ok": "good", "multi": "mua"}
    known = [(i, q) for i, q in zip(units.id, units.quality, strict=True) if q != "all"]
    _write_tsv(folder / "cluster_KSLabel.tsv", "KSLabel", [(i, words[q]) for i, q in known])
    if options.groups_csv:
        rows = [(i, {"multi": "mua"}.get(q, q)) for i, q in known]
        _write_tsv(folder / "cluster_groups.csv", "group", rows)
    _write_tsv(folder / "cluster_group.tsv", "group", list(zip(units.id, units.noise, strict=True)))
    notes = [(i, note) for i, note in zip(units.id, units.note, strict=True) if note]
    if notes:
        _write_tsv(folder / "cluster_note.tsv", "note", notes)
    for name in ("Amplitude", "ContamPct"):
        _write_tsv(folder / f"cluster_{name}.tsv", name, [(i, f"{i % 97}.5") for i in units.id])


def _write_tsv(path: Path, column: str, rows: Sequence[tuple[int, str]]) -> None:
    text = f"cluster_id\t{column}\n" + "".join(f"{unit}\t{label}\n" for unit, label in rows)
    path.write_text(text, encoding="utf-8", newline="\n")


def curated_at(probe: Probe) -> datetime:
    """Return when the last action of the ``phy.log`` took place."""
    return probe.recording_start.replace(hour=15, minute=20, second=7) + timedelta(days=3)


def _write_log(folder: Path, probe: Probe) -> None:
    # phy colours its lines.
    last = curated_at(probe)
    ids = probe.units.id
    actions = [
        (timedelta(minutes=9), "template:420", "Loading features."),
        (timedelta(minutes=5), "clustering:385", f"Merge clusters 0, {len(ids)} to {ids[0]}."),
        (timedelta(0), "supervisor:751", f"Change metadata_group for clusters {ids[-1]} to good."),
    ]
    lines = [
        f"\x1b[0m{last - before:%Y-%m-%d %H:%M:%S}.123 [I] {caller:<20} {text}\x1b[0m\n"
        for before, caller, text in actions
    ]
    (folder / "phy.log").write_text("".join(lines), encoding="utf-8", newline="\n")
