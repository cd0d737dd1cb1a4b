-- Views of schema foraging: what the foraging task tells about trials, blocks and sessions.

-- Licks after the last go cue; an animal that licks at more than one port dips twice.
CREATE VIEW foraging.trial_stats AS
SELECT
    b.subject_id,
    b.session,
    b.trial,
    l.first_lick - g.go_time AS reaction_time,
    coalesce(l.port_count > 1, false) AS double_dipping
FROM experiment.behavior_trial AS b
LEFT JOIN (
    SELECT subject_id, session, trial, max(trial_event_time) AS go_time
    FROM experiment.trial_event
    WHERE trial_event_type = 'go'
    GROUP BY subject_id, session, trial
) AS g USING (subject_id, session, trial)
LEFT JOIN (
    SELECT a.subject_id, a.session, a.trial,
        min(a.action_event_time) AS first_lick,
        count(DISTINCT a.action_event_type) AS port_count
    FROM experiment.action_event AS a
    JOIN (
        SELECT subject_id, session, trial, max(trial_event_time) AS go_time
        FROM experiment.trial_event
        WHERE trial_event_type = 'go'
        GROUP BY subject_id, session, trial
    ) AS g USING (subject_id, session, trial)
    WHERE a.action_event_type LIKE '%lick' AND a.action_event_time > g.go_time
    GROUP BY a.subject_id, a.session, a.trial
) AS l USING (subject_id, session, trial)
WHERE b.task LIKE 'foraging%';

-- Trials of blocks with what was chosen and earned.
CREATE VIEW foraging.block_choice AS
SELECT
    t.subject_id,
    t.session,
    t.block,
    t.trial,
    b.outcome,
    c.water_port
FROM experiment.block_trial AS t
JOIN experiment.behavior_trial AS b USING (subject_id, session, trial)
LEFT JOIN experiment.water_port_choice AS c USING (subject_id, session, trial);

CREATE VIEW foraging.block_stats AS
SELECT
    s.subject_id,
    s.session,
    s.block,
    count(t.trial)::INTEGER AS block_trial_num,
    (count(*) FILTER (t.outcome = 'ignore'))::INTEGER AS block_ignore_num,
    (count(*) FILTER (t.outcome = 'hit'))
        / nullif(count(*) FILTER (t.outcome IN ('hit', 'miss')), 0) AS block_reward_rate
FROM experiment.session_block AS s
LEFT JOIN foraging.block_choice AS t USING (subject_id, session, block)
GROUP BY s.subject_id, s.session, s.block;

-- Choices of the same port one after the other; trials without a choice neither count nor part.
CREATE VIEW foraging.choice_run AS
WITH choice AS (
    SELECT c.subject_id, c.session, c.trial, c.water_port,
        row_number() OVER (PARTITION BY c.subject_id, c.session ORDER BY c.trial)
            - row_number() OVER (
                PARTITION BY c.subject_id, c.session, c.water_port ORDER BY c.trial) AS island
    FROM experiment.water_port_choice AS c
    WHERE c.water_port IS NOT NULL
)
SELECT
    subject_id,
    session,
    min(trial) AS start_trial,
    max(trial) AS stop_trial,
    water_port,
    count(*)::INTEGER AS run_length
FROM choice
GROUP BY subject_id, session, water_port, island;

-- What the best strategy earns per trial with the higher and the lower of two probabilities:
-- to stay at the better port, visiting the other one whenever its water has become more likely.
CREATE MACRO foraging.best_rate(p_max, p_min) AS
    CASE
        WHEN p_min <= 0 OR p_max >= 1 THEN p_max
        ELSE p_max + (1 - (1 - p_min) ** (floor(ln(1 - p_max) / ln(1 - p_min)) + 1) - p_max ** 2)
            / (floor(ln(1 - p_max) / ln(1 - p_min)) + 1)
    END;

