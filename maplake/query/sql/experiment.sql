-- Views of schema experiment. Keys are named in every join, so that a filter on subject_id and
-- session reaches every file scan below.

-- What each photostimulation protocol aims at. Ambiguous ones are kept here with what is wrong:
-- more than one area, or no side (all ML = 0).
CREATE VIEW experiment.photostim_target AS
SELECT
    subject_id,
    session,
    photo_stim,
    min(brain_area) AS brain_area,
    min(brain_area) <> max(brain_area) AS several_areas,
    CASE
        WHEN min(ml_location) < 0 AND max(ml_location) > 0 THEN 'both'
        WHEN min(ml_location) < 0 THEN 'left'
        WHEN max(ml_location) > 0 THEN 'right'
    END AS laterality
FROM experiment.photostim_location
GROUP BY subject_id, session, photo_stim;

-- An ambiguous protocol is an error here, but only for those who ask for its area or side:
-- psth.trial reads the view above, so that one wrong protocol does not stop all other sessions.
CREATE VIEW experiment.photostim_brain_region AS
SELECT
    subject_id,
    session,
    photo_stim,
    CASE
        WHEN several_areas
        THEN error(format(
            'photostim protocol {} of subject {}, session {} aims at several brain areas',
            photo_stim, subject_id, session))
        ELSE brain_area
    END AS stim_brain_area,
    CASE
        WHEN laterality IS NULL
        THEN error(format(
            'photostim protocol {} of subject {}, session {} has no side: all its ml_location are 0',
            photo_stim, subject_id, session))
        ELSE laterality
    END AS stim_laterality
FROM experiment.photostim_target;

CREATE VIEW experiment.passive_photostim_trial AS
SELECT p.subject_id, p.session, p.trial
FROM experiment.photostim_trial AS p
-- A filter on the key reaches both sides of this, but one side only of an ANTI JOIN.
LEFT JOIN experiment.behavior_trial AS b
    ON p.subject_id = b.subject_id AND p.session = b.session AND p.trial = b.trial
WHERE b.trial IS NULL;
