"""Units and what the animal's face does: traces with spikes, tuning to the phase of the jaw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import NotFoundError
from maplake.plots.lookup import Key, method_of, rows, sides, some, values
from maplake.plots.registry import figure
from maplake.plots.style import (
    CONTRA,
    FAINT,
    IPSI,
    NEUTRAL,
    attempt,
    blank,
    missing,
    own_axes,
    plain,
)
from maplake.plots.unit_data import probe_unit_data

if TYPE_CHECKING:
    import polars as pl

    from maplake.plots.unit_data import UnitData
    from maplake.query.lake import Lake

Floats = npt.NDArray[np.float64]

TRIALS = 15
#: Time shown around the go cue, or from trial start where the videos do not show the go cue (s).
_WINDOWS = {"go cue": (-0.5, 1.5), "trial start": (0.0, 2.0)}
_LIKELY = 0.9  # a tongue less likely than this is in the mouth


@dataclass(frozen=True)
class TrackingData:
    """Tracked features and spikes of all units of a probe in trials from mid-session.

    Attributes
    ----------
    event
        What times are from: go cue, or trial start where no video shows a go cue.
    trial, color
        Trial numbers, and the colour of each: that of its instructed side, shape (trials,).
    frames
        Rows of trial, feature (jaw, tongue), time (s from the event), y (px), likelihood.
    spikes
        Rows of unit, trial, time (s from the event).
    tuning
        Rows of ``tracking.jaw_tuning``; none where it was not computed.
    sides
        Colour by name of side.
    """

    event: str
    trial: npt.NDArray[np.int64]
    color: list[str]
    frames: pl.DataFrame
    spikes: pl.DataFrame
    tuning: pl.DataFrame
    sides: dict[str, str]


def probe_tracking_data(lake: Lake, key: Key) -> TrackingData:
    """Fetch what all tracking figures of a probe's units are drawn from, at once.

    The trials are the 15 around the middle of those that were tracked by a side camera and
    recorded by the probe.

    Raises
    ------
    NotFoundError
        If there is no such trial, or no unit.
    """
    method = method_of(lake, key)
    found = some(_trials(lake, key), "no tracking of the jaw in trials that this probe recorded")
    middle = len(found) // 2
    first = max(0, min(middle - TRIALS // 2, len(found) - TRIALS))
    found = found.slice(first, TRIALS)
    trials = found["trial"].to_list()
    camera = found["camera"][0]
    event = "go cue"
    frames = _frames(lake, key, camera, trials, event)
    if not len(frames):
        event = "trial start"
        frames = _frames(lake, key, camera, trials, event)
    side_colors = {side: color for _, side, color in sides(lake, key)}
    return TrackingData(
        event,
        found["trial"].to_numpy().astype(np.int64),
        [side_colors.get(side, NEUTRAL) for side in found["side"]],
        frames,
        _spikes(lake, key, method, trials, event),
        rows(
            lake,
            f"SELECT * FROM tracking.jaw_tuning WHERE {key.probe_where} AND clustering_method = ?",
            method,
        ),
        {name: color for name, _, color in sides(lake, key)},
    )


def _trials(lake: Lake, key: Key) -> pl.DataFrame:
    session = key.session_where
    return rows(
        lake,
        "SELECT t.trial, min(t.tracking_device) AS camera, any_value(b.trial_instruction) AS side "
        f"FROM (FROM tracking.tracking WHERE {session}) AS t "
        "JOIN (FROM tracking.tracking_device WHERE tracking_position = 'side') AS d "
        f"USING (tracking_device) JOIN (FROM ephys.ephys_trial WHERE {key.probe_where}) AS e "
        f"USING (trial) LEFT JOIN (FROM experiment.behavior_trial WHERE {session}) AS b "
        "USING (trial) GROUP BY t.trial ORDER BY t.trial",
    )


def _frames(lake: Lake, key: Key, camera: str, trials: list[int], event: str) -> pl.DataFrame:
    """Return the frames of the jaw and the tongue around an event."""
    session = key.session_where
    origin = "g.event_time" if event == "go cue" else "0"
    return rows(
        lake,
        f"SELECT p.trial, p.feature, p.time - {origin} AS time, p.y, p.likelihood "
        f"FROM (FROM tracking.tracking_position WHERE {session} AND tracking_device = ? "
        "AND feature IN ('jaw', 'tongue') AND list_contains(?, trial)) AS p "
        f"LEFT JOIN (FROM psth.last_event WHERE {session} AND trial_event_type = 'go') AS g "
        f"USING (trial) WHERE p.time - {origin} BETWEEN ? AND ? "
        "ORDER BY p.trial, p.feature, p.frame",
        camera,
        trials,
        *_WINDOWS[event],
    )


def _spikes(lake: Lake, key: Key, method: str, trials: list[int], event: str) -> pl.DataFrame:
    """Return the trials' own spikes around an event."""
    origin = "e.go_sample" if event == "go cue" else "e.start_sample"
    return rows(
        lake,
        f"SELECT s.unit, s.trial, (s.spike_sample - {origin}) / i.sampling_rate AS time "
        f"FROM (FROM ephys.spike_file WHERE {key.probe_where} AND clustering_method = ? "
        f"AND list_contains(?, trial)) AS s JOIN (FROM ephys.ephys_trial WHERE {key.probe_where}) "
        f"AS e USING (trial) JOIN (FROM ephys.probe_insertion WHERE {key.probe_where}) AS i "
        "ON true WHERE time BETWEEN ? AND ? ORDER BY s.unit, s.trial, time",
        method,
        trials,
        *_WINDOWS[event],
    )


