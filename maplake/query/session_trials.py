"""A session's trials, and when a probe saw their go cues, as frames of its own few files.

``psth.trial`` and ``psth.go_alignment`` of ``psth_trials.sql`` and ``psth_macros.sql`` say the same
in SQL, for all sessions. For one session DuckDB takes longer to plan that query than to answer it;
read and joined here, it takes a third of the time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maplake.errors import QueryError
from maplake.query.frames import dtype
from maplake.query.refusal import DAMAGED
from maplake.tables import get
from maplake.tables.model import LABEL, TEXT

if TYPE_CHECKING:
    import polars as pl

#: Where the file of each table is, by the table's name; there may be none.
Files = Mapping[str, str]


def trial_facts(files: Files, key: Mapping[str, Any], names: Collection[str]) -> pl.DataFrame:
    """Return the rows of ``psth.trial`` of one session: trial, and those columns that are named.

    Parameters
    ----------
    files
        Of the session's tables.
    key
        The session's subject_id and session.
    names
        Columns of ``psth.trial``; what only others need is not read.

    Raises
    ------
    QueryError
        If a file is damaged.
    """
    import polars as pl

    def read(table: str) -> pl.DataFrame:
        columns = (c.name for c in get(table).file_columns)
        return table_columns(files, table, *(n for n in columns if n == "trial" or n in names))

    rows = read("experiment.behavior_trial").join(read("experiment.session_trial"), on="trial")
    if "water_port" in names:
        rows = rows.join(read("experiment.water_port_choice"), on="trial", how="left")
    if "stim_sites" in names:
        sites = pl.col("stim_sites")
        rows = rows.join(_stim_sites(files), on="trial", how="left").with_columns(
            photostim=sites.is_not_null(), stim_sites=sites.fill_null([])
        )
    elif "photostim" in names:
        stimuli = read("experiment.photostim_event").unique().with_columns(photostim=True)
        rows = rows.join(stimuli, on="trial", how="left").with_columns(
            pl.col("photostim").fill_null(value=False)
        )
    types = {c.name: dtype(c) for c in get("psth.trial").columns}
    known = {name: pl.lit(int(key[name]), types[name]) for name in ("subject_id", "session")}
    return rows.with_columns(**known).select(n for n in types if n == "trial" or n in names)


def go_cues(files: Files) -> pl.DataFrame:
    """Return a probe's recorded trials, aligned to the go cue.

    Returns
    -------
    trial; spike_trial, the same; origin_sample, the go cue; sampling_rate (Hz). Where a probe has
    good trials, those only.

    Raises
    ------
    QueryError
        If a file is damaged.
    """
    import polars as pl

    trials = table_columns(files, "ephys.ephys_trial", "trial", "go_sample")
    rate = table_columns(files, "ephys.probe_insertion", "sampling_rate")
    good = table_columns(files, "ephys.good_trial", "trial")
    if len(good):
        trials = trials.join(good, on="trial", how="semi")
    moments = trials.filter(pl.col("go_sample").is_not_null()).select(
        "trial",
        pl.col("trial").alias("spike_trial"),
        pl.col("go_sample").cast(pl.Float64).alias("origin_sample"),
    )
    return moments.join(rate, how="cross")


def table_columns(files: Files, table: str, *names: str) -> pl.DataFrame:
    """Return columns of a table's file in their types; without a file, no rows.

    Raises
    ------
    QueryError
        If the file is damaged.
    """
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    declared = {c.name: TEXT if c.kind == LABEL else c.kind for c in get(table).columns}
    schema = pa.schema({name: declared[name].arrow for name in names})
    try:
        with pq.ParquetFile(files[table]) as file:
            found = file.read([*names], use_threads=False).select([*names]).cast(schema)
        found.validate(full=True)  # polars takes texts for well-formed
    except FileNotFoundError:
        found = schema.empty_table()
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        what = table.rpartition(".")[2]
        raise QueryError(
            f"{what}s cannot be read: {error}", file=Path(files[table]), hint=DAMAGED
        ) from error
    return pl.DataFrame(found)


def _stim_sites(files: Files) -> pl.DataFrame:
    """Return trial and stim_sites of the trials with a photostimulus; there may be no site."""
    import polars as pl

    events = table_columns(files, "experiment.photostim_event", "trial", "photo_stim")
    places = table_columns(
        files, "experiment.photostim_location", "photo_stim", "brain_area", "ml_location"
    )
    area, side = pl.col("brain_area"), pl.col("ml_location")
    targets = places.group_by("photo_stim").agg(
        pl.when(area.min() == area.max()).then(area.min()).alias("area"),
        pl.when((side.min() < 0) & (side.max() > 0))
        .then(pl.lit("both"))
        .when(side.min() < 0)
        .then(pl.lit("left"))
        .when(side.max() > 0)
        .then(pl.lit("right"))
        .alias("laterality"),
    )
    site = pl.concat_str("laterality", "area", separator=" ").str.to_lowercase()
    return (
        events.join(targets, on="photo_stim", how="left")
        .group_by("trial")
        .agg(stim_sites=site.drop_nulls().unique().sort())
    )