CREATE VIEW foraging.block_probability AS
SELECT
    subject_id,
    session,
    block,
    max(reward_probability) AS p_max,
    min(reward_probability) AS p_min,
    sum(reward_probability) AS p_sum,
    max(reward_probability) FILTER (water_port = 'left') AS p_left,
    max(reward_probability) FILTER (water_port = 'right') AS p_right
FROM experiment.block_reward_probability
GROUP BY subject_id, session, block;

CREATE VIEW foraging.session_stats AS
WITH trial AS (
    SELECT b.subject_id, b.session, b.trial, b.task, b.task_protocol, b.outcome, b.early_lick,
        (b.auto_water OR n.trial IS NOT NULL) AS auto_water, d.double_dipping, p.*
            EXCLUDE (subject_id, session, block)
    FROM experiment.behavior_trial AS b
    JOIN foraging.trial_stats AS d USING (subject_id, session, trial)
    LEFT JOIN (
        SELECT subject_id, session, trial FROM experiment.trial_note
        WHERE trial_note_type = 'autowater'
    ) AS n USING (subject_id, session, trial)
    LEFT JOIN experiment.block_trial AS t USING (subject_id, session, trial)
    LEFT JOIN foraging.block_probability AS p USING (subject_id, session, block)
),
counts AS (
    SELECT
        subject_id,
        session,
        bool_or(task = 'foraging') AS two_ports,
        median(task_protocol) IN (110, 120) AS no_baiting,
        bool_or((p_max > 0 AND p_max < 1) OR (p_min > 0 AND p_min < 1)) AS real_foraging,
        count(*) FILTER (outcome = 'hit') AS hits,
        count(*) FILTER (outcome = 'miss') AS misses,
        count(*) FILTER (outcome = 'ignore') AS ignores,
        count(*) FILTER (early_lick = 'early') AS early,
        count(*) FILTER (auto_water) AS auto_waters,
        count(*) FILTER (outcome IN ('hit', 'miss') AND NOT auto_water) AS pure_choices,
        count(*) FILTER (outcome = 'hit' AND NOT auto_water) AS pure_hits,
        count(*) FILTER (double_dipping AND outcome = 'hit') AS double_hits,
        count(*) FILTER (double_dipping AND outcome = 'miss') AS double_misses,
        count(*) FILTER (double_dipping AND outcome IN ('hit', 'miss') AND NOT auto_water)
            AS double_choices,
        avg(foraging.best_rate(p_max, p_min))
            FILTER (outcome IN ('hit', 'miss') AND NOT auto_water) AS best_rate,
        avg(p_max) FILTER (outcome IN ('hit', 'miss') AND NOT auto_water) AS best_unbaited,
        avg(p_left + p_right) FILTER (outcome IN ('hit', 'miss') AND NOT auto_water) AS p_sum,
        avg(greatest(p_left, p_right) / nullif(least(p_left, p_right), 0))
            FILTER (outcome IN ('hit', 'miss') AND NOT auto_water) AS p_contrast
    FROM trial
    GROUP BY subject_id, session
)
SELECT
    c.subject_id,
    c.session,
    t.trial_num::INTEGER AS session_total_trial_num,
    coalesce(b.block_num, 0)::INTEGER AS session_block_num,
    c.hits::INTEGER AS session_hit_num,
    c.misses::INTEGER AS session_miss_num,
    c.ignores::INTEGER AS session_ignore_num,
    c.early / nullif(c.hits + c.misses, 0) AS session_early_lick_ratio,
    c.auto_waters::INTEGER AS session_autowater_num,
    c.pure_choices::INTEGER AS session_pure_choices_num,
    t.length AS session_length,
    CASE WHEN s.session_date > DATE '2020-08-11' THEN c.double_choices / nullif(c.pure_choices, 0)
        END AS session_double_dipping_ratio,
    c.double_hits / nullif(c.hits, 0) AS session_double_dipping_ratio_hit,
    CASE WHEN s.session_date > DATE '2020-08-11' THEN c.double_misses / nullif(c.misses, 0)
        END AS session_double_dipping_ratio_miss,
    c.pure_hits / nullif(c.pure_choices, 0) AS session_reward_rate,
    CASE WHEN c.two_ports
        THEN c.pure_hits / nullif(c.pure_choices, 0)
            / nullif(CASE WHEN c.no_baiting THEN c.best_unbaited ELSE c.best_rate END, 0)
        END AS session_foraging_eff_optimal,
    e.session_foraging_eff_optimal_random_seed,
    CASE WHEN c.two_ports THEN c.p_sum END AS session_mean_reward_sum,
    CASE WHEN c.two_ports AND c.real_foraging THEN c.p_contrast
        WHEN c.two_ports THEN 100
        END AS session_mean_reward_contrast,
    r.run_length AS session_mean_run_length
