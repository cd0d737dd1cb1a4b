-- Table macros for any condition, bin, window and event. Filters on the unit key reach the files.
-- They look for the lake's schemas in the default database: open lake.duckdb itself, or after
-- ATTACH '…/lake.duckdb' AS lake (READ_ONLY) say USE lake.
--
-- event is a trial event (go, delay, choice, …) or the name of an align type.
--   * A trial event uses the trial's own spikes only, as published for go; where it happens
--     several times in a trial (replayed after an early lick), occurrence says which: 'last',
--     'first' or 'after go' (the first one from the go cue on). Licks ('left lick', 'right lick',
--     'middle lick', 'lick' for any) and 'photostim' are trial events, too.
--   * An align type lives on the clock of the session: its event may be that of a later trial,
--     and its window reaches into neighbouring trials.
-- go is the go cue on the probe's clock. Events that the recording itself saw (foraging) are where it
-- saw them; others are trial start on the probe's clock (ephys.trial_zero) plus the event's time from
-- trial start by the behavior rig.
-- psth.event_types() lists the trial events; it is generated from the declarations.

-- The condition's name as declared; an unknown one is an error that lists those that exist. Here
-- and below, concat says something of NULL, too, where format would make the error itself NULL.
CREATE MACRO psth.condition_name(name) AS coalesce(
    (SELECT max(trial_condition_name) FROM psth.trial_condition
     WHERE lower(trial_condition_name) = lower(name)),
    error(concat(
        'there is no trial condition ''', name, '''; known are: ',
        (SELECT string_agg(trial_condition_name, ', ') FROM psth.trial_condition)))
);

-- Whether event is a trial event (true) or an align type (false); anything else is an error.
CREATE MACRO psth.is_trial_event(event) AS
    coalesce(list_contains(psth.event_types(), lower(event)), false);

CREATE MACRO psth.align_name(event) AS coalesce(
    (SELECT max(align_type_name) FROM psth.align_type
     WHERE lower(align_type_name) = lower(event)),
    error(concat(
        'there is no event ''', event, '''; known are the trial events ',
        array_to_string(psth.event_types(), ', '), ' and the align types ',
        (SELECT string_agg(align_type_name, ', ') FROM psth.align_type)))
);

CREATE MACRO psth.check_window(win_start, win_stop, width) AS
    CASE
        WHEN psth.edge_count(win_start, win_stop, width) >= 2 THEN true
        ELSE error(concat(
            'bins of ', width, ' s from ', win_start, ' to ', win_stop,
            ' s: there must be between 1 and a million of them'))
    END;

CREATE MACRO psth.check_occurrence(occurrence) AS
    CASE
        WHEN lower(occurrence) IN ('first', 'last', 'after go') THEN true
        ELSE error(concat(
            'occurrence is ''', occurrence, '''; it must be first, last or after go'))
    END;

-- All events that trials can be aligned to, in s from trial start: of the trial's structure, licks
-- (of one port, or lick for any) and onsets of photostimuli.
CREATE VIEW psth.event AS
SELECT subject_id, session, trial, trial_event_type AS event_type, trial_event_time AS event_time
FROM experiment.trial_event
UNION ALL
SELECT subject_id, session, trial, action_event_type, action_event_time
FROM experiment.action_event
UNION ALL
SELECT subject_id, session, trial, 'lick', action_event_time
FROM experiment.action_event
UNION ALL
SELECT subject_id, session, trial, 'photostim', photostim_event_time
FROM experiment.photostim_event;

-- When events of one type happened by the behavior rig, in s from trial start; go is on the probe's
-- clock instead.
CREATE MACRO psth.event_time(event_name, occurrence) AS TABLE
SELECT subject_id, session, trial,
    CASE lower(occurrence)
        WHEN 'first' THEN first_time
        WHEN 'last' THEN last_time
        ELSE time_after_go
    END AS event_time
FROM (
    SELECT e.subject_id, e.session, e.trial,
        min(e.event_time) AS first_time,
        max(e.event_time) AS last_time,
        min(e.event_time) FILTER (e.event_time >= g.go_time) AS time_after_go
    FROM psth.event AS e
    LEFT JOIN (
        SELECT subject_id, session, trial, max(trial_event_time) AS go_time
        FROM experiment.trial_event
        WHERE trial_event_type = 'go' AND lower(occurrence) = 'after go'
        GROUP BY subject_id, session, trial
    ) AS g USING (subject_id, session, trial)
    WHERE lower(event_name) <> 'go' AND e.event_type = lower(event_name)
    GROUP BY e.subject_id, e.session, e.trial
)
WHERE psth.check_occurrence(occurrence);

-- The same in samples of each probe.
CREATE MACRO psth.event_sample(event_name, occurrence) AS TABLE
SELECT z.subject_id, z.session, z.insertion_number, z.trial,
    z.zero_sample + z.sampling_rate * v.event_time AS event_sample
FROM ephys.trial_zero AS z
JOIN psth.event_time(event_name, occurrence) AS v USING (subject_id, session, trial)
ANTI JOIN (FROM ephys.ephys_trial_event WHERE trial_event_type = lower(event_name)) AS b
    USING (subject_id, session)
UNION ALL
SELECT b.subject_id, b.session, b.insertion_number, b.trial,
    CASE lower(occurrence)
        WHEN 'first' THEN min(b.event_sample)
        WHEN 'last' THEN max(b.event_sample)
        ELSE min(b.event_sample) FILTER (b.event_sample >= e.go_sample)
    END
FROM ephys.board_event AS b
JOIN ephys.ephys_trial AS e USING (subject_id, session, insertion_number, trial)
WHERE lower(event_name) <> 'go' AND b.event_type = lower(event_name)
GROUP BY b.subject_id, b.session, b.insertion_number, b.trial;

-- Where on the probe's clock the spikes of a trial lie. Spikes that belong to no trial lie before
-- the first one, or where trials are missing.
CREATE VIEW psth.trial_reach AS
SELECT subject_id, session, insertion_number, trial, start_sample,
    lead(start_sample) OVER later AS next_start,
    lag(trial) OVER later IS NULL AS is_first,
    lead(trial) OVER later IS DISTINCT FROM trial + 1 AS before_gap
FROM ephys.ephys_trial
WINDOW later AS (PARTITION BY subject_id, session, insertion_number ORDER BY start_sample);

-- Trials aligned on the clock of the session, each with the trials that its window touches
-- (spike_trial; 0 = spikes that belong to no trial).
CREATE MACRO psth.session_alignment(event, occurrence, win_start, win_stop) AS TABLE
WITH align AS (
    FROM psth.align_type
    WHERE align_type_name = psth.align_name(event)
),
event AS (
    SELECT e.subject_id, e.session, e.insertion_number, e.trial,
        CASE
            WHEN a.trial_event_type = 'go' THEN e.go_sample
            ELSE v.event_sample
        END AS event_sample
    FROM ephys.ephys_trial AS e
    CROSS JOIN align AS a
    LEFT JOIN psth.event_sample((SELECT trial_event_type FROM align), occurrence) AS v
        USING (subject_id, session, insertion_number, trial)
),
origin AS (
    SELECT t.subject_id, t.session, t.insertion_number, t.trial, t.sampling_rate,
        v.event_sample + a.time_offset * t.sampling_rate AS origin_sample
    FROM psth.recorded_trial AS t
    CROSS JOIN align AS a
    JOIN event AS v
        ON v.subject_id = t.subject_id AND v.session = t.session
        AND v.insertion_number = t.insertion_number AND v.trial = t.trial + a.trial_offset
    WHERE v.event_sample IS NOT NULL
),
touched AS (
    SELECT o.*, s.trial AS spike_trial,
        o.origin_sample + win_stop::DOUBLE * o.sampling_rate >= s.start_sample
            AND (s.next_start IS NULL
                 OR o.origin_sample + win_start::DOUBLE * o.sampling_rate <= s.next_start)
            AS inside,
        (inside AND s.before_gap)
            OR (s.is_first
                AND o.origin_sample + win_start::DOUBLE * o.sampling_rate < s.start_sample)
            AS beside
    FROM origin AS o
    JOIN psth.trial_reach AS s USING (subject_id, session, insertion_number)
)
SELECT DISTINCT subject_id, session, insertion_number, trial,
    unnest(CASE
        WHEN inside AND beside THEN [spike_trial, 0]
        WHEN inside THEN [spike_trial]
        ELSE [0]
    END) AS spike_trial,
    origin_sample, sampling_rate
FROM touched
WHERE inside OR beside;

-- Trials aligned to the go cue, with their own spikes only.
CREATE VIEW psth.go_alignment AS
SELECT subject_id, session, insertion_number, trial, trial AS spike_trial,
    go_sample::DOUBLE AS origin_sample, sampling_rate
FROM psth.recorded_trial
WHERE go_sample IS NOT NULL;

-- The same for any trial event.
CREATE MACRO psth.event_alignment(event, occurrence) AS TABLE
SELECT *
FROM psth.go_alignment
WHERE lower(event) = 'go'
UNION ALL
SELECT t.subject_id, t.session, t.insertion_number, t.trial, t.trial, v.event_sample,
    t.sampling_rate
FROM psth.recorded_trial AS t
JOIN psth.event_sample(event, occurrence) AS v
    USING (subject_id, session, insertion_number, trial)
WHERE lower(event) <> 'go' AND v.event_sample IS NOT NULL;

-- Recorded trials with the moment that they are aligned to, whatever their conditions.
CREATE MACRO psth.aligned_event(event, occurrence, win_start, win_stop) AS TABLE
SELECT e.*
FROM psth.event_alignment(event, occurrence) AS e
WHERE psth.is_trial_event(event) AND psth.check_occurrence(occurrence)
UNION ALL
SELECT s.*
FROM psth.session_alignment(event, occurrence, win_start, win_stop) AS s
WHERE NOT psth.is_trial_event(event) AND psth.check_occurrence(occurrence)
    AND s.origin_sample IS NOT NULL;

-- Those of one condition.
CREATE MACRO psth.aligned_trial(condition, event, occurrence, win_start, win_stop) AS TABLE
SELECT a.*
FROM psth.aligned_event(event, occurrence, win_start, win_stop) AS a
JOIN psth.trial_set AS c USING (subject_id, session, trial)
WHERE list_contains(c.conditions, psth.condition_name(condition));

-- Spikes around the event: one row per spike, spike_time in s from the event.
CREATE MACRO psth.raster(
    condition, start := -3, stop := 3, event := 'go', occurrence := 'last'
) AS TABLE
SELECT
    s.subject_id,
    s.session,
    s.insertion_number,
    s.clustering_method,
    s.unit,
    a.trial,
    (s.spike_sample - a.origin_sample) / a.sampling_rate AS spike_time
FROM ephys.spike_file AS s
JOIN psth.aligned_trial(condition, event, occurrence, start, stop) AS a
    ON s.subject_id = a.subject_id AND s.session = a.session
    AND s.insertion_number = a.insertion_number AND coalesce(s.trial, 0) = a.spike_trial
WHERE (s.spike_sample - a.origin_sample) / a.sampling_rate BETWEEN start AND stop;

-- PSTH of every unit: one row per unit and bin. time is the bin's right edge (s from the event),
-- count the spikes in all trials, rate is in Hz and null without trials. Units of quality 'all'
-- are left out unless all_units.
CREATE MACRO psth.psth(
    condition, bin := 0.04, start := -3, stop := 3, event := 'go', occurrence := 'last',
    all_units := false
) AS TABLE
WITH aligned AS MATERIALIZED (
    FROM psth.aligned_trial(condition, event, occurrence, start, stop)
),
trials AS (
    SELECT subject_id, session, insertion_number, count(DISTINCT trial)::INTEGER AS trial_count
    FROM aligned
    GROUP BY subject_id, session, insertion_number
),
counts AS (
    SELECT s.subject_id, s.session, s.insertion_number, s.clustering_method, s.unit,
        histogram(
            (a.origin_sample - s.spike_sample) / a.sampling_rate,
            psth.negated_edges(start, stop, bin)) AS hist
    FROM ephys.spike_file AS s
    JOIN aligned AS a
        ON s.subject_id = a.subject_id AND s.session = a.session
        AND s.insertion_number = a.insertion_number AND coalesce(s.trial, 0) = a.spike_trial
    GROUP BY s.subject_id, s.session, s.insertion_number, s.clustering_method, s.unit
),
lists AS (
    SELECT
        u.subject_id,
        u.session,
        u.insertion_number,
        u.clustering_method,
        u.unit,
        unnest(psth.bin_times(start, stop, bin)) AS time,
        unnest(CASE
            WHEN c.hist IS NULL
            THEN list_resize([]::UBIGINT[], psth.edge_count(start, stop, bin) - 1, 0)
            ELSE psth.in_time_order(c.hist, psth.edge_count(start, stop, bin) - 1)
        END)::BIGINT AS count,
        coalesce(t.trial_count, 0) AS trial_count
    FROM ephys.unit AS u
    LEFT JOIN trials AS t USING (subject_id, session, insertion_number)
    LEFT JOIN counts AS c
        USING (subject_id, session, insertion_number, clustering_method, unit)
    WHERE (all_units OR u.unit_quality <> 'all') AND psth.check_window(start, stop, bin)
)
SELECT subject_id, session, insertion_number, clustering_method, unit, time, count,
    count / nullif(trial_count, 0) / bin::DOUBLE AS rate, trial_count
FROM lists;

-- The same trial by trial: one row per unit, trial and bin.
CREATE MACRO psth.trial_counts(
    condition, bin := 0.04, start := -3, stop := 3, event := 'go', occurrence := 'last',
    all_units := false
) AS TABLE
WITH aligned AS MATERIALIZED (
    FROM psth.aligned_trial(condition, event, occurrence, start, stop)
),
counts AS (
    SELECT s.subject_id, s.session, s.insertion_number, s.clustering_method, s.unit, a.trial,
        histogram(
            (a.origin_sample - s.spike_sample) / a.sampling_rate,
            psth.negated_edges(start, stop, bin)) AS hist
    FROM ephys.spike_file AS s
    JOIN aligned AS a
        ON s.subject_id = a.subject_id AND s.session = a.session
        AND s.insertion_number = a.insertion_number AND coalesce(s.trial, 0) = a.spike_trial
    GROUP BY s.subject_id, s.session, s.insertion_number, s.clustering_method, s.unit, a.trial
),
trials AS (
    SELECT DISTINCT subject_id, session, insertion_number, trial
    FROM aligned
)
SELECT
    u.subject_id,
    u.session,
    u.insertion_number,
    u.clustering_method,
    u.unit,
    t.trial,
    unnest(psth.bin_times(start, stop, bin)) AS time,
    unnest(CASE
        WHEN c.hist IS NULL
        THEN list_resize([]::UBIGINT[], psth.edge_count(start, stop, bin) - 1, 0)
        ELSE psth.in_time_order(c.hist, psth.edge_count(start, stop, bin) - 1)
    END)::BIGINT AS count
FROM ephys.unit AS u
JOIN trials AS t USING (subject_id, session, insertion_number)
LEFT JOIN counts AS c
    USING (subject_id, session, insertion_number, clustering_method, unit, trial)
WHERE (all_units OR u.unit_quality <> 'all') AND psth.check_window(start, stop, bin);
