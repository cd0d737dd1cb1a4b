"""The command compact: small tables merged by animal, for the views."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .state import JsonOption, state_of

_PANEL = "Care"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel=_PANEL)(compact)


def compact(
    context: typer.Context,
    undo: Annotated[bool, typer.Option("--undo", help="Remove the merged files.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say which tables would be merged.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Merge the small tables by animal, so that SQL opens a tenth of the files; tables/ stays.

    From then on every ingest keeps the merged files up to date. Run it again when animals or
    tables were added that were too few before.
    """
    from maplake.ingest import compact as library

    if undo and dry_run:
        raise typer.BadParameter("choose one of --undo and --dry-run")
    state = state_of(context, json=json)
    if undo:
        state.output.line(f"{library.undo(state.config)} merged files were removed")
        return
    done = library.compact(state.config, dry_run=dry_run)
    rows = [asdict(one) for one in done]
    if json:
        state.output.document({"tables": rows, "dry_run": dry_run})
    elif rows:
        state.output.table(rows, list(rows[0]))
        files, merged = (sum(row[name] for row in rows) for name in ("files", "merged"))
        state.output.line(f"{files} files of {len(rows)} tables merged into {merged}")
    else:
        state.output.line("no table has several small files per animal")