def traces(data: TrackingData, unit: int, feature: str, ax: Any = None) -> Any:
    """Draw a tracked feature trial by trial, with the spikes of a unit above each trace.

    Parameters
    ----------
    data
        As from :func:`probe_tracking_data`.
    unit
        Whose spikes.
    feature
        ``jaw`` or ``tongue``; a tongue is drawn where the tracker is sure of it.

    Returns
    -------
    The axes: time from the event (s) on x, trials downwards on y. Traces are y (px) less its
    median in the trial, all on one scale; the title has the range. Down in the image is up.

    Raises
    ------
    NotFoundError
        If the feature was not tracked.
    """
    mine = some(data.frames.filter(feature=feature), f"no tracking of the {feature}")
    ax = own_axes(ax, figsize=(3.5, 4.5))
    y = values(mine, "y")
    if feature == "tongue":
        y = np.where(values(mine, "likelihood") >= _LIKELY, y, np.nan)
    time, trial = values(mine, "time"), mine["trial"].to_numpy()
    moved = _from_median(y, trial)
    known = moved[np.isfinite(moved)]
    span = float(np.ptp(np.percentile(known, [1, 99]))) if len(known) else 0.0
    scaled = np.clip(moved / max(span, 1e-9), -0.6, 0.6) * 0.6
    spikes = data.spikes.filter(unit=unit)
    at, of = values(spikes, "time"), spikes["trial"].to_numpy()
    for place, (number, color) in enumerate(zip(data.trial, data.color, strict=True)):
        own = trial == number
        ax.plot(time[own], place - scaled[own], color=NEUTRAL, linewidth=0.8)
        own = of == number
        ax.plot(
            at[own], np.full(own.sum(), place + 0.2), "|", color=color, markersize=4,
            markeredgewidth=0.9,
        )  # fmt: skip
    ax.axvline(0, color="0.4", linestyle="--", linewidth=0.8, zorder=0)
    ax.set(xlabel=f"time from {data.event} (s)", xlim=_WINDOWS[data.event])
    ax.set_ylim(len(data.trial), -1)
    ax.set_yticks(range(len(data.trial)), [str(number) for number in data.trial], fontsize=8)
    ax.set_title(f"{feature}, range {span:.0f} px")
    plain(ax)
    return ax


