"""The command that shows peri-stimulus time histograms: psth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .output import Output, write_csv
from .state import JsonOption, state_of

_DEFAULT = "good_noearlylick_hit"
_WINDOW: dict[str, Any] = {
    "bin": 0.04,
    "start": -3.0,
    "stop": 3.0,
    "event": "go",
    "occurrence": "last",
    "all_units": False,
}
#: Columns that the command line already says.
_GIVEN = ("subject_id", "session")
_KEY = (
    *("subject_id", "session", "insertion_number", "clustering_method", "unit"),
    "trial_condition_name",
)

#: How many trials a session has, and what a condition asks of them.
_TRIALS = """
SELECT count(*), (
    SELECT max(predicate) FROM psth.trial_condition WHERE lower(trial_condition_name) = lower($1)
)
FROM psth.trial WHERE subject_id = $2 AND session = $3
"""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Data out")(psth)


def psth(
    context: typer.Context,
    subject: Annotated[str, typer.Argument(help="The animal: subject_id or h2o.")],
    session: Annotated[int, typer.Argument(help="Number of its session.")],
    insertion: Annotated[int | None, typer.Option(help="Only this probe insertion.")] = None,
    unit: Annotated[int | None, typer.Option(help="Only this unit.")] = None,
    condition: Annotated[
        list[str] | None, typer.Option(help=f"Trials, repeatable; default {_DEFAULT}.")
    ] = None,
    bin_width: Annotated[float, typer.Option("--bin", help="Width of the bins, s.")] = _WINDOW[
        "bin"
    ],
    start: Annotated[float, typer.Option(help="Start of the window, s.")] = _WINDOW["start"],
    stop: Annotated[float, typer.Option(help="End of the window, s.")] = _WINDOW["stop"],
    event: Annotated[str, typer.Option(help="Trial event or align type at time 0.")] = _WINDOW[
        "event"
    ],
    occurrence: Annotated[
        str, typer.Option(help="Which of several events in a trial: last, first, after go.")
    ] = _WINDOW["occurrence"],
    all_units: Annotated[
        bool, typer.Option("--all-units", help="Units of quality 'all' (unlabelled), too.")
    ] = _WINDOW["all_units"],
    png: Annotated[Path | None, typer.Option(help="Draw raster and PSTH of one unit.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a row per bin.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the PSTHs of a session's units: trials and rates by unit and condition."""
    if csv and json:
        raise typer.BadParameter("choose one of --csv and --json")
    state = state_of(context, json=json)
    lake = state.lake()
    subject_id = find_subject(lake, subject)
    window = {
        "bin": bin_width,
        "start": start,
        "stop": stop,
        "event": event,
        "occurrence": occurrence,
        "all_units": all_units,
    }
    if png is not None:
        if insertion is None or unit is None:
            raise typer.BadParameter("a figure shows one unit: give --insertion and --unit")
        if condition or csv or window != _WINDOW:
            raise typer.BadParameter(
                "the figure has conditions and a window of its own: it takes no others"
            )
        file = draw(lake, (subject_id, session, insertion, unit), png)
        state.output.note(f"wrote {file}")
        return
    rows = _rows(lake, (subject_id, session, insertion, unit), condition or [_DEFAULT], window)
    if csv:
        write_csv(rows.columns, [rows.to_dicts()])
    else:
        _show(state.output, rows)
    _tell_of_none(state.output, lake, rows, event)


def find_subject(lake: Any, name: str) -> int:
    """Return the subject_id of an animal from that or its h2o.

    Raises
    ------
    NotFoundError
        If there is no such animal; the message names those there are.
    """
    from maplake.errors import NotFoundError
    from maplake.query.sqltext import literal

    query = "SELECT subject_id, water_restriction_number AS h2o FROM lab.water_restriction"
    wanted = literal(name.lower())
    same = f"lower(h2o) = {wanted} OR subject_id::VARCHAR = {wanted}"
    found = lake.sql(f"SELECT * FROM ({query}) WHERE {same} ORDER BY lower(h2o) <> {wanted}")
    for row in found.pl().to_dicts():
        return int(row["subject_id"])
    known = [f"{r['h2o']} ({r['subject_id']})" for r in lake.sql(query).pl().to_dicts()[:10]]
    hint = f"Known are {', '.join(sorted(known))}." if known else "The lake has no animals yet."
    raise NotFoundError(f"there is no animal {name!r}", hint=hint)


