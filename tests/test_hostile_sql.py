"""Folders, conditions, sources and tables with names that would be SQL: they stay names."""

from __future__ import annotations

import json

import duckdb
import pytest
from lakefiles import small_lake
from test_hostile import WORDS

import maplake
from maplake.errors import ConfigError, IntegrityError, MaplakeError, NotFoundError, QueryError
from maplake.ingest.state import SourceState, state_json
from maplake.query import catalog, sqltext
from maplake.query.check import check
from maplake.query.conditions import check_conditions
from maplake.query.connection import connect
from maplake.query.views import lookup, scan
from maplake.tables import get
from maplake.writers import files

QUOTES = ["x'; DROP SCHEMA ephys CASCADE; --", '"; DROP VIEW ephys.unit; --', "/* x", "$$", "a;\nb"]


@pytest.fixture(scope="module")
def quoted(tmp_path_factory):
    """A lake in a folder, with conditions and alignments, that have quotes in their names."""
    root = tmp_path_factory.mktemp("quoted") / "it's; --"
    root.mkdir()
    conditions = dict.fromkeys(QUOTES, "outcome = 'hit' -- it's")
    small_lake(root, conditions=conditions)
    align = {f"{word}!": ("go", 0, 0.0, -1.0, 1.0) for word in QUOTES}
    catalog.build(root, conditions=conditions, align_types=align)
    return root


def test_literals_and_names_come_back_as_they_are():
    for word in [*WORDS, *QUOTES, "'", "''", "\\'", '"']:
        name = sqltext.identifier(word)
        found = duckdb.sql(f"SELECT {sqltext.literal(word)} AS {name}")
        assert found.columns == [word]
        assert found.fetchall() == [(word,)]
        found = duckdb.sql(f"SELECT {sqltext.literal([word, None, word])}")
        assert found.fetchall() == [([word, None, word],)]


def test_conditions_and_alignments_are_names_not_sql(quoted):
    with maplake.open(quoted) as lake:
        for word in QUOTES:
            assert lake.psth(101, 1, condition=word).trial_count.max() > 0
            assert lake.psth(101, 1, event=f"{word}!", start=-1, stop=1).trial_count.max() > 0
            with pytest.raises(QueryError):
                lake.psth(101, 1, condition=f"{word} ?")
            with pytest.raises(QueryError):
                lake.psth(101, 1, event=f"{word} ?")
            with pytest.raises(MaplakeError):
                lake.raster(101, 1, 1, 10, clustering_method=word)
            with pytest.raises(NotFoundError):
                lake.table(word)
            with pytest.raises(NotFoundError):
                lake.spikes(101, 1, 1, clustering_method=word)
        assert lake.table("ephys.unit").collect().height


def test_zero_bytes_end_no_text(tmp_path):
    small_lake(tmp_path, conditions={"a\0b": "outcome = 'hit'"})
    with maplake.open(tmp_path) as lake:
        assert lake.psth(101, 1, condition="a\0b").trial_count.max() > 0
        with pytest.raises(QueryError):
            lake.psth(101, 1, condition="a")
    with pytest.raises(ConfigError):
        check_conditions({"mine": "true \0 AND (other"})


def test_the_script_does_the_same_in_memory(quoted):
    con = duckdb.connect()
    con.execute((quoted / "views.sql").read_text(encoding="utf-8"))
    assert con.sql("SELECT count(*) FROM ephys.unit").fetchall()[0][0] > 0
    found = {row[0] for row in con.sql("FROM psth.trial_condition").fetchall()}
    assert set(QUOTES) <= found


def test_check_and_the_catalog_in_a_folder_with_quotes(quoted):
    check(quoted, deep=True)
    with connect(quoted) as con:
        assert con.sql("SELECT root FROM ingest.catalog").fetchall()[0][0] == str(quoted.resolve())
        assert con.sql(f"SELECT count(*) FROM {scan(quoted, get('ephys.unit'))}").fetchall()[0][0]


def test_lookup_rows_are_quoted():
    table = get("psth.trial_condition")
    con = duckdb.connect()
    con.execute("CREATE SCHEMA psth")
    con.execute(lookup(table, [(word, word, None, None) for word in QUOTES]))
    found = [row[:2] for row in con.sql("FROM psth.trial_condition").fetchall()]
    assert {(word, word) for word in QUOTES} <= set(found)


def test_values_in_the_lake_are_never_sql(tmp_path):
    small_lake(tmp_path)
    states = [SourceState("ephys", word, "failed", f"{word} is {word}") for word in WORDS]
    files.write_json(tmp_path / ".maplake" / "state" / "lake.json", state_json(states))
    catalog.build(tmp_path)
    with maplake.open(tmp_path) as lake:
        found = lake.sql("SELECT name FROM ingest.source").fetchall()
    assert set(WORDS) <= {name for (name,) in found}


@pytest.mark.parametrize("name", ["../../x", 'a"b', "x'; --", "A", ""])
def test_a_lakes_own_tables_cannot_be_named_so(tmp_path, name):
    small_lake(tmp_path)
    own = tmp_path / ".maplake" / "tables.json"
    own.parent.mkdir(exist_ok=True)
    column = {"name": "x", "type": "int", "comment": "", "unit": "", "nullable": False,
              "values": []}  # fmt: skip
    table = {"schema": "mylab", "name": name, "comment": "", "store": "GLOBAL", "key": ["x"],
             "order": [], "unique": [], "refs": [], "columns": [column]}  # fmt: skip
    own.write_text(f'{{"tables": [{json.dumps(table)}]}}', encoding="utf-8")
    with pytest.raises(IntegrityError), maplake.open(tmp_path) as lake:
        lake.table("ephys.unit").collect()
