"""The spikes of a unit as a script that pages load from disk, where browsers fetch no JSON."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from maplake.plots.unit_data import Group, Panel, UnitData

#: Times are stored as this many steps of the window.
STEPS = 65535


def script(data: UnitData, unit: int) -> bytes:
    """Return JavaScript that adds a unit to ``maplakeUnits``.

    Parameters
    ----------
    data
        All units of the probe.
    unit
        Which.

    Returns
    -------
    Per panel its groups of trials: spike times as base64 uint16 (steps of the window), their rows
    as uint16, rates (Hz) as float32; all little-endian.
    """
    place = data.place(unit)
    told = {
        "title": data.unit_title(unit),
        "panels": [_panel(panel, place) for panel in data.panels],
    }
    return f"maplakeUnits[{int(unit)}] = {as_json(told)};\n".encode()


def as_json(value: object) -> str:
    """Return JSON that may stand in a script, in a page or beside it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _panel(panel: Panel, place: int) -> dict[str, Any]:
    middle = panel.middle
    return {
        "title": panel.title,
        "event": panel.event,
        "window": [float(edge) for edge in panel.window],
        "bins": {"first": float(middle[0]), "step": float(middle[1] - middle[0])},
        "epochs": {name: round(float(time), 4) for name, time in panel.epochs.items()},
        "groups": [_group(group, place, panel.window) for group in panel.groups],
    }


def _group(group: Group, place: int, window: tuple[float, float]) -> dict[str, Any]:
    time, row = group.spikes(place)
    seen = (time >= window[0]) & (time <= window[1])
    steps = np.rint((time[seen] - window[0]) / (window[1] - window[0]) * STEPS)
    return {
        "name": group.name,
        "color": group.color,
        "dashed": group.dashed,
        "trials": len(group.trial),
        "time": _base64(steps, "<u2"),
        "row": _base64(row[seen], "<u2"),
        "rate": _base64(np.nan_to_num(group.rate[place]), "<f4"),
    }


def _base64(values: Any, kind: str) -> str:
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode("ascii")
