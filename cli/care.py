"""Commands that look after the lake: check, log, catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import compact, rebuild, snapshot
from .output import Output
from .state import JsonOption, state_of

if TYPE_CHECKING:
    from maplake.config import Config

_PANEL = "Care"
_PROBLEMS = 7

#: What goes before what when several things are to be repaired.
_ORDER = (
    *("maplake rebuild --spare", "maplake rebuild", "maplake check", "maplake compact"),
    "maplake catalog",
    "maplake compute",
)


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    rebuild.register(app)
    snapshot.register(app)
    compact.register(app)
    app.command(rich_help_panel=_PANEL)(check)
    app.command(rich_help_panel=_PANEL)(log)
    app.command(rich_help_panel=_PANEL)(catalog)
    app.command(rich_help_panel=_PANEL)(upgrade)


def check(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read every file: checksums, second copies.")
    ] = False,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Move files that the lake does not know away.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check keys, allowed values, counts and files; the exit code is 7 if anything is wrong.

    For every problem it says whose rows are concerned and which command repairs it.
    """
    from maplake.ingest.lakes import check_version
    from maplake.layout import Layout
    from maplake.query.check import check as check_lake

    state = state_of(context, json=json)
    state.require_lake()
    check_version(Layout(state.config.lake.root))
    if set_aside:
        _set_aside(state)
        return
    state.settle()
    with state.output.progress() as progress:
        problems: list[Any] = list(check_lake(state.config.lake.root, deep=deep, progress=progress))
    if not any(
        problem.kind in ("missing", "unreadable", "record", "catalog") for problem in problems
    ):
        problems += _stale(state.config)
    _show(state.output, problems, deep=deep)
    if problems:
        raise typer.Exit(_PROBLEMS)


def _show(output: Output, problems: list[Any], *, deep: bool) -> None:
    rows = [asdict(problem) for problem in problems]
    repairs = repairs_of(problems)
    if output.json:
        output.document({"problems": rows, "repairs": repairs, "deep": deep})
    elif rows:
        shown = [n for n in rows[0] if n != "repair" and any(row[n] for row in rows)]
        output.table(rows, shown)
        output.line(f"{len(rows)} problem{'s' if len(rows) > 1 else ''}")
        if repairs:
            output.line("to repair, in this order:")
        for command in repairs:
            output.line(f"  {command}")
    else:
        output.line("no problems" + ("" if deep else " (--deep reads every file, too)"))


def repairs_of(problems: Sequence[Any]) -> list[str]:
    """Return the commands that repair problems, each once, in the order to run them in."""
    from maplake.ingest.session import SESSION_KINDS

    commands = dict.fromkeys(problem.repair for problem in problems if problem.repair)

    def rank(command: str) -> tuple[int, int]:
        first = next((n for n, start in enumerate(_ORDER) if command.startswith(start)), 0)
        kind = command.split(" ")[2] if command.count(" ") > 1 else ""
        return (first, SESSION_KINDS.index(kind) if kind in SESSION_KINDS else -1)

    return sorted(commands, key=rank)


def _set_aside(state: Any) -> None:
    from maplake.ingest.spare import set_aside

    moved = set_aside(state.config)
    if state.output.json:
        state.output.document({"moved": moved})
        return
    for path in moved:
        state.output.line(path)
    state.output.line(f"{len(moved)} files were set aside")


def _stale(config: Config) -> list[Any]:
    """Return computed partitions that are not what would be computed now, as problems."""
    from maplake.compute.stale import FORGOTTEN, STALE, standing
    from maplake.query.check import Problem

    return [
        Problem(
            item.table,
            item.partition,
            STALE,
            item.reason or "",
            item.rows,
            item.subject_id,
            item.session,
            item.insertion_number,
            repair=f"maplake compute {'--remove ' * (item.reason == FORGOTTEN)}{item.table}",
        )
        for item in standing(config)
        if item.status == STALE
    ]


def catalog(context: typer.Context) -> None:
    """Write lake.duckdb and views.sql anew, e.g. after the lake's folder was moved."""
    from maplake.ingest.lakes import check_version, update_catalog
    from maplake.layout import Layout

    state = state_of(context)
    state.require_lake()
    layout = Layout(state.config.lake.root)
    check_version(layout)
    update_catalog(state.config, force=True)
    state.output.line(f"wrote {layout.catalog} and {layout.views}")


def log(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The last so many.")] = 20,
    subject: Annotated[
        str | None, typer.Option(help="Only this animal: subject_id or h2o.")
    ] = None,
    session: Annotated[int | None, typer.Option(help="Only this session of it.")] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Also rows by table, before > now.")] = False,
    json: JsonOption = False,
) -> None:
    """List what was changed in the lake, when, by which version, and why; the last one first."""
    from maplake.ingest.archive import subject_of
    from maplake.query.log import commits

    state = state_of(context, json=json)
    if state.lake_folder is not None:
        state.require_lake()
    subject_id = None if subject is None else subject_of(state.config, subject)
    found = commits(state.config.lake.root, limit=limit, subject_id=subject_id, session=session)
    if session is not None and not found:  # of one that was deleted, the log still tells
        state.require_session(subject_id, session)
    if json:
        state.output.document({"commits": [asdict(one) for one in found]})
    elif not found:
        asked = subject_id is not None or session is not None
        state.output.line("nothing of this is in the log" if asked else "nothing was changed yet")
    for one in () if json else found:
        state.output.line(one.headline)
        for line in one.lines(rows=rows):
            state.output.line(f"    {line}")


def upgrade(context: typer.Context) -> None:
    """Bring a lake that an older maplake wrote up to date, in place."""
    from maplake.ingest.upgrade import upgrade as upgrade_lake

    state = state_of(context)
    done = upgrade_lake(state.config)
    for line in done or ["the lake is up to date"]:
        state.output.line(line)
