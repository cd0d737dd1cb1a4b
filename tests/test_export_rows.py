"""Parquet exports: the rows that a query gives, with units, whole or not at all."""

from __future__ import annotations

import duckdb
import pyarrow.parquet as pq
import pytest
from lakefiles import small_lake

import maplake
from maplake.errors import NotFoundError, QueryError
from maplake.exports.rows import export_query, export_tables


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    root = tmp_path_factory.mktemp("rows") / "lake"
    small_lake(root)
    with maplake.open(root) as lake:
        yield lake


def rows(query):
    return duckdb.sql(query).fetchall()


def test_a_query(lake, tmp_path):
    query = "SELECT subject_id, count(*) AS n FROM ephys.spike GROUP BY ALL ORDER BY ALL"
    file = tmp_path / "made" / "counts.parquet"
    assert export_query(lake, query, file) == 2
    assert rows(f"FROM '{file}'") == lake.sql(query).fetchall()
    assert [path.name for path in file.parent.iterdir()] == ["counts.parquet"]


def test_a_slice_of_a_table_has_its_keys_and_units(lake, tmp_path):
    file = tmp_path / "spikes.parquet"
    made = export_tables(lake, ["ephys.spike"], file, where="subject_id = 102 AND unit = 10")
    found = rows(f"FROM '{file}' ORDER BY ALL")
    query = "FROM ephys.spike WHERE subject_id = 102 AND unit = 10 ORDER BY ALL"
    assert found == lake.sql(query).fetchall()
    assert made == {file: len(found)}
    schema = pq.read_schema(file)
    assert schema.field("spike_time").metadata[b"unit"] == b"s"
    assert schema.metadata[b"table"] == b"ephys.spike"


def test_several_tables_and_views_go_to_a_folder(lake, tmp_path):
    names = ["ephys.unit", "ephys.unit_stat", "psth.unit_psth"]
    made = export_tables(lake, names, tmp_path / "out", where="session = 2")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        f"{name}.parquet" for name in names
    )
    for file, count in made.items():
        assert count == pq.read_metadata(file).num_rows > 0


def test_no_rows_is_a_file_without_rows(lake, tmp_path):
    assert export_query(lake, "FROM ephys.unit WHERE false", tmp_path / "none.parquet") == 0
    assert pq.read_metadata(tmp_path / "none.parquet").num_rows == 0


def test_nothing_is_overwritten_unasked(lake, tmp_path):
    file = tmp_path / "x.parquet"
    export_query(lake, "SELECT 1 AS a", file)
    with pytest.raises(QueryError, match="--force"):
        export_query(lake, "SELECT 2 AS a", file)
    assert rows(f"FROM '{file}'") == [(1,)]
    export_query(lake, "SELECT 2 AS a", file, force=True)
    assert rows(f"FROM '{file}'") == [(2,)]
    with pytest.raises(QueryError, match="--force"):
        export_tables(lake, ["ephys.unit"], file)


@pytest.mark.parametrize("query", ["SELEC 1", "FROM nothing", "SELECT error('late')"])
def test_a_query_that_fails_leaves_nothing(lake, tmp_path, query):
    with pytest.raises(QueryError):
        export_query(lake, query, tmp_path / "x.parquet")
    assert not list(tmp_path.iterdir())


def test_one_table_that_fails_leaves_none(lake, tmp_path):
    with pytest.raises(QueryError):
        export_tables(lake, ["ephys.unit", "lab.rig"], tmp_path / "out", where="unit > 0")
    assert not list((tmp_path / "out").iterdir())


def test_what_cannot_be_asked_for(lake, tmp_path):
    with pytest.raises(NotFoundError, match="no table"):
        export_tables(lake, ["ephys.unti"], tmp_path / "out")
    with pytest.raises(QueryError, match="one file holds one table"):
        export_tables(lake, ["ephys.unit", "lab.rig"], tmp_path / "x.parquet")
    with pytest.raises(QueryError, match="--where"):
        export_tables(lake, ["ephys.unit"], tmp_path / "out", where="1=1); SELECT (1")
