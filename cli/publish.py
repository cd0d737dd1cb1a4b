"""The commands of publish: manifest, transfer, verify, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .output import write_csv
from .state import JsonOption, State, state_of

_PANEL = "Out"
_PROBLEMS = 7

Subject = Annotated[str | None, typer.Option(help="subject_id or h2o; else all animals.")]
Session = Annotated[int | None, typer.Option(help="Number of the session; else all.")]
Destination = Annotated[str, typer.Argument(help="A name of [publish.destinations] in lake.toml.")]
NoHash = Annotated[bool, typer.Option("--no-hash", help="Do not read the files; sizes have to do.")]
Out = Annotated[Path | None, typer.Option(help="Write here instead of to the screen.")]

app = typer.Typer(help="Copy raw files elsewhere and prove that the copies are whole.")


def register(parent: typer.Typer) -> None:
    """Add the commands to the app."""
    parent.add_typer(app, name="publish", rich_help_panel=_PANEL, no_args_is_help=True)


def _sessions(state: State, subject: str | None, session: int | None) -> Any:
    from maplake.publication import sessions_of

    return sessions_of(state.config, subject, session)


@app.command()
def manifest(
    context: typer.Context,
    subject: Subject = None,
    session: Session = None,
    no_hash: NoHash = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print every file.")] = False,
    json: JsonOption = False,
) -> None:
    """List the raw files of sessions with type, size and SHA-256, in publication.raw_file.

    Only files that are new or were changed are read.
    """
    from maplake.publication import make_manifest

    state = state_of(context, json=json)
    sessions = _sessions(state, subject, session)
    with state.output.progress() as progress:
        rows = make_manifest(state.config, sessions, hashes=not no_hash, progress=progress)
    if json:
        state.output.document({"files": rows.to_dicts()})
    elif csv:
        write_csv(rows.columns, [rows.to_dicts()])
    else:
        state.output.table(_summary(rows))
        size = float(rows["bytes"].sum()) / 1e9
        state.output.line(f"{len(rows)} files of {len(sessions)} sessions, {size:.2f} GB")


def _summary(rows: Any) -> list[dict[str, Any]]:
    import polars as pl

    found: list[dict[str, Any]] = (
        rows.group_by(pl.col("file_type").cast(pl.String))
        .agg(pl.len().alias("files"), pl.col("bytes").sum(), pl.col("sha256").count())
        .sort("file_type")
        .rename({"sha256": "hashed"})
        .to_dicts()
    )
    return found


@app.command()
def transfer(
    context: typer.Context,
    destination: Destination,
    subject: Subject = None,
    session: Session = None,
    out: Out = None,
) -> None:
    """Write the list of files that are not yet at a destination, for `globus transfer --batch`."""
    from maplake.publication import batch, read_manifest

    state = state_of(context)
    sessions = _sessions(state, subject, session)
    text = batch(state.config, read_manifest(state.config, sessions), sessions, destination)
    if out is None:
        typer.echo(text, nl=False)
        return
    from maplake.exports.place import ready

    with ready(out):
        out.write_text(text, encoding="utf-8", newline="\n")
    state.output.line(f"{text.count(chr(10)) - 1} files to transfer: {out}")


@app.command()
def verify(
    context: typer.Context,
    destination: Destination,
    copy: Annotated[Path, typer.Argument(help="The copy's folder, or a file that lists it.")],
    subject: Subject = None,
    session: Session = None,
    no_hash: NoHash = False,
    json: JsonOption = False,
) -> None:
    """Hold a copy against the manifest; what is right is remembered in publication.published_file.

    A listing is the output of sha256sum, a CSV file with file_path and bytes or sha256, or that
    of `globus ls --recursive --long --format json`.
    """
    from maplake.publication import read_manifest
    from maplake.publication import verify as compare

    state = state_of(context, json=json)
    sessions = _sessions(state, subject, session)
    rows = read_manifest(state.config, sessions)
    with state.output.progress() as progress:
        result = compare(
            state.config,
            rows,
            sessions,
            destination,
            copy,
            hashes=not no_hash,
            progress=progress,
        )
    if json:
        state.output.document(
            {
                "right": result.right,
                "by_size": result.by_size,
                "problems": [{"file_path": p, "problem": why} for p, why in result.problems],
            }
        )
    else:
        for path, why in result.problems:
            state.output.fault(f"{path} {why}")
        sizes = f" ({result.by_size} of them by size alone)" if result.by_size else ""
        state.output.line(f"{result.right} files are right{sizes}, {len(result.problems)} are not")
    if result.problems:
        raise typer.Exit(_PROBLEMS)


@app.command("list")
def list_published(context: typer.Context, json: JsonOption = False) -> None:
    """Show what is where: per session and destination, files that were verified and when."""
    state = state_of(context, json=json)
    rows = state.lake().sql(_WHERE).pl().to_dicts()
    if json:
        state.output.document({"sessions": rows})
    elif rows:
        state.output.table(rows)
    else:
        state.output.line("nothing has been verified at any destination")


_WHERE = """
SELECT w.water_restriction_number AS animal, p.session, p.destination, count(*) AS files,
    (SELECT count(*) FROM publication.raw_file AS r
     WHERE r.subject_id = p.subject_id AND r.session = p.session) AS of_files,
    round(sum(p.bytes) / 1e9, 3) AS gigabytes, max(p.verified_time) AS verified
FROM publication.published_file AS p LEFT JOIN lab.water_restriction AS w USING (subject_id)
GROUP BY ALL ORDER BY ALL
"""
