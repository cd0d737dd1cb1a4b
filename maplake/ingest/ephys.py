"""From the records of a probe to the rows of its tables and the arrays of its spikes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, FileFormatError, LengthMismatchError, SourceError
from maplake.ingest.align import NONE, BehaviorTrials, EphysTrials, ephys_trials, trial_of_spikes
from maplake.ingest.behavior import trials_of
from maplake.ingest.cell_type import cell_types
from maplake.ingest.session import IN, Item
from maplake.ingest.sources import EPHYS, Source
from maplake.ingest.state import SourceState
from maplake.ingest.work import Work
from maplake.layout import spike_store, table_file
from maplake.readers.base import Records, Skipped, SortingContext
from maplake.readers.foraging_events import foraging_events
from maplake.readers.gather import gather
from maplake.tables import get
from maplake.writers import spikes
from maplake.writers.commit import Stage

#: The rig whose recordings may lack bitcodes.
_WITHOUT_CODES = "RRig-MTL"
_METHOD, _UNIT, _SPIKE = "clustering_method", "unit", "ephys.spike"
_SPIKES = ("spike_sample", "spike_unit", "spike_channel", "spike_depth", "spike_amplitude")


@dataclass(frozen=True)
class ProbeData:
    """Everything that one probe adds to the lake.

    Attributes
    ----------
    tables
        Rows by table, without the columns of the folder names.
    lookups
        Rows of global tables (probe type, electrode configuration, …).
    arrays, attributes
        Content of the Zarr store.
    clustering_method
        Name of the store.
    records
        What the readers yielded.
    """

    tables: dict[str, pa.Table]
    lookups: dict[str, pa.Table]
    arrays: dict[str, NDArray[Any]]
    attributes: dict[str, Any]
    clustering_method: str
    records: tuple[Records, ...]


def take(work: Work, item: Item, state: SourceState) -> None:
    """Read a probe, align it and stage its rows and arrays."""
    source = item.source
    partition = {**work.plan.partition, "insertion_number": source.insertion_number or 0}
    rig = str(work.arrow("experiment.session", work.plan.partition)["rig"][0].as_py())
    data = read(source, trials_of(work), partition, rig)
    target = spike_store(partition, data.clustering_method)
    state.outputs.append(str(target))
    own = _own(work, data.tables)
    spike = {_SPIKE: own.pop(_SPIKE)} if _SPIKE in own else {}
    work.tables(state, own, partition)
    work.later(
        state,
        partial(_write_store, work.stage, target, data.arrays, data.attributes),
        # Spikes were sorted with their arrays; there are millions.
        partial(work.tables, state, spike, partition, is_sorted=(_SPIKE,)),
    )
    work.result.lookups += data.lookups.items()
    skipped = [one for records in data.records for one in records.skipped]
    work.skipped(state, f"{EPHYS}-{source.insertion_number}", skipped)


def _write_store(
    stage: Stage, target: PurePosixPath, arrays: dict[str, NDArray[Any]], attributes: dict[str, Any]
) -> None:
    spikes.write(stage.array(target), arrays, attributes)
    stage.settle(target)


def _own(work: Work, tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Return the tables that a probe adds.

    Every probe of a session has the same events on the recording's clock; they belong to the
    session, so the first probe that is taken in brings them.
    """
    again = {item.source.key for item in work.plan.todo}
    others = [s for s in work.plan.state.values() if s.status == IN and s.key not in again]
    there = {path for state in (*others, *work.result.states) for path in state.outputs}
    return {
        name: data
        for name, data in tables.items()
        if get(name).kind != "ephys_event"
        or str(table_file(get(name), work.plan.partition)) not in there
    }


