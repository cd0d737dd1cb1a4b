"""Probes, electrodes, units and field potentials of an NWB file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from hdmf.common import DynamicTableRegion
from numpy.typing import NDArray
from pynwb.ecephys import LFP, ElectricalSeries, ElectrodesTable
from pynwb.misc import Units

from maplake.errors import IntegrityError
from maplake.exports.nwb_clock import Clock
from maplake.exports.nwb_data import column, postponed, ragged
from maplake.exports.recording_units import unit_metrics
from maplake.exports.select import ask, place
from maplake.layout import lfp_store
from maplake.tables import get
from maplake.tables.ephys import UNIT_KEY

if TYPE_CHECKING:
    import polars as pl
    from pynwb import NWBFile

    from maplake.query.lake import Lake

__all__ = ["add_lfp", "add_probes", "add_units"]

Key = dict[str, int]
#: Row in the table of electrodes by insertion and electrode.
Rows = dict[tuple[int, int], int]

_USING = f"USING ({', '.join(UNIT_KEY)})"

_INSERTIONS = """
SELECT i.insertion_number, i.probe, i.probe_type, i.electrode_config_name, l.skull_reference,
    l.ap_location, l.ml_location, l.depth, l.theta, l.phi, l.beta, r.regions
FROM ephys.probe_insertion AS i
LEFT JOIN ephys.insertion_location AS l USING (subject_id, session, insertion_number)
LEFT JOIN (
    SELECT subject_id, session, insertion_number, string_agg(
        hemisphere || ' ' || brain_area, ', ' ORDER BY hemisphere, brain_area) AS regions
    FROM ephys.recordable_brain_region GROUP BY ALL
) AS r USING (subject_id, session, insertion_number)
WHERE {key} ORDER BY i.insertion_number
"""

_ELECTRODES = """
WITH site AS (
    SELECT i.insertion_number, c.electrode, c.is_used, e.shank, e.shank_col, e.shank_row,
        e.x_coord, e.y_coord, p.ccf_x, p.ccf_y, p.ccf_z
    FROM ephys.probe_insertion AS i
    JOIN lab.electrode_config_electrode AS c USING (probe_type, electrode_config_name)
    LEFT JOIN lab.probe_type_electrode AS e USING (probe_type, electrode)
    LEFT JOIN histology.electrode_position AS p
        USING (subject_id, session, insertion_number, electrode)
    WHERE {key}
    QUALIFY row_number() OVER (PARTITION BY i.insertion_number, c.electrode) = 1
)
SELECT s.*, arg_min(b.region_name, b.annotation_version) AS region_name
FROM site AS s
LEFT JOIN ccf.annotation_run AS a
    ON a.ccf_x = s.ccf_x AND a.ccf_z = s.ccf_z
    AND s.ccf_y BETWEEN a.ccf_y_start AND a.ccf_y_stop