def draw(lake: Any, key: tuple[int, int, int, int], file: Path) -> Path:
    """Write a figure of one unit: raster and PSTH, contra and ipsi or as fits the task.

    Returns
    -------
    The file that was written.

    Raises
    ------
    NotFoundError
        If there is no such unit.
    QueryError
        If the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from maplake.plots import FIGURES, Key
    from maplake.plots.lookup import check_key
    from maplake.plots.psth import raster_and_psth

    check_key(lake, Key(*key))
    of_task = (f for f in FIGURES.values() if f.level == "unit" and f.tasks)
    fitting = next((one for one in of_task if one.fits(lake, Key(*key))), None)
    if fitting is not None and fitting.name != "unit-psth":
        return save(fitting.draw(lake, Key(*key)), file)
    from matplotlib import pyplot as plt

    figure = raster_and_psth(lake, *key)[0].figure
    try:
        return save(figure, file)
    finally:
        plt.close(figure)


def save(made: Any, file: Path, dpi: int = 150) -> Path:
    """Write a matplotlib figure; without a suffix, as a png.

    Returns
    -------
    The file that was written.

    Raises
    ------
    QueryError
        If it cannot be written, or the suffix is no format.
    """
    from maplake.errors import QueryError
    from maplake.exports.place import ready

    if not file.suffix and not file.is_dir():
        file = file.with_name(f"{file.name}.png")
    with ready(file):
        try:
            made.savefig(file, dpi=dpi)
        except ValueError as error:  # a suffix that is no format
            raise QueryError(f"the figure cannot be written: {error}", file=file) from None
    return file


def _rows(
    lake: Any,
    key: tuple[int, int, int | None, int | None],
    conditions: list[str],
    window: dict[str, Any],
) -> Any:
    import polars as pl

    subject_id, session, insertion, unit = key
    found = lake.psth(
        subject_id, session, insertion_number=insertion, unit=unit, condition=conditions, **window
    )
    frames = [
        result.to_polars().with_columns(trial_condition_name=pl.lit(name))
        for name, result in found.items()
    ]
    return pl.concat(frames)


def _show(output: Output, rows: Any) -> None:
    import polars as pl

    keys = [name for name in _KEY if name in rows.columns]
    grouped = rows.sort([*keys, "time"]).group_by([*keys, "trial_count"], maintain_order=True)
    if output.json:
        output.document(grouped.agg("time", "rate").to_dicts())
        return
    peak = pl.col("rate").arg_max()
    summary = grouped.agg(
        pl.col("rate").mean().alias("mean (Hz)"),
        pl.col("rate").max().alias("peak (Hz)"),
        # Times are sums of bins: what is not 0 for the last digits of a float is meant to be.
        (pl.col("time").get(peak).round(9) + 0.0).alias("peak at (s)"),
    )
    output.table(summary.to_dicts(), [n for n in summary.columns if n not in _GIVEN])


def _tell_of_none(output: Output, lake: Any, rows: Any, event: str) -> None:
    """Say which conditions have no trial: their zeros and empty rates say nothing of units."""
    empty = rows.filter(rows["trial_count"] == 0)
    if not len(empty):
        return
    names = ["subject_id", "session", "insertion_number", "trial_condition_name"]
    for subject_id, session, insertion, name in empty.select(names).unique().sort(names).rows():
        trials, predicate = lake.sql(_TRIALS, [name, subject_id, session]).fetchall()[0]
        output.note(
            f"insertion {insertion}: no trial of {name} ({predicate}) with the event {event}; "
            f"the session has {trials} trials"
        )
