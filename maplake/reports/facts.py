"""What pages say of sessions, probes and units, as rows of the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maplake.errors import NotFoundError
from maplake.plots.lookup import Key, method_of, rows

if TYPE_CHECKING:
    from maplake.query.lake import Lake

Row = dict[str, Any]

#: Stored tables that pages read; figures name theirs.
TABLES = (
    "lab.water_restriction",
    "experiment.session",
    "ephys.probe_insertion",
    "ephys.insertion_location",
    "ephys.recordable_brain_region",
    "ephys.unit",
    "ephys.cluster_metric",
    "ephys.ephys_trial",
    "ephys.spike",
    "histology.electrode_ccf_position",
)

_SESSIONS = """
SELECT s.subject_id, s.session, s.session_datetime, s.username, s.rig, s.task, s.trial_count,
    w.water_restriction_number AS h2o, coalesce(p.probes, 0) AS probes,
    coalesce(u.units, 0) AS units, coalesce(r.place, l.place) AS location
FROM experiment.session AS s
LEFT JOIN lab.water_restriction AS w USING (subject_id)
LEFT JOIN (SELECT subject_id, session, count(*) AS probes FROM ephys.probe_insertion GROUP BY ALL)
    AS p USING (subject_id, session)
LEFT JOIN (SELECT subject_id, session, count(*) AS units FROM ephys.unit GROUP BY ALL)
    AS u USING (subject_id, session)
LEFT JOIN (
    SELECT subject_id, session,
        string_agg(hemisphere || ' ' || brain_area, ', ' ORDER BY insertion_number) AS place
    FROM ephys.recordable_brain_region GROUP BY ALL
) AS r USING (subject_id, session)
LEFT JOIN (
    SELECT subject_id, session, string_agg(
        'AP ' || ap_location::INT || ' ML ' || ml_location::INT, ', ' ORDER BY insertion_number
    ) AS place
    FROM ephys.insertion_location GROUP BY ALL
) AS l USING (subject_id, session)
WHERE {where}
ORDER BY s.session_datetime DESC, s.subject_id, s.session
"""

_PROBES = """
SELECT p.insertion_number, p.probe, p.probe_type, p.electrode_config_name, p.sampling_rate,
    l.skull_reference, l.ap_location, l.ml_location, l.depth, l.theta, l.phi, r.place,
    coalesce(u.units, 0) AS units, coalesce(u.good, 0) AS good, u.methods
FROM ephys.probe_insertion AS p
LEFT JOIN ephys.insertion_location AS l USING (subject_id, session, insertion_number)
LEFT JOIN (
    SELECT subject_id, session, insertion_number,
        string_agg(hemisphere || ' ' || brain_area, ', ' ORDER BY brain_area) AS place
    FROM ephys.recordable_brain_region GROUP BY ALL
) AS r USING (subject_id, session, insertion_number)
LEFT JOIN (
    SELECT subject_id, session, insertion_number, count(*) AS units,
        count(*) FILTER (unit_quality = 'good') AS good,
        list(DISTINCT clustering_method ORDER BY clustering_method) AS methods
    FROM ephys.unit GROUP BY ALL
) AS u USING (subject_id, session, insertion_number)
WHERE {where}
ORDER BY p.insertion_number
"""

_UNITS = """
SELECT u.unit, u.unit_quality, u.cell_type, u.electrode, u.unit_posx, u.unit_posy, u.unit_amp,
    u.unit_snr, u.spike_count, s.isi_violation, s.avg_firing_rate, c.region_name
FROM ephys.unit AS u
LEFT JOIN (FROM ephys.unit_stat WHERE {where})
    AS s USING (subject_id, session, insertion_number, clustering_method, unit)
LEFT JOIN (
    SELECT clustering_method, unit, any_value(region_name) AS region_name
    FROM ephys.unit_ccf WHERE {where} GROUP BY ALL
) AS c USING (clustering_method, unit)
WHERE {where} AND u.clustering_method = ?
ORDER BY u.unit
"""


def sessions(lake: Lake, key: Key | None = None) -> list[Row]:
    """Return a row per session, the newest first; of a key, that session alone."""
    where = (
        "true" if key is None else f"s.subject_id = {key.subject_id} AND s.session = {key.session}"
    )
    return rows(lake, _SESSIONS.format(where=where)).to_dicts()


def probes(lake: Lake, key: Key) -> list[Row]:
    """Return a row per probe insertion of a session."""
    where = f"p.subject_id = {key.subject_id} AND p.session = {key.session}"
    return rows(lake, _PROBES.format(where=where)).to_dicts()


def units(lake: Lake, key: Key) -> list[Row]:
    """Return a row per unit of the clustering that figures show; none without units."""
    try:
        method = method_of(lake, key)
    except NotFoundError:
        return []
    return rows(lake, _UNITS.format(where=key.probe_where), method).to_dicts()
