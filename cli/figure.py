"""The command that draws a figure into a file: figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .psth import find_subject, save
from .state import JsonOption, state_of

_NEEDED = {
    "project": (),
    "session": ("subject", "session"),
    "probe": ("subject", "session", "insertion"),
    "unit": ("subject", "session", "insertion", "unit"),
}


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Data out")(figure)


def figure(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Which figure; without it, a list of them.")] = "",
    subject: Annotated[str | None, typer.Option(help="The animal: subject_id or h2o.")] = None,
    session: Annotated[int | None, typer.Option(help="Number of its session.")] = None,
    insertion: Annotated[int | None, typer.Option(help="Probe insertion.")] = None,
    unit: Annotated[int | None, typer.Option(help="Unit.")] = None,
    clustering: Annotated[
        str | None, typer.Option(help="Clustering, if there are several.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write: png, svg, pdf; default NAME.png here.")
    ] = None,
    dpi: Annotated[int, typer.Option(help="Dots per inch of a png.", min=20, max=1200)] = 150,
    json: JsonOption = False,
) -> None:
    """Draw a figure of a session, a probe, a unit or the whole lake."""
    state = state_of(context, json=json)
    if not name:
        _show_list(state.output)
        return
    from maplake.plots import FIGURES

    chosen = FIGURES[name]
    given = {"subject": subject, "session": session, "insertion": insertion, "unit": unit}
    _check(chosen, given)
    lake = state.lake()
    from maplake.plots import Key
    from maplake.plots.lookup import check_key

    subject_id = None if subject is None else find_subject(lake, subject)
    key = Key(subject_id, session, insertion, unit, clustering)
    check_key(lake, key)
    file = out or Path(f"{name}.png")
    state.output.note(f"wrote {save(chosen.draw(lake, key), file, dpi)}")


def _show_list(output: Any) -> None:
    from maplake.plots import FIGURES

    rows = [
        {"name": one.name, "of": one.level, "shows": one.title, "tasks": ", ".join(one.tasks)}
        for one in FIGURES.values()
    ]
    if output.json:
        output.document(rows)
    else:
        output.table(rows, ["name", "of", "shows", "tasks"])


def _check(chosen: Any, given: dict[str, Any]) -> None:
    missing = [f"--{option}" for option in _NEEDED[chosen.level] if given[option] is None]
    if missing:
        raise typer.BadParameter(f"a figure of a {chosen.level} needs {' '.join(missing)}")
