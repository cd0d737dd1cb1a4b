"""Where the sites of a kind of Neuropixels probe are.

The positions come from the catalogue of probeinterface, or, for a kind that it does not know,
from the geometry that newer SpikeGLX versions write into the metadata. In the lake the origin is
the bottom left site; electrodes, shanks, columns and rows count from 1 and the electrode number
runs along the columns, then the rows, then the shanks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, UnknownValueError
from maplake.readers.spikeglx_meta import number, parse_table, probe_code

__all__ = ["Sites", "sites_of"]

_SINGLE = "neuropixels 2.0 - SS"
_MULTI = "neuropixels 2.0 - MS"
#: Name in the lake and part of the catalogue for the codes that the lake has names for.
_NAMED = {
    21: (_SINGLE, "NP2000"),
    2003: (_SINGLE, "NP2000"),
    2004: (_SINGLE, "NP2000"),
    24: (_MULTI, "NP2010"),
    2013: (_MULTI, "NP2010"),
    2014: (_MULTI, "NP2010"),
}
_MAX_SITES = 1_000_000


@dataclass(frozen=True)
class Sites:
    """All sites of a kind of probe.

    Attributes
    ----------
    name
        Kind of probe, as in ``lab.probe_type``.
    columns, rows, shanks
        Number of columns and rows on a shank, and of shanks.
    position
        (sites, 2), x and y in um, by electrode number - 1.
    edge
        x of the first shank's left edge in um; ``snsGeomMap`` counts from it.
    pitch
        Distance of the shanks in um.
    width
        Width of a shank in um; 0 where only the file tells where the sites are.
    """

    name: str
    columns: int
    rows: int
    shanks: int
    position: NDArray[np.float64]
    edge: float
    pitch: float
    width: float = 0.0

    @property
    def index(self) -> NDArray[np.int64]:
        """(sites, 3): shank, column and row of each site, from 0."""
        site = np.arange(self.shanks * self.rows * self.columns)
        row = site // self.columns
        return np.column_stack((row // self.rows, site % self.columns, row % self.rows))

    def same_as(self, other: Sites) -> bool:
        """Whether the sites of both are at the same places."""
        same = self.position.shape == other.position.shape
        return same and bool(np.allclose(self.position, other.position))


def sites_of(meta: Mapping[str, str]) -> Sites:
    """Return the sites of the probe that a recording was made with.

    Raises
    ------
    UnknownValueError
        If neither the type's name, nor its geometry, can be told.
    CorruptFileError, FileFormatError
        If the geometry in the file is damaged.
    """
    code = probe_code(meta)
    if code == 0 or code in _NAMED:
        name, part = _NAMED.get(code) or (_first_generation(meta), "NP1000")
        return _variant(meta.get("imDatPrb_pn", ""), part) or _known(name, part)
    known = _from_catalogue(f"neuropixels NP{code}", f"NP{code}")
    if known is not None:
        return _variant(meta.get("imDatPrb_pn", ""), f"NP{code}") or known
    if "snsGeomMap" in meta:
        return _from_file(f"neuropixels NP{code}", meta)
    raise UnknownValueError(
        "maplake does not know this type of probe, and the file does not hold its geometry",
        file=getattr(meta, "path", None),
        place="key imDatPrb_type",
        found=code,
        expected="0, 21, 24, 2003, 2004, 2013, 2014 or a type known to probeinterface",
        hint="A newer probeinterface may know it.",
    )


def _first_generation(meta: Mapping[str, str]) -> str:
    if "typeEnabled" in meta:
        return "neuropixels 1.0 - 3A"
    if "typeImEnabled" in meta:
        return "neuropixels 1.0 - 3B"
    raise UnknownValueError(
        "the generation of the 1.0 probe cannot be told",
        file=getattr(meta, "path", None),
        place="keys typeEnabled, typeImEnabled",
        found="neither",
        expected="typeEnabled (3A) or typeImEnabled (3B)",
    )


@cache
def _variant(part: str, standard: str) -> Sites | None:
    """Return the sites of a part that shares a code with the standard one, if they differ."""
    sites = _from_catalogue(f"neuropixels {part}", part)
    return None if sites is None or sites.same_as(_known("", standard)) else sites


def _known(name: str, part: str) -> Sites:
    sites = _from_catalogue(name, part)
    if sites is None:
        raise UnknownValueError("this probeinterface does not know the part", found=part)
    return sites


@cache
def _from_catalogue(name: str, part: str) -> Sites | None:
    """Return the sites of a part by its number; None if probeinterface does not know it."""
    # Imported late: most of what maplake does needs no probe.
    from probeinterface.neuropixels_tools import build_neuropixels_probe

    try:
        probe = build_neuropixels_probe(part)
    except KeyError:
        return None
    position = np.asarray(probe.contact_positions, dtype=np.float64)
    origin = position.min(axis=0)
    shanks = max(1, len(set(probe.shank_ids.tolist())) if probe.shank_ids is not None else 1)
    per_shank = len(position) // shanks
    columns = int((position[:per_shank, 1] == origin[1]).sum())
    pitch = float(position[per_shank, 0] - position[0, 0]) if shanks > 1 else 0.0
    outline = np.asarray(probe.probe_planar_contour)[:, 0]
    edge = float(outline.min() - origin[0])
    width = float(np.ptp(outline)) - pitch * (shanks - 1)
    position = position - origin
    return Sites(name, columns, per_shank // columns, shanks, position, edge, pitch, width)


def _from_file(name: str, meta: Mapping[str, str]) -> Sites:
    """Lay out the sites from ``snsGeomMap`` and the ``im…PerShank``, ``im…Pitch`` keys.

    Without those keys the grid is the smallest one that holds the recorded sites.
    """
    header, entries = geometry_map(meta)
    shanks, pitch = int(header[1]), float(header[2])
    if "imColsPerShank" in meta:
        columns = int(number(meta, "imColsPerShank", whole=True))
        rows = int(number(meta, "imRowsPerShank", whole=True))
        step = number(meta, "imZPitch")
        _check_count(meta, columns, rows, shanks)
        starts = [float(number(meta, key)) for key in ("imX0EvenRow", "imX0OddRow")]
        width = number(meta, "imXPitch") if columns > 1 else 0.0
        x_rows = [start + width * np.arange(columns) for start in starts]
    else:
        heights = np.unique(entries[:, 2])
        step = float(np.diff(heights).min()) if len(heights) > 1 else 1.0
        row = np.rint(entries[:, 2] / step).astype(np.int64)
        x_rows = [np.unique(entries[row % 2 == parity, 1]) for parity in (0, 1)]
        columns, rows = max(map(len, x_rows)), int(row.max()) + 1
        x_rows = [x if len(x) == columns else max(x_rows, key=len) for x in x_rows]
    _check_count(meta, columns, rows, shanks)
    left = float(min(x.min() for x in x_rows))
    x = np.tile(np.concatenate(x_rows) - left, -(-rows // 2))[: rows * columns]
    x = (x[None] + pitch * np.arange(shanks)[:, None]).ravel()
    y = np.tile(np.repeat(np.arange(rows) * step, columns), shanks)
    return Sites(name, columns, rows, shanks, np.column_stack((x, y)), -left, pitch)


def _check_count(meta: Mapping[str, str], columns: int, rows: int, shanks: int) -> None:
    if not 0 < columns * rows * shanks < _MAX_SITES:
        raise _damaged(meta, f"{columns:.6g} columns, {rows:.6g} rows, {shanks:.6g} shanks")


def geometry_map(meta: Mapping[str, str]) -> tuple[list[str], NDArray[np.float64]]:
    """Return header and entries (channels, 4: shank, x, z in um, used) of ``snsGeomMap``.

    Raises
    ------
    FileFormatError, CorruptFileError
        If it is missing or damaged.
    """
    header, rows = parse_table(meta, "snsGeomMap")
    try:
        entries = np.array(rows, dtype=np.float64).reshape(-1, 4)
        whole = int(header[1]) > 0 and np.isfinite(float(header[2])) and np.isfinite(entries).all()
    except (ValueError, IndexError) as error:
        raise _damaged(meta, str(error)) from error
    if not whole or not len(entries):
        raise _damaged(meta, "no usable entries")
    return header, entries


def _damaged(meta: Mapping[str, str], found: str) -> CorruptFileError:
    return CorruptFileError(
        "the geometry is damaged",
        file=getattr(meta, "path", None),
        place="key snsGeomMap",
        found=found,
        expected="(part,shanks,pitch,width)(shank:x:z:used)…",
    )
