"""Small pieces of HTML; whatever comes from the lake is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from maplake.reports.packed import as_json

Row = Mapping[str, Any]
#: Name of a column, its heading, and whether it is a number.
Columns = Sequence[tuple[str, str, bool]]


@cache
def asset(name: str) -> str:
    """Return a style sheet or script of the package."""
    return files("maplake.reports").joinpath("assets", name).read_text(encoding="utf-8")


def page(title: str, body: str, *, nav: str = "", scripts: Sequence[str] = ()) -> str:
    """Return a whole page, which needs no other file for its looks and its scripts."""
    code = "".join(f"<script>\n{asset(name)}</script>\n" for name in scripts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>\n{asset('page.css')}</style>\n</head>\n<body>\n"
        f"{f'<nav>{nav}</nav>' if nav else ''}\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n"
        f"<footer>made by maplake report</footer>\n{code}</body>\n</html>\n"
    )


def text(value: object, digits: int = 4) -> str:
    """Return a value as escaped text; nothing for what is unknown."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, float):
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    if isinstance(value, (list, tuple)):
        return escape(", ".join(str(one) for one in value))
    return escape(str(value))


def link(target: str, words: object) -> str:
    """Return a link; the target is a path that the report made."""
    return f'<a href="{escape(target)}">{text(words)}</a>'


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """Return what is known of something as a list of names and values."""
    known = [(name, text(value)) for name, value in pairs]
    inner = "".join(f"<div><dt>{escape(n)}</dt><dd>{v}</dd></div>" for n, v in known if v)
    return f"<dl>{inner}</dl>"


def table(
    rows: Sequence[Row], columns: Columns, *, name: str, made: Mapping[str, Any] | None = None
) -> str:
    """Return a table that is sorted by its headers.

    Parameters
    ----------
    rows
        What it holds.
    columns
        Which of it, and in which order.
    name
        The table's id.
    made
        By column a function of the row that returns HTML, for links.
    """
    head = "".join(
        f'<th scope="col"{_class(number)}><button type="button">{escape(words)}</button></th>'
        for _, words, number in columns
    )
    body = "".join(
        f"<tr{_unit(row)}>{''.join(_cell(row, *column, made or {}) for column in columns)}</tr>\n"
        for row in rows
    )
    return (
        f'<table class="sortable" id="{escape(name)}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table>"
    )


def _cell(row: Row, name: str, _words: str, number: bool, made: Mapping[str, Any]) -> str:
    value = row.get(name)
    inner = made[name](row) if name in made else text(value)
    exact = value.isoformat() if isinstance(value, datetime) else value
    data = escape("" if exact is None else str(exact))
    kind = ' class="date"' if isinstance(value, datetime) else _class(number)
    return f'<td{kind} data-value="{data}">{inner}</td>'


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _unit(row: Row) -> str:
    return f' data-unit="{int(row["unit"])}"' if "unit" in row else ""


def filters(fields: Sequence[tuple[str, int, str, str]], *, table: str) -> str:
    """Return inputs that filter a table: label, column, kind of test and hint of each."""
    inner = "".join(
        f'<label>{escape(label)}<input data-column="{column}" data-test="{test}" '
        f'type="{"date" if test in ("from", "to") else "text"}" placeholder="{escape(hint)}">'
        "</label>"
        for label, column, test, hint in fields
    )
    return (
        f'<form class="filters" data-table="{escape(table)}">{inner}'
        '<button type="reset">all</button><span>shown: <output aria-live="polite"></output></span>'
        "</form>"
    )


def picture(file: str, title: str, about: str, *, old: bool = False) -> str:
    """Return a figure with its caption; a click shows it in full size."""
    late = ' <span class="soft">(drawn from older data)</span>' if old else ""
    return (
        f'<figure><figcaption>{escape(title)}{late}</figcaption><a href="{escape(file)}">'
        f'<img src="{escape(file)}" alt="{escape(title)}: {escape(about)}" loading="lazy">'
        "</a></figure>"
    )


def said(title: str, reason: str, *, fault: bool = True) -> str:
    """Return the words that stand where a figure would."""
    words = "could not be drawn: " if fault else ""
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<p class="said{"" if fault else " absent"}">{words}{escape(reason)}</p></figure>'
    )


def data(name: str, value: object) -> str:
    """Return data for the page's scripts."""
    return f'<script type="application/json" id="{escape(name)}">{as_json(value)}</script>'
