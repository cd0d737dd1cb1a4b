"""The command that makes a small lab to play with: demo."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import Output
from .psth import draw
from .state import JsonOption, state_of

_MARK = ".maplake-demo"
_FIGURE = "psth.png"
#: What a demo leaves, and what the next one there may replace.
_OURS = (
    *("behavior", "behavior_mtl", "foraging", "metadata", "ephys", "tracking", "tracking_mtl"),
    *("histology", "ccf", "animals.csv", "insertions.csv", "lake.toml", "lake"),
    *(_FIGURE, _MARK),
)
_COUNTS = {
    "animals": "SELECT count(*) FROM lab.subject",
    "sessions": "SELECT count(*) FROM experiment.session",
    "tasks": "SELECT count(DISTINCT split_part(task, ' 3lp', 1)) FROM experiment.session",
    "trials": "SELECT count(*) FROM experiment.behavior_trial",
    "probe insertions": "SELECT count(*) FROM ephys.probe_insertion",
    "spike sorters": "SELECT count(DISTINCT clustering_method) FROM ephys.clustering_label",
    "units": "SELECT count(*) FROM ephys.unit",
    "spikes": "SELECT count(*) FROM ephys.spike",
    "videos": "SELECT count(*) FROM tracking.tracking",
    "tracked positions": "SELECT count(*) FROM tracking.tracking_position",
    "electrodes in the brain": "SELECT count(*) FROM histology.electrode_ccf_position",
    "units with a cell type": "SELECT count(*) FROM ephys.unit_cell_type",
    "brain regions": "SELECT count(*) FROM ccf.ccf_brain_region",
}
# The good unit whose rates before the go cue differ most, for their noise, between the sides.
_BEST = """
WITH side AS (
    SELECT subject_id, session, insertion_number, clustering_method, unit,
        any_value(list_avg(unit_psth[1:75])) FILTER (trial_condition_name LIKE '%left_hit') AS l,
        any_value(list_avg(unit_psth[1:75])) FILTER (trial_condition_name LIKE '%right_hit') AS r
    FROM psth.unit_psth
    JOIN ephys.unit AS u USING (subject_id, session, insertion_number, clustering_method, unit)
    WHERE u.unit_quality = 'good'
        AND trial_condition_name IN ('good_noearlylick_left_hit', 'good_noearlylick_right_hit')
    GROUP BY ALL
)
SELECT w.water_restriction_number AS h2o, side.*
FROM side LEFT JOIN lab.water_restriction AS w USING (subject_id)
WHERE l IS NOT NULL AND r IS NOT NULL
ORDER BY abs(l - r) / sqrt(l + r + 1) DESC, subject_id, session, insertion_number, unit LIMIT 1
"""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Start")(demo)


def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where to put it.")] = Path("maplake-demo"),
    trials: Annotated[int, typer.Option(min=20, help="Trials per session.")] = 200,
    units: Annotated[int, typer.Option(min=3, help="Units per probe.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives other data.")] = 0,
    json: JsonOption = False,
) -> None:
    """Simulate the raw files of a small lab, take them in, check the lake and show a PSTH.

    Four animals, three tasks, three spike sorters, cameras, histology and a small brain; every file
    in its real format. Leaves a lake.toml to play with.
    """
    state = state_of(context, json=json)
    started = time.perf_counter()
    _prepare(folder)
    file = _simulate(state.output, folder, trials, units, seed)
    lake, problems = _ingest(state.output, file)
    counts = {name: lake.sql(query).pl().item() for name, query in _COUNTS.items()}
    best = next(iter(lake.sql(_BEST).pl().to_dicts()), None)
    figure = _draw(lake, best, folder / _FIGURE)
    seconds = time.perf_counter() - started
    facts = {**counts, "problems": problems, "best unit": best, "config": file, "figure": figure}
    if json:
        state.output.document({**facts, "config": str(file), "figure": figure and str(figure)})
    else:
        _tell(state.output, facts, seconds)
    if problems:
        raise typer.Exit(7)


def _prepare(folder: Path) -> None:
    """Make room: a folder is used if it is new, empty or holds nothing but an earlier demo."""
    from maplake.errors import MaplakeError
    from maplake.query.outside import check_outside

    check_outside(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
        if there and (_MARK not in there or there - set(_OURS)):
            raise MaplakeError(
                "the folder holds other things than a demo", file=folder, hint="Name another one."
            )
        for name in there - {_MARK}:  # the mark stays, should this be interrupted
            _remove(folder / name)
        (folder / _MARK).write_text("Made by `maplake demo`.\n", encoding="utf-8")
    except OSError as error:
        raise MaplakeError(f"cannot be written ({error.strerror})", file=folder) from None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _simulate(output: Output, folder: Path, trials: int, units: int, seed: int) -> Path:
    from maplake.simulate import whole_lab

    output.note(f"simulating the raw files of a lab in {folder}")
    return whole_lab(folder, trials=trials, units=units, seed=seed).config


def _ingest(output: Output, file: Path) -> tuple[Any, int]:
    import maplake
    from maplake.compute.run import run as compute
    from maplake.config import load
    from maplake.errors import SourceError
    from maplake.ingest import pipeline
    from maplake.query.check import check

    output.note("taking them in: maplake ingest")
    config = load(file)
    with output.progress() as progress:
        report = pipeline.run(config, progress=progress)
        made = compute(config, built_in=True, progress=progress)
    for done in made.done:
        if done.status == "failed":
            raise SourceError(f"{done.table} cannot be computed: {done.reason}")
    for source in report.sources:
        if source.status == "failed":
            raise SourceError(f"{source.kind} {source.name} failed: {source.reason}")
    output.note("checking the lake: maplake check --deep")
    problems: Sequence[object] = list(check(config.lake.root, deep=True))
    return maplake.open(config.lake.root), len(problems)


def _draw(lake: Any, best: dict[str, Any] | None, file: Path) -> Path | None:
    if best is None:
        return None
    draw(lake, (best["subject_id"], best["session"], best["insertion_number"], best["unit"]), file)
    return file


def _tell(output: Output, facts: dict[str, Any], seconds: float) -> None:
    say: Callable[[str], None] = output.line
    say("")
    for name in (*_COUNTS, "problems"):
        say(f"{facts[name]:>10,} {name}")
    best, file = facts["best unit"], facts["config"]
    option = ""
    if best is not None:
        option = f"{best['h2o']} {best['session']} --insertion {best['insertion_number']}"
        option += f" --unit {best['unit']}"
        say("")
        say(
            f"most selective unit: {best['unit']} of {best['h2o']} session {best['session']} "
            f"insertion {best['insertion_number']}: {best['l']:.1f} Hz before the go cue in left "
            f"hits, {best['r']:.1f} Hz in right hits"
        )
    say("")
    say(f"settings  {file}")
    say(f"lake      {file.parent / 'lake'}")
    if facts["figure"]:
        say(f"figure    {facts['figure']}")
    say("")
    say("try next:")
    say(f"  maplake --config {file} status")
    say(f'  maplake --config {file} sql "FROM ephys.unit LIMIT 5"')
    say(f"  maplake --config {file} psth {option} --png unit.png")
    output.note(f"{seconds:.0f} s")
