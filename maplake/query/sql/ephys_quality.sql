-- Which units are good enough for an area, and where in the brain they are.

-- As published: the limits of the area that the probe was meant for, of several the first by name;
-- an area without limits is passed. 'all' names the limits of such areas where a lab has any. A
-- metric that is not known keeps no limit; of several epochs one that keeps them all is enough.
CREATE VIEW ephys.unit_passing_criteria AS
WITH target AS (
    SELECT subject_id, session, insertion_number, min(brain_area) AS brain_area
    FROM ephys.recordable_brain_region
    GROUP BY subject_id, session, insertion_number
),
unit AS (
    SELECT u.subject_id, u.session, u.insertion_number, u.clustering_method, u.unit, u.unit_amp,
        coalesce(t.brain_area, a.brain_area) AS brain_area, s.isi_violation, s.avg_firing_rate
    FROM ephys.unit AS u
    LEFT JOIN ephys.unit_stat AS s
        USING (subject_id, session, insertion_number, clustering_method, unit)
    LEFT JOIN ephys.unit_coarse_brain_location AS a
        USING (subject_id, session, insertion_number, clustering_method, unit)
    LEFT JOIN target AS t USING (subject_id, session, insertion_number)
),
limits AS (
    SELECT u.*, c.* EXCLUDE (brain_area), c.brain_area AS criteria
    FROM unit AS u
    LEFT JOIN ephys.unit_criteria AS c ON c.brain_area = coalesce(
        (SELECT max(k.brain_area) FROM ephys.unit_criteria AS k WHERE k.brain_area = u.brain_area),
        'all'
    )
)
SELECT
    l.subject_id,
    l.session,
    l.insertion_number,
    l.clustering_method,
    l.unit,
    any_value(l.brain_area) AS brain_area,
    any_value(l.criteria) AS criteria,
    CASE
        WHEN any_value(l.criteria) IS NULL THEN true
        WHEN count(m.unit) > 0 THEN coalesce(bool_or(
            (l.unit_amp_min IS NULL OR l.unit_amp > l.unit_amp_min)
            AND (l.firing_rate_min IS NULL OR l.avg_firing_rate > l.firing_rate_min)
            AND (l.presence_ratio_min IS NULL OR m.presence_ratio > l.presence_ratio_min)
            AND (l.isi_violation_max IS NULL OR l.isi_violation < l.isi_violation_max)
            AND (l.amplitude_cutoff_max IS NULL OR m.amplitude_cutoff < l.amplitude_cutoff_max)
        ), false)
    END AS criteria_passed
FROM limits AS l
LEFT JOIN ephys.cluster_metric AS m
    USING (subject_id, session, insertion_number, clustering_method, unit)
GROUP BY l.subject_id, l.session, l.insertion_number, l.clustering_method, l.unit;

-- Positions from histology, and interpolated ones for the sites that it left out.
CREATE VIEW histology.electrode_position AS
SELECT subject_id, session, insertion_number, electrode, ccf_x, ccf_y, ccf_z,
    false AS interpolated
FROM histology.electrode_ccf_position
UNION ALL
SELECT subject_id, session, insertion_number, electrode, ccf_x, ccf_y, ccf_z, true
FROM histology.interpolated_electrode_ccf AS i
ANTI JOIN histology.electrode_ccf_position AS p
    USING (subject_id, session, insertion_number, electrode);

-- The region is that of the voxel: the run of the annotation that holds it.
CREATE VIEW ephys.unit_ccf AS
WITH position AS (
    SELECT u.subject_id, u.session, u.insertion_number, u.clustering_method, u.unit, u.electrode,
        p.ccf_x, p.ccf_y, p.ccf_z, p.interpolated
    FROM ephys.unit AS u
    JOIN histology.electrode_position AS p
        USING (subject_id, session, insertion_number, electrode)
),
region AS (
    SELECT p.ccf_x, p.ccf_y, p.ccf_z, r.annotation_version, r.region_id
    FROM (SELECT DISTINCT ccf_x, ccf_y, ccf_z FROM position) AS p
    JOIN ccf.annotation_run AS r
        ON r.ccf_x = p.ccf_x AND r.ccf_z = p.ccf_z
        AND p.ccf_y BETWEEN r.ccf_y_start AND r.ccf_y_stop
)
SELECT
    p.*,
    r.annotation_version,
    r.region_id,
    b.region_name,
    b.color_code
FROM position AS p
LEFT JOIN region AS r USING (ccf_x, ccf_y, ccf_z)
LEFT JOIN ccf.ccf_brain_region AS b USING (annotation_version, region_id);
