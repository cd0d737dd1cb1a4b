"""The command watch: rounds of ingest, compute and report until it is told to stop."""

from __future__ import annotations

import logging
import signal
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from .ingest import Workers
from .state import state_of

_PANEL = "Data in"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel=_PANEL)(watch)


def watch(
    context: typer.Context,
    interval: Annotated[float, typer.Option(min=0, help="Pause between rounds, s.")] = 60.0,
    settle: Annotated[
        float, typer.Option(min=0, help="Read files that did not change for so long, s.")
    ] = 120.0,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="End after so many; else go on until told to stop.")
    ] = None,
    health: Annotated[
        Path | None, typer.Option(help="The health file, instead of .maplake/watch.json.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Keep a report in this folder up to date, too.")
    ] = None,
    workers: Workers = 1,
) -> None:
    """Take in, compute and report whatever arrives, once its files have settled.

    Faults are logged once, and the watch goes on. It ends after the session at hand on SIGTERM
    or Ctrl-C, at once on a second one.
    """
    from maplake.watch.watch import Settings, Watch

    state = state_of(context)
    settings = Settings(interval, settle, workers, health)
    watching = Watch(state.config, settings)
    log = logging.getLogger("maplake.watch")
    log.setLevel(min(logging.INFO, logging.getLogger("maplake").level))
    # What ingest says of a fault, every time, the watch says once.
    ingest = logging.getLogger("maplake.ingest.publish")
    ingest.addFilter(lambda record: not getattr(record, "is_reported", False))
    if report is not None:
        watching.report = partial(_report, watching, report)
    _stop_on_signals(watching)
    watching.run(rounds=rounds)


def _report(watching: Any, out: Path) -> None:
    """Bring the report up to date; a figure that fails is said, and tried again with the next."""
    import maplake
    from maplake.reports import make_report

    with maplake.open(watching.config.lake.root) as lake:
        done = make_report(lake, out, workers=watching.settings.workers, progress=watching.pause)
    log = logging.getLogger("maplake.watch")
    if not done.unchanged:
        log.info("report: %d drawn, %d pages", done.figures, done.pages)
    for one in done.failed:
        log.error("report: %s: %s", one.file, one.reason)


def _stop_on_signals(watching: Any) -> None:
    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        watching.stop()

    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):  # Windows has the last, others do not
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop)
