"""The one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from maplake.errors import MaplakeError, NotFoundError, QueryError

from .state import State

__all__ = ["EXIT_CODES", "UNEXPECTED", "UNREAD", "Guarded", "explained", "until_unread"]

UNEXPECTED = 70
#: What shells say of programs that a closed pipe ended.
UNREAD = 141

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
    UNREAD: "what read the output has closed it, as head does",
}

#: What DuckDB makes of Ctrl-C, an error like any other.
_INTERRUPTED = "Query interrupted"

#: What is said of names that the catalog does not have.
_UNKNOWN = re.compile(r"there is no (trial condition|event) '(.*?)'")

# typer keeps the base of its usage errors private; its public one leads there.
_USAGE: type[Exception] = typer.BadParameter.__mro__[2]
_PASS: tuple[type[BaseException], ...] = (
    _USAGE,
    typer.Exit,
    typer.Abort,
    EOFError,
)


class UsageError(MaplakeError):
    """The command line is wrong."""

    exit_code = 2


class Guarded(TyperGroup):
    """The group of all commands; turns what they raise into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        words = [*ctx._protected_args, *ctx.args]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _state(ctx).output.note("interrupted")
            raise
        except _PASS as error:
            if isinstance(error, _USAGE) and "--json" in words:
                raise typer.Exit(_show_usage(ctx, error)) from None
            raise
        except MaplakeError as error:
            _show(ctx, explained(_state(ctx), error))
            raise typer.Exit(error.exit_code) from None
        except Exception as error:
            if str(error) == _INTERRUPTED:
                _state(ctx).output.note("interrupted")
                raise KeyboardInterrupt from None
            if isinstance(error, OSError) and _is_unread(error):
                raise BrokenPipeError(errno.EPIPE, error.strerror) from None
            _show(ctx, error)
            raise typer.Exit(UNEXPECTED) from None


def explained(state: State, error: MaplakeError) -> MaplakeError:
    """Return the error, or a better one: a name that only the catalog lacks is no misspelt one."""
    unknown = _UNKNOWN.search(error.message)
    if not unknown or not isinstance(error, QueryError):
        return error
    kind, name = unknown.groups()
    from maplake.query import own_conditions

    try:
        config = state.config
        declared = config.align_types if kind == "event" else config.conditions
        added = {} if kind == "event" else own_conditions.read(config.lake.root)
    except MaplakeError:
        return error
    for where, names in (("lake.toml", declared), ("the lake's own conditions", added)):
        if name.lower() in {one.lower() for one in names}:
            return NotFoundError(
                f"the {kind} {name!r} is in {where}, but not yet in the catalog",
                hint="Run `maplake catalog`.",
            )
    return error


def _state(ctx: Any) -> State:
    return ctx.find_object(State) or State()


def _show_usage(ctx: Any, error: Any) -> int:
    """Show in JSON what is wrong with the command line; nothing has read ``--json`` yet."""
    state = _state(ctx)
    state.output.json = True
    command = (error.ctx or ctx).command_path
    said = UsageError(error.format_message(), hint=f"`{command} --help` tells more.")
    state.output.error(said)
    return said.exit_code


@contextmanager
def until_unread() -> Iterator[None]:
    """End without a word once nobody reads the output any more."""
    out = sys.stdout
    streams = [stream for stream in (out, sys.stderr) if stream is not None]
    try:
        try:
            yield
        finally:
            for stream in streams:
                stream.flush()
    except OSError as error:
        if not _is_unread(error):
            raise
    except SystemExit:
        if sys.stdout is out:  # typer wraps it when it comes upon a closed pipe, and exits with 1
            raise
    else:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:  # what they still hold is written when Python ends
        os.dup2(nowhere, stream.fileno())
    sys.exit(UNREAD)


def _is_unread(error: OSError) -> bool:
    """Whether it says that nobody reads the output: of Windows' EINVAL only the output can tell."""
    if error.errno != errno.EINVAL:
        return isinstance(error, BrokenPipeError)
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _show(ctx: Any, error: Exception) -> None:
    state = _state(ctx)
    if state.debug:
        traceback.print_exception(error, file=sys.stderr)
    if not isinstance(error, MaplakeError):
        hint = None if state.debug else "--debug shows the traceback; please report it"
        wrapped = MaplakeError(f"unexpected {type(error).__name__}: {error}", hint=hint)
        wrapped.exit_code = UNEXPECTED
        error = wrapped
    state.output.error(error)
