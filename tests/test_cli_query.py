"""`maplake sql`, `tables`, `psth`, `shell` and `erd`: what is in a lake, on the command line."""

from __future__ import annotations

import csv
import io
import json
from types import SimpleNamespace

import duckdb
import pytest
from clirun import home, run

import maplake

__all__ = ["home"]  # fixture


@pytest.fixture
def lake(monkeypatch):
    """A lake that answers any SQL, with one animal."""
    connection = duckdb.connect()
    connection.execute(
        "CREATE SCHEMA lab; CREATE TABLE lab.water_restriction AS "
        "SELECT 432998 AS subject_id, 'dl25' AS water_restriction_number; "
        "CREATE TABLE t AS SELECT range AS t FROM range(3)"
    )
    asked = []

    def psth(*args, **kwargs):
        asked.append((args, kwargs))
        query = "SELECT 7 AS unit, t AS time, t * 2::DOUBLE AS rate, 5 AS trial_count FROM t"
        result = SimpleNamespace(to_polars=lambda: connection.sql(query).pl())
        return dict.fromkeys(kwargs["condition"], result)

    lake = SimpleNamespace(sql=connection.sql, psth=psth, asked=asked)
    monkeypatch.setattr(maplake, "open", lambda root: lake, raising=False)
    yield lake
    connection.close()


QUERY = "SELECT 1 AS a, [1.5, 'nan'::DOUBLE] AS b, DATE '2018-02-25' AS c, NULL AS d, 'µ,\"' AS e"


def test_sql_table(lake):
    done = run("sql", QUERY)
    assert done.exit_code == 0, done.output
    head, row = done.stdout.splitlines()
    assert head.split() == ["a", "b", "c", "d", "e"]
    assert row.split()[0] == "1"
    assert "2018-02-25" in row


def test_sql_shows_the_first_rows_and_says_so(lake):
    done = run("sql", "FROM range(10)", "--rows", "3")
    assert len(done.stdout.splitlines()) == 4
    assert "only the first 3 rows" in done.stderr


def test_sql_csv(lake):
    rows = list(csv.reader(io.StringIO(run("sql", QUERY, "--csv").stdout)))
    assert rows == [["a", "b", "c", "d", "e"], ["1", "[1.5, null]", "2018-02-25", "", 'µ,"']]
    many = run("sql", "FROM range(25_000)", "--csv").stdout.splitlines()
    assert len(many) == 25_001


def test_sql_json(lake):
    (row,) = json.loads(run("sql", QUERY, "--json").stdout)
    assert row == {"a": 1, "b": [1.5, None], "c": "2018-02-25", "d": None, "e": 'µ,"'}
    assert json.loads(run("sql", "FROM range(0)", "--json").stdout) == []


def test_sql_parquet(lake, home):
    done = run("sql", QUERY, "--parquet", "out's.parquet")
    assert done.exit_code == 0, done.output
    assert duckdb.read_parquet(str(home / "out's.parquet")).fetchall()[0][0] == 1
    assert run("sql", QUERY, "--parquet", "lake.toml/x.parquet").exit_code == 1


def test_sql_from_standard_input(lake):
    assert run("sql", "-", "--csv", input="SELECT 42 AS answer").stdout == "answer\n42\n"


def test_sql_faults_are_ours(lake):
    for query in ("SELEC 1", "FROM nowhere", "SELECT 'x'::INT AS a FROM range(3)"):
        done = run("sql", query)
        assert done.exit_code == 1, query
        assert "Error" in done.stderr


