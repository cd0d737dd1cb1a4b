"""Built-in table tracking.jaw_tuning: units and the phase of jaw movement."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from maplake.compute.model import Computation, Key
from maplake.compute.units import part
from maplake.query.lake import Lake
from maplake.tables import get

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["BAND", "BINS", "COMPUTATIONS", "Tuning", "fit_tuning", "jaw_phase", "rayleigh"]

BAND = (5.0, 15.0)  # Hz
BINS = 20
_ORDER = 5
_UNIT = ["clustering_method", "unit"]
#: A trial with fewer frames, or with more of them lost, has no phase.
_FEWEST_FRAMES, _MOST_LOST = 100, 0.5


class Tuning(NamedTuple):
    """A fitted curve: phase of its peak (rad, 0 to 2 pi) and (highest - lowest) / highest rate."""

    preferred_phase: float
    modulation_index: float


def jaw_phase(y: NDArray[np.floating], rate: float) -> NDArray[np.float64]:
    """Return the phase of movement of trials.

    Band-pass 5 to 15 Hz (Butterworth, order 5, forwards and backwards), then the angle of the
    analytic signal (Hilbert transform).

    Parameters
    ----------
    y
        Positions, (trials, frames).
    rate
        Frames per s, Hz.

    Returns
    -------
    phase
        In rad, 0 to 2 pi, (trials, frames); a peak of y is at pi.
    """
    import numpy as np
    from scipy.signal import butter, filtfilt, hilbert  # slow to import, as all of scipy

    b, a = butter(_ORDER, BAND, btype="band", fs=rate)
    moved = filtfilt(b, a, y, axis=-1)
    return np.asarray(np.angle(hilbert(moved, axis=-1)) + np.pi)


def _bump(
    x: NDArray[np.floating], width: float, peak: float, height: float, base: float
) -> NDArray[np.float64]:
    """Return a Gaussian on the circle."""
    import numpy as np

    apart = np.abs(np.angle(np.exp(1j * (x - peak))))
    return np.asarray(height * np.exp(-0.5 * (apart / width) ** 2) + base)


def fit_tuning(phase: NDArray[np.floating], rate: NDArray[np.floating]) -> Tuning | None:
    """Fit a Gaussian on the circle to the rates of phase bins.

    Parameters
    ----------
    phase, rate
        Middle (rad) and rate (Hz) of each bin, (bins,).

    Returns
    -------
    The peak and depth of the curve; None where there are no spikes or no curve fits.
    """
    import numpy as np

    known = np.isfinite(rate)
    if known.sum() < 5 or not np.any(rate[known] > 0):
        return None
    x, y = phase[known], rate[known]
    # A peak that lies on the seam of the circle is only found from there.
    fits = [fit for peak in (float(x[y.argmax()]), 0.0) if (fit := _fitted(x, y, peak)) is not None]
    if not fits:
        return None
    best = min(fits, key=lambda fit: float(((y - _bump(x, *fit)) ** 2).sum()))
    peak = best[1]
    top, bottom = _bump(np.array([peak, peak + np.pi]), *best)
    return Tuning(float(peak % (2 * np.pi)), float((top - bottom) / top)) if top > 0 else None


def _fitted(
    x: NDArray[np.floating], y: NDArray[np.floating], peak: float
) -> NDArray[np.float64] | None:
    """Return width, peak, height and base of the curve of least squares; None if none is found."""
    import numpy as np
    from scipy.optimize import curve_fit

    low, high = float(y.min()), float(y.max())
    bounds = ([1e-6, 0, 0, 0], [np.pi / 2, 2 * np.pi, high + low, high])
    try:
        found, _ = curve_fit(_bump, x, y, p0=[1.0, peak, high - low, low], bounds=bounds)
    except (RuntimeError, ValueError):
        return None
    return np.asarray(found)


def rayleigh(phase: NDArray[np.floating]) -> float | None:
    """Return the p value of Rayleigh's test: whether phases (rad) are spread evenly."""
    import numpy as np

    count = len(phase)
    if not count:
        return None
    length = float(np.abs(np.exp(1j * phase).sum()))
    root = np.sqrt(1 + 4 * count + 4 * (count**2 - length**2))
    return float(min(1.0, np.exp(root - (1 + 2 * count))))


