"""Commands that write files for other programs: export mat, npz, nwb, parquet, lake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .faults import explained
from .state import JsonOption, State, state_of

if TYPE_CHECKING:
    from maplake.exports.select import Selection

_PANEL = "Data out"

group = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

SubjectOption = Annotated[
    list[str] | None, typer.Option(help="An animal: subject_id or h2o; repeatable.")
]
SessionOption = Annotated[list[int] | None, typer.Option(help="Number of its session; repeatable.")]
InsertionOption = Annotated[
    list[int] | None, typer.Option(help="Number of a probe insertion; repeatable.")
]
WhereOption = Annotated[
    str, typer.Option(help="SQL predicate over the columns of experiment.session, and h2o.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Everything in the lake.")]
OutOption = Annotated[Path, typer.Option(help="Folder to write to.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
MethodOption = Annotated[
    str | None, typer.Option(help="Spike sorter, where an insertion has several.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.add_typer(
        group,
        name="export",
        rich_help_panel=_PANEL,
        help="Write files for other programs: MATLAB, NWB, the activity viewer, Parquet, a lake.",
    )


@group.command()
def mat(
    context: typer.Context,
    subject: SubjectOption = None,
    session: SessionOption = None,
    insertion: InsertionOption = None,
    where: WhereOption = "",
    everything: AllOption = False,
    out: OutOption = Path(),
    clustering_method: MethodOption = None,
    tracking: Annotated[bool, typer.Option(help="Whether to write tracked videos.")] = True,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write a MATLAB file per probe insertion, as the MAP pipeline exported recordings."""
    from maplake.exports.recording import export_recording
    from maplake.exports.select import insertions

    wanted = _selection(subject, session, insertion, where, everything)
    state = state_of(context, json=json)
    lake = state.lake()

    def write(item: Any) -> Path:
        return export_recording(
            lake,
            item,
            out,
            force=force,
            with_tracking=tracking,
            clustering_method=clustering_method,
        )

    _each(state, insertions(lake, wanted), write)


