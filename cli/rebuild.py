"""The command rebuild: reading again what is in the lake, and putting second copies back."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from .compute import compute_built_in
from .ingest import Workers, finish
from .state import JsonOption, State, state_of

_PANEL = "Data in"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel=_PANEL)(rebuild)


def rebuild(
    context: typer.Context,
    kinds: Annotated[
        list[str] | None,
        typer.Argument(help="behavior, ephys, …, ccf; none = everything."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Only this animal: subject_id or h2o.")
    ] = None,
    session: Annotated[int | None, typer.Option(help="Only this session of it.")] = None,
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Only what a reader wrote that was corrected since.")
    ] = False,
    spare: Annotated[
        bool,
        typer.Option(
            "--spare", help="Put damaged lake-wide and entered tables back from second copies."
        ),
    ] = False,
    no_compute: Annotated[
        bool,
        typer.Option("--no-compute", help="Leave tables that are made from others as they are."),
    ] = False,
    workers: Workers = 1,
    json: JsonOption = False,
) -> None:
    """Read again from the raw files, then compute what is made from it; session numbers stay.

    The lake can be read meanwhile. Sessions whose raw files have gone are kept.
    """
    state = state_of(context, json=json)
    _check_options(kinds or [], subject, session, outdated=outdated, spare=spare)
    if spare:
        _spare(state)
        return
    started = time.perf_counter()
    with state.output.progress() as progress:
        options: dict[str, Any] = {"workers": workers, "progress": progress}
        report = _rebuild(state, kinds or [], subject, session, outdated, options)
    if outdated and not report.sources and not json:
        state.output.line("nothing to do: no reader was corrected since it was used")
        return
    made = None if no_compute else compute_built_in(state, workers)
    finish(state.output, report, time.perf_counter() - started, made)


def _check_options(
    kinds: list[str], subject: str | None, session: int | None, *, outdated: bool, spare: bool
) -> None:
    given = [bool(kinds or subject is not None or session is not None), outdated, spare]
    if sum(given) > 1:
        raise typer.BadParameter("--outdated and --spare stand alone", param_hint="OPTIONS")
    if session is not None and subject is None:
        raise typer.BadParameter("a session is one of an animal: --subject", param_hint="--session")
    if kinds and subject is None and kinds != ["ccf"]:
        raise typer.BadParameter("name the animal: --subject", param_hint="KINDS")


def _rebuild(
    state: State,
    kinds: list[str],
    subject: str | None,
    session: int | None,
    outdated: bool,
    options: dict[str, Any],
) -> Any:
    from maplake.ingest import pipeline, rebuild

    if outdated:
        return rebuild.rebuild_outdated(state.config, **options)
    if subject is not None:
        return rebuild.rebuild_session(state.config, subject, session, kinds, **options)
    if kinds:
        return rebuild.rebuild_ccf(state.config)
    return pipeline.rebuild(state.config, **options)


def _spare(state: State) -> None:
    from maplake.ingest.spare import restore_spares

    done = restore_spares(state.config)
    if state.output.json:
        state.output.document({"restored": done})
        return
    for path in done:
        state.output.line(f"restored {path}")
    state.output.line(f"{len(done)} files were put back from their second copies")
