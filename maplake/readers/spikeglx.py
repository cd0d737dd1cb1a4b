"""SpikeGLX metadata of a probe's spike band (``*.ap.meta``): the probe and what it recorded.

Streams that were saved twice, raw and by CatGT (``…_tcat…``), are taken once, from CatGT: sorters
run on that copy, and its sample numbers are the ones that spikes are counted in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    UnknownValueError,
)
from maplake.readers.base import Reader, Records
from maplake.readers.probe_sites import Sites, geometry_map, sites_of
from maplake.readers.rows import as_table
from maplake.readers.spikeglx_channels import band_channels, channel_uv_per_bit, uv_per_bit
from maplake.readers.spikeglx_meta import (
    Meta,
    number,
    parse_meta,
    parse_table,
    require,
    start_time,
)
from maplake.readers.spikeglx_stream import find_streams

__all__ = ["READER", "channel_uv_per_bit", "find", "parse_meta", "read", "uv_per_bit"]

_SUFFIX = ".ap.meta"
_MOST_SAMPLES = 1e15


def find(folder: Path) -> Sequence[Path]:
    """Return the ``*.ap.meta`` files at or below a folder, sorted.

    Of a raw file and CatGT's copy of the same run, gate and probe, only the copy is returned.
    Several streams are all returned: which is meant is for the caller to say.
    """
    if folder.is_file():
        return [folder] if folder.name.endswith(_SUFFIX) else []
    return find_streams(folder, _SUFFIX)


def read(path: Path, context: object = None) -> Records:  # noqa: ARG001 (all readers take one)
    """Read the probe, the electrodes recorded and the recording's properties.

    Parameters
    ----------
    path
        The ``.ap.meta`` file; its ``.ap.bin`` need not be there.
    context
        Not used.

    Returns
    -------
    records
        As the kind ``recording`` of :class:`~maplake.readers.base.Records` says, and the array
        ``uv_per_bit`` (channels,) with the uV per count of each channel. ``channel`` is always
        there.

    Raises
    ------
    SourceError
        If the file is missing, unreadable, damaged or incomplete, the type of probe is unknown,
        or the ``.bin`` beside it has another size than the metadata says.
    """
    meta = parse_meta(path)
    sites = sites_of(meta)
    electrode, used = _recorded(meta, sites)
    name = _ranges(electrode)
    probe = require(meta, "imProbeSN", "imDatPrb_sn")
    rate = number(meta, "imSampRate")
    info: dict[str, Any] = {
        "probe": probe,
        "probe_type": sites.name,
        "electrode_config_name": name,
        "sampling_rate": rate,
        "recording_start": start_time(meta),
        "margin_samples": _margin(meta, rate),
        "uv_per_bit": uv_per_bit(meta),
        "saved_channels": int(number(meta, "nSavedChans", whole=True)),
        "ap_channels": len(electrode),
        "bin_path": _recording(meta),
    }
    arrays: dict[str, NDArray[Any]] = {
        "electrode": electrode.astype(np.int32),
        "channel": band_channels(meta).astype(np.int32),
        "position": sites.position[electrode - 1],
        "uv_per_bit": channel_uv_per_bit(meta),
    }
    return Records(tables=_tables(sites, probe, name, electrode, used), arrays=arrays, info=info)


def _recorded(meta: Meta, sites: Sites) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return electrode number (from 1) and use of each recorded AP channel, in saved order."""
    channels = band_channels(meta)
    by_shank = bool(meta.get("snsShankMap")) or not meta.get("snsGeomMap")
    key = "snsShankMap" if by_shank else "snsGeomMap"
    site, used = (_by_shank_map if by_shank else _by_geometry_map)(meta, sites)
    if len(site) != len(channels):
        # Written for all acquired channels rather than for the saved ones.
        if not len(channels) or len(site) <= channels.max():
            raise LengthMismatchError(
                "the table and the saved AP channels differ",
                file=meta.path,
                place=f"key {key}",
                found=len(site),
                expected=len(channels),
            )
        site, used = site[channels], used[channels]
    if not len(site):
        raise FileFormatError("no AP channel was saved", file=meta.path, place="key snsApLfSy")
    _, first, count = np.unique(site, return_index=True, return_counts=True)
    if (count > 1).any():
        raise FileFormatError(
            "two channels record the same electrode",
            file=meta.path,
            place=f"key {key}",
            found=f"electrode {site[first[count.argmax()]] + 1}",
        )
    return site + 1, used


def _by_shank_map(meta: Meta, sites: Sites) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    _, rows = parse_table(meta, "snsShankMap")
    try:
        entries = np.array(rows, dtype=np.int64).reshape(-1, 4)
    except (ValueError, OverflowError) as error:
        raise CorruptFileError(
            "the table is damaged",
            file=meta.path,
            place="key snsShankMap",
            found=str(error),
            expected="(shank:col:row:used)…",
        ) from error
    limits = np.array([sites.shanks, sites.columns, sites.rows])
    outside = np.any((entries[:, :3] < 0) | (entries[:, :3] >= limits), axis=1)
    _check_sites(meta, sites, "snsShankMap", outside, rows)
    shank, column, row, used = entries.T
    return (shank * sites.rows + row) * sites.columns + column, used != 0