@group.command()
def npz(
    context: typer.Context,
    subject: SubjectOption = None,
    session: SessionOption = None,
    insertion: InsertionOption = None,
    where: WhereOption = "",
    everything: AllOption = False,
    out: OutOption = Path(),
    condition: Annotated[str, typer.Option(help="Trials of the PSTHs.")] = "good_noearlylick_hit",
    clustering_method: MethodOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write a file per probe insertion with histology for the activity viewer."""
    from maplake.exports.select import insertions
    from maplake.exports.viewer import export_viewer

    wanted = _selection(subject, session, insertion, where, everything)
    state = state_of(context, json=json)
    lake = state.lake()

    def write(item: Any) -> Path:
        return export_viewer(
            lake,
            item,
            out,
            force=force,
            condition=condition,
            clustering_method=clustering_method,
        )

    _each(state, insertions(lake, wanted), write)


@group.command()
def nwb(
    context: typer.Context,
    subject: SubjectOption = None,
    session: SessionOption = None,
    where: WhereOption = "",
    everything: AllOption = False,
    out: OutOption = Path(),
    lfp: Annotated[bool, typer.Option(help="Whether to write field potentials.")] = True,
    timezone: Annotated[
        str, typer.Option(help="Zone of the rigs' clocks, e.g. America/New_York; else this one's.")
    ] = "",
    institution: Annotated[str, typer.Option(help="Where it was recorded.")] = "",
    lab: Annotated[str, typer.Option(help="Name of the lab.")] = "",
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write an NWB file per session, named as the DANDI archive names them."""
    from maplake.exports.nwb import export_nwb, require, zone_of
    from maplake.exports.select import sessions

    require()
    from maplake.exports.nwb_frame import Facts

    wanted = _selection(subject, session, None, where, everything)
    facts = Facts(zone_of(timezone), institution, lab)
    state = state_of(context, json=json)
    lake = state.lake()

    def write(item: Any) -> Path:
        return export_nwb(lake, item, out, force=force, with_lfp=lfp, facts=facts)

    _each(state, sessions(lake, wanted), write)


@group.command()
def parquet(
    context: typer.Context,
    sql: Annotated[str, typer.Option(help="Rows of this query.")] = "",
    table: Annotated[
        list[str] | None, typer.Option(help="Rows of this table or view; repeatable.")
    ] = None,
    where: Annotated[str, typer.Option(help="SQL predicate over the tables' columns.")] = "",
    out: Annotated[
        Path, typer.Option(help="A file ending in .parquet, or a folder for a file per table.")
    ] = Path("export.parquet"),
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write a query, or tables or slices of them, as Parquet files."""
    from maplake.exports.rows import export_query, export_tables

    if bool(sql) == bool(table):
        raise typer.BadParameter("give either --sql or --table")
    if sql and where:
        raise typer.BadParameter("--where goes with --table; write it into the query")
    if sql and out.suffix != ".parquet":
        raise typer.BadParameter("a query goes to a file ending in .parquet", param_hint="--out")
    state = state_of(context, json=json)
    lake = state.lake()
    if sql:
        made = {out: export_query(lake, sql, out, force=force)}
    else:
        made = export_tables(lake, table or [], out, where=where, force=force)
    rows = [{"file": str(path), "rows": count} for path, count in made.items()]
    if json:
        state.output.document({"files": rows})
    else:
        state.output.table(rows)


@group.command()
def lake(
    context: typer.Context,
    subject: SubjectOption = None,
    session: SessionOption = None,
    insertion: InsertionOption = None,
    where: WhereOption = "",
    region: Annotated[
        list[str] | None,
        typer.Option(help="Only insertions with a unit in this CCF region; repeatable."),
    ] = None,
    everything: AllOption = False,
    out: Annotated[Path, typer.Option(help="Folder of the new lake.")] = Path("lake-export"),
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Copy some sessions, with all that they refer to, to a smaller lake that works by itself."""
    from maplake.exports.lake import export_lake
    from maplake.exports.lake_keys import choose

    wanted = _selection(subject, session, insertion, where, everything or bool(region))
    state = state_of(context, json=json)
    source = state.lake()
    keys = choose(source, wanted, region or [])
    asked = {**vars(wanted), "regions": region or []}
    with state.output.progress() as progress:
        done = export_lake(source, keys, out, force=force, selection=asked, progress=progress)
    facts = {
        "lake": str(done.root),
        "animals": len(keys.subjects),
        "sessions": len(keys.sessions),
        "insertions": len(keys.insertions),
        "files": done.files,
        "bytes": done.bytes,
    }
    if json:
        state.output.document(facts)
        return
    for name, value in facts.items():
        state.output.line(f"{name:<10} {value if name == 'lake' else format(value, ',')}")


def _selection(
    subject: Sequence[str] | None,
    session: Sequence[int] | None,
    insertion: Sequence[int] | None,
    where: str,
    everything: bool,
) -> Selection:
    from maplake.exports.select import Selection

    if not (subject or session or insertion or where or everything):
        raise typer.BadParameter("say what: --subject, --session, --insertion, --where or --all")
    return Selection(subject or [], session or [], insertion or [], where)


def _each(state: State, items: Sequence[Any], write: Callable[[Any], Path]) -> None:
    """Write a file per item; one that fails stops no other.

    Of several items those that have nothing to write are only told of.
    """
    from maplake.errors import MaplakeError, NotFoundError

    done: list[dict[str, str | None]] = []
    failed: list[MaplakeError] = []
    with state.output.progress() as progress:
        for number, item in enumerate(items):
            if progress:
                progress(str(item), number, len(items))
            try:
                done.append({"what": str(item), "file": str(write(item)), "reason": None})
            except MaplakeError as raised:
                error = explained(state, raised)
                done.append({"what": str(item), "file": None, "reason": str(error)})
                failed.append(error)
    written = [row for row in done if row["file"]]
    serious = [e for e in failed if not (written and isinstance(e, NotFoundError))]
    if state.output.json:
        state.output.document({"files": done})
    else:
        for row in done:
            state.output.line(row["file"] or f"left out: {row['what']}: {row['reason']}")
    if serious:
        raise typer.Exit(serious[0].exit_code)
