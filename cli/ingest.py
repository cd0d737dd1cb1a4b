"""Commands that bring raw files into the lake: init, ingest, status."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from .compute import (
    compute_built_in,
    counts_of,
    document_of,
    note_waiting,
    show_computed,
    show_counts,
)
from .output import Output
from .scale import Scheduler, choose_scheduler, print_commands
from .state import JsonOption, State, state_of

_PANEL = "Data in"
_STARTER = """\
# Settings of a lake. lake.toml.example in the source of maplake explains every key.

[lake]
root = "lake"

# Take out the # and put in your folders. A kind of data without a path is passed over.
[behavior]
#rigs = [{ name = "RRig", path = "/data/rig1" }]

[ephys]
#paths = ["/data/ephys"]

[spreadsheets]
#animals = ["animals.xlsx"]
#insertion_locations = ["insertions.xlsx"]
"""

_FAILED = 4
#: From how many sessions on opening the files of all takes longer than a glance.
_LARGE = 200
_COLUMNS = ("animal", "session", "kind", "name", "status", "rows", "skipped", "reason")
_ORDER = (
    *("failed", "waiting", "outdated", "planned", "in", "skipped", "misnamed", "deleted"),
    *("unchanged", "absent"),
)
#: What is counted but not listed unless it is asked for.
_PASSED_OVER = {"skipped", "misnamed"}

Workers = Annotated[int, typer.Option(min=1, help="Number of processes that read.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(rich_help_panel=_PANEL)(init)
    app.command(rich_help_panel=_PANEL)(ingest)
    app.command(rich_help_panel=_PANEL)(status)


def init(context: typer.Context) -> None:
    """Create the lake of the settings; without settings, write a lake.toml to fill in first."""
    from maplake.ingest import lakes

    state = state_of(context)
    written = _write_starter(state)
    if written:
        state.output.line(f"wrote {written}: name your folders in it")
    state.output.line(f"the lake is {lakes.init(state.config)}")


def _write_starter(state: State) -> Path | None:
    from maplake.config import CONFIG_NAME, find_config
    from maplake.errors import ConfigError

    file = state.config_file
    if file is None:
        try:
            file = find_config()
        except ConfigError:
            file = Path(CONFIG_NAME)
    if file.exists():
        return None
    try:
        file.write_text(_STARTER, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigError(f"cannot be written ({error.strerror})", file=file) from None
    return file


def ingest(
    context: typer.Context,
    kinds: Annotated[
        list[str] | None,
        typer.Argument(help="animals, behavior, ephys, …; none = all that lake.toml names."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Only this animal: subject_id or h2o.")
    ] = None,
    session: Annotated[int | None, typer.Option(help="Only this session.")] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Let a new sorting or histology of a probe replace the old one."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    no_compute: Annotated[
        bool,
        typer.Option("--no-compute", help="Leave tables that are made from others as they are."),
    ] = False,
    print_only: Annotated[
        bool,
        typer.Option(
            "--print-commands", help="Read no session; print a command for each, for job arrays."
        ),
    ] = False,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    json: JsonOption = False,
) -> None:
    """Take in everything that is new or has changed, then compute what is made from it.

    A session with a faulty file is left out whole and tried again by the next run; all others go
    in. The exit code is then 4. Nothing is computed where kinds are named.
    """
    from maplake.ingest import pipeline

    state = state_of(context, json=json)
    started = time.perf_counter()
    wanted = _known_kinds(kinds or (), pipeline.KINDS)
    choose_scheduler(state, scheduler)
    if print_only:
        print_commands(state, wanted, subject, session, replace_old=replace)
        return
    with state.output.progress() as progress:
        report = pipeline.run(
            state.config,
            kinds=wanted,
            subject=subject,
            session=session,
            replace=replace,
            dry_run=dry_run,
            workers=workers,
            progress=progress,
        )
    made = None
    if not (no_compute or dry_run or wanted):
        made = compute_built_in(state, workers)
    elif report.changed:
        note_waiting(state)
    finish(state.output, report, time.perf_counter() - started, made)


def status(
    context: typer.Context,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also list skipped sources and names that fit no pattern."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Say what is in the lake, what waits and what failed and why, by session and source."""
    from maplake.ingest.status import status as status_of
    from maplake.watch.health import health_file, read_health

    state = state_of(context, json=json)
    if state.lake_folder is not None:  # before the first ingest, all sources of lake.toml wait
        state.require_lake()
    state.settle()
    sources = status_of(state.config)
    computed = counts_of(state.config)
    health = read_health(health_file(state.config.lake.root))
    if json:
        watch = None if health is None else asdict(health)
        state.output.document({**_as_document(sources), "computed": computed, "watch": watch})
        return
    hidden = set() if everything else _PASSED_OVER
    _list(state.output, [s for s in sources if s.status not in hidden])
    state.output.line(_summary(sources))
    _note_misnamed(state.output, sources)
    show_counts(state.output, computed)
    if health is not None:
        state.output.line(f"watch: {health}")
    _advise(state, sources)


