"""Diagrams of the tables: an SVG per schema, and the page that shows them.

``python -m maplake.query.diagram docs`` writes ``erd.md`` and ``erd/*.svg`` of the documentation.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from xml.sax.saxutils import escape

from maplake.tables import SCHEMAS, TABLES, Store, Table

_HEAD = """\
# How tables refer to each other

Generated from the declarations in `maplake/tables` by `python -m maplake.query.diagram docs`.
An arrow leads from a table to one whose rows refer to its rows. A box names the table and the
columns that it adds to the keys of those before it. Blue boxes are kept in files, white ones are
computed when asked, grey ones are constant. Tables of other schemas are named in italics. A
click on a diagram shows it in full.
[tables.md](tables.md) has every column, and `maplake erd` prints all of it as a
[Mermaid](https://mermaid.js.org) diagram, with the lab's own tables.
"""
_FILL = {Store.VIEW: "#ffffff", Store.LOOKUP: "#eeeeee"}
_CHAR, _HEIGHT, _GAP, _ACROSS = 6.2, 36, 10, 60  # px
_LONGEST = 36  # characters of a key that are shown


def page() -> str:
    """Return the page that shows the diagrams, as Markdown."""
    shown = [
        f"## {name}\n\n[![Tables of {name}](erd/{name}.svg)](erd/{name}.svg)\n" for name in SCHEMAS
    ]
    return "\n".join([_HEAD, *shown])


def svg(schema: str) -> str:
    """Return the diagram of one schema and of the tables that it refers to directly."""
    tables = _around(schema)
    places, width, height = _places(tables)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="11">'
    )
    lines = [
        _arrow(places[parent], places[name])
        for name, table in tables.items()
        if table.schema == schema
        for parent in sorted(_parents(table, tables))
    ]
    lines += [_box(table, places[name], schema) for name, table in tables.items()]
    return "\n".join([head, *lines, "</svg>\n"])


def _around(schema: str) -> dict[str, Table]:
    own = {name: table for name, table in TABLES.items() if table.schema == schema}
    others = {ref.table for table in own.values() for ref in table.refs}
    return {name: TABLES[name] for name in sorted(others - set(own))} | own


def _parents(table: Table, tables: Mapping[str, Table]) -> set[str]:
    return {ref.table for ref in table.refs if ref.table in tables} - {table.full_name}


def _places(
    tables: Mapping[str, Table],
) -> tuple[dict[str, tuple[int, int, int]], int, int]:
    """Return x, y and width (px) of each table's box, and width and height of the whole."""
    places: dict[str, tuple[int, int, int]] = {}
    left = _GAP
    for column in _columns(tables):
        width = max(_width(tables[name]) for name in column)
        order = sorted(column, key=lambda name: (_middle(tables[name], places), name))
        for row, name in enumerate(order):
            places[name] = (left, _GAP + row * (_HEIGHT + _GAP), width)
        left += width + _ACROSS
    height = max(y for _, y, _ in places.values()) + _HEIGHT + _GAP
    return places, left - _ACROSS + _GAP, height


def _columns(tables: Mapping[str, Table]) -> list[list[str]]:
    """Return the tables by how many tables are before them."""
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            depth[name] = 0  # a cycle ends here
            depth[name] = max((1 + of(one) for one in _parents(tables[name], tables)), default=0)
        return depth[name]

    found: dict[int, list[str]] = {}
    for name in tables:
        found.setdefault(of(name), []).append(name)
    return [found[number] for number in sorted(found)]


def _middle(table: Table, places: Mapping[str, tuple[int, int, int]]) -> float:
    heights = [places[ref.table][1] for ref in table.refs if ref.table in places]
    return fmean(heights) if heights else 0.0


def _key(table: Table) -> str:
    before = {name for ref in table.refs for name in ref.columns}
    text = ", ".join(name for name in table.key if name not in before)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _width(table: Table) -> int:
    return round(max(len(table.full_name), len(_key(table))) * _CHAR) + 16


def _box(table: Table, place: tuple[int, int, int], schema: str) -> str:
    x, y, width = place
    own = table.schema == schema
    name = table.name if own else table.full_name
    style = "" if own else ' font-style="italic"'
    fill = _FILL.get(table.store, "#dbe9f6")
    return (
        f'<g><title>{escape(table.comment)}</title><rect x="{x}" y="{y}" width="{width}" '
        f'height="{_HEIGHT}" rx="4" fill="{fill}" stroke="#456"/>'
        f'<text x="{x + 8}" y="{y + 15}"{style}>{escape(name)}</text>'
        f'<text x="{x + 8}" y="{y + 29}" fill="#567" font-size="10">{escape(_key(table))}'
        "</text></g>"
    )


def _arrow(start: tuple[int, int, int], end: tuple[int, int, int]) -> str:
    x, y = start[0] + start[2], start[1] + _HEIGHT // 2
    to_x, to_y = end[0], end[1] + _HEIGHT // 2
    bend = _ACROSS // 2
    return (
        f'<path d="M{x} {y}C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}" fill="none" '
        f'stroke="#89a"/><circle cx="{to_x}" cy="{to_y}" r="2.5" fill="#456"/>'
    )


def files() -> Iterator[tuple[str, str]]:
    """Yield path (below the folder of the documentation) and content of every file."""
    yield "erd.md", page()
    yield from ((f"erd/{name}.svg", svg(name)) for name in SCHEMAS)


def write(folder: Path) -> None:
    """Write the page and its pictures into the folder of the documentation."""
    (folder / "erd").mkdir(parents=True, exist_ok=True)
    for path, text in files():
        (folder / path).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
