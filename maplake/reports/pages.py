"""The pages of a report: index, sessions, probes, units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maplake.plots import FIGURES
from maplake.reports import html
from maplake.reports.model import (
    SPIKES,
    Item,
    probe_folder,
    session_folder,
    unit_file,
)

if TYPE_CHECKING:
    from maplake.reports.expected import Expected
    from maplake.reports.facts import Row
    from maplake.reports.record import Record

_TABLE = "table.js"
_SESSIONS: html.Columns = (
    ("session", "session", True),
    ("session_datetime", "date", False),
    ("subject_id", "animal", False),
    ("h2o", "water restriction", False),
    ("username", "user", False),
    ("probes", "probes", True),
    ("location", "insertion location", False),
    ("task", "task", False),
    ("trial_count", "trials", True),
    ("units", "units", True),
)
_FILTERS = (
    ("session", 0, "number", "2, 1-3, >5"),
    ("from", 1, "from", ""),
    ("to", 1, "to", ""),
    ("animal", 2, "text", ""),
    ("water restriction", 3, "text", ""),
    ("user", 4, "text", ""),
    ("probes", 5, "number", ">0"),
    ("insertion location", 6, "text", "left ALM"),
    ("task", 7, "text", ""),
)
_UNITS: html.Columns = (
    ("unit", "unit", True),
    ("unit_quality", "quality", False),
    ("cell_type", "cell type", False),
    ("unit_amp", "amplitude (µV)", True),
    ("unit_posy", "from the tip (µm)", True),
    ("unit_snr", "SNR", True),
    ("avg_firing_rate", "rate (Hz)", True),
    ("isi_violation", "ISI violation", True),
    ("spike_count", "spikes", True),
    ("region_name", "region", False),
)
_PROBES: html.Columns = (
    ("insertion_number", "probe", True),
    ("place", "meant for", False),
    ("probe_type", "type", False),
    ("ap_location", "AP (µm)", True),
    ("ml_location", "ML (µm)", True),
    ("depth", "depth (µm)", True),
    ("units", "units", True),
    ("good", "good units", True),
)


def index_page(rows: Sequence[Row], figures: Sequence[Item], record: Record) -> str:
    """Return the page of all sessions, with the figures of the whole lake."""

    def linked(row: Row) -> str:
        folder = session_folder(row["subject_id"], row["session"])
        there = f"{folder}/pages" in record.entries
        return (
            html.link(f"{folder}/index.html", row["session"])
            if there
            else html.text(row["session"])
        )

    table = html.table(rows, _SESSIONS, name="sessions", made={"session": linked})
    animals = len({row["subject_id"] for row in rows})
    probes, units = (sum(row[name] for row in rows) for name in ("probes", "units"))
    body = (
        f'<p class="soft">{len(rows)} sessions of {animals} animals, '
        f"{probes} probes, {units} units</p>"
        f'{html.filters(_FILTERS, table="sessions")}<div class="wide">{table}</div>'
    )
    drawn = _figures(figures, record, "", "all sessions")
    return html.page("Sessions", body + _section("The whole lake", drawn), scripts=(_TABLE,))


def session_pages(row: Row, expected: Expected, record: Record) -> dict[str, str]:
    """Return the pages of a session, its probes and its units by path."""
    folder = session_folder(row["subject_id"], row["session"])
    made = {f"{folder}/index.html": _session_page(row, expected, record)}
    for probe in expected.probes:
        made |= _probe_pages(row, probe, expected, record)
    return made


def session_name(row: Row) -> str:
    """Return a session in words."""
    return f"{row['h2o'] or row['subject_id']} session {row['session']}"


def _session_page(row: Row, expected: Expected, record: Record) -> str:
    folder = session_folder(row["subject_id"], row["session"])
    known = (
        ("date", row["session_datetime"]), ("animal", row["subject_id"]),
        ("water restriction number", row["h2o"]), ("task", row["task"]), ("user", row["username"]),
        ("rig", row["rig"]), ("trials", row["trial_count"]), ("probes", row["probes"]),
        ("units", row["units"]), ("insertion location", row["location"]),
    )  # fmt: skip

    def linked(probe: Row) -> str:
        number = probe["insertion_number"]
        return html.link(f"probe{number}/index.html", f"probe {number}")

    probes = html.table(expected.probes, _PROBES, name="probes", made={"insertion_number": linked})
    body = html.facts(known)
    if expected.probes:
        body += f'<h2>Probes</h2><div class="wide">{probes}</div>'
    figures = _figures(expected.of(folder, "session"), record, folder, session_name(row))
    nav = html.link("../../index.html", "all sessions")
    return html.page(
        session_name(row), body + _section("Figures", figures), nav=nav, scripts=(_TABLE,)
    )


def _probe_pages(row: Row, probe: Row, expected: Expected, record: Record) -> dict[str, str]:
    """Return the page of a probe, and those of its units if they were asked for."""
    number = probe["insertion_number"]
    folder = probe_folder(row["subject_id"], row["session"], number)
    units = expected.units[number]
    figures = expected.of(folder, "unit")
    has_units = any(item.name in record.entries for item in figures)
    made = {f"{folder}/index.html": _probe_page(row, probe, expected, record, has_units)}
    if has_units:
        for place, unit in enumerate(units):
            around = (units[place - 1] if place else None, *units[place + 1 : place + 2])
            made[f"{folder}/unit{unit['unit']}.html"] = _unit_page(
                row, probe, unit, around, figures, record
            )
    return made


def _probe_page(row: Row, probe: Row, expected: Expected, record: Record, has_units: bool) -> str:
    number = probe["insertion_number"]
    folder = probe_folder(row["subject_id"], row["session"], number)
    title = f"{session_name(row)}, probe {number}"
    methods = probe["methods"] or []
    known = (
        ("meant for", probe["place"]), ("probe", probe["probe"]), ("type", probe["probe_type"]),
        ("recorded sites", probe["electrode_config_name"]),
        ("from", probe["skull_reference"]), ("AP (µm)", probe["ap_location"]),
        ("ML (µm)", probe["ml_location"]), ("depth (µm)", probe["depth"]),
        ("theta (deg)", probe["theta"]), ("phi (deg)", probe["phi"]), ("sorter", methods),
        ("units", probe["units"]), ("good units", probe["good"]),
    )  # fmt: skip
    body = html.facts(known)
    if len(methods) > 1:
        body += (
            f"<p>Of several sorters this page shows {html.text(methods[0])}; others: "
            "<code>maplake figure … --clustering</code>.</p>"
        )
    units = expected.units[number]
    spikes = next((i for i in expected.of(folder, "probe") if i.figure == SPIKES), None)
    if units:
        body += _section("Units", _explorer(units, spikes, record, has_units))
    else:
        body += '<p class="said absent">No units of this probe are in the lake.</p>'
    figures = [item for item in expected.of(folder, "probe") if item.figure != SPIKES]
    body += _section("Figures", _figures(figures, record, folder, title))
    session = html.link("../index.html", session_name(row))
    nav = f"{html.link('../../../index.html', 'all sessions')} {session}"
    return html.page(title, body, nav=nav, scripts=("units.js", _TABLE) if units else ())


def _explorer(units: Sequence[Row], spikes: Item | None, record: Record, has_units: bool) -> str:
    """Return the map of the units, the place where one is drawn, and their table."""
    told = [
        {
            "unit": unit["unit"],
            "depth": _finite(unit["unit_posy"]),
            "amplitude": _finite(unit["unit_amp"]),
            "rate": _finite(unit["avg_firing_rate"]),
            "quality": unit["unit_quality"],
            "cell_type": unit["cell_type"],
            "region": unit["region_name"],
        }
        for unit in units
    ]
    unplaced = sum(one["depth"] is None or one["amplitude"] is None for one in told)
    note = f" {unplaced} without depth or amplitude are in the table only." if unplaced else ""
    entry = None if spikes is None else record.entries.get(spikes.name)
    ready = set() if entry is None else set(entry.files)
    failed = "" if entry is None else _faults("Data of units", dict(entry.failed))

    def shown(unit: Row) -> str:
        number = int(unit["unit"])
        words = html.link(f"unit{number}.html", number) if has_units else str(number)
        if unit_file(number, SPIKES) not in ready:
            return words
        label = f'data-show="{number}" aria-label="show unit {number}"'
        return f'{words} <button type="button" {label}>show</button>'

    table = html.table(units, _UNITS, name="unit-table", made={"unit": shown})
    pages = ' data-pages="yes"' if has_units else ""
    hint = (
        "Choose a unit for its raster and PSTH: click, or arrow keys and Enter. Filled: good; "
        f"size: rate.{note}"
    )
    return (
        f'<p class="soft">{hint}</p>{failed}<div class="explore"><div>'
        '<svg id="map" viewBox="0 0 440 480" role="group" aria-label="units by depth and '
        'amplitude"></svg></div><div id="unit" aria-live="polite"><h3 id="about">no unit is '
        f'chosen</h3><p><a id="link" hidden{pages}></a></p>'
        '<div id="key" class="key"></div><div id="panels"></div></div></div>'
        f'<h2>Table</h2><div class="tall">{table}</div>{html.data("units", told)}'
    )


def _unit_page(
    row: Row,
    probe: Row,
    unit: Row,
    around: Sequence[Row | None],
    figures: Sequence[Item],
    record: Record,
) -> str:
    name = f"{session_name(row)}, probe {probe['insertion_number']}"
    title = f"{name}, unit {unit['unit']}"
    known = [(words, unit[column]) for column, words, _ in _UNITS[1:]]
    body = html.facts([*known, ("electrode", unit["electrode"])])
    body += _figures(figures, record, "", title, unit["unit"])
    turns = [
        html.link(f"unit{other['unit']}.html", f"{words} unit")
        for other, words in zip(around, ("previous", "next"), strict=False)
        if other is not None
    ]
    nav = (
        f"{html.link('../../../index.html', 'all sessions')} "
        f"{html.link('../index.html', session_name(row))} {html.link('index.html', name)}"
        f'<span class="turn">{" ".join(turns)}</span>'
    )
    return html.page(title, body, nav=nav)


def _figures(
    items: Sequence[Item], record: Record, folder: str, about: str, unit: int | None = None
) -> str:
    """Return figures as far as they were drawn, and why others were not."""
    parts = []
    for item in items:
        entry, title = record.entries.get(item.name), FIGURES[item.figure].title
        if entry is None:
            continue
        file = f"{item.figure}.png" if unit is None else unit_file(unit, item.figure)
        path = file if unit is not None or folder else f"{item.folder}/{file}"
        if entry.absent is not None:
            parts.append(html.said(title, entry.absent, fault=False))
        elif file in entry.failed:
            parts.append(html.said(title, entry.failed[file]))
        elif file in entry.files:
            old = entry.fingerprint != item.fingerprint
            parts.append(html.picture(path, title, about, old=old))
    return "".join(parts)


def _faults(title: str, failed: dict[str, str]) -> str:
    reasons = sorted(set(failed.values()))
    return "".join(html.said(f"{title}, {len(failed)} files", reason) for reason in reasons)


def _section(title: str, inner: str) -> str:
    return f"<h2>{html.text(title)}</h2>{inner}" if inner else ""


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
