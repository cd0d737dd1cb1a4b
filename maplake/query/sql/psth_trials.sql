-- Which trials there are, what is known about them, and which a probe saw.
-- psth.trial_set, the conditions of every trial, is generated from psth.trial_condition.

CREATE VIEW psth.trial AS
SELECT
    b.subject_id,
    b.session,
    b.trial,
    b.task,
    b.task_protocol,
    b.trial_instruction,
    b.early_lick,
    b.outcome,
    b.auto_water,
    b.free_water,
    t.start_time,
    t.stop_time,
    s.stim_sites IS NOT NULL AS photostim,
    coalesce(s.stim_sites, []) AS stim_sites,
    w.water_port
FROM experiment.behavior_trial AS b
JOIN experiment.session_trial AS t USING (subject_id, session, trial)
LEFT JOIN (
    -- A protocol with several areas or without a side names no site, yet is a photostimulus.
    SELECT
        e.subject_id,
        e.session,
        e.trial,
        list_sort(list_distinct(list(
            CASE WHEN NOT p.several_areas THEN lower(p.laterality || ' ' || p.brain_area) END
        ))) AS stim_sites
    FROM experiment.photostim_event AS e
    LEFT JOIN experiment.photostim_target AS p USING (subject_id, session, photo_stim)
    GROUP BY e.subject_id, e.session, e.trial
) AS s USING (subject_id, session, trial)
LEFT JOIN experiment.water_port_choice AS w USING (subject_id, session, trial);

-- Recorded trials to use: an insertion with good trials has only these.
CREATE VIEW psth.recorded_trial AS
SELECT
    e.subject_id,
    e.session,
    e.insertion_number,
    e.trial,
    e.start_sample,
    e.go_sample,
    i.sampling_rate
FROM ephys.ephys_trial AS e
JOIN ephys.probe_insertion AS i USING (subject_id, session, insertion_number)
LEFT JOIN (
    SELECT DISTINCT subject_id, session, insertion_number, true AS has_good
    FROM ephys.good_trial
) AS h USING (subject_id, session, insertion_number)
LEFT JOIN (
    SELECT DISTINCT subject_id, session, insertion_number, trial, true AS is_good
    FROM ephys.good_trial
) AS g USING (subject_id, session, insertion_number, trial)
WHERE h.has_good IS NULL OR g.is_good;
