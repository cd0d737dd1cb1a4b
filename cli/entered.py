"""Commands that load what people enter by hand: load, load-animal, load-insertion-location."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .output import Output
from .state import JsonOption, state_of

_PANEL = "Data in"
_PROBLEMS = 4

SheetFile = Annotated[Path, typer.Argument(help="The spreadsheet, .xlsx or .csv.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("load-animal", rich_help_panel=_PANEL)(load_animal)
    app.command("load-insertion-location", rich_help_panel=_PANEL)(load_insertion_location)
    app.command("load", rich_help_panel=_PANEL)(load)


def load_animal(
    context: typer.Context, file: SheetFile, dry_run: DryRun = False, json: JsonOption = False
) -> None:
    """Load a spreadsheet of animals; what it says otherwise than before is corrected."""
    from maplake.ingest.animals import load_animals

    state = state_of(context, json=json)
    _finish(state.output, load_animals(state.config, file, dry_run), dry_run)


def load_insertion_location(
    context: typer.Context, file: SheetFile, dry_run: DryRun = False, json: JsonOption = False
) -> None:
    """Load a spreadsheet of where probes went in; rows that match no session are reported."""
    from maplake.ingest.locations import load_insertion_location as load

    state = state_of(context, json=json)
    _finish(state.output, load(state.config, file, dry_run), dry_run)


def load(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="The table, e.g. lab.surgery.")],
    file: SheetFile,
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Load a spreadsheet with a table's columns: surgeries, viruses, strains, projects and more."""
    from maplake.ingest.load_table import load_table

    state = state_of(context, json=json)
    _finish(state.output, load_table(state.config, table, file, dry_run), dry_run)


def _finish(output: Output, changes: Any, dry_run: bool) -> None:
    counts = {name: getattr(changes, name) for name in ("added", "changed", "unchanged")}
    problems = list(changes.problems)
    if output.json:
        output.document({**counts, "problems": problems, "details": list(changes.details)})
    else:
        for line in changes.details:
            output.line(line)
        for line in problems:
            output.fault(line)
        words = ", ".join(f"{count} {name}" for name, count in counts.items())
        output.line(f"{'would be: ' if dry_run else ''}{words}")
    if problems:
        raise typer.Exit(_PROBLEMS)
