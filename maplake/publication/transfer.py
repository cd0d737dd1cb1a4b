"""Transfer lists in the batch form of the Globus command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import polars as pl

from maplake.config import Config
from maplake.config.settings import Endpoint
from maplake.errors import ConfigError, NotFoundError
from maplake.publication.manifest import PublishedSession, rows_of

PUBLISHED = "publication.published_file"


def destination_of(config: Config, name: str) -> Endpoint:
    """Return a destination of ``[publish.destinations]``.

    Raises
    ------
    NotFoundError
        If there is none of this name.
    """
    places = config.publish.destinations
    if name not in places:
        raise NotFoundError(
            f"there is no destination {name!r} in lake.toml",
            expected=", ".join(sorted(places)) or "a table [publish.destinations]",
        )
    return places[name]


def batch(
    config: Config, manifest: pl.DataFrame, sessions: Iterable[PublishedSession], destination: str
) -> str:
    """Return a transfer list of the files that are not yet at a destination.

    The list is for ``globus transfer --batch``: a line per file with its path on the source's and
    on the destination's endpoint; the first line, a comment, is the command.

    Parameters
    ----------
    config
        Names the lake, the source and the destinations.
    manifest
        Rows of ``publication.raw_file``.
    sessions
        The sessions that they are of.
    destination
        Name of a destination.

    Raises
    ------
    NotFoundError
        If there is no such destination.
    ConfigError
        If lake.toml names no source, or a raw file is not below the folder that it shows.
    """
    target, source = destination_of(config, destination), config.publish.source
    if source is None:
        raise ConfigError(
            "a transfer list needs to know the endpoint that raw files are on",
            file=config.file,
            expected="[publish] source = { endpoint = …, path = …, local = … }",
        )
    there = published(config, sessions, destination)
    todo = manifest.join(
        there, on=["subject_id", "session", "file_path", "bytes"], how="anti", maintain_order="left"
    )
    lines = [
        f"# globus transfer {source.endpoint} {target.endpoint} --batch FILE --label maplake",
    ]
    for path, name in todo.select("source_path", "file_path").iter_rows():
        there_path = PurePosixPath(target.path, name)
        lines.append(shlex.join([_on_endpoint(source, path, config), str(there_path)]))
    return "\n".join(lines) + "\n"


def published(
    config: Config, sessions: Iterable[PublishedSession], destination: str
) -> pl.DataFrame:
    """Return the rows of ``publication.published_file`` of sessions at one destination."""
    frames = [rows_of(config, PUBLISHED, session) for session in sessions]
    found = [frame for frame in frames if frame is not None]
    if not found:
        schema = {"subject_id": pl.Int32, "session": pl.Int32}
        return pl.DataFrame(schema=schema | {"file_path": pl.String, "bytes": pl.Int64})
    return pl.concat(found).filter(pl.col("destination").cast(pl.String) == destination)


def _on_endpoint(source: Endpoint, path: str, config: Config) -> str:
    top = source.local or Path(Path(path).anchor)
    try:
        below = Path(path).relative_to(top)
    except ValueError:
        raise ConfigError(
            "a raw file is not below the folder that the source endpoint shows",
            file=config.file,
            place="key publish.source.local",
            found=path,
            expected=f"a file below {top}",
        ) from None
    return str(PurePosixPath(source.path, *below.parts))