FROM counts AS c
JOIN experiment.session AS s USING (subject_id, session)
LEFT JOIN foraging.session_efficiency AS e USING (subject_id, session)
JOIN (
    SELECT subject_id, session, count(*) AS trial_num, max(stop_time) AS length
    FROM experiment.session_trial
    GROUP BY subject_id, session
) AS t USING (subject_id, session)
LEFT JOIN (
    SELECT subject_id, session, count(*) AS block_num
    FROM experiment.session_block
    GROUP BY subject_id, session
) AS b USING (subject_id, session)
LEFT JOIN (
    SELECT subject_id, session, avg(run_length) AS run_length
    FROM foraging.choice_run
    GROUP BY subject_id, session
) AS r USING (subject_id, session);

-- As published: blocks of more than 30 trials without a sure reward, and none of sessions whose
-- protocol is 120.
CREATE VIEW foraging.block_fraction AS
WITH block AS (
    SELECT t.subject_id, t.session, t.block,
        count(*) AS block_length,
        count(*) FILTER (t.outcome = 'hit') AS rewards,
        count(t.water_port) AS choices
    FROM foraging.block_choice AS t
    ANTI JOIN (
        SELECT subject_id, session, block FROM experiment.block_reward_probability
        WHERE reward_probability >= 1
    ) AS sure
        ON t.subject_id = sure.subject_id AND t.session = sure.session AND t.block = sure.block
    ANTI JOIN (
        SELECT subject_id, session
        FROM experiment.behavior_trial
        GROUP BY subject_id, session
        HAVING median(task_protocol) = 120
    ) AS other
        ON t.subject_id = other.subject_id AND t.session = other.session
    GROUP BY t.subject_id, t.session, t.block
    HAVING count(*) > 30
),
port AS (
    SELECT subject_id, session, block, water_port,
        count(*) FILTER (outcome = 'hit') AS rewards,
        count(*) AS choices
    FROM foraging.block_choice
    WHERE water_port IS NOT NULL
    GROUP BY subject_id, session, block, water_port
)
SELECT
    b.subject_id,
    b.session,
    b.block,
    w.water_port,
    b.block_length::INTEGER AS block_length,
    coalesce(b.rewards / nullif(b.choices, 0), 0) AS block_reward_per_trial,
    coalesce(p.rewards, 0) / nullif(b.rewards, 0) AS block_reward_fraction,
    coalesce(p.choices, 0) / nullif(b.choices, 0) AS block_choice_fraction,
    coalesce(p.rewards, 0)::INTEGER AS reward_num,
    coalesce(p.choices, 0)::INTEGER AS choice_num
FROM block AS b
CROSS JOIN (SELECT water_port FROM experiment.water_port WHERE water_port NOT LIKE 'mtl%') AS w
LEFT JOIN port AS p USING (subject_id, session, block, water_port);

