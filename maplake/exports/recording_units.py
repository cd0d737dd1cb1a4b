"""What a recording's file says about units: spikes by trial, waveforms, quality, histology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import NotFoundError
from maplake.exports.matfile import cells, pieces, row
from maplake.exports.select import Insertion, ask, place
from maplake.query.sqltext import identifier
from maplake.tables import get
from maplake.tables.ephys import UNIT_KEY

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

__all__ = ["clustering_of", "histology", "insertion_info", "unit_metrics", "unit_variables"]

_USING = f"USING ({', '.join(UNIT_KEY)})"

_INFO = """
SELECT i.probe, i.probe_type, l.skull_reference, l.ap_location, l.ml_location, l.depth, l.theta,
    l.phi, l.beta, r.recordable_brain_regions
FROM ephys.probe_insertion AS i
LEFT JOIN ephys.insertion_location AS l USING (subject_id, session, insertion_number)
LEFT JOIN (
    SELECT subject_id, session, insertion_number,
        string_agg(hemisphere || ' ' || brain_area, ', ' ORDER BY hemisphere, brain_area)
            AS recordable_brain_regions
    FROM ephys.recordable_brain_region GROUP BY ALL
) AS r USING (subject_id, session, insertion_number)
WHERE {key}
"""

_UNITS = f"""
SELECT u.unit, u.unit_quality, u.unit_posx, u.unit_posy, u.electrode, e.shank,
    coalesce(c.cell_type, u.cell_type, 'unknown') AS cell_type, w.waveform
FROM ephys.unit AS u
LEFT JOIN lab.probe_type_electrode AS e USING (probe_type, electrode)
LEFT JOIN ephys.unit_cell_type AS c {_USING}
LEFT JOIN ephys.unit_waveform AS w {_USING}
WHERE {{key}} ORDER BY u.unit
"""

_SPIKES = """
SELECT unit, trial, spike_time FROM ephys.trial_spikes WHERE {key}
ORDER BY unit, trial, spike_time
"""

# Sites outside of the annotated volume have a position, too, but no region.
_HISTOLOGY = """
SELECT unit, ccf_x, ccf_y, ccf_z, coalesce(region_name, '') AS annotation
FROM ephys.unit_ccf WHERE {key}
UNION ALL
SELECT u.unit, p.ccf_x, p.ccf_y, p.ccf_z, ''
FROM ephys.unit AS u JOIN histology.electrode_ccf_position_error AS p
    USING (subject_id, session, insertion_number, electrode)
