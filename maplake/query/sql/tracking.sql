-- Views of schema tracking.

-- Frames before which a feature jumps by more than limit_px in x or y, either way. A frame without
-- a position is no jump; neither is the one after it.
CREATE MACRO tracking.bad_frame(limit_px := 20) AS TABLE
SELECT subject_id, session, trial, tracking_device, feature, frame
FROM tracking.tracking_position
WINDOW feature_frames AS (
    PARTITION BY subject_id, session, trial, tracking_device, feature ORDER BY frame
)
QUALIFY
    abs(lead(x) OVER feature_frames - x) > limit_px
    OR abs(lead(y) OVER feature_frames - y) > limit_px;

CREATE MACRO tracking.qc(limit_px := 20) AS TABLE
WITH jumps AS (
    SELECT
        subject_id,
        session,
        trial,
        tracking_device,
        feature,
        abs(lead(x) OVER feature_frames - x) > limit_px
            OR abs(lead(y) OVER feature_frames - y) > limit_px AS is_bad
    FROM tracking.tracking_position
    WINDOW feature_frames AS (
        PARTITION BY subject_id, session, trial, tracking_device, feature ORDER BY frame
    )
)
SELECT
    subject_id,
    session,
    trial,
    tracking_device,
    feature,
    count(*)::INTEGER AS frame_count,
    (count(*) FILTER (is_bad))::INTEGER AS bad_count,
    100 * bad_count / frame_count AS bad_percentage
FROM jumps
GROUP BY subject_id, session, trial, tracking_device, feature;

CREATE VIEW tracking.tracking_bad_frame AS
SELECT * FROM tracking.bad_frame();

CREATE VIEW tracking.tracking_qc AS
SELECT * FROM tracking.qc();
