"""What figures of units are drawn from, fetched once for all units of a probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maplake.errors import NotFoundError
from maplake.plots.lookup import (
    Key,
    epoch_times,
    method_of,
    probe_title,
    rows,
    sides,
    task_of,
    values,
)
from maplake.plots.quality import units_of
from maplake.plots.style import NEUTRAL, RIGHT
from maplake.query.numbers import bin_edges, bin_index

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

DELAY, PORTS, FORAGING = "delay", "ports", "foraging"
_AROUND_GO = (-3.0, 3.0)
_PORT_COLORS = (NEUTRAL, RIGHT)
_KINDS = {"multi-target-licking": PORTS, "foraging": FORAGING, "foraging 3lp": FORAGING}
#: Align types of a foraging figure, and what their time is from.
ALIGNMENTS = {
    "trial_start": "trial start",
    "go_cue": "go cue",
    "first_lick_after_go_cue": "first lick after go",
    "iti_start": "end of trial",
}


#: Recorded trials and the moment that they are aligned to, of the trial's own spikes or of the
#: session's (see psth.aligned_trial).
_GO = (
    "SELECT trial, trial AS spike_trial, go_sample::DOUBLE AS origin_sample, sampling_rate, "
    "subject_id, session, insertion_number FROM psth.recorded_trial"
)
_ALIGNED = "SELECT * FROM psth.session_alignment($align, 'last', $start::DOUBLE, $stop::DOUBLE)"


@dataclass(frozen=True)
class Group:
    """Trials that are drawn in one colour, with the spikes of all units.

    Attributes
    ----------
    name, color
        What it is called and its colour.
    dashed
        Whether its PSTH is a dashed line.
    trial
        Trial numbers, ascending, shape (trials,).
    time
        Spike times (s from the event) of all units, unit by unit, shape (spikes,).
    row
        Place in ``trial`` of each spike, shape (spikes,).
    offset
        Place of each unit's first spike, shape (units + 1,).
    rate
        PSTHs (Hz), shape (units, bins); NaN without trials.
    """

    name: str
    color: str
    dashed: bool
    trial: Integers
    time: Floats
    row: Integers
    offset: Integers
    rate: Floats

    def spikes(self, place: int) -> tuple[Floats, Integers]:
        """Return time and row of the spikes of the unit at a place."""
        part = slice(int(self.offset[place]), int(self.offset[place + 1]))
        return self.time[part], self.row[part]


@dataclass(frozen=True)
class Panel:
    """One raster and PSTH: groups of trials around one event.

    Attributes
    ----------
    title, event
        What it shows, and what time is from.
    window
        Start and end of what is shown (s).
    edges
        Edges of the bins (s), shape (bins + 1,); the last bin may end before the window.
    epochs
        Other moments (s) by name.
    groups
        In the order in which they are stacked.
    """

    title: str
    event: str
    window: tuple[float, float]
    edges: Floats
    epochs: dict[str, float]
    groups: list[Group]

    @property
    def middle(self) -> Floats:
        """Middles of the bins (s), shape (bins,)."""
        return (self.edges[:-1] + self.edges[1:]) / 2


@dataclass(frozen=True)
class UnitData:
    """Rasters and PSTHs of all units of a clustering.

    Attributes
    ----------
    key, title
        The probe.
    kind
        ``delay``, ``ports`` or ``foraging``: which panels there are.
    units
        A row per unit: unit, unit_quality, cell_type, unit_posx and unit_posy (um), unit_amp
        (uV), unit_snr, isi_violation, avg_firing_rate (Hz).
    panels
        In the order in which they are drawn.
    """

    key: Key
    title: str
    kind: str
    units: pl.DataFrame
    panels: list[Panel]

    def place(self, unit: int | None) -> int:
        """Return the row of a unit.

        Raises
        ------
        NotFoundError
            If the clustering has no such unit.
        """
        found = np.flatnonzero(self.units["unit"].to_numpy() == unit)
        if not len(found):
            raise NotFoundError("there is no such unit", found=unit)
        return int(found[0])

    def unit_title(self, unit: int | None) -> str:
        """Return a unit in words, two lines."""
        row = self.units.row(self.place(unit), named=True)
        about = [row["unit_quality"], row["cell_type"], f"{row['unit_amp']:.0f} µV"]
        about.append(f"{row['unit_posy']:.0f} µm from the tip")
        return f"{self.title}\nunit {unit}: {', '.join(word for word in about if word)}"

    def as_dict(self, unit: int) -> dict[str, Any]:
        """Return all that the figure of a unit shows, as JSON holds it.

        Returns
        -------
        ``unit``, ``title`` and ``panels``: each with title, event, ``time`` (middles of the bins,
        s), epochs, and groups with name, color, dashed, trials (their number), ``rate`` (Hz, null
        without trials), ``spike_time`` (s, ms precision) and ``spike_row`` (place in the group).
        """
        place = self.place(unit)
        return {
            "unit": unit,
            "title": self.unit_title(unit),
            "panels": [_panel_dict(panel, place) for panel in self.panels],
        }


def _panel_dict(panel: Panel, place: int) -> dict[str, Any]:
    groups = []
    for group in panel.groups:
        time, row = group.spikes(place)
        rate = group.rate[place]
        groups.append(
            {
                "name": group.name,
                "color": group.color,
                "dashed": group.dashed,
                "trials": len(group.trial),
                "rate": np.round(rate, 3).tolist() if len(group.trial) else None,
                "spike_time": np.round(time, 3).tolist(),
                "spike_row": row.tolist(),
            }
        )
    return {
        "title": panel.title,
        "event": panel.event,
        "time": np.round(panel.middle, 4).tolist(),
        "epochs": panel.epochs,
        "groups": groups,
    }


def probe_unit_data(lake: Lake, key: Key, kind: str | None = None) -> UnitData:
    """Fetch what all figures of a probe's units are drawn from, at once.

    Parameters
    ----------
    key
        The probe.
    kind
        ``delay``: contra and ipsi, correct and incorrect; ``ports``: by water port; ``foraging``:
        by choice and outcome, four alignments; None = what suits the session's task.

    Raises
    ------
    NotFoundError
        If the probe has no units.
    """
    kind = kind or _KINDS.get(task_of(lake, key), DELAY)
    units = units_of(lake, key)
    loader = _Loader(lake, key, method_of(lake, key), units["unit"].to_numpy().astype(np.int64))
    panels = {DELAY: _delay, PORTS: _ports, FORAGING: _foraging}[kind](loader)
    return UnitData(key, probe_title(lake, key), kind, units, panels)


@dataclass(frozen=True)
class _Loader:
    """Fetches groups of trials of one clustering."""

    lake: Lake
    key: Key
    method: str
    units: Integers

    def conditions(
        self, looks: dict[str, tuple[str, str, bool]], edges: Floats, align: str | None = None
    ) -> list[Group]:
        """Return the trials of conditions around an align type; None = around the go cue.

        ``looks`` are name, colour and whether dashed, by condition. The spikes of all of them are
        read at once.
        """
        source = _GO if align is None else _ALIGNED
        where, names = self.key.probe_where, list(looks)
        bound = {"names": names, "start": float(edges[0]), "stop": float(edges[-1])}
        if align is not None:
            bound["align"] = align
        chosen = (
            f"(SELECT a.*, c.conditions FROM ({source} WHERE {where}) AS a "
            f"JOIN (FROM psth.trial_set WHERE {self.key.session_where}) AS c USING (trial) "
            "WHERE list_has_any(c.conditions, $names))"
        )
        spikes = self.lake.sql(
            "SELECT s.unit, a.trial, (s.spike_sample - a.origin_sample) / a.sampling_rate AS "
            f"spike_time FROM (FROM ephys.spike_file WHERE {where} AND clustering_method = $method"
            f") AS s JOIN {chosen} AS a ON coalesce(s.trial, 0) = a.spike_trial "
            "WHERE spike_time BETWEEN $start AND $stop",
            {**bound, "method": self.method},
        ).pl()
        trials = self.lake.sql(
            f"SELECT DISTINCT trial, unnest(conditions) AS name FROM {chosen} "
            "WHERE $start::DOUBLE <= $stop::DOUBLE ORDER BY trial",
            bound,
        ).pl()
        groups = []
        for name, look in looks.items():
            mine = trials.filter(name=name)["trial"]
            own = spikes.filter(spikes["trial"].is_in(mine.implode()))
            groups.append(self.group(mine.to_numpy(), own, edges, look))
        return groups

    def group(
        self, trial: Integers, spikes: pl.DataFrame, edges: Floats, look: tuple[str, str, bool]
    ) -> Group:
        """Sort spikes by unit, trial and time, and count them."""
        trial = trial.astype(np.int64)
        time = values(spikes, "spike_time")
        row = np.searchsorted(trial, spikes["trial"].to_numpy())
        place = np.searchsorted(self.units, spikes["unit"].to_numpy())
        order = np.lexsort((time, row, place))
        bins = bin_index(time, edges)
        size = (len(self.units), len(edges) - 1)
        cell = (place * size[1] + bins)[bins >= 0]
        count = np.bincount(cell, minlength=size[0] * size[1]).reshape(size)
        width = (edges[-1] - edges[0]) / size[1]
        rate = count / len(trial) / width if len(trial) else np.full(size, np.nan)
        offset = np.searchsorted(place[order], np.arange(size[0] + 1))
        return Group(*look, trial, time[order], row[order], offset, rate)


def _delay(loader: _Loader) -> list[Panel]:
    edges = bin_edges(*_AROUND_GO, 0.04)
    epochs = epoch_times(loader.lake, loader.key)
    found = sides(loader.lake, loader.key)
    panels = []
    for title, outcome in (("correct", "hit"), ("incorrect", "miss")):
        looks = {
            f"good_noearlylick_{side}_{outcome}": (name, color, False)
            for name, side, color in found
        }
        groups = loader.conditions(looks, edges)
        panels.append(Panel(title, "go cue", _AROUND_GO, edges, epochs, groups))
    return panels


def _foraging(loader: _Loader) -> list[Panel]:
    lake, key = loader.lake, loader.key
    has = rows(
        lake,
        "SELECT count(*) FROM psth.recorded_event "
        f"WHERE {key.probe_where} AND trial_event_type = 'zaberready'",
    ).item()
    found = sides(lake, key)
    panels = []
    for name, event in ALIGNMENTS.items():
        align = f"{name}_bitcode" if name == "trial_start" and not has else name
        window = rows(
            lake,
            "SELECT psth_win_start, psth_win_end FROM psth.align_type WHERE align_type_name = ?",
            align,
        ).row(0)
        edges = bin_edges(window[0], window[1], 0.1)
        looks = {
            f"{side[0].upper()}_{outcome}": (f"{side_name} {word}", color, dashed)
            for outcome, word, dashed in (("hit", "reward", False), ("miss", "no reward", True))
            for side_name, side, color in found
        }
        groups = loader.conditions(looks, edges, align)
        panels.append(Panel("", event, window, edges, {}, groups))
    return panels


def _ports(loader: _Loader) -> list[Panel]:
    lake, key = loader.lake, loader.key
    session = key.session_where
    trials = rows(
        lake,
        "SELECT e.trial, p.water_port, t.stop_time - t.start_time AS duration "
        f"FROM (FROM ephys.ephys_trial WHERE {key.probe_where}) AS e "
        f"JOIN (FROM experiment.mtl_block_trial WHERE {session}) AS b USING (trial) "
        f"JOIN (FROM experiment.mtl_block_water_port WHERE {session}) AS p USING (block) "
        f"JOIN (FROM experiment.session_trial WHERE {session}) AS t USING (trial) ORDER BY e.trial",
    )
    if not len(trials):
        return [Panel("", "trial start", (0.0, 3.0), bin_edges(0.0, 3.0, 0.1), {}, [])]
    window = (0.0, max(1.0, round(float(np.median(values(trials, "duration"))), 1)))
    edges = bin_edges(*window, 0.1)
    spikes = rows(
        lake,
        f"SELECT unit, trial, spike_time FROM ephys.trial_spikes WHERE {key.probe_where} "
        "AND clustering_method = ? AND spike_time BETWEEN 0 AND ?",
        loader.method,
        float(edges[-1]),
    )
    groups = []
    for number, port in enumerate(sorted(set(trials["water_port"].to_list()))):
        mine = trials.filter(water_port=port)["trial"]
        own = spikes.filter(spikes["trial"].is_in(mine.implode()))
        look = (port, _PORT_COLORS[number % 2], False)
        groups.append(loader.group(mine.to_numpy(), own, edges, look))
    return [Panel("", "trial start", window, edges, {}, groups)]


def top_rate(place: int, panels: Sequence[Panel]) -> float:
    """Return the highest rate (Hz) of a unit in some panels, at least 1."""
    highest = [
        float(group.rate[place].max())
        for panel in panels
        for group in panel.groups
        if len(group.trial)
    ]
    return max([1.0, *highest]) * 1.05
