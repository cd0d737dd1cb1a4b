"""Commands that look after the lake: check, catalog."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .state import JsonOption, state_of

if TYPE_CHECKING:
    from maplake.config import Config

_PANEL = "Care"
_PROBLEMS = 7


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(rich_help_panel=_PANEL)(check)
    app.command(rich_help_panel=_PANEL)(catalog)


def check(
    context: typer.Context,
    deep: Annotated[bool, typer.Option("--deep", help="Also read every file: checksums.")] = False,
    json: JsonOption = False,
) -> None:
    """Check keys, allowed values, counts and files; the exit code is 7 if anything is wrong."""
    from maplake.ingest.lakes import check_version
    from maplake.layout import Layout
    from maplake.query.check import check as check_lake

    state = state_of(context, json=json)
    check_version(Layout(state.config.lake.root))
    state.settle()
    problems: list[Any] = list(check_lake(state.config.lake.root, deep=deep))
    if not any(problem.kind in ("missing", "unreadable") for problem in problems):
        problems += _stale(state.config)
    rows = [asdict(problem) for problem in problems]
    if json:
        state.output.document({"problems": rows, "deep": deep})
    elif rows:
        state.output.table(rows, [name for name in rows[0] if any(row[name] for row in rows)])
        state.output.line(f"{len(rows)} problems")
    else:
        state.output.line("no problems" + ("" if deep else " (--deep reads every file, too)"))
    if problems:
        raise typer.Exit(_PROBLEMS)


def _stale(config: Config) -> list[Any]:
    """Return computed partitions that are not what would be computed now, as problems."""
    from maplake.compute.stale import STALE, standing
    from maplake.query.check import Problem

    return [
        Problem(item.table, item.partition, STALE, item.reason or "", item.rows)
        for item in standing(config)
        if item.status == STALE
    ]


def catalog(context: typer.Context) -> None:
    """Write lake.duckdb and views.sql anew, e.g. after the lake's folder was moved."""
    from maplake.errors import LakeNotFoundError
    from maplake.ingest.lakes import check_version, update_catalog
    from maplake.layout import Layout

    state = state_of(context)
    layout = Layout(state.config.lake.root)
    if not layout.format_file.exists():
        hint = "`maplake init` or `maplake ingest` make one."
        raise LakeNotFoundError("there is no lake", file=layout.root, hint=hint)
    check_version(layout)
    update_catalog(state.config, force=True)
    state.output.line(f"wrote {layout.catalog} and {layout.views}")
