"""What is made from a lake goes elsewhere: in its folder it would be read as a part of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from maplake.errors import QueryError
from maplake.layout import lake_around

if TYPE_CHECKING:
    import duckdb

__all__ = ["check_outside", "check_targets"]


def check_outside(path: Path) -> None:
    """Refuse a place in a lake's folder, of this lake or of another one.

    Raises
    ------
    QueryError
        With the lake's folder.
    """
    root = lake_around(path)
    if root is not None:
        raise QueryError(
            "is in a lake's folder, where maplake alone writes",
            file=path,
            hint=f"Name a place outside of {root}.",
        )


def check_targets(con: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse SQL that writes files into a lake's folder.

    DuckDB can be told where it may write, but not where it may not. So only names of files that
    stand in the statement as text are seen, not those that it computes.

    Raises
    ------
    QueryError
        With the file.
    """
    import duckdb

    writing = (duckdb.StatementType.COPY, duckdb.StatementType.EXPORT)
    for one in con.extract_statements(query):
        if one.type in writing:
            for target in _targets(one.query):
                check_outside(Path(target))


def _targets(statement: str) -> Iterator[str]:
    """Yield the texts of a statement that stand where a file to write is named."""
    import duckdb

    text = statement.encode()  # places of tokens are counted in bytes
    tokens = duckdb.tokenize(statement)
    ends = [*(start for start, _ in tokens[1:]), len(text)]
    before = ""
    for (start, kind), end in zip(tokens, ends, strict=True):
        word = text[start:end].decode().strip()
        if kind == duckdb.token_type.comment:
            continue
        if kind == duckdb.token_type.string_const and before in ("TO", "DATABASE"):
            yield word[1:-1].replace("''", "'")
        before = word.upper()
