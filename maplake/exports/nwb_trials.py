"""Trials of an NWB file, with every label that the lake has of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pynwb.epoch import TimeIntervals

from maplake.exports.nwb_data import column, name_of
from maplake.exports.select import ask, place
from maplake.tables import get
from maplake.tables.model import TRIAL_KEY

if TYPE_CHECKING:
    import polars as pl
    from pynwb import NWBFile

    from maplake.query.lake import Lake

__all__ = ["add_trials"]

#: Tables with one row per trial.
_BY_TRIAL = (
    "experiment.session_trial",
    "experiment.behavior_trial",
    "experiment.block_trial",
    "experiment.water_port_choice",
    "experiment.water_port_setting",
    "experiment.mtl_block_trial",
)
#: Tables with a row per trial and port, and their column.
_BY_PORT = {
    "experiment.trial_available_reward": "reward_available",
    "experiment.water_port_open_duration": "open_duration",
}
_BLOCKS = """
SELECT t.trial, p.water_port, p.reward_probability FROM experiment.block_trial AS t
JOIN experiment.block_reward_probability AS p USING (subject_id, session, block) WHERE {key}
"""
_TARGETS = """
SELECT t.trial, p.water_port, p.position_x, p.position_y, p.position_z
FROM experiment.mtl_block_trial AS t
JOIN experiment.mtl_block_water_port AS p USING (subject_id, session, block) WHERE {key}
"""
_NOTES = "SELECT trial, trial_note_type, trial_note FROM experiment.trial_note WHERE {key}"
_PHOTOSTIM = """
SELECT e.trial, arg_min(e.photo_stim, e.photostim_event_id) AS photo_stim,
    min(e.photostim_event_time) AS photostim_onset,
    arg_min(e.power, e.photostim_event_id) AS photostim_power,
    arg_min(p.duration, e.photostim_event_id) AS photostim_duration
FROM experiment.photostim_event AS e
LEFT JOIN experiment.photostim AS p USING (subject_id, session, photo_stim)
WHERE {key} GROUP BY e.trial
"""

_WORDS = {
    "start_time": "start of the trial",
    "stop_time": "end of the trial",
    "trial": "number of the trial in the session, from 1",
    "photo_stim": "photostimulation protocol of the trial's first photostimulus; NaN = none",
    "photostim_onset": "onset of the first photostimulus from trial start, s; NaN = none",
    "photostim_power": "maximal power of the photostimulus, mW",
    "photostim_duration": "duration of the photostimulus, s",
    "water_port": "target of the block, or the port that the animal chose; N/A = none",
}


def add_trials(file: NWBFile, lake: Lake, key: dict[str, int], lead: float) -> None:
    """Add all trials of a session; ``lead`` (s) is added to their times."""
    words = dict(_WORDS)
    found = ask(lake, f"SELECT trial FROM experiment.session_trial WHERE {place(key)} ORDER BY 1")
    for name in _BY_TRIAL:
        table = get(name)
        names = [c.name for c in table.columns if c.name not in TRIAL_KEY]
        rows = ask(lake, f"SELECT trial, {', '.join(names)} FROM {name} WHERE {place(key)}")
        found = _join(found, rows)
        for item in table.columns:
            words.setdefault(item.name, item.comment + (f", {item.unit}" if item.unit else ""))
    for part, comments in _wide(lake, key):
        found = _join(found, part)
        words |= comments
    times = {name: found[name].to_numpy() + lead for name in ("start_time", "stop_time")}
    columns = [column(name, words[name], values) for name, values in times.items()]
    columns += [
        column(name, words.get(name, name), _values(found[name]))
        for name in found.columns
        if name not in times
    ]
    file.trials = TimeIntervals(
        name="trials",
        description="trials of the session; further columns as the lake's tables describe them",
        columns=columns,
        id=list(range(len(found))),
    )


def _join(found: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    if not len(rows):
        return found
    new = ["trial", *(name for name in rows.columns if name not in found.columns)]
    return found.join(rows.select(new), on="trial", how="left", maintain_order="left")


def _values(series: pl.Series) -> Any:
    return series.to_list() if series.null_count() or series.dtype == str else series.to_numpy()


def _wide(lake: Lake, key: dict[str, int]) -> list[tuple[pl.DataFrame, dict[str, str]]]:
    """Return tables with several rows per trial as several columns, with their descriptions."""
    one = place(key)
    made: list[tuple[pl.DataFrame, dict[str, str]]] = [
        (ask(lake, _PHOTOSTIM.format(key=place(key, "e"))), {}),
        (ask(lake, _TARGETS.format(key=place(key, "t"))), {}),
    ]
    made.append(_pivot(ask(lake, _BLOCKS.format(key=place(key, "t"))), "reward_probability"))
    for name, value in _BY_PORT.items():
        rows = ask(lake, f"SELECT trial, water_port, {value} FROM {name} WHERE {one}")
        made.append(_pivot(rows, value))
    notes = ask(lake, _NOTES.format(key=one))
    made.append(_pivot(notes.rename({"trial_note_type": "water_port"}), "trial_note"))
    return made


def _pivot(rows: pl.DataFrame, value: str) -> tuple[pl.DataFrame, dict[str, str]]:
    wide = rows.pivot("water_port", index="trial", values=value) if len(rows) else rows.head(0)
    if not len(rows):
        return wide.select("trial"), {}
    names = {port: name_of(value, port) for port in wide.columns if port != "trial"}
    plain = value.replace("_", " ")
    return wide.rename(names), {name: f"{plain}: {port}" for port, name in names.items()}
