"""Selectivity for contra- or ipsilateral trials, period by period."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from maplake.errors import QueryError
from maplake.query.aligned import ALPHA, Aligned, frame, no_units, where
from maplake.query.hemisphere import hemisphere
from maplake.query.sqltext import literal
from maplake.tables import get
from maplake.tables.ephys import UNIT_KEY

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from maplake.query.numbers import Floats

#: Length of the delay in the trials that are compared (s), to the resolution of the rigs' files.
DELAY_S = 1.2
_RESOLUTION_S = 5e-5
_INSERTION = UNIT_KEY[:3]


def period_selectivity(
    aligned: Aligned, subject_id: int, session: int, insertion_number: int
) -> pl.DataFrame:
    """Return ``psth.period_selectivity`` of one insertion, as :meth:`Lake.selectivity` does.

    The table is computed with this function, so that both are one.
    """
    keys = dict.fromkeys(UNIT_KEY) | {
        "subject_id": subject_id,
        "session": session,
        "insertion_number": insertion_number,
    }
    options = {"periods": None, "good_trials_only": False, "alpha": ALPHA, "all_units": False}
    return selectivity(aligned, keys, options)


def selectivity(
    aligned: Aligned, keys: Mapping[str, Any], options: Mapping[str, Any]
) -> pl.DataFrame:
    """Test all units of a session or a probe; see :meth:`Lake.selectivity`."""
    import polars as pl

    probe = {k: keys[k] for k in _INSERTION}
    known = aligned.rows("ephys.insertion_location", probe)["insertion_number"]
    insertions = known.unique().sort().to_list()
    if not insertions:
        hemisphere(aligned, probe)  # says what is missing
    parts = [_of_probe(aligned, {**keys, "insertion_number": n}, options) for n in insertions]
    found = pl.concat(parts)
    if not len(found) and (keys["unit"], keys["clustering_method"]) != (None, None):
        raise no_units(aligned.con, keys)
    return found


def _of_probe(
    aligned: Aligned, keys: Mapping[str, Any], options: Mapping[str, Any]
) -> pl.DataFrame:
    import polars as pl

    side = hemisphere(aligned, {k: keys[k] for k in _INSERTION})
    periods = _periods(options["periods"])
    trials = _trials(aligned, keys, periods, options["good_trials_only"])
    units = aligned.chosen_units(keys, all_units=bool(options["all_units"]))
    counts = _counts(aligned, keys, units, trials, periods)
    frames = [
        units.with_columns(pl.lit(name).alias("period")).hstack(
            _tested(counts[i], trials, i, side, options["alpha"])
        )
        for i, name in enumerate(periods)
    ]
    return pl.concat(frames).sort([*UNIT_KEY, "period"])


def _periods(names: list[str] | None) -> list[str]:
    known = [str(row[0]) for row in get("experiment.period").rows]
    for name in names or ():
        if name.lower() not in known:
            raise QueryError("there is no such period", found=name, expected=", ".join(known))
    return [name.lower() for name in names or known]


def _trials(
    aligned: Aligned, keys: Mapping[str, Any], periods: list[str], good_only: bool
) -> pl.DataFrame:
    """Return the recorded trials to compare, with start_i and stop_i of period i (s from go)."""
    windows = ", ".join(
        f"max({edge}_time) FILTER (period = {literal(name)}) AS {edge}_{i}"
        for i, name in enumerate(periods)
        for edge in ("start", "stop")
    )
    table = "psth.recorded_trial" if good_only else "ephys.ephys_trial"
    key = where({k: keys[k] for k in _INSERTION})
    session = where({k: keys[k] for k in _INSERTION[:2]})
    return aligned.of_probe(
        keys,
        f"""
        SELECT e.trial, b.trial_instruction AS side, e.go_sample,
            (SELECT max(sampling_rate) FROM ephys.probe_insertion WHERE {key}) AS sampling_rate,
            w.* EXCLUDE (trial)
        FROM (FROM {table} WHERE {key}) AS e
        JOIN (FROM psth.trial WHERE {session}) AS b USING (trial)
        JOIN (
            SELECT trial, {windows} FROM psth.period_window WHERE {session} GROUP BY trial
        ) AS w USING (trial)
        SEMI JOIN (
            FROM experiment.trial_event WHERE {session} AND trial_event_type = 'delay'
            AND abs(duration - {DELAY_S}) < {_RESOLUTION_S}
        ) AS d ON d.trial = e.trial
        WHERE b.task = 'audio delay' AND b.early_lick = 'no early' AND b.outcome = 'hit'
            AND NOT b.auto_water AND NOT b.free_water AND NOT b.photostim
            AND b.trial_instruction IN ('left', 'right') AND e.go_sample IS NOT NULL
        ORDER BY e.trial
        """,
    )


def _counts(
    aligned: Aligned,
    keys: Mapping[str, Any],
    units: pl.DataFrame,
    trials: pl.DataFrame,
    periods: list[str],
) -> NDArray[np.int64]:
    """Return spikes in [start, stop) of each period, shape (periods, units, trials)."""
    import numpy as np

    counts = np.zeros((len(periods), len(units), len(trials)), np.int64)
    if not counts.size:
        return counts
    time = "(s.spike_sample - t.go_sample) / t.sampling_rate"
    columns = ", ".join(
        f"count(*) FILTER ({time} >= t.start_{i} AND {time} < t.stop_{i}) AS count_{i}"
        for i in range(len(periods))
    )
    with (
        aligned.registered(units.with_row_index("unit_place")) as known,
        aligned.registered(trials.with_row_index("trial_place")) as compared,
    ):
        found = frame(
            aligned.con,
            f"SELECT u.unit_place, t.trial_place, {columns} FROM {aligned.spikes(keys)} AS s "
            f"JOIN {known} AS u USING (clustering_method, unit) "
            f"JOIN {compared} AS t USING (trial) GROUP BY u.unit_place, t.trial_place",
        )
    rows, places = found["unit_place"].to_numpy(), found["trial_place"].to_numpy()
    for i in range(len(periods)):
        counts[i, rows, places] = found[f"count_{i}"].to_numpy()
    return counts


def _tested(
    count: NDArray[np.int64], trials: pl.DataFrame, period: int, side: str, alpha: float
) -> pl.DataFrame:
    """Return the test's columns for the counts (units, trials) of one period."""
    import numpy as np
    import polars as pl

    length = (trials[f"stop_{period}"] - trials[f"start_{period}"]).to_numpy().astype(float)
    known = length > 0
    rate = count[:, known] / length[known]
    is_ipsi = (trials["side"] == side).to_numpy()[known]
    ipsi, contra = rate[:, is_ipsi], rate[:, ~is_ipsi]
    means = _mean(ipsi), _mean(contra)
    p_value = t_test(ipsi, contra) if known.any() else np.full(len(rate), np.nan)
    words = np.where(means[0] > means[1], "ipsi-selective", "contra-selective")
    chosen = np.where(p_value <= alpha, words, "non-selective").tolist()
    return pl.DataFrame(
        {
            "period_selectivity": pl.Series(chosen, dtype=pl.String),
            "ipsi_firing_rate": pl.Series(means[0]).fill_nan(None),
            "contra_firing_rate": pl.Series(means[1]).fill_nan(None),
            "p_value": pl.Series(p_value).fill_nan(None),
        }
    )


def _mean(rate: Floats) -> Floats:
    import numpy as np

    return rate.mean(axis=1) if rate.shape[1] else np.full(len(rate), np.nan)


def t_test(first: Floats, second: Floats) -> Floats:
    """Return two-sided p values of two-sample t-tests with equal variances.

    Parameters
    ----------
    first, second
        A row per unit, shapes (units, n) and (units, m).

    Returns
    -------
    p_value
        Shape (units,); 1 where the test says nothing: too few trials, or no variance and no
        difference.
    """
    import numpy as np
    from scipy.special import stdtr

    n, m = first.shape[1], second.shape[1]
    if not n or not m or n + m < 3:
        return np.ones(len(first))
    difference = first.mean(axis=1) - second.mean(axis=1)
    squares = n * first.var(axis=1) + m * second.var(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(difference) / np.sqrt(squares / (n + m - 2) * (1 / n + 1 / m))
    p_value = 2 * stdtr(n + m - 2, -t)
    return np.where(np.isnan(p_value), 1.0, p_value)