def _from_median(y: Floats, trial: npt.NDArray[np.integer[Any]]) -> Floats:
    """Return positions less the median of their trial; NaN stays NaN."""
    moved = np.full(len(y), np.nan)
    for number in np.unique(trial):
        own = (trial == number) & np.isfinite(y)
        if own.any():
            moved[own] = y[own] - np.median(y[own])
    return moved


def phase_tuning(data: TrackingData, unit: int, ax: Any = None) -> Any:
    """Draw the rate of a unit against the phase of jaw movement.

    Returns
    -------
    The axes: phase (rad, 0 to 2 pi; a peak of y is at pi) on x, rate (Hz) on y.

    Raises
    ------
    NotFoundError
        If it was not computed.
    """
    found = some(
        data.tuning.filter(unit=unit), "tuning to the jaw's phase is not computed: maplake compute"
    ).row(0, named=True)
    ax = own_axes(ax, figsize=(3, 3))
    phase = np.array(found["phase"], dtype=np.float64)
    rate = np.array([np.nan if r is None else r for r in found["rate"]], dtype=np.float64)
    width = 2 * np.pi / max(len(phase), 1)
    ax.bar(phase, rate, width * 0.9, color=FAINT)
    words = [f"{found['spike_count']} spikes"]
    if found["p_value"] is not None:
        words.append(f"p = {found['p_value']:.2g}")
    if found["preferred_phase"] is not None:
        ax.axvline(found["preferred_phase"], color=NEUTRAL, linewidth=1.4)
        words.append(f"modulation {found['modulation_index']:.2f}")
    ax.set_title("jaw phase: " + words[0] + "\n" + ", ".join(words[1:]))
    ax.set(xlabel="phase (rad)", ylabel="rate (Hz)", xlim=(0, 2 * np.pi))
    ax.set_xticks([0, np.pi, 2 * np.pi], ["0", "π", "2π"])
    plain(ax)
    return ax


@figure(
    "unit-tracking",
    "unit",
    "Jaw and tongue with spikes, and tuning to the jaw's phase",
    (
        "lab.water_restriction",
        "experiment.session",
        "experiment.behavior_trial",
        "experiment.trial_event",
        "ephys.ephys_trial",
        "ephys.insertion_location",
        "ephys.recordable_brain_region",
        "ephys.unit",
        "ephys.spike",
        "tracking.tracking",
        "tracking.tracking_position",
        "tracking.jaw_tuning",
    ),
)
def unit_tracking(
    lake: Lake, key: Key, data: UnitData | None = None, tracking: TrackingData | None = None
) -> Any:
    """Draw :func:`traces` of jaw and tongue, and :func:`phase_tuning`.

    ``data`` and ``tracking`` are what all units of the probe share.
    """
    try:
        data = data or probe_unit_data(lake, key)
        title = data.unit_title(key.unit)
        tracking = tracking or probe_tracking_data(lake, key)
    except NotFoundError as error:
        made = blank(6.4, 2.2, constrained=False)
        missing(made.subplots(), error.message)
        return made
    made = blank(9.2, 4.8, constrained=False)
    axes = made.subplots(1, 3, width_ratios=(4, 4, 3))
    made.subplots_adjust(left=0.07, right=0.985, top=0.83, bottom=0.12, wspace=0.25)
    unit = int(key.unit or 0)
    for ax, feature in zip(axes, ("jaw", "tongue"), strict=False):
        attempt(ax, traces, tracking, unit, feature, otherwise=feature)
    attempt(axes[2], phase_tuning, tracking, unit, otherwise="jaw phase")
    if axes[0].axison:
        shown = {n: c for n, c in tracking.sides.items() if c in tracking.color}
        names = ", ".join(f"{name} {_WORDS[color]}" for name, color in shown.items())
        axes[0].set_ylabel(f"trial; spikes: {names}" if names else "trial, with spikes")
    made.suptitle(title, y=0.995, fontsize=10)
    return made


_WORDS = {CONTRA: "blue", IPSI: "red"}