LEFT JOIN ccf.ccf_brain_region AS b USING (annotation_version, region_id)
GROUP BY ALL ORDER BY s.insertion_number, s.electrode
"""

_UNITS = f"""
SELECT u.*, w.waveform, coalesce(c.cell_type, u.cell_type) AS type, coalesce(s.n, 0) AS spikes
FROM ephys.unit AS u
LEFT JOIN (
    SELECT {", ".join(UNIT_KEY)}, count(*) AS n FROM ephys.spike_file
    WHERE {{inner}} GROUP BY ALL
) AS s {_USING}
LEFT JOIN ephys.unit_cell_type AS c {_USING}
LEFT JOIN ephys.unit_waveform AS w {_USING}
WHERE {{key}} ORDER BY u.insertion_number, u.clustering_method, u.unit
"""

_WORDS = {
    "rel_x": "position across the probe, um",
    "rel_y": "position along the probe from the tip, um",
    "x": "ccf_x: left to right (ML) in the Common Coordinate Framework, um; NaN = not known",
    "y": "ccf_y: superior to inferior (DV), um; NaN = not known",
    "z": "ccf_z: anterior to posterior (AP), um; NaN = not known",
    "location": "structure of the Allen Mouse Brain Atlas; root where the place is not known",
    "region_name": "brain region as the lake names it",
    "electrode": "number of the site on the probe, from 1",
    "insertion_number": "number of the probe insertion, from 1",
}


def add_probes(file: NWBFile, lake: Lake, key: Key) -> Rows:
    """Add devices, groups and electrodes; return the row of each electrode."""
    groups = {}
    for row in ask(lake, _INSERTIONS.format(key=place(key, "i"))).to_dicts():
        name = f"probe_{row['insertion_number']}"
        device = file.create_device(
            name=name, description=row["probe_type"], serial_number=row["probe"]
        )
        words = ("skull_reference", "ap_location", "ml_location", "depth", "theta", "phi", "beta")
        known = [f"{word} {row[word]}" for word in words if row[word] is not None]
        text = f"insertion {row['insertion_number']}, electrodes {row['electrode_config_name']}; "
        groups[row["insertion_number"]] = file.create_electrode_group(
            name=f"insertion_{row['insertion_number']}",
            description=text + (", ".join(known) or "location not known"),
            location=row["regions"] or "unknown",
            device=device,
        )
    sites = ask(lake, _ELECTRODES.format(key=place(key, "i"))).to_dicts()
    if sites:
        file.electrodes = _electrodes(sites, groups)
    return {(s["insertion_number"], s["electrode"]): n for n, s in enumerate(sites)}


def _electrodes(sites: list[dict[str, Any]], groups: dict[int, Any]) -> ElectrodesTable:
    def numbers(name: str) -> NDArray[np.float64]:
        return np.array([np.nan if s[name] is None else s[name] for s in sites], dtype=float)

    placed = any(s["ccf_x"] is not None for s in sites)
    values = {
        "location": [_structure(s["region_name"]) for s in sites],
        "group": [groups[s["insertion_number"]] for s in sites],
        "group_name": [groups[s["insertion_number"]].name for s in sites],
        **({axis: numbers(f"ccf_{axis}") for axis in "xyz"} if placed else {}),
        "rel_x": numbers("x_coord"),
        "rel_y": numbers("y_coord"),
        **{n: np.array([s[n] or 0 for s in sites]) for n in ("shank", "shank_col", "shank_row")},
        **{n: np.array([s[n] for s in sites]) for n in ("electrode", "insertion_number")},
        "is_used": np.array([s["is_used"] for s in sites]),
        "region_name": [s["region_name"] or "" for s in sites],
    }
    words = {c.name: c.comment for c in get("lab.probe_type_electrode").columns} | _WORDS
    words |= {"is_used": "false = reference or switched off", "group": "its probe insertion"}
    columns = [column(name, words.get(name, name), v) for name, v in values.items()]
    return ElectrodesTable(columns=columns, id=list(range(len(sites))))


def _structure(region: str | None) -> str:
    """Return a region without its side, as the atlas names structures."""
    name = region or "root"
    for side in (", left", ", right"):
        name = name.removesuffix(side)
    return name


def add_units(file: NWBFile, lake: Lake, key: Key, clock: Clock, rows: Rows) -> bool:
    """Add all units with their spikes; whether there are any."""
    units = ask(lake, _UNITS.format(key=place(key, "u"), inner=place(key)))
    if not len(units):
        return False
    ends = np.cumsum(units["spikes"].to_numpy().astype(np.int64))
    spikes = _Spikes(lake, key, units, clock)
    shape = (int(ends[-1]),)
    spans = [clock.probes[number].span for number in units["insertion_number"]]
    sites = [rows[site] for site in units.select("insertion_number", "electrode").rows()]
    one = np.arange(1, len(units) + 1)
    region = DynamicTableRegion(
        name="electrodes",
        description="site with the largest amplitude",
        data=sites,
        table=file.electrodes,
    )
    columns = [
        *ragged(
            "spike_times",
            "s on the session's clock",
            postponed(spikes.times, shape, "float64"),
            ends,
        ),
        *ragged(
            "spike_samples",
            "the same spikes in samples of the probe's own clock",
            postponed(spikes.samples, shape, "int64"),
            ends,
        ),
        *ragged(
            "obs_intervals",
            "from the probe's first to its last spike or trial",
            np.array(spans) + clock.lead,
            one,
        ),
        *ragged("electrodes", "", region, one),
        *_described(file, lake, key, units),
    ]
    rate = float(max(probe.rate for probe in clock.probes.values()))
    file.units = Units(
        name="units",
        description="sorted units",
        columns=columns,
        id=list(range(len(units))),
        resolution=1 / rate,
        waveform_rate=rate,
        waveform_unit="volts",
    )
    return True


def _described(file: NWBFile, lake: Lake, key: Key, units: pl.DataFrame) -> list[Any]:
    groups = [file.electrode_groups[f"insertion_{n}"] for n in units["insertion_number"]]
    made = [
        column("electrode_group", "the unit's probe", groups),
        column("waveform_mean", "mean waveform at that site, V", _waveforms(units)),
    ]
    words = {c.name: c.comment for c in get("ephys.unit").columns}
    names = ("insertion_number", "clustering_method", "unit", "unit_uid", "unit_quality")
    made += [column(n, words[n], _list(units[n])) for n in (*names, "unit_posx", "unit_posy")]
    made.append(column("cell_type", words["cell_type"], units["type"].to_list()))
    sites = {
        (row["insertion_number"], row["electrode"]): row["region_name"]
        for row in ask(lake, _ELECTRODES.format(key=place(key, "i"))).to_dicts()
    }
    regions = [sites.get(site) for site in units.select("insertion_number", "electrode").rows()]
    made.append(column("anno_name", "brain region at that site", [r or "" for r in regions]))
    return made + _metrics(lake, key)


def _list(series: pl.Series) -> Any:
    return series.to_list() if series.dtype == str else series.to_numpy()


def _metrics(lake: Lake, key: Key) -> list[Any]:
    tables = ("waveform_metric", "cluster_metric", "map_cluster_metric", "unit_stat", "unit")
    words = {
        c.name: c.comment + (f", {c.unit}" if c.unit else "")
        for name in tables
        for c in get(f"ephys.{name}").columns
    }
    found = unit_metrics(lake, key)
    found.pop("spike_count", None)
    return [column(name, words[name], values) for name, values in found.items()]


def _waveforms(units: pl.DataFrame) -> NDArray[np.float32]:
    """Return mean waveforms in V, (units, samples); shorter ones end in NaN."""
    found = [np.asarray([] if w is None else w) * 1e-6 for w in units["waveform"]]
    made = np.full((len(found), max([1, *map(len, found)])), np.nan, np.float32)
    for line, wave in zip(made, found, strict=True):
        line[: len(wave)] = wave
    return made


class _Spikes:
    """Spikes of all units of a session, unit after unit, each in order of time."""

    def __init__(self, lake: Lake, key: Key, units: pl.DataFrame, clock: Clock) -> None:
        self._lake, self._key, self._clock = lake, key, clock
        pairs = units.select("insertion_number", "clustering_method").rows()
        self._clusterings = list(dict.fromkeys(pairs))

    def times(self, selection: tuple[slice, ...]) -> NDArray[np.float64]:
        parts = [time for time, _ in map(self._of, self._clusterings)]
        return np.concatenate(parts)[selection] + self._clock.lead

    def samples(self, selection: tuple[slice, ...]) -> NDArray[np.int64]:
        parts = [sample for _, sample in map(self._of, self._clusterings)]
        return np.concatenate(parts)[selection]

    def _of(self, clustering: tuple[int, str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        number, method = clustering
        one = place({**self._key, "insertion_number": number, "clustering_method": method})
        found = ask(
            self._lake,
            f"SELECT unit, spike_sample FROM ephys.spike_file WHERE {one} ORDER BY ALL",
        )
        sample = found["spike_sample"].to_numpy()
        time = self._clock.probes[number].seconds(sample)
        # Where one trial's clock hands over to the next one's, two spikes can change places.
        order = np.lexsort((time, found["unit"].to_numpy()))
        return time[order], sample[order]


def add_lfp(file: NWBFile, lake: Lake, key: Key, clock: Clock, rows: Rows) -> None:
    """Add field potentials, as the counts that were recorded, read part by part."""
    import zarr

    query = f"SELECT insertion_number, lfp_sample_rate FROM ephys.lfp WHERE {place(key)} ORDER BY 1"
    series = []
    for number, rate in ask(lake, query).rows():
        store = lake.root / lfp_store({**key, "insertion_number": number})
        try:
            group: Any = zarr.open_group(str(store), mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise IntegrityError(
                f"the array store cannot be opened: {error}", file=store
            ) from error
        electrodes = [(number, int(e)) for e in group["electrode"][:]]
        missing = [site for site in electrodes if site not in rows]
        if missing:
            raise IntegrityError(
                "a channel is no electrode of its probe", file=store, found=missing[0][1]
            )
        start = clock.probes[number].seconds(np.zeros(1, np.int64))[0] + clock.lead
        trace = group["trace"]
        series.append(
            ElectricalSeries(
                name=f"lfp_insertion_{number}",
                description=f"local field potential of insertion {number}, counts as recorded",
                data=postponed(_part_of(trace), trace.shape, trace.dtype, rows=1 << 17),
                electrodes=file.create_electrode_table_region(
                    [rows[site] for site in electrodes], f"channels of insertion {number}"
                ),
                starting_time=float(start),
                rate=float(rate),
                conversion=1e-6,
                channel_conversion=group["uv_per_bit"][:],
            )
        )
    if series:
        module = file.create_processing_module("ecephys", "field potentials of the probes")
        potentials = LFP(name="LFP")
        module.add(potentials)  # first: a series is checked against the file that it is in
        for item in series:
            potentials.add_electrical_series(item)


def _part_of(trace: Any) -> Callable[[Any], NDArray[Any]]:
    return lambda selection: np.asarray(trace[selection])
