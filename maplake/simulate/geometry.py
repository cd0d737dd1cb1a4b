"""Neuropixels probes: their sites and what SpikeGLX says about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

CHANNELS = 384
_BLOCK = 48  # channels that a four-shank probe switches together
# On four shanks, the lowest 96 sites of each: shank and first site of every block of channels.
_MULTI_SHANK_BLOCKS = ((0, 0), (1, 0), (0, 48), (1, 48), (2, 0), (3, 0), (2, 48), (3, 48))


@dataclass(frozen=True)
class Generation:
    """A generation of probes.

    ``code`` is ``imDatPrb_type`` (None = the key is absent), ``range_max`` in V, ``max_int`` in
    counts, ``row_pitch`` and ``shank_pitch`` in um.
    """

    probe_type: str
    part: str
    code: int | None
    shanks: int
    sites: int
    row_pitch: int
    shank_pitch: int
    range_max: float
    max_int: int
    gain: int
    says_max_int: bool

    @property
    def is_first(self) -> bool:
        """Whether it is a 1.0 probe, with staggered rows and separate LF channels."""
        return self.sites == 960

    @property
    def uv_per_bit(self) -> float:
        """Voltage of one count in uV."""
        return self.range_max / self.max_int / self.gain * 1e6

    @property
    def rows(self) -> int:
        """Rows of a shank."""
        return self.sites // 2


_ONE = (1, 960, 20, 0, 0.6, 512, 500, False)
_SINGLE, _MULTI = "neuropixels 2.0 - SS", "neuropixels 2.0 - MS"

GENERATIONS: Mapping[str, Generation] = MappingProxyType(
    {
        "3A": Generation("neuropixels 1.0 - 3A", "", None, *_ONE),
        "3B": Generation("neuropixels 1.0 - 3B", "PRB_1_4_0480_1", 0, *_ONE),
        "21": Generation(_SINGLE, "PRB2_1_2_0640_0", 21, 1, 1280, 15, 0, 0.5, 8192, 80, True),
        "24": Generation(_MULTI, "NP2010", 24, 4, 1280, 15, 250, 0.5, 8192, 80, True),
        "2003": Generation(_SINGLE, "NP2003", 2003, 1, 1280, 15, 0, 0.62, 2048, 100, True),
        "2013": Generation(_MULTI, "NP2013", 2013, 4, 1280, 15, 250, 0.62, 2048, 100, True),
    }
)


@dataclass(frozen=True)
class Sites:
    """The recorded sites of a probe, one per channel; all arrays are (channels,), counts from 0.

    ``x`` is in um from the left edge of the sites of the first shank, ``y`` from the lowest row.
    """

    shank: Array
    column: Array
    row: Array
    site: Array
    electrode: Array
    x: Array
    y: Array

    @property
    def position(self) -> Array:
        """The positions, (channels, 2), in um."""
        return np.column_stack([self.x, self.y])


def recorded_sites(generation: Generation, channels: int = CHANNELS) -> Sites:
    """Return the sites of the first channels: the lowest ones of every shank."""
    channel = np.arange(channels)
    if generation.shanks == 1:
        shank, site = np.zeros_like(channel), channel
    else:
        blocks = np.array(_MULTI_SHANK_BLOCKS)[channel // _BLOCK]
        shank, site = blocks[:, 0], blocks[:, 1] + channel % _BLOCK
    row, column = site // 2, site % 2
    x = 32.0 * column + generation.shank_pitch * shank
    if generation.is_first:
        x = x + 16.0 * (row % 2 == 0)
    return Sites(
        shank=shank,
        column=column,
        row=row,
        site=site,
        electrode=(shank * generation.sites + site + 1).astype(np.int32),
        x=x,
        y=generation.row_pitch * row.astype(float),
    )