def read(
    source: Source, behavior: BehaviorTrials, partition: Mapping[str, int], rig: str = ""
) -> ProbeData:
    """Read and align one probe.

    Parameters
    ----------
    source
        The probe's files.
    behavior
        The trials of its session.
    partition
        subject_id, session and insertion_number.
    rig
        Of the session.
    """
    recording = _read(source, "recording")
    info = recording.info
    rate = float(info["sampling_rate"])
    bitcodes = _read(source, "bitcodes", rate)
    with _of_bitcodes(source):
        trials = _align(recording, bitcodes, behavior, rig)
    context = SortingContext(
        rate,
        float(info["uv_per_bit"]),
        recording.arrays["electrode"],
        recording.arrays["position"],
        int(info["saved_channels"]),
        info.get("bin_path"),
    )
    sorting = _read(source, "sorting", context)
    data = _assemble(source, partition, recording, sorting, trials)
    bitcodes.skipped += [
        Skipped("recorded trial", str(number), "its code is that of no trial")
        for number in trials.dropped.tolist()
    ]
    found = bitcodes.info.get("foraging")
    if found:
        with _of_bitcodes(source):
            events = foraging_events(found, trials.trial)
        data.tables.update(events.tables)
        return dataclasses.replace(data, records=(*data.records, bitcodes, events))
    lost = int((trials.trial == NONE).sum())
    if lost:
        bitcodes.skipped.append(Skipped("ephys trials", str(lost), "have no behavior trial"))
    return dataclasses.replace(data, records=(*data.records, bitcodes))


def _align(
    recording: Records, bitcodes: Records, behavior: BehaviorTrials, rig: str
) -> EphysTrials:
    rate = float(recording.info["sampling_rate"])
    return ephys_trials(
        bitcodes.arrays,
        bitcodes.info["codes"],
        behavior,
        margin_samples=int(recording.info["margin_samples"]),
        trial_numbers=bitcodes.info.get("trial_numbers"),
        go_rate=rate if bitcodes.info.get("go_from_behavior") else None,
        may_lack_codes=rig == _WITHOUT_CODES,
    )


@contextmanager
def _of_bitcodes(source: Source) -> Iterator[None]:
    """Name the bitcodes' file in errors: alignment knows no files."""
    try:
        yield
    except SourceError as error:
        part = source.part("bitcodes")
        error.file = error.file or str(part.path if part else source.path)
        raise


def _read(source: Source, kind: str, *context: Any) -> Records:
    part = source.part(kind)
    if part is None:
        raise FileFormatError(f"there is no {kind} among the probe's files", file=source.path)
    return part.read(*context)


def _assemble(
    source: Source,
    partition: Mapping[str, int],
    recording: Records,
    sorting: Records,
    trials: EphysTrials,
) -> ProbeData:
    found = _checked_spikes(source, sorting)  # each goes as soon as it is in the order of units
    units = sorting.tables["ephys.unit"]
    if not units.num_rows:
        raise CorruptFileError("the sorting has no unit with spikes", file=source.path)
    method = str(units[_METHOD][0].as_py())
    electrode = recording.arrays["electrode"]
    order, counts, ids = _by_unit(source, found.pop("spike_unit"), units[_UNIT].to_numpy())
    site = _ordered(_electrodes(source, found.pop("spike_channel"), electrode), order)
    depth = _ordered(found.pop("spike_depth"), order).astype(np.float64, copy=False)
    amplitude = _ordered(found.pop("spike_amplitude"), order).astype(np.float64, copy=False)
    trial = _ordered(trial_of_spikes(found["spike_sample"], trials), order)
    sample = _ordered(found.pop("spike_sample"), order)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    tables = {
        "ephys.probe_insertion": _insertion_table(recording.info, trials),
        "ephys.ephys_trial": _trial_table(trials, float(recording.info["sampling_rate"])),
        "ephys.unit": _unit_table(source, partition, recording, sorting, (ids, counts, offsets)),
        _SPIKE: _spike_table(method, ids, counts, trial, sample),
        **{name: data for name, data in sorting.tables.items() if name != "ephys.unit"},
    }
    arrays = {
        "spike_sample": sample,
        "spike_site": site,
        "spike_depth": depth,
        "spike_amplitude": amplitude,
        "unit": ids.astype(np.int32),
        "unit_offset": offsets,
        "waveform": _waveforms(sorting.arrays["waveform"], _rows_of(units[_UNIT].to_numpy(), ids)),
        "waveform_electrode": _waveform_electrodes(source, sorting, electrode),
    }
    attributes = {
        "sampling_rate": float(recording.info["sampling_rate"]),
        "first_trial_sample": int(trials.start_sample[0]),
        "clustering_method": method,
    }
    return ProbeData(
        {name: data for name, data in tables.items() if data.num_rows},
        {name: data for name, data in recording.tables.items() if name.startswith("lab.")},
        arrays,
        attributes,
        method,
        (recording, sorting),
    )


