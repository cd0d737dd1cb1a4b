-- Views of schema ephys. ephys.spike_file is the stored table of spikes; what must be fast reads
-- it directly.

CREATE VIEW ephys.spike AS
SELECT
    s.*,
    (s.spike_sample - i.first_trial_sample) / i.sampling_rate AS spike_time
FROM ephys.spike_file AS s
LEFT JOIN ephys.probe_insertion AS i USING (subject_id, session, insertion_number);

-- The moment that the spikes of a trial are published relative to: the go cue, or the trial's
-- start where the task has no go cue.
CREATE VIEW ephys.trial_origin AS
SELECT
    e.subject_id,
    e.session,
    e.insertion_number,
    e.trial,
    CASE WHEN b.task = 'multi-target-licking' THEN e.start_sample ELSE e.go_sample END
        AS origin_sample,
    i.sampling_rate
FROM ephys.ephys_trial AS e
JOIN ephys.probe_insertion AS i USING (subject_id, session, insertion_number)
LEFT JOIN experiment.behavior_trial AS b USING (subject_id, session, trial);

-- Where the behavior rig's clock of a trial is 0, in samples of the probe. That is the recorded
-- start, but for recordings that a trigger starts: there it is a margin before the trial. The go
-- cues, which both saw, tell: then they are all off by the same time. Recordings of foraging count
-- trials from their bitcode, which comes some time after the start: each go cue tells for itself.
CREATE VIEW ephys.trial_zero AS
SELECT
    subject_id,
    session,
    insertion_number,
    trial,
    sampling_rate,
    CASE
        WHEN has_events THEN start_sample + coalesce(late, 0)
        WHEN abs(median(late) OVER insertion) > 0.005 * sampling_rate
            AND mad(late) OVER insertion < 0.001 * sampling_rate
        THEN start_sample + median(late) OVER insertion
        ELSE start_sample
    END AS zero_sample
FROM (
    SELECT
        e.subject_id,
        e.session,
        e.insertion_number,
        e.trial,
        e.start_sample,
        i.sampling_rate,
        e.go_sample - g.go_time * i.sampling_rate - e.start_sample AS late,
        v.has_events
    FROM ephys.ephys_trial AS e
    JOIN ephys.probe_insertion AS i USING (subject_id, session, insertion_number)
    LEFT JOIN (
        SELECT subject_id, session, trial, max_by(trial_event_time, trial_event_id) AS go_time
        FROM experiment.trial_event
        WHERE trial_event_type = 'go'
        GROUP BY subject_id, session, trial
    ) AS g USING (subject_id, session, trial)
    LEFT JOIN (
        SELECT DISTINCT subject_id, session, true AS has_events
        FROM ephys.ephys_trial_event
    ) AS v USING (subject_id, session)
)
WINDOW insertion AS (PARTITION BY subject_id, session, insertion_number);

-- Events that the recording itself saw (foraging), in samples of each probe. Their clock is tied
-- to the probe's, as published, by the first recorded trial: it starts with its bitcode. Without
-- that event the first go cue ties them.
CREATE VIEW ephys.board_event AS
SELECT
    b.subject_id,
    b.session,
    b.insertion_number,
    v.trial,
    v.trial_event_type AS event_type,
    b.zero_sample + v.trial_event_time * b.sampling_rate AS event_sample,
    b.sampling_rate
FROM ephys.ephys_trial_event AS v
JOIN (
    SELECT
        e.subject_id,
        e.session,
        e.insertion_number,
        i.sampling_rate,
        min_by(
            CASE v.trial_event_type WHEN 'go' THEN e.go_sample ELSE e.start_sample END
            - v.trial_event_time * i.sampling_rate,
            (v.trial_event_type = 'go', e.trial)
        ) AS zero_sample
    FROM ephys.ephys_trial AS e
    JOIN ephys.probe_insertion AS i USING (subject_id, session, insertion_number)
    JOIN ephys.ephys_trial_event AS v USING (subject_id, session, trial)
    WHERE v.trial_event_type IN ('bitcodestart', 'go')
    GROUP BY e.subject_id, e.session, e.insertion_number, i.sampling_rate
) AS b USING (subject_id, session);

CREATE VIEW ephys.trial_spikes AS
SELECT
    s.subject_id,
    s.session,
    s.insertion_number,
    s.clustering_method,
    s.unit,
    s.trial,
    (s.spike_sample - o.origin_sample) / o.sampling_rate AS spike_time
FROM ephys.spike_file AS s
JOIN ephys.trial_origin AS o USING (subject_id, session, insertion_number, trial);

CREATE VIEW ephys.unit_trial AS
SELECT u.subject_id, u.session, u.insertion_number, u.clustering_method, u.unit, e.trial
FROM ephys.unit AS u
JOIN ephys.ephys_trial AS e USING (subject_id, session, insertion_number);

