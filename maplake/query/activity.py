"""PSTHs and rasters as arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from maplake.errors import NotFoundError, QueryError
from maplake.layout import table_file
from maplake.query.connection import Connection, Stamp, file_stamp
from maplake.query.sqltext import glob_escape, identifier, literal
from maplake.tables import get
from maplake.tables.ephys import UNIT_KEY

if TYPE_CHECKING:
    import polars as pl

#: Tables of a session that decide which trials are aligned to what.
_TRIAL_TABLES = (
    "experiment.session_trial",
    "experiment.behavior_trial",
    "experiment.photostim_event",
    "experiment.photostim_location",
    "experiment.trial_event",
    "ephys.ephys_trial",
    "ephys.good_trial",
    "ephys.probe_insertion",
    "ephys.unit",
)
_CACHED = 32


@dataclass(frozen=True)
class Psth:
    """Peri-stimulus time histograms of units under one condition.

    Attributes
    ----------
    condition, event
        Which trials, aligned to what.
    time
        Right edges of the bins (s from the event), shape (bins,).
    count
        Spikes in all trials, shape (units, bins).
    trial_count
        Trials of the condition that the unit's probe saw, shape (units,).
    rate
        Mean rate (Hz), shape (units, bins); NaN where there is no trial.
    units
        A row per unit: its key.
    """

    condition: str
    event: str
    bin: float
    time: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]
    trial_count: npt.NDArray[np.int32]
    rate: npt.NDArray[np.float64]
    units: pl.DataFrame

    def to_polars(self) -> pl.DataFrame:
        """Return one row per unit and bin: unit key, time (s), count, rate (Hz), trial_count."""
        import polars as pl

        bins = len(self.time)
        rows = self.units.select(pl.all().repeat_by(bins).explode())
        return rows.with_columns(
            pl.Series("time", np.tile(self.time, len(self.units))),
            pl.Series("count", self.count.ravel()),
            pl.Series("rate", self.rate.ravel()).fill_nan(None),
            pl.Series("trial_count", np.repeat(self.trial_count, bins)),
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw one unit as a line or several as a heat map; returns the matplotlib axes."""
        from maplake.plots.psth import draw

        return draw(self, ax)

    def __repr__(self) -> str:
        return (
            f"<Psth {self.condition}, aligned to {self.event}: {len(self.units)} units x "
            f"{len(self.time)} bins of {self.bin} s, "
            f"up to {self.trial_count.max(initial=0)} trials>"
        )


def psth(
    con: Connection, keys: Mapping[str, Any], condition: str, options: Mapping[str, Any]
) -> Psth:
    """Compute :class:`Psth` with the macro ``psth.psth``."""
    columns = ", ".join(UNIT_KEY)
    query = (
        f"SELECT {columns}, trial_count, list(time ORDER BY time) AS time, "
        "list(count ORDER BY time) AS count, list(rate ORDER BY time) AS rate "
        f"FROM psth.psth({_arguments({'condition': condition, **options})}) "
        f"WHERE {where(keys)} GROUP BY {columns}, trial_count ORDER BY {columns}"
    )
    found = frame(con, query)
    if not len(found):
        raise NotFoundError("there are no units", place=_place(keys), hint="See lake.sessions().")
    return Psth(
        condition,
        str(options["event"]),
        float(options["bin"]),
        time=np.asarray(found["time"][0].to_numpy(), dtype=np.float64),
        count=_matrix(found["count"], np.int64),
        trial_count=found["trial_count"].to_numpy().astype(np.int32),
        rate=_matrix(found["rate"], np.float64),
        units=found.select(UNIT_KEY),
    )


def _matrix(lists: pl.Series, kind: Any) -> npt.NDArray[Any]:
    return lists.explode().to_numpy().astype(kind).reshape(len(lists), -1)


def where(keys: Mapping[str, Any]) -> str:
    """Return an SQL condition: columns equal to values, those without a value left out."""
    parts = [f"{identifier(k)} = {literal(v)}" for k, v in keys.items() if v is not None]
    return " AND ".join(parts) or "true"


def frame(con: Connection, query: str) -> pl.DataFrame:
    """Run a query; an error while it runs is a :class:`QueryError`, too."""
    import duckdb

    try:
        return cast("pl.DataFrame", con.sql(query).pl())
    except duckdb.Error as error:
        raise QueryError(str(error)) from error


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} := {literal(value)}" for name, value in values.items())


