"""Built-in tables of single units: cell type, drift, coarse brain location."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maplake.compute.model import Computation, Key
from maplake.errors import QueryError
from maplake.ingest.cell_type import cell_types
from maplake.query.frames import scan
from maplake.query.lake import Lake
from maplake.tables import get

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["COMPUTATIONS", "coarse_area", "drift_metric", "part"]

_UNIT = ["clustering_method", "unit"]
_WINDOW = 6  # trials that are averaged
_LOW, _HIGH = 0.05, 0.95


def part(lake: Lake, name: str, key: Key) -> pl.DataFrame:
    """Return the rows of one partition of a table, in the order of its file."""
    table = get(name)
    columns = table.arrow_schema.names
    wanted = {n: v for n, v in key.items() if n in columns}
    return lake.steady(lambda: scan(lake.root, table, key).filter(**wanted).collect())


def cell_type(lake: Lake, key: Key) -> pl.DataFrame:
    """Classify the units of an insertion by the width of their waveform."""
    import polars as pl

    rate = part(lake, "ephys.probe_insertion", key)["sampling_rate"][0]
    units = part(lake, "ephys.unit", key).filter(pl.col("unit_quality") != "all")
    found = units.join(part(lake, "ephys.unit_waveform", key), on=_UNIT, maintain_order="left")
    types: list[str] = []
    if len(found):
        types = _types(found["waveform"].to_list(), float(rate))
    return found.select(_UNIT).with_columns(cell_type=pl.Series(types, dtype=pl.String))


def _types(waveforms: list[list[float]], rate: float) -> list[str]:
    """Classify waveforms, those of the same length at a time."""
    import numpy as np

    result = [""] * len(waveforms)
    for length in {len(w) for w in waveforms}:
        places = [i for i, w in enumerate(waveforms) if len(w) == length]
        found = cell_types(np.array([waveforms[i] for i in places]), rate)
        for place, kind in zip(places, found, strict=True):
            result[place] = kind
    return result


def drift_metric(count: NDArray[np.integer], duration: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return how often the rate of units leaves what a Poisson process would do.

    As published: rates per trial are averaged over 6 trials (moving mean; rates before the first
    and after the last trial count as 0), of these every 6th is taken, from the first one on. Each
    is compared with the Poisson distribution of the mean over all trials.

    Parameters
    ----------
    count
        Spikes, (units, trials).
    duration
        Of the trials in s, (trials,).

    Returns
    -------
    share
        Share of averages below the 5 % or above the 95 % point, (units,); NaN with fewer than 6
        trials and without any spike.
    """
    import numpy as np

    rates = np.asarray(count) / np.asarray(duration, dtype=np.float64)
    if rates.shape[1] < _WINDOW or not len(rates):
        return np.full(len(rates), np.nan)
    kernel = np.ones(_WINDOW) / _WINDOW
    averages = np.array([np.convolve(unit, kernel, "same")[::_WINDOW] for unit in rates])
    mean = rates.mean(axis=1, keepdims=True)
    from scipy.stats import poisson  # takes longer to import than all of maplake

    below = poisson.cdf(averages, mean)
    share = ((below > _HIGH) | (below < _LOW)).mean(axis=1)
    return np.where(mean[:, 0] > 0, share, np.nan)


def map_cluster_metric(lake: Lake, key: Key) -> pl.DataFrame:
    """Compute the drift metric of the units of an insertion."""
    import polars as pl

    units = part(lake, "ephys.unit", key).select(_UNIT)
    trials = _trials(lake, key)
    counts = (
        part(lake, "ephys.spike", key)
        .filter(pl.col("trial").is_not_null())
        .group_by([*_UNIT, "trial"])
        .len("count")
    )
    grid = units.join(trials.select("trial"), how="cross", maintain_order="left_right")
    filled = grid.join(counts, on=[*_UNIT, "trial"], how="left", maintain_order="left")
    matrix = filled["count"].fill_null(0).to_numpy().reshape(len(units), len(trials))
    share = drift_metric(matrix, trials["duration"].to_numpy())
    return units.with_columns(drift_metric=pl.Series(share).fill_nan(None))