def jaw_tuning(lake: Lake, key: Key) -> pl.DataFrame | None:
    """Compute the tuning of the units of an insertion, those of quality all left out."""
    import numpy as np
    import polars as pl

    frames = _frames(lake, key)
    if frames is None:
        return None
    units = part(lake, "ephys.unit", key).filter(pl.col("unit_quality") != "all").select(_UNIT)
    edges = np.linspace(0, 2 * np.pi, BINS + 1)
    # np.linspace, whose last edge belongs to the last bin, as in np.histogram
    time_in_bin = np.histogram(frames["phase"].to_numpy(), edges)[0] * frames["interval"][0]
    found = _spike_phases(lake, key, frames)
    phases = {tuple(k): v["phase"].to_numpy() for k, v in found.group_by(_UNIT)}
    middle = edges[:-1] + np.diff(edges) / 2
    rows = [
        {**unit, **_row(phases.get(tuple(unit.values()), np.empty(0)), edges, middle, time_in_bin)}
        for unit in units.to_dicts()
    ]
    return pl.DataFrame(rows, infer_schema_length=None) if rows else None


def _row(
    phase: NDArray[np.floating],
    edges: NDArray[np.float64],
    middle: NDArray[np.float64],
    time_in_bin: NDArray[np.float64],
) -> dict[str, object]:
    import numpy as np

    count = np.histogram(phase, edges)[0]
    rate = np.full(len(count), np.nan)
    np.divide(count, time_in_bin, out=rate, where=time_in_bin > 0)
    fit = fit_tuning(middle, rate)
    return {
        "spike_count": len(phase),
        "phase": middle.tolist(),
        "rate": [float(value) if np.isfinite(value) else None for value in rate],
        "preferred_phase": fit.preferred_phase if fit else None,
        "modulation_index": fit.modulation_index if fit else None,
        "p_value": rayleigh(phase),
    }


def _frames(lake: Lake, key: Key) -> pl.DataFrame | None:
    """Return trial, frame, time (s), phase (rad) and interval (s) of the jaw in the side camera."""
    import polars as pl

    side = lake.table("tracking.tracking_device").filter(tracking_position="side").collect()
    rates = dict(zip(side["tracking_device"], side["sampling_rate"], strict=True))
    jaw = (
        part(lake, "tracking.tracking_position", {n: key[n] for n in ("subject_id", "session")})
        .filter(pl.col("tracking_device").is_in(list(rates)), pl.col("feature") == "jaw")
        .select("tracking_device", "trial", "frame", "time", "y")
        .sort("tracking_device", "trial", "frame")
    )
    if not len(jaw):
        return None
    camera = jaw["tracking_device"][0]  # a session has one side camera
    return _with_phase(jaw.filter(tracking_device=camera).drop("tracking_device"), rates[camera])


def _with_phase(jaw: pl.DataFrame, rate: float) -> pl.DataFrame | None:
    """Add the phase; trials of the same length are filtered at once."""
    import polars as pl

    lost = pl.col("y").is_null().mean().over("trial")
    usable = jaw.filter((lost <= _MOST_LOST) & (pl.len().over("trial") >= _FEWEST_FRAMES))
    usable = usable.with_columns(
        pl.col("y").interpolate().forward_fill().backward_fill().over("trial"),
        frames=pl.len().over("trial"),
    )
    done = []
    for (count,), group in usable.group_by("frames", maintain_order=True):
        y = group["y"].to_numpy().reshape(-1, int(str(count)))
        done.append(group.with_columns(phase=pl.Series(jaw_phase(y, rate).ravel())))
    if not done:
        return None
    return pl.concat(done).with_columns(interval=pl.lit(1 / rate)).sort("trial", "frame")


def _spike_phases(lake: Lake, key: Key, frames: pl.DataFrame) -> pl.DataFrame:
    """Return unit and phase of every spike that falls into a frame."""
    import polars as pl

    aligned = lake._aligned
    spikes = aligned.of_probe(
        key,
        "SELECT s.clustering_method, s.unit, s.trial, "
        "(s.spike_sample - z.zero_sample) / z.sampling_rate AS time "
        f"FROM {aligned.spikes(key)} AS s JOIN ephys.trial_zero AS z USING (trial)",
    ).sort("time")
    times = frames.select("trial", "time", "phase", "interval", frame_time="time").sort("time")
    found = spikes.join_asof(times, on="time", by="trial", check_sortedness=False)
    return found.filter(
        pl.col("phase").is_not_null() & (pl.col("time") - pl.col("frame_time") < pl.col("interval"))
    )


COMPUTATIONS = (
    Computation(
        (get("tracking.jaw_tuning"),),
        (
            "ephys.unit",
            "ephys.spike",
            "ephys.trial_zero",
            "tracking.tracking_position",
        ),
        jaw_tuning,
    ),
)