def _advise(state: State, sources: Sequence[Any]) -> None:
    """Name what makes a large lake quick to ask, while it is not done."""
    from maplake.query.known import tables_of
    from maplake.query.views import is_compact

    root = state.config.lake.root
    sessions = {(s.subject_id, s.session) for s in sources if s.session is not None}
    # Those that are declared so are merged in every new lake.
    rest = [table for table in tables_of(root).values() if not table.merged]
    if len(sessions) >= _LARGE and not any(is_compact(root, table) for table in rest):
        state.output.note(
            f"{len(sessions)} sessions: `maplake compact` makes SQL over all of them ten times "
            "as fast"
        )


def _known_kinds(kinds: Sequence[str], known: Sequence[str]) -> list[str]:
    named = [kind.replace("-", "_") for kind in kinds]
    for kind in named:
        if kind not in known:
            raise typer.BadParameter(
                f"there is no kind {kind!r}; known are {', '.join(known)}", param_hint="KINDS"
            )
    return named


def finish(output: Output, report: Any, seconds: float, made: Any = None) -> None:
    """Print what became of every source; the exit code is 4 if any failed."""
    if output.json:
        document = {**_as_document(report.sources), "failed": report.failed}
        output.document(document if made is None else {**document, "computed": document_of(made)})
    else:
        idle = {"unchanged", "deleted", *_PASSED_OVER}
        _list(output, [s for s in report.sources if s.status not in {"unchanged", *_PASSED_OVER}])
        words = _summary(report.sources)
        is_idle = all(s.status in idle for s in report.sources) and not (made and made.done)
        output.line(f"{'nothing to do: ' if is_idle and report.sources else ''}{words}")
        _note_misnamed(output, report.sources)
        if made is not None:
            show_computed(output, made)
        output.note(f"{seconds:.1f} s")
    if report.failed or (made is not None and made.failed):
        raise typer.Exit(_FAILED)


def _as_document(sources: Sequence[Any]) -> dict[str, Any]:
    return {
        "sources": [source.as_dict() for source in sources],
        "counts": dict(Counter(source.status for source in sources)),
        "skipped_trials": _skipped_trials(sources),
    }


def _skipped_trials(sources: Sequence[Any]) -> int:
    return sum(source.skipped.get("trial", 0) for source in sources)


def _summary(sources: Sequence[Any]) -> str:
    if not sources:
        return "no sources: lake.toml names no folders, or there is nothing in them"
    counts = Counter(source.status for source in sources)
    words = [f"{counts[status]} {status}" for status in _ORDER if counts[status]]
    trials = _skipped_trials(sources)
    return ", ".join(words) + (f"; {trials} trials left out" if trials else "")


def _note_misnamed(output: Output, sources: Sequence[Any]) -> None:
    """Say where files and folders are that look like sources but for their names."""
    folders: dict[str, list[str]] = {}
    for source in sources:
        if source.status == "misnamed":
            folders.setdefault(source.kind, []).append(os.path.dirname(source.path))  # noqa: PTH120
    for kind, found in folders.items():
        output.note(
            f"{kind}: {len(found)} misnamed below {_above(found)}; `maplake status --all` lists "
            "them, with the names that were expected"
        )


def _above(folders: Sequence[str]) -> str:
    try:
        return os.path.commonpath(folders)
    except ValueError:  # on several drives
        return folders[0]


def _list(output: Output, sources: Sequence[Any]) -> None:
    if not sources:
        return
    rank = {status: place for place, status in enumerate(_ORDER)}
    # Stable: within a status the order of the report, by session.
    ordered = sorted(sources, key=lambda source: -rank.get(source.status, 0))
    rows = [_row(source) for source in ordered]
    used = [name for name in _COLUMNS if any(row[name] not in (None, "") for row in rows)]
    output.table(rows, used)


def _row(source: Any) -> dict[str, Any]:
    counts = {item: count for item, count in source.skipped.items() if count}
    left_out = ", ".join(f"{n} {item}{'s' if n > 1 else ''}" for item, n in counts.items())
    animal = source.h2o or source.subject_id
    shown = {name: getattr(source, name, None) for name in _COLUMNS}
    return {**shown, "animal": animal, "rows": source.rows or None, "skipped": left_out}
