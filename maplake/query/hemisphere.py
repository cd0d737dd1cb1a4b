"""Which side of the brain probes are in, and which side of a trial that makes contra or ipsi."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maplake.errors import NotFoundError, QueryError
from maplake.query.absent import absent
from maplake.query.aligned import Aligned, frame, place

_OTHER = {"left": "right", "right": "left"}


def hemisphere(aligned: Aligned, keys: Mapping[str, Any]) -> str:
    """Return the side of a probe, or of all probes of a session.

    Returns
    -------
    ``left`` or ``right``, from the sign of ``ml_location`` (positive is right).

    Raises
    ------
    NotFoundError
        If there is no such insertion, or no location of it.
    QueryError
        If probes are on both sides, or on the midline.
    """
    found = aligned.rows("ephys.insertion_location", keys)["ml_location"].to_list()
    if not found:
        raise absent(lambda query: frame(aligned.con, query), keys) or NotFoundError(
            "there is no insertion location",
            place=place(keys),
            hint="Sides come from the sheet of insertion locations: "
            "`maplake load-insertion-location`.",
        )
    sides = {"right" if ml > 0 else "left" if ml < 0 else "midline" for ml in found}
    if len(sides) > 1:
        raise QueryError(
            "the probes are in both hemispheres",
            place=place(keys),
            hint="Name one of them.",
        )
    if sides == {"midline"}:
        raise QueryError("the probe is on the midline: ml_location is 0", place=place(keys))
    return sides.pop()


def contra_ipsi(side: str) -> tuple[str, str]:
    """Return the instructed sides that are contra- and ipsilateral to a hemisphere."""
    return _OTHER[side], side