WHERE {outside}
ORDER BY unit
"""


def clustering_of(lake: Lake, insertion: Insertion, method: str | None) -> str | None:
    """Return the clustering of an insertion, or None if it has none.

    Raises
    ------
    NotFoundError
        If there is no such clustering, or several and none is named.
    """
    names = ask(
        lake,
        "SELECT DISTINCT clustering_method FROM ephys.unit "
        f"WHERE {place(insertion.key)} ORDER BY ALL",
    )["clustering_method"].to_list()
    if method is not None and method not in names:
        known = ", ".join(names) or "none"
        raise NotFoundError(f"{insertion} has no clustering {method!r}", found=known)
    if method is None and len(names) > 1:
        raise NotFoundError(
            f"{insertion} has several clusterings",
            found=", ".join(names),
            hint="Name one with --clustering-method.",
        )
    return method or next(iter(names), None)


def insertion_info(lake: Lake, insertion: Insertion) -> dict[str, Any]:
    """Return where a probe went in, as one struct; NaN and '' for what is not known."""
    row = ask(lake, _INFO.format(key=place(insertion.key, "i"))).to_dicts()[0]
    texts = ("probe", "probe_type", "skull_reference", "recordable_brain_regions")
    return {
        k: (v or "") if k in texts else float("nan" if v is None else v) for k, v in row.items()
    }


def unit_variables(
    lake: Lake, key: dict[str, Any], trials: NDArray[Any], info: dict[str, Any]
) -> dict[str, Any]:
    """Return the variables ``neuron_*``.

    Parameters
    ----------
    lake, key
        The clustering.
    trials
        Trial numbers of the session, sorted.
    info
        Of the insertion, as :func:`insertion_info` returns it.
    """
    units = ask(lake, _UNITS.format(key=place(key, "u")))
    number = units["unit"].to_numpy()
    waveforms = [column(wave) for wave in units["waveform"]]
    return {
        "neuron_single_units": _single_units(lake, key, number, trials),
        "neuron_unit_waveforms": cells(waveforms, (len(number), 1)),
        "neuron_unit_info": _unit_info(units, info),
        "neuron_unit_quality_control": {
            name: values.reshape(-1, 1) for name, values in unit_metrics(lake, key).items()
        },
    }


def column(values: pl.Series | None) -> NDArray[np.float64]:
    """Return numbers as a column (n, 1)."""
    found = np.empty(0) if values is None else np.asarray(values, dtype=float)
    return found.reshape(-1, 1)


def _single_units(
    lake: Lake, key: dict[str, Any], units: NDArray[Any], trials: NDArray[Any]
) -> NDArray[np.object_]:
    spikes = ask(lake, _SPIKES.format(key=place(key)))
    owner = np.searchsorted(units, spikes["unit"].to_numpy()) * len(trials)
    owner += np.searchsorted(trials, spikes["trial"].to_numpy())
    parts = pieces(spikes["spike_time"].to_numpy(), owner, len(units) * len(trials))
    whole = cells(parts, (len(units), len(trials)))
    return cells((unit.reshape(-1, 1) for unit in whole), (len(units), 1))


def _unit_info(units: pl.DataFrame, info: dict[str, Any]) -> NDArray[np.object_]:
    made = np.empty((len(units), 8), dtype=object)
    columns = ("unit", "unit_quality", "unit_posx", "unit_posy", "electrode", "shank", "cell_type")
    for place_, values in enumerate(units.select(columns).rows()):
        made[place_, :7] = [np.nan if value is None else value for value in values]
        made[place_, 3] += info["depth"]
        made[place_, 7] = info["recordable_brain_regions"]
    return made


def unit_metrics(lake: Lake, key: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return every metric that any unit has, (units,) each, in order of the units.

    Parameters
    ----------
    lake, key
        The clustering, or more.
    """
    sources = ("ephys.unit_stat", "ephys.map_cluster_metric", "ephys.cluster_metric")
    names = {"unit_amp": "u.unit_amp", "unit_snr": "u.unit_snr", "spike_count": "u.spike_count"}
    joins = ""
    for alias, source in enumerate((*sources, "ephys.waveform_metric")):
        table = get(source)
        measured = [c.name for c in table.columns if c.name not in table.key]
        names |= {n: f"t{alias}.{identifier(n)}" for n in measured if n not in names}
        # Several epochs may be measured: the first one counts, as in ephys.unit_stat.
        epoch = next((n for n in table.key if n.startswith("epoch")), None)
        inner = f"SELECT * FROM {source} WHERE {place(key)}"
        if epoch:
            over = f"PARTITION BY {', '.join(UNIT_KEY)} ORDER BY {epoch}"
            inner += f" QUALIFY row_number() OVER ({over}) = 1"
        joins += f" LEFT JOIN ({inner}) AS t{alias} {_USING}"
    columns = ", ".join(f"{text}::DOUBLE AS {identifier(name)}" for name, text in names.items())
    found = ask(
        lake,
        f"SELECT {columns} FROM ephys.unit AS u{joins} WHERE {place(key, 'u')} "
        "ORDER BY u.insertion_number, u.clustering_method, u.unit",
    )
    values = {name: found[name].to_numpy().astype(float) for name in names}
    return {name: array for name, array in values.items() if not np.isnan(array).all()}


def histology(lake: Lake, key: dict[str, Any]) -> dict[str, Any] | None:
    """Return where units are in the CCF (um), (1, units) each; None without histology."""
    found = ask(lake, _HISTOLOGY.format(key=place(key), outside=place(key, "u")))
    found = found.unique("unit", keep="first", maintain_order=True)
    if not len(found):
        return None
    names = ("unit", "ccf_x", "ccf_y", "ccf_z")
    numbers = {name: row(found[name].to_numpy().astype(float)) for name in names}
    return {**numbers, "annotation": cells(found["annotation"], (1, len(found)))}
