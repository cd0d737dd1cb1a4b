"""Hand-over to xarray, pynapple and Neo, which are installed on request only."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from maplake.errors import QueryError
from maplake.query.aligned import Aligned, frame, where
from maplake.query.spikes import open_spikes
from maplake.tables.ephys import UNIT_KEY

_UNIT_COLUMNS = ("clustering_method", "unit", "unit_uid", "unit_quality", "cell_type", "electrode")


def library(name: str) -> Any:
    """Import one of them.

    Raises
    ------
    QueryError
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise QueryError(
            f"{name} is not installed", hint=f"Install it: pip install 'maplake[{name}]'."
        ) from error


_Key = tuple[int, int, int, str | None]


def _trains(aligned: Aligned, key: _Key) -> tuple[Any, list[Any], float]:
    """Return units, spike times (s from the first recorded trial) of each, and the last time."""
    spikes = open_spikes(aligned.root, *key[:3], None, key[3])
    time, unit = spikes.time, spikes.unit
    named = dict(zip(UNIT_KEY, (*key[:3], spikes.clustering_method), strict=False))
    units = frame(
        aligned.con,
        f"SELECT {', '.join(_UNIT_COLUMNS)} FROM ephys.unit WHERE {where(named)} ORDER BY unit",
    )
    order = np.argsort(unit, kind="stable")
    bounds = np.searchsorted(unit[order], units["unit"].to_numpy())
    stops = np.searchsorted(unit[order], units["unit"].to_numpy(), side="right")
    ordered = time[order]
    trains = [ordered[a:b] for a, b in zip(bounds, stops, strict=True)]
    return units, trains, float(time.max(initial=0.0))


def as_pynapple(aligned: Aligned, key: _Key) -> Any:
    """Return a TsGroup of a probe's units; see :meth:`Lake.to_pynapple`."""
    nap = library("pynapple")
    units, trains, _ = _trains(aligned, key)
    group = {int(u): nap.Ts(t=train) for u, train in zip(units["unit"], trains, strict=True)}
    metadata = {
        name: units[name].to_numpy()
        for name in _UNIT_COLUMNS
        if name not in ("unit", "clustering_method")
    }
    return nap.TsGroup(group, metadata=metadata)


def as_neo(aligned: Aligned, key: _Key) -> Any:
    """Return a Segment with a SpikeTrain per unit; see :meth:`Lake.to_neo`."""
    neo = library("neo")
    units, trains, last = _trains(aligned, key)
    first = min((float(t[0]) for t in trains if len(t)), default=0.0)
    segment = neo.Segment(name="_".join(str(part) for part in key if part is not None))
    for row, train in zip(units.to_dicts(), trains, strict=True):
        segment.spiketrains.append(
            neo.SpikeTrain(
                train,
                units="s",
                t_start=min(first, 0.0),
                t_stop=last,
                name=str(row["unit"]),
                **{name: value for name, value in row.items() if value is not None},
            )
        )
    return segment
