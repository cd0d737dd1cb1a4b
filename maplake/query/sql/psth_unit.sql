-- psth.unit_psth: all conditions of all units in one pass over the spikes.
--
-- Trials fall into few patterns (the set of conditions that a trial belongs to). Spikes are
-- binned once per unit and pattern; conditions are sums over the few patterns that contain them.

-- Trials that belong to at least one condition; trials with the same conditions share a number.
CREATE VIEW psth.trial_pattern AS
SELECT
    subject_id,
    session,
    trial,
    conditions,
    dense_rank() OVER (PARTITION BY subject_id, session ORDER BY conditions) AS pattern
FROM psth.trial_set
WHERE len(conditions) > 0;

-- Recorded trials with a go cue; without one a trial cannot be aligned and does not count.
CREATE VIEW psth.pattern_trial AS
SELECT
    t.subject_id,
    t.session,
    t.insertion_number,
    t.trial,
    t.go_sample,
    t.sampling_rate,
    p.pattern::INTEGER AS pattern,
    p.conditions
FROM psth.recorded_trial AS t
JOIN psth.trial_pattern AS p USING (subject_id, session, trial)
WHERE t.go_sample IS NOT NULL;

-- pattern_trial is named by each of its users, not through one another: only then does a filter on
-- the key reach it before it is computed, which is what makes one session of many cheap.
CREATE VIEW psth.unit_psth AS
WITH pattern_trial AS (
    FROM psth.pattern_trial
),
trials AS (
    SELECT subject_id, session, insertion_number, trial_condition_name,
        count(*)::INTEGER AS trial_count
    FROM (SELECT *, unnest(conditions) AS trial_condition_name FROM pattern_trial)
    GROUP BY subject_id, session, insertion_number, trial_condition_name
),
-- Spikes per bin, a list per unit and pattern.
pattern_count AS (
    SELECT
        s.subject_id,
        s.session,
        s.insertion_number,
        s.clustering_method,
        s.unit,
        t.pattern,
        psth.in_time_order(
            histogram(
                (t.go_sample - s.spike_sample) / t.sampling_rate,
                psth.negated_edges(-3, 3, 0.04)),
            149
        )::INTEGER[] AS counts
    FROM ephys.spike_file AS s
    JOIN pattern_trial AS t USING (subject_id, session, insertion_number, trial)
    GROUP BY s.subject_id, s.session, s.insertion_number, s.clustering_method, s.unit, t.pattern
),
counts AS (
    SELECT c.subject_id, c.session, c.insertion_number, c.clustering_method, c.unit,
        m.trial_condition_name,
        list(c.counts) AS counts
    FROM pattern_count AS c
    JOIN (
        SELECT subject_id, session, insertion_number, pattern,
            unnest(any_value(conditions)) AS trial_condition_name
        FROM pattern_trial
        GROUP BY subject_id, session, insertion_number, pattern
    ) AS m USING (subject_id, session, insertion_number, pattern)
    GROUP BY c.subject_id, c.session, c.insertion_number, c.clustering_method, c.unit,
        m.trial_condition_name
)
SELECT
    u.subject_id,
    u.session,
    u.insertion_number,
    u.clustering_method,
    u.unit,
    d.trial_condition_name,
    CASE
        WHEN t.trial_count IS NULL THEN NULL
        WHEN c.counts IS NULL THEN list_resize([]::DOUBLE[], 149, 0.0)
        WHEN len(c.counts) = 1
        THEN list_transform(c.counts[1], lambda n: n / t.trial_count / 0.04::DOUBLE)
        ELSE list_transform(
            range(1, 150),
            lambda i: list_sum(list_transform(c.counts, lambda l: l[i]))
                / t.trial_count / 0.04::DOUBLE
        )
    END AS unit_psth,
    coalesce(t.trial_count, 0) AS trial_count
FROM ephys.unit AS u
JOIN experiment.session AS n USING (subject_id, session)
JOIN psth.trial_condition AS d ON d.task IS NULL OR d.task = n.task
LEFT JOIN trials AS t
    ON u.subject_id = t.subject_id AND u.session = t.session
    AND u.insertion_number = t.insertion_number
    AND d.trial_condition_name = t.trial_condition_name
LEFT JOIN counts AS c
    ON u.subject_id = c.subject_id AND u.session = c.session
    AND u.insertion_number = c.insertion_number
    AND u.clustering_method = c.clustering_method AND u.unit = c.unit
    AND d.trial_condition_name = c.trial_condition_name
WHERE u.unit_quality <> 'all';

CREATE VIEW psth.condition_trial AS
SELECT subject_id, session, trial,
    unnest(conditions) COLLATE NOCASE AS trial_condition_name
FROM psth.trial_set;
