"""Tables of the whole lab, cut to what a smaller lake needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maplake.errors import IntegrityError
from maplake.exports.lake_keys import Keys
from maplake.exports.select import ask
from maplake.layout import Layout, table_file
from maplake.query.known import tables_of
from maplake.query.sqltext import full_identifier, identifier
from maplake.query.views import raw_name
from maplake.tables import Store, Table
from maplake.tables.model import INSERTION_KEY
from maplake.writers.commit import Stage

if TYPE_CHECKING:
    from maplake.query.lake import Lake

__all__ = ["write"]

#: Cut to the rows that are referred to: who and what is of no concern to others. In this order,
#: as viruses refer to people. All other tables without animals stay whole.
_REFERRED = ("lab.virus", "lab.rig", "lab.probe", "lab.person")


def write(stage: Stage, source: Layout, keys: Keys, lake: Lake) -> None:
    """Stage the global tables of a smaller lake."""
    known = tables_of(source.root)
    cut: dict[str, pa.Table] = {}
    for name, table in known.items():
        path = source.root / table_file(table, {}) if table.store is Store.GLOBAL else None
        if path is not None and path.exists():
            cut[name] = _of_animals(_read(path), keys)
    for name in _REFERRED:
        if name in cut:
            cut[name] = _referred(lake, known, cut, name, keys)
    for name, data in cut.items():
        stage.table(known[name], {}, data)


def _read(path: Path) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(f"a table cannot be read: {error}", file=path) from error


def _of_animals(data: pa.Table, keys: Keys) -> pa.Table:
    numbers = {field.name for field in data.schema if pa.types.is_integer(field.type)}
    names = [name for name in INSERTION_KEY if name in numbers]
    if "subject_id" not in names:
        return data
    rows = data.select(names).to_pylist()
    return data.filter(pa.array([keys.holds(row) for row in rows], pa.bool_()))


def _referred(
    lake: Lake, known: Mapping[str, Table], cut: Mapping[str, pa.Table], name: str, keys: Keys
) -> pa.Table:
    """Return the rows of a table that rows of the smaller lake refer to."""
    (column,) = known[name].key
    wanted: set[object] = set()
    for table in known.values():
        for ref in table.refs:
            if ref.table != name or not table.store.on_disk:
                continue
            (mine,) = ref.columns
            if table.full_name in cut:
                wanted |= set(cut[table.full_name][mine].to_pylist())
            elif table.store is not Store.GLOBAL:
                wanted |= set(_values(lake, table, mine, keys))
    values = cut[name][column]
    plain = values.cast(pa.string()) if pa.types.is_dictionary(values.type) else values
    kept = pa.array(sorted(str(v) for v in wanted if v is not None), pa.string())
    return cut[name].filter(pc.is_in(plain.cast(pa.string()), kept))


def _values(lake: Lake, table: Table, column: str, keys: Keys) -> Iterable[object]:
    """Return the values of a column in the kept partitions."""
    names = [*(n for n in INSERTION_KEY if n in table.partition), column]
    columns = ", ".join(identifier(name) for name in names)
    rows = ask(lake, f"SELECT DISTINCT {columns} FROM {full_identifier(raw_name(table))}")
    return [row[column] for row in rows.to_dicts() if keys.holds(row)]
