"""Events, licks, photostimulation and videos of an NWB file."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pynwb import TimeSeries
from pynwb.behavior import BehavioralEvents, BehavioralTimeSeries
from pynwb.ogen import OptogeneticSeries, OptogeneticStimulusSite

from maplake.exports.nwb_data import name_of, packed, postponed
from maplake.exports.recording_tracking import cameras
from maplake.exports.select import ask, place

if TYPE_CHECKING:
    import polars as pl
    from pynwb import NWBFile

    from maplake.query.lake import Lake

__all__ = ["add_events", "add_photostimulation", "add_tracking"]

Key = dict[str, int]

_EVENTS = """
SELECT e.trial, e.{word}_event_type AS kind, t.start_time + e.{word}_event_time AS start
    {duration}
FROM experiment.{word}_event AS e
JOIN experiment.session_trial AS t USING (subject_id, session, trial)
WHERE {key} ORDER BY start
"""

_PHOTOSTIM = """
SELECT e.photo_stim, t.start_time + e.photostim_event_time AS start, p.duration, e.power,
    d.photostim_device, d.excitation_wavelength, d.photostim_device_description
FROM experiment.photostim_event AS e
JOIN experiment.session_trial AS t USING (subject_id, session, trial)
LEFT JOIN experiment.photostim AS p USING (subject_id, session, photo_stim)
LEFT JOIN lab.photostim_device AS d USING (photostim_device)
WHERE {key} ORDER BY start
"""

_SITES = """
SELECT photo_stim, string_agg(
    format('{{}}: AP {{}}, ML {{}}, depth {{}} um from {{}}, theta {{}}, phi {{}} deg', brain_area,
        ap_location, ml_location, depth, skull_reference, theta, phi), '; ' ORDER BY ml_location)
FROM experiment.photostim_location WHERE {key} GROUP BY photo_stim
"""


def add_events(file: NWBFile, lake: Lake, key: Key, lead: float) -> None:
    """Add a series per kind of trial event and lick: its times, with the trial as data."""
    series: list[TimeSeries] = []
    query = _EVENTS.format(word="trial", duration=", e.duration", key=place(key, "e"))
    found = ask(lake, query)
    for (kind,), rows in found.group_by("kind", maintain_order=True):
        start = rows["start"].to_numpy() + lead
        stop = start + rows["duration"].to_numpy()
        trial = rows["trial"].to_numpy()
        text = f"{{}} of trial event {kind!r}; data: number of the trial"
        series.append(_points(f"{kind}_start_times", text.format("onsets"), start, trial))
        series.append(_points(f"{kind}_stop_times", text.format("ends"), stop, trial))
    licks = ask(lake, _EVENTS.format(word="action", duration="", key=place(key, "e")))
    for (kind,), rows in licks.group_by("kind", maintain_order=True):
        time, trial = rows["start"].to_numpy() + lead, rows["trial"].to_numpy()
        name = f"{str(kind).replace(' ', '_')}_times"
        series.append(_points(name, f"{kind}s; data: number of the trial", time, trial))
    if series:
        file.add_acquisition(_container(BehavioralEvents, series))


def _container(kind: Any, series: list[TimeSeries]) -> Any:
    """Return a container of series, under the names that readers of the published files know.

    pynwb 4 calls these containers deprecated for new files; it still writes and reads them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=f"{kind.__name__} is deprecated")
        return kind(name=kind.__name__, time_series=series)


def _points(
    name: str, description: str, time: NDArray[np.float64], trial: NDArray[Any]
) -> TimeSeries:
    order = np.argsort(time, kind="stable")
    return TimeSeries(
        name=name_of(name),
        description=description,
        data=packed(trial[order]),
        timestamps=packed(time[order]),
        unit="n/a",
    )