def _trials(lake: Lake, key: Key) -> pl.DataFrame:
    """Return trial and duration (s) of the recorded trials, of good ones where there are some.

    A trial lasts until its event ``trialend``, as published; without one until it stops.
    """
    import polars as pl

    recorded = part(lake, "ephys.ephys_trial", key).select("trial")
    good = part(lake, "ephys.good_trial", key).select("trial")
    if len(good):
        recorded = recorded.join(good, on="trial", how="semi")
    ends = (
        part(lake, "experiment.trial_event", key)
        .filter(trial_event_type="trialend")
        .group_by("trial")
        .agg(end=pl.col("trial_event_time").max())
    )
    stops = part(lake, "experiment.session_trial", key).select(
        "trial", stop=pl.col("stop_time") - pl.col("start_time")
    )
    times = recorded.join(stops, on="trial").join(ends, on="trial", how="left")
    known = times.select("trial", duration=pl.coalesce("end", "stop"))
    return known.filter(pl.col("duration") > 0).sort("trial")


def coarse_area(
    depth: NDArray[np.floating], upper: NDArray[np.floating], lower: NDArray[np.floating]
) -> NDArray[np.intp]:
    """Return which criterion each depth meets: upper < depth <= lower.

    Parameters
    ----------
    depth
        (units,) in um from the probe's tip.
    upper, lower
        (criteria,) in um.

    Returns
    -------
    Place of the criterion, (units,); -1 where none is met.

    Raises
    ------
    QueryError
        If two criteria overlap.
    """
    import numpy as np

    order = np.argsort(upper, kind="stable")
    if np.any(lower[order][:-1] > upper[order][1:]):
        raise QueryError("the depth criteria of an insertion overlap")
    met = (depth[:, None] > upper) & (depth[:, None] <= lower)
    return (
        np.where(met.any(axis=1), met.argmax(axis=1), -1) if met.size else np.full(len(depth), -1)
    )


def coarse_brain_location(lake: Lake, key: Key) -> pl.DataFrame | None:
    """Find the area of each unit from the depth criteria of its insertion."""
    import polars as pl

    rules = part(lake, "ephys.brain_area_depth_criteria", key)
    if not len(rules):
        return None
    units = part(lake, "ephys.unit", key)
    place = coarse_area(
        units["unit_posy"].to_numpy(),
        rules["depth_upper"].to_numpy(),
        rules["depth_lower"].to_numpy(),
    )
    names = rules["brain_area"].to_list()
    where = part(lake, "ephys.insertion_location", key).to_dicts()
    known = where[0] if where else {}
    hemisphere = _hemisphere(known.get("ml_location"))
    inside = place >= 0
    return units.select(_UNIT).with_columns(
        brain_area=pl.Series([names[p] if p >= 0 else None for p in place], dtype=pl.String),
        hemisphere=pl.Series([hemisphere if i else None for i in inside], dtype=pl.String),
        skull_reference=pl.Series(
            [known.get("skull_reference") if i else None for i in inside], dtype=pl.String
        ),
    )


def _hemisphere(ml: float | None) -> str | None:
    if ml is None:
        return None
    return "left" if ml < 0 else "right" if ml > 0 else "both"


COMPUTATIONS = (
    Computation(
        (get("ephys.unit_cell_type"),),
        ("ephys.unit", "ephys.unit_waveform", "ephys.probe_insertion"),
        cell_type,
    ),
    Computation(
        (get("ephys.map_cluster_metric"),),
        (
            "ephys.unit",
            "ephys.spike",
            "ephys.ephys_trial",
            "ephys.good_trial",
            "experiment.session_trial",
            "experiment.trial_event",
        ),
        map_cluster_metric,
    ),
    Computation(
        (get("ephys.unit_coarse_brain_location"),),
        ("ephys.unit", "ephys.brain_area_depth_criteria", "ephys.insertion_location"),
        coarse_brain_location,
    ),
)
