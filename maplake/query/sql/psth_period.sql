-- Activity in named spans of a trial, and what follows from it.

-- The last event of each type in a trial.
CREATE VIEW psth.last_event AS
SELECT subject_id, session, trial, trial_event_type,
    max_by(trial_event_time, trial_event_id) AS event_time
FROM experiment.trial_event
GROUP BY subject_id, session, trial, trial_event_type;

CREATE VIEW psth.period_window AS
SELECT
    s.subject_id,
    s.session,
    s.trial,
    p.period,
    s.event_time + p.start_time_shift - g.event_time AS start_time,
    e.event_time + p.end_time_shift - g.event_time AS stop_time
FROM experiment.period AS p
JOIN psth.last_event AS s ON s.trial_event_type = p.start_event_type
JOIN psth.last_event AS e
    ON e.subject_id = s.subject_id AND e.session = s.session AND e.trial = s.trial
    AND e.trial_event_type = p.end_event_type
JOIN psth.last_event AS g
    ON g.subject_id = s.subject_id AND g.session = s.session AND g.trial = s.trial
    AND g.trial_event_type = 'go';

-- A period as it is declared; an unknown one is an error that lists those that exist.
CREATE MACRO psth.period_named(name) AS coalesce(
    (SELECT max(period) FROM experiment.period WHERE period = lower(name)),
    error(concat(
        'there is no period ''', name, '''; known are: ',
        (SELECT string_agg(period, ', ') FROM experiment.period)))
);

CREATE MACRO psth.period_foraging_named(name) AS coalesce(
    (SELECT max(period) FROM experiment.period_foraging WHERE period = lower(name)),
    error(concat(
        'there is no period ''', name, ''' of the foraging task; known are: ',
        (SELECT string_agg(period, ', ') FROM experiment.period_foraging)))
);

-- Spikes of a unit in a period of each recorded trial with a go cue, silent trials included:
-- one row per unit and trial; spike_count in [start, stop), duration in s, rate in Hz. Units of
-- quality 'all' are left out unless all_units; all trials unless good_only.
CREATE MACRO psth.period_activity(period_name, good_only := false, all_units := false) AS TABLE
WITH span AS MATERIALIZED (
    SELECT t.subject_id, t.session, t.insertion_number, t.trial, t.go_sample, t.sampling_rate,
        w.start_time, w.stop_time
    FROM (
        SELECT subject_id, session, insertion_number, trial, go_sample, sampling_rate
        FROM psth.recorded_trial
        WHERE good_only
        UNION ALL
        SELECT e.subject_id, e.session, e.insertion_number, e.trial, e.go_sample, i.sampling_rate
        FROM ephys.ephys_trial AS e
        JOIN ephys.probe_insertion AS i USING (subject_id, session, insertion_number)
        WHERE NOT good_only
    ) AS t
    JOIN psth.period_window AS w USING (subject_id, session, trial)
    WHERE t.go_sample IS NOT NULL AND w.stop_time > w.start_time
        AND w.period = psth.period_named(period_name)
),
counts AS (
    SELECT s.subject_id, s.session, s.insertion_number, s.clustering_method, s.unit, s.trial,
        count(*) AS spike_count
    FROM ephys.spike_file AS s
    JOIN span AS t USING (subject_id, session, insertion_number, trial)
    WHERE (s.spike_sample - t.go_sample) / t.sampling_rate >= t.start_time
        AND (s.spike_sample - t.go_sample) / t.sampling_rate < t.stop_time
    GROUP BY s.subject_id, s.session, s.insertion_number, s.clustering_method, s.unit, s.trial
)
SELECT
    u.subject_id,
    u.session,
    u.insertion_number,
    u.clustering_method,
    u.unit,
    t.trial,
    coalesce(c.spike_count, 0) AS spike_count,
    t.stop_time - t.start_time AS duration,
    coalesce(c.spike_count, 0) / (t.stop_time - t.start_time) AS rate
FROM ephys.unit AS u
JOIN span AS t USING (subject_id, session, insertion_number)
LEFT JOIN counts AS c
    USING (subject_id, session, insertion_number, clustering_method, unit, trial)
WHERE all_units OR u.unit_quality <> 'all';

-- Events of recorded trials on the probe's clock, in samples; the last of each type in a trial. What
-- the recording itself saw counts before what the behavior rig says.
CREATE VIEW psth.recorded_event AS
SELECT
    e.subject_id,
    e.session,
    e.insertion_number,
    e.trial,
    e.trial_event_type,
    CASE
        WHEN e.trial_event_type = 'go' THEN t.go_sample::DOUBLE
        ELSE e.event_sample
    END AS event_sample,
    e.sampling_rate
FROM (
    SELECT z.subject_id, z.session, z.insertion_number, z.trial, v.trial_event_type,
        z.zero_sample + v.event_time * z.sampling_rate AS event_sample, z.sampling_rate
    FROM ephys.trial_zero AS z
    JOIN psth.last_event AS v USING (subject_id, session, trial)
    ANTI JOIN ephys.ephys_trial_event AS b
        ON b.subject_id = z.subject_id AND b.session = z.session
        AND b.trial_event_type = v.trial_event_type
    UNION ALL
    SELECT subject_id, session, insertion_number, trial, event_type, max(event_sample),
        any_value(sampling_rate)
    FROM ephys.board_event
    GROUP BY subject_id, session, insertion_number, trial, event_type
) AS e
JOIN ephys.ephys_trial AS t USING (subject_id, session, insertion_number, trial);

-- The same for experiment.period_foraging, on the clock of the session: spans may start before
-- their trial and end in the next one; spikes of any trial and of none count. delay is
-- delay_bitcode in sessions without the event zaberready.
CREATE MACRO psth.period_foraging_activity(period_name, all_units := false) AS TABLE
WITH named AS (
    SELECT n.subject_id, n.session, p.*
    FROM (
        SELECT subject_id, session,
            CASE
                WHEN lower(period_name) = 'delay' AND NOT has_ready THEN 'delay_bitcode'
                ELSE psth.period_foraging_named(period_name)
            END AS period
        FROM (
            SELECT subject_id, session, bool_or(trial_event_type = 'zaberready') AS has_ready
            FROM psth.recorded_event
            GROUP BY subject_id, session
        )
    ) AS n
    JOIN experiment.period_foraging AS p USING (period)
),
-- A row per trial of a probe, so that joining trials with trials stays small in any order.
bound AS (
    SELECT r.subject_id, r.session, r.insertion_number, r.trial,
        any_value(r.sampling_rate) AS sampling_rate,
        any_value(r.trial - n.start_trial_shift) AS of_trial,
        any_value(r.trial - n.start_trial_shift + n.end_trial_shift) AS end_trial,
        max(r.event_sample + n.start_time_shift * r.sampling_rate)
            FILTER (r.trial_event_type = n.start_event_type) AS start_sample,
        max(r.event_sample + n.end_time_shift * r.sampling_rate)
            FILTER (r.trial_event_type = n.end_event_type) AS stop_sample
    FROM psth.recorded_event AS r
    JOIN named AS n USING (subject_id, session)
    GROUP BY r.subject_id, r.session, r.insertion_number, r.trial
),
span AS (
    SELECT s.subject_id, s.session, s.insertion_number, t.trial, s.start_sample, e.stop_sample,
        s.sampling_rate
    FROM bound AS s
    JOIN bound AS e
        ON e.subject_id = s.subject_id AND e.session = s.session
        AND e.insertion_number = s.insertion_number AND e.trial = s.end_trial
    JOIN ephys.ephys_trial AS t
        ON t.subject_id = s.subject_id AND t.session = s.session
        AND t.insertion_number = s.insertion_number AND t.trial = s.of_trial
    WHERE s.start_sample IS NOT NULL AND e.stop_sample IS NOT NULL
),
reach AS (
    SELECT s.*, r.trial AS spike_trial,
        s.stop_sample >= r.start_sample
            AND (r.next_start IS NULL OR s.start_sample <= r.next_start) AS inside,
        (inside AND r.before_gap) OR (r.is_first AND s.start_sample < r.start_sample) AS beside
    FROM span AS s
    JOIN psth.trial_reach AS r USING (subject_id, session, insertion_number)
),
touched AS (
    SELECT DISTINCT subject_id, session, insertion_number, trial,
        unnest(CASE
            WHEN inside AND beside THEN [spike_trial, 0]
            WHEN inside THEN [spike_trial]
            ELSE [0]
        END) AS spike_trial,
        start_sample, stop_sample
    FROM reach
    WHERE inside OR beside
),
counts AS (
    SELECT s.subject_id, s.session, s.insertion_number, s.clustering_method, s.unit, t.trial,
        count(*) AS spike_count
    FROM ephys.spike_file AS s
    JOIN touched AS t
        ON s.subject_id = t.subject_id AND s.session = t.session
        AND s.insertion_number = t.insertion_number AND coalesce(s.trial, 0) = t.spike_trial
    WHERE s.spike_sample >= t.start_sample AND s.spike_sample < t.stop_sample
    GROUP BY s.subject_id, s.session, s.insertion_number, s.clustering_method, s.unit, t.trial
)
SELECT
    u.subject_id,
    u.session,
    u.insertion_number,
    u.clustering_method,
    u.unit,
    t.trial,
    coalesce(c.spike_count, 0) AS spike_count,
    (t.stop_sample - t.start_sample) / t.sampling_rate AS duration,
    coalesce(c.spike_count, 0) / nullif((t.stop_sample - t.start_sample) / t.sampling_rate, 0)
        AS rate
FROM ephys.unit AS u
JOIN span AS t USING (subject_id, session, insertion_number)
LEFT JOIN counts AS c
    USING (subject_id, session, insertion_number, clustering_method, unit, trial)
WHERE all_units OR u.unit_quality <> 'all';

-- Non-selective in all three periods, or the side with the higher mean rate over them.
CREATE VIEW psth.unit_selectivity AS
SELECT subject_id, session, insertion_number, clustering_method, unit,
    CASE
        WHEN bool_and(period_selectivity = 'non-selective') THEN 'non-selective'
        WHEN avg(ipsi_firing_rate) > avg(contra_firing_rate) THEN 'ipsi-selective'
        ELSE 'contra-selective'
    END AS unit_selectivity
FROM psth.period_selectivity
WHERE period IN ('sample', 'delay', 'response')
GROUP BY subject_id, session, insertion_number, clustering_method, unit
HAVING count(*) = 3;