-- Matching: the line through log2(choices here : elsewhere) against log2(rewards here : elsewhere)
-- of the blocks, by least squares; blocks where one of them is zero or everything are left out.
-- A session without such blocks has its rows, too, as published.
CREATE VIEW foraging.session_matching AS
WITH ratio AS (
    SELECT *,
        block_reward_fraction / (1 - block_reward_fraction) AS reward_ratio,
        block_choice_fraction / (1 - block_choice_fraction) AS choice_ratio
    FROM foraging.block_fraction
),
logs AS (
    SELECT subject_id, session, water_port, block, reward_num, choice_num,
        CASE WHEN reward_ratio > 0 AND isfinite(reward_ratio) AND choice_ratio > 0
            AND isfinite(choice_ratio) THEN log2(reward_ratio) END AS reward_log,
        CASE WHEN reward_ratio > 0 AND isfinite(reward_ratio) AND choice_ratio > 0
            AND isfinite(choice_ratio) THEN log2(choice_ratio) END AS choice_log
    FROM ratio
),
total AS (
    SELECT subject_id, session, sum(reward_num) AS rewards, sum(choice_num) AS choices
    FROM foraging.block_fraction
    GROUP BY subject_id, session
),
port AS (
    SELECT s.subject_id, s.session, w.water_port
    FROM (
        SELECT DISTINCT subject_id, session FROM experiment.behavior_trial
        WHERE task LIKE 'foraging%'
    ) AS s
    CROSS JOIN (SELECT water_port FROM experiment.water_port WHERE water_port NOT LIKE 'mtl%') AS w
)
SELECT
    p.subject_id,
    p.session,
    p.water_port,
    (sum(l.reward_num) / nullif(any_value(t.rewards), 0))::DOUBLE AS reward_share,
    (sum(l.choice_num) / nullif(any_value(t.choices), 0))::DOUBLE AS choice_share,
    count(l.reward_log)::INTEGER AS block_count,
    CASE WHEN min(l.reward_log) < max(l.reward_log)
        THEN regr_slope(l.choice_log, l.reward_log) END AS match_idx,
    CASE WHEN min(l.reward_log) < max(l.reward_log)
        THEN regr_intercept(l.choice_log, l.reward_log) END AS bias
FROM port AS p
LEFT JOIN logs AS l USING (subject_id, session, water_port)
LEFT JOIN total AS t USING (subject_id, session)
GROUP BY p.subject_id, p.session, p.water_port;

-- Rewards per choice of a block against what its probabilities, the water that was there, and
-- the best strategy would give.
CREATE VIEW foraging.block_efficiency AS
WITH available AS (
    SELECT subject_id, session, block,
        avg(most::INTEGER) AS most, avg(amount) AS amount
    FROM (
        SELECT t.subject_id, t.session, t.block, t.trial,
            bool_or(a.reward_available) AS most,
            count(*) FILTER (a.reward_available) AS amount
        FROM experiment.block_trial AS t
        JOIN experiment.trial_available_reward AS a USING (subject_id, session, trial)
        JOIN experiment.block_reward_probability AS p
            USING (subject_id, session, block, water_port)
        GROUP BY t.subject_id, t.session, t.block, t.trial
    )
    GROUP BY subject_id, session, block
)
SELECT
    f.subject_id,
    f.session,
    f.block,
    f.block_reward_per_trial,
    f.block_reward_per_trial / nullif(p.p_max, 0) AS block_effi_one_p_reward,
    f.block_reward_per_trial / nullif(p.p_sum, 0) AS block_effi_sum_p_reward,
    f.block_reward_per_trial / nullif(a.most, 0) AS block_effi_one_a_reward,
    f.block_reward_per_trial / nullif(a.amount, 0) AS block_effi_sum_a_reward,
    CASE WHEN p.p_left IS NOT NULL AND p.p_right IS NOT NULL
        THEN f.block_reward_per_trial / nullif(foraging.best_rate(p.p_max, p.p_min), 0)
        END AS block_ideal_phat_greedy,
    CASE WHEN p.p_left IS NOT NULL AND p.p_right IS NOT NULL
        THEN foraging.best_rate(p.p_max, p.p_min) - f.block_reward_per_trial
        END AS regret_ideal_phat_greedy
FROM (
    SELECT DISTINCT subject_id, session, block, block_reward_per_trial
    FROM foraging.block_fraction
) AS f
JOIN foraging.block_probability AS p USING (subject_id, session, block)
LEFT JOIN available AS a USING (subject_id, session, block);
