"""Which electrode a place on a probe is, for places that sorters count from other origins.

The lake counts from the bottom left site. Others count from the left edge of the shank (1.0 sites
at 27, 59 and 11, 43 in alternate rows, 2.0 at 27, 59), from the lowest site or 20 um below it,
from the first shank or from each; and the channel map that Kilosort brought for 1.0 probes shows
them from behind (43, 11 in the lowest row). Each of these is tried as a whole, on the recorded
sites; a wrong one leaves sites over, or is told by the order of the channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError
from maplake.readers.base import HistologyContext

__all__ = ["match_sites"]

_LEFT = (11.0, 27.0, 0.0)  # um from the edge to the leftmost site
_BELOW = (20.0, 0.0, 15.0)  # um from the origin to the lowest row
_FLOATS = NDArray[np.float64]


def match_sites(
    file: Path,
    names: Sequence[str],
    place: _FLOATS,
    index: Sequence[int],
    shank: int,
    context: HistologyContext,
) -> NDArray[np.int32]:
    """Return the electrode of each channel, int32 (channels,).

    Parameters
    ----------
    file, names
        The file and the channels' names, for messages.
    place
        (channels, 2), lateral and axial in um.
    index
        Number of each channel in the recording, from 0, or within its shank: decides between
        origins that fit equally well.
    shank
        The shank that they are on.
    context
        The probe.

    Raises
    ------
    CorruptFileError
        If a channel is at no recorded site whatever the origin, or two are at one.
    """
    sites = context.sites
    chosen = np.isin(sites.electrode, context.recorded) & (sites.shank == shank)
    electrode = sites.electrode[chosen]
    x, y = sites.x[chosen], sites.y[chosen]
    expected = _by_order(context, electrode, index)
    best: tuple[int, int, int] = (-1, 0, 0)
    found = np.zeros(len(place), dtype=np.int32)
    for rank, moved in enumerate(_candidates(place, x, y, sites.x[sites.shank == shank])):
        matched = _at(moved, x, y, electrode)
        score = (int((matched > 0).sum()), int((matched == expected).sum()), -rank)
        if score > best:
            best, found = score, matched
    _check(file, names, place, found, shank)
    return found


def _by_order(
    context: HistologyContext, electrode: NDArray[np.int32], index: Sequence[int]
) -> NDArray[np.int32]:
    """Return the electrode of each channel by its number in the recording; 0 = none."""
    inside = np.asarray(index)
    recorded = np.asarray(context.recorded)
    if len(inside) <= len(electrode) < len(recorded) and inside.max() < len(electrode):
        recorded = recorded[np.isin(recorded, electrode)]  # counted within the shank
    known = inside < len(recorded)
    return np.where(known, recorded[np.where(known, inside, 0)], 0).astype(np.int32)


def _candidates(place: _FLOATS, x: _FLOATS, y: _FLOATS, all_x: _FLOATS) -> Iterator[_FLOATS]:
    """Yield the places, counted from the lake's origin, for every origin that is known."""
    lateral, axial = place.T
    width = float(np.ptp(all_x))
    below = [*_BELOW]
    if len(place) == len(x):
        # As many channels as recorded sites: the lowest ones are the same.
        below.insert(0, float(axial.min() - y.min()))
    for mirrored in (False, True):
        for low in below:
            for shift in dict.fromkeys((0.0, float(all_x.min()))):
                for left in _LEFT:
                    across = lateral - left + shift
                    if mirrored:
                        across = 2 * float(all_x.min()) + width - across
                    yield np.column_stack([across, axial - low])


def _at(moved: _FLOATS, x: _FLOATS, y: _FLOATS, electrode: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the electrode at each place, to the nearest um; 0 where there is none."""
    known = {
        (round(float(a)), round(float(b))): number
        for a, b, number in zip(x, y, electrode, strict=True)
    }
    keys = np.rint(moved).astype(np.int64).tolist()
    near = np.abs(moved - np.rint(moved)).max(axis=1) < 0.5
    found = np.array([known.get((a, b), 0) for a, b in keys], dtype=np.int32)
    return np.where(near, found, 0).astype(np.int32)


def _check(
    file: Path, names: Sequence[str], place: _FLOATS, found: NDArray[np.int32], shank: int
) -> None:
    missing = np.flatnonzero(found == 0)
    if missing.size:
        first = int(missing[0])
        more = f", and {missing.size - 1} more" if missing.size > 1 else ""
        raise CorruptFileError(
            "a channel is at no recorded site",
            file=file,
            place=f"{names[first]}{more}",
            found=f"lateral {place[first, 0]:g}, axial {place[first, 1]:g} um",
            expected=f"a recorded site of shank {shank}",
        )
    values, counts = np.unique(found, return_counts=True)
    if (counts > 1).any():
        electrode = int(values[counts > 1][0])
        both = [names[i] for i in np.flatnonzero(found == electrode).tolist()]
        raise CorruptFileError(
            "channels share a site",
            file=file,
            place=", ".join(both),
            found=f"electrode {electrode}",
        )
