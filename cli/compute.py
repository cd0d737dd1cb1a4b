"""The command compute: tables that are made from other tables."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from .output import Output
from .psth import find_subject
from .scale import Scheduler, choose_scheduler
from .state import JsonOption, State, state_of

_PANEL = "Data in"
_FAILED = 4
_COLUMNS = (
    "table",
    "subject_id",
    "session",
    "insertion_number",
    "status",
    "rows",
    "seconds",
    "reason",
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel=_PANEL)(compute)


def compute(
    context: typer.Context,
    tables: Annotated[
        list[str] | None,
        typer.Argument(help="Tables, with what they are computed from; none = all."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Only this animal: subject_id or h2o.")
    ] = None,
    session: Annotated[int | None, typer.Option(help="Only this session.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that compute.")] = 1,
    scheduler: Scheduler = None,
    remove: Annotated[
        str | None,
        typer.Option(help="Remove this table instead, with all that is computed from it."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Compute these tables also where nothing changed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be computed or removed.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Compute the tables that are made from others, where something below them changed.

    A partition that cannot be computed is reported; all others are. The exit code is then 4.
    """
    state = state_of(context, json=json)
    if remove is not None:
        if tables or again or (subject, session) != (None, None):
            raise typer.BadParameter("--remove is of one table, whole: only --dry-run goes with it")
        _remove(state, remove, dry_run=dry_run)
        return
    animal = None
    if subject is not None:
        with state.lake() as lake:
            animal = find_subject(lake, subject)
    if session is not None:
        state.require_session(animal, session)
    if dry_run:
        _plan(state, tables or (), (animal, session), again=again)
        return
    from maplake.compute.again import forget
    from maplake.compute.run import run

    choose_scheduler(state, scheduler)
    if again:
        forget(state.config, tables or (), subject=animal, session=session)
    started = time.perf_counter()
    with state.output.progress() as progress:
        report = run(
            state.config,
            tables or (),
            subject=animal,
            session=session,
            workers=workers,
            progress=progress,
        )
    _finish(state.output, report, time.perf_counter() - started)


def compute_built_in(state: State, workers: int) -> Any:
    """Compute maplake's own tables after an ingest; None where nothing happened since."""
    from maplake.compute.settled import is_settled

    if is_settled(state.config.lake.root):
        return None
    from maplake.compute.run import run

    with state.output.progress() as progress:
        return run(state.config, workers=workers, built_in=True, progress=progress)


def document_of(report: Any) -> dict[str, Any]:
    """Return what became of computed partitions as one document."""
    rows = [asdict(item) for item in report.done]
    return {"computed": rows, "current": report.current, "failed": report.failed}


def show_computed(output: Output, report: Any) -> None:
    """Print, after an ingest, how many partitions were computed, and which could not be."""
    counts = Counter(item.status for item in report.done)
    failed = [asdict(item) for item in report.done if item.status == "failed"]
    _table(output, failed)
    if counts:
        words = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        tables = len({item.table for item in report.done})
        output.line(f"computed {tables} table{'s' if tables > 1 else ''} by partition: {words}")


def _finish(output: Output, report: Any, seconds: float) -> None:
    rows = [asdict(item) for item in report.done]
    if output.json:
        output.document(document_of(report))
    else:
        for row in rows:
            row["seconds"] = round(row["seconds"], 2)
        _table(output, rows)
        counts = Counter(item.status for item in report.done)
        words = [f"{count} {status}" for status, count in sorted(counts.items())]
        output.line(", ".join([*words, f"{report.current} up to date"]))
        output.note(f"{seconds:.1f} s")
    if report.failed:
        raise typer.Exit(_FAILED)


def _table(output: Output, rows: list[dict[str, Any]]) -> None:
    used = [n for n in _COLUMNS if any(row.get(n) not in (None, "") for row in rows)]
    if rows:
        output.table(rows, used)


def _plan(
    state: State, names: Sequence[str], key: tuple[int | None, int | None], *, again: bool
) -> None:
    from maplake.compute.registry import find, load
    from maplake.compute.stale import standing

    chosen = find(load(state.config), names) if names else None
    rows = [
        asdict(item)
        for item in standing(state.config)
        if (chosen is None or item.table in chosen)
        and key[0] in (None, item.subject_id)
        and key[1] in (None, item.session)
    ]
    asked = {row["table"] for row in rows} if not names else set(names)
    todo = [r for r in rows if r["status"] != "in" or (again and r["table"] in asked)]
    if state.output.json:
        state.output.document({"to_compute": todo, "current": len(rows) - len(todo)})
        return
    _table(state.output, todo)
    state.output.line(f"{len(todo)} to compute, {len(rows) - len(todo)} up to date")


def _remove(state: State, name: str, *, dry_run: bool) -> None:
    from maplake.compute.stale import remove

    counts = remove(state.config, name, dry_run=dry_run)
    if state.output.json:
        state.output.document({"removed": counts, "dry_run": dry_run})
        return
    state.output.table([{"table": table, "rows": rows} for table, rows in counts.items()])
    words = "would be removed" if dry_run else "removed"
    state.output.line(f"{len(counts)} tables, {sum(counts.values())} rows {words}")


def counts_of(config: Any) -> list[dict[str, Any]]:
    """Return how many partitions of each computed table are in, wait, failed or are stale."""
    from maplake.compute.tally import counts

    return counts(config)


def show_counts(output: Output, counts: list[dict[str, Any]]) -> None:
    """Print the computed tables that are not in everywhere."""
    if not counts:
        return
    open_ = [row for row in counts if set(row) - {"table", "in"}]
    names = ("table", "in", "waiting", "failed", "stale")
    used = [name for name in names if any(row.get(name) for row in open_)]
    if open_:
        output.line()
        output.table(open_, used)
        output.line("`maplake compute` computes what waits or is stale")
    else:
        output.line(f"{len(counts)} computed tables, up to date")


def note_waiting(state: State) -> None:
    """Name the computed tables that a change left to ``maplake compute``."""
    from maplake.compute.settled import is_settled

    if state.output.quiet or state.output.json or is_settled(state.config.lake.root):
        return
    rows = counts_of(state.config)
    names = [row["table"] for row in rows if row.get("waiting") or row.get("stale")]
    if names:
        state.output.note(
            f"to be computed: {', '.join(names)}; `maplake compute` computes what waits or is stale"
        )