-- Recorded trials with their duration by the behavior rig, and the sample at which they stop.
CREATE VIEW ephys.trial_span AS
SELECT
    e.subject_id,
    e.session,
    e.insertion_number,
    e.trial,
    e.start_sample + (t.stop_time - t.start_time) * i.sampling_rate AS stop_sample,
    t.stop_time - t.start_time AS duration,
    i.sampling_rate
FROM ephys.ephys_trial AS e
JOIN ephys.probe_insertion AS i USING (subject_id, session, insertion_number)
JOIN experiment.session_trial AS t USING (subject_id, session, trial);

-- The published computation, see docs/tables.md. A spike at the same sample as the one before it
-- in its trial is a duplicate: it counts as a violation, not as a spike.
CREATE VIEW ephys.unit_stat_computed AS
-- Each trial's spikes become one list, which is cheaper than a window over millions of rows. Files
-- hold a unit's spikes in order of time, so lists mostly are in order, too; those that are not show
-- a pair that descends, and are sorted.
WITH lists AS (
    SELECT
        subject_id,
        session,
        insertion_number,
        clustering_method,
        unit,
        trial,
        list(spike_sample) AS samples
    FROM ephys.spike_file
    GROUP BY ALL
),
found AS (
    SELECT
        l.*,
        t.stop_sample,
        t.sampling_rate,
        list_filter(
            list_zip(l.samples[2:], l.samples[:-1]),
            lambda p: (p[1] - p[2]) / t.sampling_rate < 0.002
        ) AS pairs
    FROM lists AS l
    JOIN ephys.trial_span AS t USING (subject_id, session, insertion_number, trial)
),
close AS (
    SELECT
        * EXCLUDE (pairs),
        CASE
            WHEN len(list_filter(pairs, lambda p: p[1] < p[2])) = 0 THEN pairs
            ELSE list_filter(
                list_zip(list_sort(samples)[2:], list_sort(samples)[:-1]),
                lambda p: (p[1] - p[2]) / sampling_rate < 0.002
            )
        END AS violations
    FROM found
),
twice AS (
    SELECT *, list_filter(violations, lambda p: p[1] = p[2]) AS duplicates
    FROM close
),
counts AS (
    SELECT
        subject_id,
        session,
        insertion_number,
        clustering_method,
        unit,
        sum(len(samples) - 1) AS isi_count,
        sum(len(violations)) AS violation_count,
        sum(len(samples) - len(duplicates)) AS spike_count,
        sum(
            len(list_filter(samples, lambda s: s <= stop_sample))
            - len(list_filter(duplicates, lambda p: p[1] <= stop_sample))
        ) AS spike_count_in_trial
    FROM twice
    GROUP BY ALL
),
durations AS (
    SELECT subject_id, session, insertion_number, sum(duration) AS duration
    FROM ephys.trial_span
    GROUP BY ALL
)
SELECT
    u.subject_id,
    u.session,
    u.insertion_number,
    u.clustering_method,
    u.unit,
    c.violation_count / (2 * c.spike_count * 0.002::DOUBLE) / (c.spike_count / d.duration)
        AS isi_violation,
    c.spike_count / d.duration AS avg_firing_rate,
    coalesce(c.isi_count, 0) > 0 AS has_isi,
    coalesce(c.spike_count_in_trial, 0) / d.duration AS firing_rate
FROM ephys.unit AS u
LEFT JOIN durations AS d USING (subject_id, session, insertion_number)
LEFT JOIN counts AS c USING (subject_id, session, insertion_number, clustering_method, unit);

CREATE VIEW ephys.unit_stat AS
WITH metric AS (
    -- One row per unit, whatever the number of epochs that were measured.
    SELECT
        subject_id,
        session,
        insertion_number,
        clustering_method,
        unit,
        arg_min(struct_pack(isi_viol, firing_rate), epoch_name_quality_metrics) AS value
    FROM ephys.cluster_metric
    GROUP BY ALL
)
SELECT
    c.subject_id,
    c.session,
    c.insertion_number,
    c.clustering_method,
    c.unit,
    CASE
        WHEN m.value IS NOT NULL THEN m.value.isi_viol
        WHEN c.has_isi THEN c.isi_violation
    END AS isi_violation,
    CASE
        WHEN m.value IS NOT NULL THEN m.value.firing_rate
        WHEN c.has_isi THEN c.avg_firing_rate
    END AS avg_firing_rate,
    c.firing_rate
FROM ephys.unit_stat_computed AS c
LEFT JOIN metric AS m USING (subject_id, session, insertion_number, clustering_method, unit);
