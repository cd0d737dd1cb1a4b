"""The command delete: a session, a probe insertion or an animal, with all that hangs on it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .output import Output
from .state import JsonOption, state_of

_PANEL = "Care"

What = Annotated[str, typer.Argument(help="session, insertion or subject.")]
Numbers = Annotated[
    list[str],
    typer.Argument(help="subject_id or h2o, session, insertion_number, as many as it takes."),
]
_LEVELS = {"subject": 1, "session": 2, "insertion": 3}


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel=_PANEL)(delete)


def delete(
    context: typer.Context,
    what: What,
    numbers: Numbers,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let the next ingest take in again what was deleted.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Delete a session, a probe insertion or an animal with every row that depends on it.

    Raw files stay, and session numbers are not given again. The next ingest leaves the deleted
    sources out until --undo.
    """
    from maplake.ingest.archive import subject_of
    from maplake.ingest.delete import Target, undelete
    from maplake.ingest.delete import delete as delete_target

    if what not in _LEVELS:
        raise typer.BadParameter(f"choose one of {', '.join(_LEVELS)}", param_hint="WHAT")
    if len(numbers) != _LEVELS[what]:
        raise typer.BadParameter(
            f"{what} takes {_LEVELS[what]}: "
            + ", ".join(("subject_id", "session", "insertion_number")[: _LEVELS[what]]),
            param_hint="NUMBERS",
        )
    if undo and dry_run:
        raise typer.BadParameter("choose one of --undo and --dry-run")
    if json and not (yes or dry_run or undo):
        raise typer.BadParameter("--json does not ask: give --yes or --dry-run")
    state = state_of(context, json=json)
    wrong = next((word for word in numbers[1:] if not word.isdecimal()), None)
    if wrong is not None:
        raise typer.BadParameter(f"{wrong!r} is no number", param_hint="NUMBERS")
    animal, *rest = numbers
    subject_id = int(animal) if animal.isdecimal() else subject_of(state.config, animal)
    target = Target(subject_id, *map(int, rest))
    if undo:
        _undone(state.output, undelete(state.config, target))
        return
    found = delete_target(state.config, target, dry_run=True)
    if not json:
        _show(state.output, found)
    if not dry_run:
        if not yes and not typer.confirm(f"Delete {target} for good?", default=False, err=True):
            raise typer.Abort
        found = delete_target(state.config, target)
    _done(state.output, found, dry_run=dry_run)


def _show(output: Output, found: Any) -> None:
    output.table([{"table": table, "rows": rows} for table, rows in found.rows.items()])
    if found.arrays:
        output.line(f"and {found.arrays} files of arrays")
    if found.recomputed:
        output.line(f"to be computed again: {', '.join(found.recomputed)}")


def _done(output: Output, found: Any, *, dry_run: bool) -> None:
    if output.json:
        sources = [{"kind": kind, "name": name} for kind, name in found.sources]
        output.document(
            {
                "target": found.target.key,
                "rows": found.rows,
                "arrays": found.arrays,
                "sources": sources,
                "recomputed": found.recomputed,
                "dry_run": dry_run,
            }
        )
        return
    words = "would be deleted" if dry_run else "deleted"
    output.line(f"{found.target}: {sum(found.rows.values())} rows {words}")


def _undone(output: Output, sources: list[tuple[str, str]]) -> None:
    if output.json:
        output.document({"sources": [{"kind": kind, "name": name} for kind, name in sources]})
        return
    output.line(f"the next ingest takes in {len(sources)} sources again")