def _checked_spikes(source: Source, sorting: Records) -> dict[str, NDArray[Any]]:
    spikes = {name: sorting.arrays.pop(name) for name in _SPIKES}
    lengths = {name: len(array) for name, array in spikes.items()}
    if len(set(lengths.values())) > 1:
        raise LengthMismatchError(
            "the sorting's spike arrays differ in length",
            file=source.path,
            found=", ".join(f"{name} {length}" for name, length in lengths.items()),
        )
    return spikes


def _electrodes(
    source: Source, channel: NDArray[Any], electrode: NDArray[Any]
) -> NDArray[np.int32]:
    """Return the electrode of each 1-based channel."""
    channel = np.asarray(channel)
    if channel.size and (channel.min() < 1 or channel.max() > len(electrode)):
        raise FileFormatError(
            "the sorting names a channel that was not recorded",
            file=source.path,
            found=str(int(channel.max() if channel.max() > len(electrode) else channel.min())),
            expected=f"1 to {len(electrode)}",
            hint="Are the sorting and the metadata of the same recording?",
        )
    return gather(np.concatenate(([-1], electrode)).astype(np.int32), channel)


def _waveform_electrodes(
    source: Source, sorting: Records, electrode: NDArray[Any]
) -> NDArray[np.int32]:
    """Return the electrode of each channel of the waveforms (channels,).

    A sorter that keeps the channels around each unit's peak only does not say which; all but the
    first, the peak itself, are -1 then.
    """
    if sorting.info.get("waveform_local"):
        return np.full(sorting.arrays["waveform"].shape[1], -1, dtype=np.int32)
    channel = sorting.arrays.get("waveform_channel")
    if channel is None:
        channel = np.arange(1, sorting.arrays["waveform"].shape[1] + 1)
    return _electrodes(source, channel, electrode)


