-- Which units are good enough for an area, and where in the brain they are.

-- The area of a unit: by depth where it was computed, else what its probe was meant for if that
-- is one area. 'all' names the limits of areas without limits of their own.
CREATE VIEW ephys.unit_passing_criteria AS
WITH target AS (
    SELECT subject_id, session, insertion_number, min(brain_area) AS brain_area
    FROM ephys.recordable_brain_region
    GROUP BY subject_id, session, insertion_number
    HAVING min(brain_area) = max(brain_area)
),
metric AS (
    -- One row per unit, whatever the number of epochs that were measured.
    SELECT subject_id, session, insertion_number, clustering_method, unit,
        arg_min(presence_ratio, epoch_name_quality_metrics) AS presence_ratio,
        arg_min(amplitude_cutoff, epoch_name_quality_metrics) AS amplitude_cutoff
    FROM ephys.cluster_metric
    GROUP BY subject_id, session, insertion_number, clustering_method, unit
),
unit AS (
    SELECT u.subject_id, u.session, u.insertion_number, u.clustering_method, u.unit, u.unit_amp,
        coalesce(a.brain_area, t.brain_area) AS brain_area,
        m.presence_ratio, m.amplitude_cutoff, s.isi_violation, s.avg_firing_rate
    FROM ephys.unit AS u
    LEFT JOIN ephys.unit_stat AS s
        USING (subject_id, session, insertion_number, clustering_method, unit)
    LEFT JOIN metric AS m
        USING (subject_id, session, insertion_number, clustering_method, unit)
    LEFT JOIN ephys.unit_coarse_brain_location AS a
        USING (subject_id, session, insertion_number, clustering_method, unit)
    LEFT JOIN target AS t USING (subject_id, session, insertion_number)
)
SELECT
    u.subject_id,
    u.session,
    u.insertion_number,
    u.clustering_method,
    u.unit,
    u.brain_area,
    c.brain_area AS criteria,
    -- A limit that is not set always holds; a metric that is not known leaves it open (null).
    (c.unit_amp_min IS NULL OR u.unit_amp >= c.unit_amp_min)
    AND (c.firing_rate_min IS NULL OR u.avg_firing_rate >= c.firing_rate_min)
    AND (c.presence_ratio_min IS NULL OR u.presence_ratio >= c.presence_ratio_min)
    AND (c.isi_violation_max IS NULL OR u.isi_violation <= c.isi_violation_max)
    AND (c.amplitude_cutoff_max IS NULL OR u.amplitude_cutoff <= c.amplitude_cutoff_max)
        AS criteria_passed
FROM unit AS u
JOIN ephys.unit_criteria AS c ON c.brain_area = coalesce(
    (SELECT max(k.brain_area) FROM ephys.unit_criteria AS k WHERE k.brain_area = u.brain_area),
    'all'
);

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
