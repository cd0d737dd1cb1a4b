"""Built-in table psth.period_selectivity: ipsi- against contralateral trials, period by period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maplake.compute.model import Computation, Key
from maplake.compute.units import part
from maplake.query.lake import Lake
from maplake.query.selectivity import period_selectivity as tested
from maplake.tables import get

if TYPE_CHECKING:
    import polars as pl

__all__ = ["COMPUTATIONS"]


def period_selectivity(lake: Lake, key: Key) -> pl.DataFrame | None:
    """Test the units of an insertion, those of quality all left out, in all periods.

    Needs the insertion's location; without one, or on the midline, there are no rows.
    """
    place = part(lake, "ephys.insertion_location", key)
    if not len(place) or not place["ml_location"][0]:
        return None
    return tested(lake._aligned, **key)


COMPUTATIONS = (
    Computation(
        (get("psth.period_selectivity"),),
        (
            "ephys.unit",
            "ephys.spike",
            "ephys.ephys_trial",
            "ephys.probe_insertion",
            "ephys.insertion_location",
            "experiment.trial_event",
            "psth.trial",
            "psth.period_window",
        ),
        period_selectivity,
    ),
)