def _by_geometry_map(meta: Meta, sites: Sites) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    header, entries = geometry_map(meta)
    # Half micrometres are exact in all geometries, so that whole numbers of them can be keys.
    keys = np.rint(2 * sites.position).astype(np.int64).tolist()
    place = {(x, y): site for site, (x, y) in enumerate(keys)}
    x = entries[:, 1] + sites.edge + sites.pitch * entries[:, 0] + _margins(header, sites)
    wanted = np.rint(2 * np.column_stack((x, entries[:, 2]))).astype(np.int64).tolist()
    site = np.array([place.get((x, y), -1) for x, y in wanted], dtype=np.int64)
    rows = [[f"{value:g}" for value in entry] for entry in entries]
    _check_sites(meta, sites, "snsGeomMap", site < 0, rows)
    return site, entries[:, 3] != 0


def _margins(header: list[str], sites: Sites) -> float:
    """Return how much further in from the edge the sites are than the file says, in um.

    Earlier SpikeGLX takes the shank of NP1110 for 70 um wide instead of 73: the sites are in its
    middle either way.
    """
    try:
        width = float(header[3])
    except (IndexError, ValueError):
        return 0.0
    return (sites.width - width) / 2 if sites.width > 0 and 0 < width < np.inf else 0.0


def _check_sites(
    meta: Meta, sites: Sites, key: str, outside: NDArray[np.bool_], rows: list[list[str]]
) -> None:
    if outside.any():
        channel = int(outside.argmax())
        raise UnknownValueError(
            f"{sites.name} has no such site",
            file=meta.path,
            place=f"key {key}, channel {channel}",
            found=":".join(rows[channel]),
            expected=f"{sites.shanks} shanks of {sites.columns} x {sites.rows} sites",
        )


def _ranges(electrode: NDArray[np.int64]) -> str:
    """Name a set of electrodes by its ranges, e.g. ``1-96; 1281-1376``."""
    parts = np.split(np.sort(electrode), np.nonzero(np.diff(np.sort(electrode)) > 1)[0] + 1)
    return "; ".join(f"{part[0]}-{part[-1]}" for part in parts)


def _margin(meta: Meta, rate: float) -> int:
    """Return the recording margin before each trial in samples."""
    if not meta.get("trgTTLMarginS") or meta["trgTTLMarginS"].strip("0.") == "":
        return 0
    margin = number(meta, "trgTTLMarginS") * rate
    if not margin < _MOST_SAMPLES:
        raise CorruptFileError(
            "not a margin",
            file=meta.path,
            place="key trgTTLMarginS",
            found=meta["trgTTLMarginS"][:40],
            expected="a few s",
        )
    return round(margin)


def _recording(meta: Meta) -> Path | None:
    """Return the ``.bin`` beside the metadata if it is there, checked for its size."""
    path = meta.path.with_suffix(".bin")
    if not path.is_file():
        return None
    size, expected = path.stat().st_size, int(number(meta, "fileSizeBytes", whole=True))
    if size != expected:
        raise CorruptFileError(
            "the recording is incomplete",
            file=path,
            found=f"{size} bytes",
            expected=f"{expected} bytes (key fileSizeBytes of {meta.path.name})",
            hint="Is it still being copied?",
        )
    return path


def _tables(
    sites: Sites, probe: str, name: str, electrode: NDArray[np.int64], used: NDArray[np.bool_]
) -> dict[str, pa.Table]:
    order = np.argsort(electrode)
    electrode, used = electrode[order], used[order]
    kind = {"probe_type": [sites.name]}
    config = kind | {"electrode_config_name": [name]}
    shank, column, row = (sites.index + 1).T
    columns: dict[str, dict[str, Any]] = {
        "lab.probe_type": kind,
        "lab.probe_type_electrode": {
            "probe_type": [sites.name] * len(shank),
            "electrode": np.arange(1, len(shank) + 1),
            "shank": shank,
            "shank_col": column,
            "shank_row": row,
            "x_coord": sites.position[:, 0],
            "y_coord": sites.position[:, 1],
            "z_coord": np.zeros(len(shank)),
        },
        "lab.probe": {"probe": [probe], "probe_comment": [None]} | kind,
        "lab.electrode_config": config | {"electrode_config_hash": [_hash(sites, electrode, used)]},
        "lab.electrode_config_electrode": {
            "probe_type": [sites.name] * len(electrode),
            "electrode_config_name": [name] * len(electrode),
            "electrode_group": np.zeros(len(electrode), dtype=np.int32),
            "electrode": electrode,
            "is_used": used,
        },
    }
    return {table: as_table(table, values) for table, values in columns.items()}


def _hash(sites: Sites, electrode: NDArray[np.int64], used: NDArray[np.bool_]) -> str:
    """Return a hash of probe type, electrodes and their use that is the same everywhere."""
    text = ",".join(f"{e}{'+' if u else '-'}" for e, u in zip(electrode, used, strict=True))
    return hashlib.sha256(f"{sites.name}:{text}".encode()).hexdigest()[:32]


READER = Reader(
    "spikeglx",
    kind="recording",
    find=find,
    read=read,
    version=2,
    changes={
        2: "a probe whose part number stands for another geometry than its code gets that one, "
        "as NP1022, NP1032 and other probes for primates do"
    },
)
