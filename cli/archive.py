"""Commands for replaced results: archived, restore."""

from __future__ import annotations

from typing import Annotated

import typer

from .compute import note_waiting
from .state import JsonOption, state_of

_PANEL = "Care"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(rich_help_panel=_PANEL)(archived)
    app.command(rich_help_panel=_PANEL)(restore)


def archived(context: typer.Context, json: JsonOption = False) -> None:
    """List the sortings and histologies that newer ones replaced."""
    from maplake.ingest import archive

    state = state_of(context, json=json)
    rows = [
        {
            "animal": found.h2o or found.subject_id,
            "session": found.session,
            "insertion": found.insertion_number,
            "kind": found.name.split(" ")[0],
            "archive": found.name.split(" ")[-1],
            "path": found.path,
        }
        for found in archive.archived(state.config)
    ]
    if json:
        state.output.document({"archived": rows})
    elif rows:
        state.output.table(rows, list(rows[0]))
    else:
        state.output.line("nothing is archived")


def restore(
    context: typer.Context,
    subject: Annotated[str, typer.Argument(help="subject_id or h2o.")],
    session: Annotated[int, typer.Argument(help="Number of the session.")],
    insertion: Annotated[int, typer.Argument(help="Number of the probe insertion.")],
    archive: Annotated[str, typer.Argument(help="Its name, as `maplake archived` lists it.")],
) -> None:
    """Put an archived result back; the one in the lake takes its place in the archive."""
    from maplake.ingest import archive as library

    state = state_of(context)
    subject_id = library.subject_of(state.config, subject)
    library.restore(state.config, subject_id, session, insertion, archive)
    state.output.line(f"restored {archive} of {subject} session {session} insertion {insertion}")
    note_waiting(state)
