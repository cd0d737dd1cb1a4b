"""The command that opens Python on the lake: shell."""

from __future__ import annotations

import code
from typing import Any

import typer

from .state import state_of

_BANNER = """maplake shell: the lake is open as `lake`
  lake.sql("FROM psth.trial LIMIT 5")       a DuckDB relation; .pl() makes it a polars frame
  lake.table("ephys.unit").collect()        a table in polars
polars is `pl`, numpy is `np`. exit() leaves."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Data out")(shell)


def shell(context: typer.Context) -> None:
    """Open Python with the lake as `lake`; IPython where it is installed."""
    import numpy as np
    import polars as pl

    import maplake

    state = state_of(context)
    names = {"lake": state.lake(), "maplake": maplake, "np": np, "pl": pl}
    banner = "" if state.output.quiet else _BANNER
    if not _ipython(names, banner):
        code.interact(banner=banner, local=names, exitmsg="")


def _ipython(names: dict[str, Any], banner: str) -> bool:
    try:
        from IPython import embed  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return False
    embed(user_ns=names, banner1=banner)
    return True
