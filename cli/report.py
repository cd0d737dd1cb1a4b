"""The command that writes figures and pages: report."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .psth import find_subject
from .state import JsonOption, State, state_of

_FAILED = 4
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Data out")(report)


def report(
    context: typer.Context,
    level: Annotated[
        str, typer.Argument(help="session, probe, unit or project; without it, all of them.")
    ] = "",
    subject: Annotated[str | None, typer.Option(help="The animal: subject_id or h2o.")] = None,
    session: Annotated[int | None, typer.Option(help="Number of its session.")] = None,
    insertion: Annotated[int | None, typer.Option(help="Probe insertion.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the figures and pages.")] = Path("report"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes that draw; else one per core.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Draw again what has not changed, too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write figures and pages that any browser opens; only what changed is drawn again."""
    from maplake.reports import LEVELS, Wanted, make_report

    if level and level not in LEVELS:
        raise typer.BadParameter(f"there is no level {level!r}; known are {', '.join(LEVELS)}")
    state = state_of(context, json=json)
    started = time.perf_counter()
    lake = state.lake()
    animal = None if subject is None else find_subject(lake, subject)
    wanted = Wanted(level or None, animal, session, insertion)
    with state.output.progress() as progress:
        done = make_report(
            lake, out, wanted, workers=workers or os.cpu_count(), force=force, progress=progress
        )
    _tell(state, done)
    state.output.note(f"{time.perf_counter() - started:.1f} s")
    if done.failed:
        raise typer.Exit(_FAILED)


def _tell(state: State, done: Any) -> None:
    output = state.output
    if output.json:
        output.document(
            {
                "index": str(done.index),
                "figures": done.figures,
                "pages": done.pages,
                "removed": done.removed,
                "failed": [vars(one) for one in done.failed],
            }
        )
        return
    for one in done.failed[:_SHOWN]:
        output.fault(f"{one.file}: {one.reason}")
    if len(done.failed) > _SHOWN:
        output.fault(f"and {len(done.failed) - _SHOWN} more")
    if done.unchanged:
        output.line(f"nothing to do: {done.index}")
    else:
        output.line(f"{done.figures} drawn, {done.pages} pages, {done.removed} files removed")
        output.line(str(done.index))
