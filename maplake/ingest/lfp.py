"""Local field potentials of a probe: streamed from the raw recording into a Zarr store."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake.ingest.session import Item
from maplake.ingest.sources import LFP, Part, reading
from maplake.ingest.state import SourceState
from maplake.ingest.work import Work
from maplake.layout import lfp_store
from maplake.readers.base import Records
from maplake.readers.lfp import LfpRecording
from maplake.tables import get
from maplake.writers import lfp as writer


def take(work: Work, item: Item, state: SourceState) -> None:
    """Stage the potentials of one probe, in bounded memory."""
    source = item.source
    recorded, part = source.parts
    partition = {**work.plan.partition, "insertion_number": source.insertion_number or 0}
    probe, records = recorded.read(), part.read()
    recording: LfpRecording = records.info["lfp"]
    target = lfp_store(partition)
    state.outputs.append(str(target))
    writer.write(
        work.stage.array(target),
        _counts(part, recording),
        recording.samples,
        recording.uv_per_bit,
        _electrodes(probe, recording.channel),
        recording.used,
        recording.sampling_rate,
    )
    row = {
        "lfp_sample_rate": recording.sampling_rate,
        "sample_count": recording.samples,
        "channel_count": len(recording.channel),
        "array_path": str(target),
    }
    table = pa.Table.from_pylist([row], schema=get("ephys.lfp").file_schema)
    work.tables(state, {"ephys.lfp": table}, partition)
    work.skipped(state, f"{LFP}-{source.insertion_number}", records.skipped)


def _counts(part: Part, recording: LfpRecording) -> Iterator[NDArray[np.int16]]:
    with reading(part.path, part.reader):
        yield from recording.counts()


def _electrodes(probe: Records, channel: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return each channel's electrode, that of the AP channel of its number; -1 = none."""
    electrode = probe.arrays["electrode"]
    acquired = probe.arrays.get("channel", np.arange(len(electrode)))
    known = np.full(max(acquired.max(), channel.max()) + 1, -1, dtype=np.int32)
    known[acquired] = electrode
    return known[channel]
