"""Commands for the lake as it was: snapshot, snapshots, export-snapshot, delete-snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .state import JsonOption, state_of

_PANEL = "Care"
_MIB = 1 << 20

Name = Annotated[str, typer.Argument(help="Name of the snapshot.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(rich_help_panel=_PANEL)(snapshot)
    app.command(rich_help_panel=_PANEL)(snapshots)
    app.command(rich_help_panel=_PANEL, name="export-snapshot")(export_snapshot)
    app.command(rich_help_panel=_PANEL, name="delete-snapshot")(delete_snapshot)


def snapshot(
    context: typer.Context,
    name: Name,
    note: Annotated[str, typer.Option(help="Why it is taken.")] = "",
    json: JsonOption = False,
) -> None:
    """Keep the lake as it is now under a name; nothing is copied.

    `maplake --snapshot NAME COMMAND` reads it later; files that the lake replaces are kept for it.
    """
    from maplake.ingest import snapshot as library

    state = state_of(context, json=json)
    about = library.take(state.config, name, note)
    if json:
        state.output.document(about.as_dict())
        return
    size = f"{about.files} files, {about.bytes / _MIB:.0f} MiB, nothing copied"
    state.output.line(f"snapshot {name}: {about.sessions} sessions, {size}")


def snapshots(context: typer.Context, json: JsonOption = False) -> None:
    """List the snapshots, and how much of each the lake has replaced since."""
    from maplake.ingest import snapshot as library

    state = state_of(context, json=json)
    rows = [one.as_dict() for one in library.snapshots(state.config.lake.root)]
    if json:
        state.output.document({"snapshots": rows})
    elif rows:
        state.output.table(rows, list(rows[0]))
    else:
        state.output.line("there are no snapshots")


def export_snapshot(
    context: typer.Context,
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Where to; it must not exist.")],
) -> None:
    """Copy a snapshot to a folder of its own, a whole lake."""
    from maplake.ingest import snapshot as library
    from maplake.query.outside import check_outside

    state = state_of(context)
    check_outside(folder.parent)
    made = library.export(state.config.lake.root, name, folder)
    state.output.line(f"exported {name} to {made}")


def delete_snapshot(context: typer.Context, name: Name) -> None:
    """Forget a snapshot; only what no other snapshot needs is removed."""
    from maplake.ingest import snapshot as library

    state = state_of(context)
    freed = library.delete(state.config, name)
    state.output.line(f"deleted the snapshot {name}: {freed / _MIB:.1f} MiB freed")
