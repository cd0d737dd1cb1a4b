"""What a lake holds, as the crash harness compares it, and whether all ways to read it agree."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

#: A hash of each file that a lake holds and remembers, by path.
State = dict[str, str]

_SHEETS = {"animals", "insertion_locations"}
_OPENED = re.compile(r"\.maplake/snapshots/[^/]+/lake(/|$)")


def state_of(root: Path) -> State:
    """Return a hash of everything that a lake holds and remembers, by path; times left out."""
    found = {}
    for top in ("tables", "arrays", ".maplake/state", ".maplake/manifest", ".maplake/compact"):
        for path in (root / top).rglob("*"):
            if path.is_file():
                found[path.relative_to(root).as_posix()] = _hash(path)
    for path in (root / ".maplake" / "snapshots").rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.name.startswith((".lake.duckdb.", ".views.sql.")):  # cleared away minutes later
            continue
        is_opened = _OPENED.match(name) and path.suffix in (".json", ".parquet")
        found[name] = _hash(path) if is_opened else "snapshot"
    for name in ("tables.json", "sessions.json", "conditions.json", "format.json"):
        path = root / ".maplake" / name
        if path.exists():
            found[f".maplake/{name}"] = _hash(path)
    return found


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.parent.name == "state":
        sources = json.loads(content)["sources"]
        for source in sources:
            del source["time"]
            if source["kind"] in _SHEETS:  # a note of what it was compared with, no data
                del source["fingerprint"]
        content = json.dumps(sources).encode()
    return hashlib.sha256(content).hexdigest()


def data_of(state: State) -> State:
    """Return what commits change; the registry of numbers and the version have their own writes.

    So has an opened snapshot, a view of what is kept: whoever opens it next finishes it.
    """
    own = (".maplake/sessions.json", ".maplake/format.json")
    return {p: digest for p, digest in state.items() if p not in own and not _OPENED.match(p)}


def views_agree(root: Path) -> None:
    """Compare SQL over lake.duckdb, polars and a plain glob: the same rows in every table."""
    import duckdb
    import pyarrow.parquet as pq

    from maplake.query.views import raw_name
    from maplake.tables import stored

    files: Counter[str] = Counter()
    for path in (root / "tables").rglob("*.parquet"):
        schema, name = path.relative_to(root / "tables").parts[:2]
        files[f"{schema}.{name}"] += pq.read_metadata(path).num_rows
    names = [(table.full_name, raw_name(table)) for table in stored()]
    query = " UNION ALL ".join(f"SELECT '{n}', count(*) FROM {view}" for n, view in names)
    with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as connection:
        rows = connection.sql(query).fetchall()
    wrong = {name: (count, files[name]) for name, count in rows if count != files[name]}
    if wrong:
        raise AssertionError(f"SQL counts other rows than the files have: {wrong}")


def reads_whole(root: Path) -> None:
    """Read every table with polars and compare with SQL, and let maplake check every file."""
    import duckdb
    import polars as pl

    from maplake.query.check import check
    from maplake.query.views import raw_name
    from maplake.tables import stored

    problems = check(root, deep=True)
    if problems:
        raise AssertionError(f"{len(problems)} problems, e.g. {problems[0]}")
    with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as connection:
        for table in stored():
            pattern = root / "tables" / table.schema / table.name / "**" / "*.parquet"
            if not any((root / "tables" / table.schema / table.name).rglob("*.parquet")):
                continue
            names = [c.name for c in table.file_columns]
            columns = ", ".join(f'"{n}"' for n in names)
            mine = pl.scan_parquet(str(pattern), hive_partitioning=False).select(names).collect()
            theirs = connection.sql(f"SELECT {columns} FROM {raw_name(table)}").pl()
            # Lists and labels compare by their text.
            one, two = (sorted(map(repr, f.rows())) for f in (mine, theirs))
            if one != two:
                raise AssertionError(f"polars and SQL differ in {table.full_name}")