def test_columns_of_one_name_keep_their_values(lake):
    query = "FROM (VALUES (1, 2)) a(x, y), (VALUES (3, 4)) b(x, y) -- both\n;"
    assert run("sql", query, "--csv").stdout == "x,y,x_1,y_1\n1,2,3,4\n"
    assert json.loads(run("sql", query, "--json").stdout) == [{"x": 1, "y": 2, "x_1": 3, "y_1": 4}]
    assert [line.split() for line in run("sql", query).stdout.splitlines()] == [
        ["x", "y", "x_1", "y_1"],
        ["1", "2", "3", "4"],
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1 AS a; SELECT 2 AS b", "only one query's rows"),
        ("", "nothing to ask"),
        (" -- nothing\n;", "nothing to ask"),
        ("SELECT '\udce9'", "not UTF-8"),
    ],
)
def test_what_cannot_be_shown_is_refused(lake, query, said):
    done = run("sql", query)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


def test_what_a_query_needs_may_stand_before_it(lake):
    made = "CREATE TEMP TABLE here AS SELECT 7 AS n; FROM here"
    assert run("sql", made, "--csv").stdout == "n\n7\n"


def test_an_interrupted_query_is_no_fault_of_maplake(lake, monkeypatch):
    def interrupted(*_args, **_options):
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(maplake, "open", interrupted)
    assert run("sql", "SELECT 1").exit_code == 130


def test_tables_of_one_table():
    done = run("tables", "ephys.good_period")
    assert "good_period_start" in done.stdout
    assert "VARCHAR" in run("tables", "ephys.unit").stdout
    facts = json.loads(run("tables", "ephys.good_period", "--json").stdout)
    assert {"column": "session", "type": "int32"}.items() <= facts["columns"][1].items()
    assert facts["columns"][3]["unit"] == "s"
    assert facts["refs"][0]["table"] == "ephys.probe_insertion"


@pytest.mark.parametrize("subject", ["432998", "dl25", "DL25"])
def test_psth_of_an_animal_by_either_name(lake, subject):
    done = run("psth", subject, "3", "--unit", "7", "--bin", "0.1", "--condition", "c1")
    assert done.exit_code == 0, done.output
    args, options = lake.asked[0]
    assert args == (432998, 3)
    assert (options["unit"], options["bin"], options["condition"]) == (7, 0.1, ["c1"])
    head, row = done.stdout.splitlines()
    assert "peak (Hz)" in head
    assert row.split() == ["7", "c1", "5", "2", "4", "2"]


def test_psth_as_data(lake):
    options = ("--condition", "c1", "--condition", "c2")
    rows = json.loads(run("psth", "dl25", "3", *options, "--json").stdout)
    assert [row["trial_condition_name"] for row in rows] == ["c1", "c2"]
    assert rows[0]["rate"] == [0, 2, 4]
    assert len(run("psth", "dl25", "3", *options, "--csv").stdout.splitlines()) == 7


def test_psth_of_nobody(lake):
    done = run("psth", "x'; DROP", "1")
    assert done.exit_code == 1
    assert "Known are dl25 (432998)" in done.stderr


def test_psth_has_the_options_of_the_library(lake):
    options = ("--event", "lick", "--occurrence", "after go", "--all-units")
    assert run("psth", "dl25", "3", *options).exit_code == 0
    wanted = {"event": "lick", "occurrence": "after go", "all_units": True}
    assert wanted.items() <= lake.asked[0][1].items()


def test_psth_figure_needs_one_unit(lake):
    assert run("psth", "dl25", "3", "--png", "a.png").exit_code == 2


@pytest.mark.parametrize("option", ["--condition=c1", "--bin=0.1", "--event=delay", "--csv"])
def test_psth_figure_ignores_no_option(lake, option):
    done = run("psth", "dl25", "3", "--insertion=1", "--unit=7", "--png=a.png", option)
    assert done.exit_code == 2
    assert not lake.asked


def test_shell(lake):
    done = run("shell", input="print(lake.sql('SELECT 6 * 7').pl().row(0))\n")
    assert done.exit_code == 0
    assert "(42,)" in done.stdout


def test_erd():
    pytest.importorskip("maplake.query.erd")
    assert run("erd").stdout.startswith("erDiagram")
