"""From a camera's tracked videos to the rows of its tables."""

from __future__ import annotations

from maplake.ingest.behavior import trials_of
from maplake.ingest.session import Item
from maplake.ingest.sources import TRACKING
from maplake.ingest.state import SourceState
from maplake.ingest.work import Work
from maplake.readers.base import TrackingContext

_SORTED = ("tracking.tracking_position",)


def take(work: Work, item: Item, state: SourceState) -> None:
    """Read the tracking of one camera and stage its rows."""
    source = item.source
    part = source.parts[0]
    behavior = trials_of(work)
    context = TrackingContext(
        source.h2o, source.rig, behavior.trial.tolist(), trial_count=behavior.total
    )
    records = part.read(context)
    device = str(records.info["tracking_device"])
    partition = {**work.plan.partition, "tracking_device": device}
    work.tables(state, records.tables, partition, is_sorted=_SORTED)
    work.skipped(state, f"{TRACKING}-{device}", records.skipped)