def _by_unit(
    source: Source, spike_unit: NDArray[Any], units: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Return the order of spikes by unit (then time), spikes per unit, and the units ascending.

    A stable sort of small integers is a radix sort: linear in the number of spikes.
    """
    ids = np.sort(units)
    last = max(int(ids[-1]), int(spike_unit.max(initial=0)))
    place = np.zeros(last + 1, dtype=np.uint16 if len(ids) < 1 << 16 else np.uint32)
    place[ids] = np.arange(1, len(ids) + 1)
    key = gather(place, spike_unit)
    counts = np.bincount(key, minlength=len(ids) + 1)
    if counts[0] or spike_unit.min(initial=0) < 0:
        strays = np.unique(spike_unit[(key == 0) | (spike_unit < 0)])
        raise FileFormatError(
            "the sorting has spikes of units that it does not describe",
            file=source.path,
            found=", ".join(map(str, strays[:5])),
        )
    return np.argsort(key, kind="stable"), counts[1:], ids


def _ordered(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    # "clip" spares the check of every index; argsort gives no wrong ones.
    return np.take(np.ascontiguousarray(values), order, mode="clip")


def _waveforms(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the waveforms in another order of units; there is much of them to copy."""
    values = np.asarray(values, np.float32)
    return values if np.array_equal(order, np.arange(len(values))) else values[order]


def _rows_of(values: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows at which ``wanted`` stand in ``values``."""
    order = np.argsort(values, kind="stable")
    return order[np.searchsorted(values, wanted, sorter=order)]


def _insertion_table(info: Mapping[str, Any], trials: EphysTrials) -> pa.Table:
    row = {
        "probe": info["probe"],
        "probe_type": info["probe_type"],
        "electrode_config_name": info["electrode_config_name"],
        "sampling_rate": float(info["sampling_rate"]),
        "recording_start": info.get("recording_start"),
        "first_trial_sample": int(trials.start_sample[0]),
    }
    return pa.Table.from_pylist([row], schema=get("ephys.probe_insertion").file_schema)


def _trial_table(trials: EphysTrials, rate: float) -> pa.Table:
    known = trials.trial != NONE
    start, go = trials.start_sample[known], trials.go_sample[known]
    first = trials.start_sample[0]
    return pa.table(
        {
            "trial": trials.trial[known].astype(np.int32),
            "start_sample": start,
            "go_sample": pa.array(go, mask=go == NONE),
            "start_time": (start - first) / rate,
            "go_time": pa.array((go - first) / rate, mask=go == NONE),
        }
    )


def _spike_table(
    method: str,
    ids: NDArray[Any],
    counts: NDArray[np.int64],
    trial: NDArray[np.int32],
    sample: NDArray[np.int64],
) -> pa.Table:
    total = len(sample)
    return pa.table(
        {
            _METHOD: pa.DictionaryArray.from_arrays(np.zeros(total, np.int32), [method]),
            _UNIT: np.repeat(ids.astype(np.int32), counts),
            "trial": pa.array(trial, mask=trial == NONE),
            "spike_sample": sample,
        }
    )


def _unit_table(
    source: Source,
    partition: Mapping[str, int],
    recording: Records,
    sorting: Records,
    spikes: tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]],
) -> pa.Table:
    ids, counts, offsets = spikes
    units = sorting.tables["ephys.unit"]
    units = units.take(pa.array(_rows_of(units[_UNIT].to_numpy(), ids)))
    method = str(units[_METHOD][0].as_py())
    size = units.num_rows
    electrode = _electrodes(source, units["channel"].to_numpy(), recording.arrays["electrode"])
    columns = {
        "unit_uid": pa.array([unit_uid(partition, method, unit) for unit in ids.tolist()]),
        "probe_type": pa.array([recording.info["probe_type"]] * size),
        "electrode_config_name": pa.array([recording.info["electrode_config_name"]] * size),
        "electrode_group": pa.array(np.zeros(size, np.int32)),
        "electrode": pa.array(electrode),
        "spike_count": pa.array(counts.astype(np.int64)),
        "spike_offset": pa.array(offsets[:-1]),
        "cell_type": _cell_types(units, sorting, recording),
    }
    for name, values in columns.items():
        units = units.append_column(name, values)
    return units.drop_columns(["channel"])


def _cell_types(units: pa.Table, sorting: Records, recording: Records) -> pa.Array:
    waveforms = sorting.tables["ephys.unit_waveform"]
    by_unit = dict(
        zip(waveforms[_UNIT].to_pylist(), waveforms["waveform"].to_pylist(), strict=True)
    )
    ids = units[_UNIT].to_pylist()
    labelled = [
        unit
        for unit, quality in zip(ids, units["unit_quality"].to_pylist(), strict=True)
        if quality != "all" and by_unit.get(unit)
    ]
    if not labelled:
        return pa.nulls(len(ids), pa.string())
    stack = np.asarray([by_unit[unit] for unit in labelled], dtype=np.float64)
    found = dict(
        zip(labelled, cell_types(stack, float(recording.info["sampling_rate"])), strict=True)
    )
    return pa.array([found.get(unit) for unit in ids], pa.string())


def unit_uid(partition: Mapping[str, int], clustering_method: str, unit: int) -> int:
    """Return a unit's number that is unique in the lake and the same after every rebuild.

    A positive 63-bit hash of the unit's key: among a million units, two share one with a
    probability of 1 in 10 million, and ``maplake check`` would tell.
    """
    key = [partition[name] for name in ("subject_id", "session", "insertion_number")]
    text = "/".join(map(str, [*key, clustering_method, unit]))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
