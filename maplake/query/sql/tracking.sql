-- Views of schema tracking.

-- How far each feature moves to the next frame, in x or y, either way. A frame without a position
-- is no jump; neither is the one after it.
CREATE VIEW tracking.frame_jump AS
SELECT
    subject_id,
    session,
    trial,
    tracking_device,
    feature,
    frame,
    greatest(abs(lead(x) OVER feature_frames - x), abs(lead(y) OVER feature_frames - y)) AS jump
FROM tracking.tracking_position
WINDOW feature_frames AS (
    PARTITION BY subject_id, session, trial, tracking_device, feature ORDER BY frame
);

-- Frames before which a feature jumps farther than limit_px, or than tracking.qc_limit says for
-- its camera.
CREATE MACRO tracking.bad_frame(limit_px := 20) AS TABLE
SELECT j.subject_id, j.session, j.trial, j.tracking_device, j.feature, j.frame
FROM tracking.frame_jump AS j
LEFT JOIN tracking.qc_limit AS l USING (tracking_device, feature)
WHERE j.jump > coalesce(l.max_jump, limit_px);

CREATE MACRO tracking.qc(limit_px := 20) AS TABLE
SELECT
    j.subject_id,
    j.session,
    j.trial,
    j.tracking_device,
    j.feature,
    count(*)::INTEGER AS frame_count,
    (count(*) FILTER (j.jump > coalesce(l.max_jump, limit_px)))::INTEGER AS bad_count,
    100 * bad_count / frame_count AS bad_percentage,
    coalesce(
        list(j.frame ORDER BY j.frame) FILTER (j.jump > coalesce(l.max_jump, limit_px)), []
    )::INTEGER[] AS bad_frames
FROM tracking.frame_jump AS j
LEFT JOIN tracking.qc_limit AS l USING (tracking_device, feature)
GROUP BY j.subject_id, j.session, j.trial, j.tracking_device, j.feature;

CREATE VIEW tracking.tracking_bad_frame AS
SELECT * FROM tracking.bad_frame();

CREATE VIEW tracking.tracking_qc AS
SELECT * FROM tracking.qc();
