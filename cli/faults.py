"""The one place where errors become messages and exit codes."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from maplake.errors import MaplakeError

from .state import State

__all__ = ["EXIT_CODES", "UNEXPECTED", "Guarded"]

UNEXPECTED = 70

#: What the exit codes mean, as the help and docs/cli.md say it.
EXIT_CODES = {
    0: "done",
    1: "the question cannot be answered (unknown table, session, unit or condition; wrong SQL)",
    2: "the command line is wrong (unknown command or option)",
    3: "lake.toml is missing or wrong",
    4: "a raw file or spreadsheet cannot be used, or rows of a table cannot be computed, "
    "or figures of a report cannot be drawn; everything else was done",
    5: "the lake cannot be used (missing, of a newer version, on a read-only disk)",
    6: "another process is writing to the lake",
    7: "the check found problems in the lake",
    UNEXPECTED: "a fault of maplake itself; --debug shows the traceback",
    130: "interrupted",
}

#: What DuckDB makes of Ctrl-C, an error like any other.
_INTERRUPTED = "Query interrupted"

# typer keeps the base of its usage errors private; its public one leads there.
_USAGE: type[Exception] = typer.BadParameter.__mro__[2]
_PASS: tuple[type[BaseException], ...] = (
    _USAGE,
    typer.Exit,
    typer.Abort,
    BrokenPipeError,
    EOFError,
)


class Guarded(TyperGroup):
    """The group of all commands; turns what they raise into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except _PASS:
            raise
        except MaplakeError as error:
            _show(ctx, error)
            raise typer.Exit(error.exit_code) from None
        except Exception as error:
            if str(error) == _INTERRUPTED:
                raise KeyboardInterrupt from None
            _show(ctx, error)
            raise typer.Exit(UNEXPECTED) from None


def _show(ctx: Any, error: Exception) -> None:
    state = ctx.find_object(State) or State()
    if state.debug:
        traceback.print_exception(error, file=sys.stderr)
    if not isinstance(error, MaplakeError):
        hint = None if state.debug else "--debug shows the traceback; please report it"
        wrapped = MaplakeError(f"unexpected {type(error).__name__}: {error}", hint=hint)
        wrapped.exit_code = UNEXPECTED
        error = wrapped
    state.output.error(error)
