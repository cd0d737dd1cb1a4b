"""Histology of the probes of a lab, in both formats, for probes of one and of four shanks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.geometry import GENERATIONS, Generation
from maplake.simulate.histology import (
    ShankTrack,
    simulate_shank,
    write_channel_locations,
    write_site_info,
)
from maplake.simulate.truth import Probe, Session

__all__ = ["Located", "locate"]

Array = np.ndarray[Any, Any]

_ENTRY = (4000.0, 400.0, 4500.0)  # um: the uppermost sites are above the brain


@dataclass(frozen=True)
class Located:
    """A probe in the brain; ``form`` is 1 (siteInfo) or 2 (channel_locations)."""

    probe: Probe
    form: int
    shanks: list[ShankTrack]

    def position(self) -> dict[int, tuple[Array, Array, bool]]:
        """Return CCF and MRI position (um) of the recorded electrodes, and if the file has it."""
        sites = _generation(self.probe).sites
        found = {}
        for electrode in self.probe.electrode.tolist():
            item = self.shanks[(electrode - 1) // sites]
            place = (electrode - 1) % sites
            known = self.form == 2 or bool(item.in_brain[place])
            found[electrode] = (item.position[place], item.mri[place], known)
        return found


def locate(folder: Path, sessions: Sequence[Session], rng: np.random.Generator) -> list[Located]:
    """Write histology of the probes of the first and the last session."""
    chosen = [*enumerate(sessions[0].probes, 1), *enumerate(sessions[-1].probes, 1)]
    return [_write(folder, probe, form, rng) for form, probe in chosen]


def _generation(probe: Probe) -> Generation:
    return next(g for g in GENERATIONS.values() if g.probe_type == probe.probe_type)


def _write(root: Path, probe: Probe, form: int, rng: np.random.Generator) -> Located:
    generation, session = _generation(probe), probe.session
    site = np.arange(generation.sites)
    height = generation.row_pitch * (site // 2).astype(float)
    shanks = [
        simulate_shank(rng, shank, height, entry=_ENTRY)
        for shank in range(1, generation.shanks + 1)
    ]
    # One brain has one set of landmarks.
    shanks = [replace(shank, landmarks=shanks[0].landmarks) for shank in shanks]
    name = f"{session.h2o}_{session.start:%Y%m%d}_{probe.insertion_number}"
    folder = root / session.h2o / "histology"
    if form == 1:
        write_site_info(folder, f"landmarks_{name}", shanks, session.start)
    else:
        sites, places = _recorded(probe, generation)
        write_channel_locations(
            folder, f"{name}_", shanks, sites, places, is_first_generation=generation.is_first
        )
    return Located(probe, form, shanks)


def _recorded(probe: Probe, generation: Generation) -> tuple[dict[int, Array], dict[int, Array]]:
    """Return, by shank, the recorded sites and their x and y in um, in the channels' order."""
    shank, site = np.divmod(probe.electrode - 1, generation.sites)
    chosen = {int(s) + 1: shank == s for s in np.unique(shank)}
    return (
        {number: site[mask] for number, mask in chosen.items()},
        {number: probe.position[mask] for number, mask in chosen.items()},
    )
