"""The command ``maplake``: global options, and which commands there are."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Sequence
from copy import copy
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command_name
from typer.models import CommandInfo

from . import (
    archive,
    care,
    compute,
    delete,
    demo,
    entered,
    export,
    figure,
    ingest,
    psth,
    publish,
    query,
    report,
    shell,
    watch,
)
from .faults import EXIT_CODES, Guarded, until_unread
from .output import Output
from .state import State

__all__ = ["GC_THRESHOLD", "app", "main"]

#: A command over a large lake makes hundreds of thousands of small records and hardly a circle of
#: them: looking for circles as often as Python does is a tenth of what it takes.
GC_THRESHOLD = (100_000, 20, 20)

#: The global options that are followed by a value.
_WITH_VALUE = {"--config", "--lake", "--snapshot"}

_EPILOG = "Exit codes:\n\n" + "\n".join(f"* {code}: {what}" for code, what in EXIT_CODES.items())

app = typer.Typer(
    name="maplake",
    cls=Guarded,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            Output().line(f"maplake {version('maplake')}")
        except PackageNotFoundError:
            Output().line("maplake (not installed)")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings; else those of MAPLAKE_CONFIG, ./lake.toml or one above."),
    ] = None,
    lake: Annotated[
        Path | None, typer.Option(help="The lake's folder, instead of that of the settings.")
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option(help="Read the lake as it was in this snapshot.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Turn the recordings of a lab into a lake of plain files: take in, query, plot."""
    context.obj = State(config, lake, debug, Output(quiet=quiet), snapshot)


for _module in (
    demo,
    ingest,
    watch,
    entered,
    compute,
    query,
    psth,
    figure,
    report,
    export,
    shell,
    care,
    archive,
    delete,
    publish,
):
    _module.register(app)


def main() -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character shows ?
            stream.reconfigure(errors="replace")
    gc.set_threshold(*GC_THRESHOLD)
    try:
        with until_unread():
            _app_for(_asked(sys.argv[1:]))(prog_name="maplake")
    finally:
        # Before Python ends it looks for circles in all that there is, several times. Where DuckDB
        # is loaded it must: its binding complains of what is not given back.
        if "duckdb" not in sys.modules:
            gc.freeze()


def _asked(words: Sequence[str]) -> str | None:
    """Return the first word that is neither a global option nor the value of one."""
    rest = iter(words)
    for word in rest:
        if word in _WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return None


def _app_for(asked: str | None) -> typer.Typer:
    """Return the app with the one command that is asked for, or with all if that is not plain.

    To make forty commands ready takes typer longer than some of them take to run.
    """
    one = [command for command in app.registered_commands if _name_of(command) == asked]
    if not one:
        return app
    narrow = copy(app)
    narrow.registered_commands, narrow.registered_groups = one, []
    return narrow


def _name_of(command: CommandInfo) -> str:
    return command.name or get_command_name(getattr(command.callback, "__name__", ""))
