-- Views of schema ccf.

-- Label 0 is not among the runs, and ids without a name find no partner. A filter on the region
-- reaches the scan of the runs, so that only its own are expanded.
CREATE VIEW ccf.annotation AS
SELECT
    r.ccf_x,
    unnest(range(r.ccf_y_start, r.ccf_y_stop + 1, r.voxel_size))::INTEGER AS ccf_y,
    r.ccf_z,
    r.region_id,
    b.region_name,
    r.annotation_version
FROM ccf.annotation_run AS r
JOIN ccf.ccf_brain_region AS b USING (annotation_version, region_id);