def add_photostimulation(file: NWBFile, lake: Lake, key: Key, lead: float) -> bool:
    """Add a site and a series of power (W) per protocol that was used; whether there is any."""
    found = ask(lake, _PHOTOSTIM.format(key=place(key, "e")))
    places = dict(ask(lake, _SITES.format(key=place(key))).rows())
    for (number,), rows in found.group_by("photo_stim", maintain_order=True):
        row = rows.row(0, named=True)
        name = name_of(row["photostim_device"] or "light")
        text = row["photostim_device_description"] or "light source"
        if name not in file.devices:
            file.create_device(name=name, description=text)
        duration = "unknown" if row["duration"] is None else f"{row['duration']:g} s"
        site = OptogeneticStimulusSite(
            name=f"{name}_{number}",
            device=file.devices[name],
            description=f"photostimulation protocol {number}; duration: {duration}",
            excitation_lambda=float(row["excitation_wavelength"] or np.nan),
            location=places.get(number) or "unknown",
        )
        file.add_ogen_site(site)
        time, power = _steps(rows)
        file.add_stimulus(
            OptogeneticSeries(
                name=f"photostim_{number}",
                description=f"power of protocol {number}: from each time on until the next",
                data=packed(power),
                timestamps=packed(time + lead),
                site=site,
            )
        )
    return len(found) > 0


def _steps(rows: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times (s) at which power (W) changes; unknown ends are left out."""
    start = rows["start"].to_numpy()
    stop = start + rows["duration"].to_numpy().astype(float)
    power = rows["power"].to_numpy() / 1000
    time, level = np.concatenate([start, stop]), np.concatenate([power, np.zeros(len(stop))])
    order = np.argsort(time, kind="stable")
    order = order[~np.isnan(time[order])]
    return time[order], level[order]


def add_tracking(file: NWBFile, lake: Lake, key: Key, lead: float) -> None:
    """Add a series per camera and feature: x, y (px), likelihood of every frame."""
    series: list[TimeSeries] = []
    for camera in cameras(lake, key):
        one = place({**key, "tracking_device": camera["tracking_device"]}, "p")
        source = (
            "FROM tracking.tracking_position AS p "
            f"JOIN experiment.session_trial AS t USING (subject_id, session, trial) WHERE {one}"
        )
        counts = ask(lake, f"SELECT p.feature, count(*) {source} GROUP BY ALL ORDER BY ALL").rows()
        # Features of one camera are in the same frames: the times are in the file once.
        first: dict[int, TimeSeries] = {}
        for feature, count in counts:
            mine = f"{source} AND {place({'feature': feature}, 'p')} ORDER BY p.trial, p.frame"
            time = ask(lake, f"SELECT t.start_time + p.time AS time {mine}")["time"].to_numpy()
            order = np.argsort(time, kind="stable")
            made = TimeSeries(
                name=_series_name(camera, feature, {item.name for item in series}),
                description=f"{feature} in the video: columns x (px), y (px), likelihood",
                data=postponed(_positions(lake, mine, order), (count, 3), "float64"),
                timestamps=first.get(count) or packed(time[order] + lead),
                unit="px",
            )
            first.setdefault(count, made)
            series.append(made)
    if series:
        file.add_acquisition(_container(BehavioralTimeSeries, series))


def _positions(
    lake: Lake, mine: str, order: NDArray[np.intp]
) -> Callable[[Any], NDArray[np.float64]]:
    def read(selection: Any) -> NDArray[np.float64]:
        rows = ask(lake, f"SELECT p.x, p.y, p.likelihood {mine}")
        values: NDArray[np.float64] = rows.to_numpy()[order][selection]
        return values

    return read


def _series_name(camera: dict[str, Any], feature: str, taken: set[str]) -> str:
    """Return ``Camera0_side_TongueTracking``; features that differ in odd signs get a number."""
    device = camera["tracking_device"].replace(" ", "")
    first = name_of(device, camera["tracking_position"], f"{_camel(feature)}Tracking")
    names = (first, *(f"{first}_{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _camel(words: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in words.split("_"))
