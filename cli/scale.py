"""What the commands that read and compute share: who does the work."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .state import State

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Scheduler", "choose_scheduler", "print_commands"]

_NONE = "none"

Scheduler = Annotated[
    str | None,
    typer.Option(
        help="A Dask cluster that works instead, e.g. tcp://host:8786; see [dask]. "
        f'"{_NONE}": this machine works, whatever [dask] says.'
    ),
]


def choose_scheduler(state: State, scheduler: str | None) -> None:
    """Let an option replace ``dask.scheduler`` of the settings.

    Raises
    ------
    typer.BadParameter
        If it is neither an address nor a scheduler file.
    """
    if scheduler is None:
        return
    from maplake.executors import is_cluster

    if scheduler != _NONE and not is_cluster(scheduler):
        raise typer.BadParameter(
            "give an address such as tcp://host:8786, a scheduler file (.json), or "
            f'"{_NONE}" to work on this machine',
            param_hint="--scheduler",
        )
    config = state.config
    state.config = replace(config, dask=replace(config.dask, scheduler=scheduler))


def print_commands(
    state: State,
    kinds: Sequence[str],
    subject: str | None,
    session: int | None,
    *,
    replace_old: bool,
) -> None:
    """Print a command per session that has something to read, for the jobs of a cluster."""
    from maplake.ingest import pipeline

    sessions, report = pipeline.prepare(
        state.config, kinds=kinds, subject=subject, session=session, replace=replace_old
    )
    commands = [_command(state, one, kinds, replace_old=replace_old) for one in sessions]
    if state.output.json:
        rows = [
            {"subject_id": one.subject_id, "session": one.session, "h2o": one.h2o, "command": words}
            for one, words in zip(sessions, commands, strict=True)
        ]
        state.output.document({"commands": rows})
    else:
        for words in commands:
            state.output.line(shlex.join(words))
    state.output.note(f"{len(sessions)} sessions to read; afterwards `maplake compute`")
    for source in report.sources:
        if source.status in ("failed", "waiting"):
            state.output.note(f"{source.kind} {source.name} {source.status}: {source.reason}")


def _command(state: State, session: Any, kinds: Sequence[str], *, replace_old: bool) -> list[str]:
    from maplake.executors import is_cluster

    words = _program()
    if state.config.file is not None:
        words += ["--config", str(state.config.file.resolve())]
    if state.lake_folder is not None:
        words += ["--lake", str(state.config.lake.root)]
    words += ["--quiet", "ingest", *kinds]
    words += ["--subject", str(session.subject_id), "--session", str(session.session)]
    if is_cluster(state.config.dask.scheduler):
        words += ["--scheduler", _NONE]  # the job itself is where it is to be read
    return [*words, "--no-compute", *(["--replace"] if replace_old else [])]


def _program() -> list[str]:
    """Return what runs maplake on another machine that shares this one's disks."""
    script = shutil.which(sys.argv[0])
    if script is not None and Path(script).stem == "maplake":
        return [str(Path(script).absolute())]
    return [sys.executable, "-m", __package__ or "maplake_cli"]