def _place(keys: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in keys.items() if value is not None)


class Rasters:
    """Spikes of single units around an event, in milliseconds.

    The trials of a session under a condition are looked up once and kept in the connection until
    one of the files that they come from changes; a unit then costs one look into one file.
    """

    def __init__(self, root: Path, con: Connection) -> None:
        self._root = root
        self._con = con
        self._kept: dict[tuple[object, ...], str] = {}
        self._made = 0

    def raster(
        self, keys: Mapping[str, Any], condition: str, options: Mapping[str, Any]
    ) -> pl.DataFrame:
        """Return trial and spike_time (s from the event) of one unit, in that order."""
        trials = self._keep(
            "trials",
            keys,
            (condition, *options.values()),
            lambda: self._trials(keys, condition, options),
        )
        units = self._keep(
            "units",
            keys,
            (),
            lambda: (
                "SELECT clustering_method, unit FROM ephys.unit WHERE "
                + where({k: keys[k] for k in UNIT_KEY[:3]})
            ),
        )
        method = self._method(units, keys)
        file = glob_escape((self._root / table_file(get("ephys.spike"), keys)).resolve().as_posix())
        time = "(s.spike_sample - a.origin_sample) / a.sampling_rate"
        return frame(
            self._con,
            (
                f"SELECT a.trial, {time} AS spike_time "
                f"FROM read_parquet({literal(file)}, hive_partitioning = false) AS s "
                f"JOIN temp.main.{trials} AS a ON coalesce(s.trial, 0) = a.spike_trial "
                f"WHERE s.unit = {literal(int(keys['unit']))} "
                f"AND s.clustering_method = {literal(method)} "
                f"AND {time} BETWEEN {literal(options['start'])} AND {literal(options['stop'])} "
                "ORDER BY a.trial, spike_time"
            ),
        )

    def _trials(self, keys: Mapping[str, Any], condition: str, options: Mapping[str, Any]) -> str:
        values = [
            condition,
            options["event"],
            options["occurrence"],
            options["start"],
            options["stop"],
        ]
        arguments = ", ".join(literal(value) for value in values)
        return (
            "SELECT trial, spike_trial, origin_sample, sampling_rate "
            f"FROM psth.aligned_trial({arguments}) "
            f"WHERE {where({k: keys[k] for k in UNIT_KEY[:3]})}"
        )

    def _method(self, units: str, keys: Mapping[str, Any]) -> str:
        wanted = {k: keys[k] for k in ("unit", "clustering_method")}
        found = frame(
            self._con,
            f"SELECT DISTINCT clustering_method FROM temp.main.{units} "
            f"WHERE {where(wanted)} ORDER BY ALL",
        )["clustering_method"].to_list()
        if not found:
            raise NotFoundError("there is no such unit", place=_place(keys))
        if len(found) > 1:
            raise NotFoundError(
                "there are several clusterings",
                place=_place(keys),
                found=", ".join(found),
                hint="Give clustering_method.",
            )
        return str(found[0])

    def _keep(
        self,
        what: str,
        keys: Mapping[str, Any],
        extra: tuple[object, ...],
        query: Callable[[], str],
    ) -> str:
        """Return the name of the temporary table with a query's result, made anew if outdated."""
        con = self._con.get()
        name = (what, *(keys[k] for k in UNIT_KEY[:3]), *extra, *self._stamps(keys))
        if name not in self._kept:
            self._made += 1
            table = f"maplake_{what}_{self._made}"
            import duckdb

            try:
                con.execute(f"CREATE TEMP TABLE {table} AS {query()}")
            except duckdb.Error as error:
                raise QueryError(str(error)) from error
            self._kept[name] = table
            self._forget()
        return self._kept[name]

    def _stamps(self, keys: Mapping[str, Any]) -> list[Stamp | None]:
        files = [self._root / table_file(get(name), keys) for name in _TRIAL_TABLES]
        return [self._con.stamp, *(file_stamp(file) for file in files)]

    def _forget(self) -> None:
        while len(self._kept) > _CACHED:
            table = self._kept.pop(next(iter(self._kept)))
            self._con.get().execute(f"DROP TABLE temp.main.{table}")
