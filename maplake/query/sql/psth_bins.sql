-- Bins as numpy makes them: edges are np.arange(start, stop, bin), bins are closed on the left
-- and open on the right, except for the last one (np.histogram).
--
-- DuckDB's histogram(x, edges) has bins open on the left and closed on the right, the other way
-- round. Of the negated times it gives numpy's bins exactly, without any rounding, as negation is
-- exact; the last right edge is moved by one representable number to let it in.

CREATE MACRO psth.edge_count(win_start, win_stop, width) AS
    CASE
        WHEN width::DOUBLE > 0 AND win_stop::DOUBLE - win_start::DOUBLE > width::DOUBLE
            AND (win_stop::DOUBLE - win_start::DOUBLE) / width::DOUBLE <= 1000000
        THEN ceil((win_stop::DOUBLE - win_start::DOUBLE) / width::DOUBLE)::BIGINT
        ELSE 0
    END;

CREATE MACRO psth.edge(i, win_start, width) AS
    win_start::DOUBLE + i * ((win_start::DOUBLE + width::DOUBLE) - win_start::DOUBLE);

-- All edges from the last to the first, negated: ascending, as histogram wants them.
CREATE MACRO psth.negated_edges(win_start, win_stop, width) AS
    list_transform(
        range(1, psth.edge_count(win_start, win_stop, width) + 1),
        lambda k: CASE
            WHEN k = 1
            THEN -nextafter(
                psth.edge(psth.edge_count(win_start, win_stop, width) - 1, win_start, width),
                'infinity'::DOUBLE)
            ELSE -psth.edge(
                psth.edge_count(win_start, win_stop, width) - k, win_start, width)
        END
    );

-- Right edges of the bins, in order of time.
CREATE MACRO psth.bin_times(win_start, win_stop, width) AS
    list_transform(
        range(1, psth.edge_count(win_start, win_stop, width)),
        lambda k: psth.edge(k, win_start, width)
    );

-- The counts of such a histogram in order of time, without what lies outside of all bins.
CREATE MACRO psth.in_time_order(hist, bin_count) AS
    map_values(hist)[bin_count + 1:2:-1];
