"""Computing tables from tables: what is computed, when again, and what a fault does."""

from __future__ import annotations

import json
import textwrap

import polars as pl
import pytest
from computelabs import copy_lab
from labs import content, ingest, sql
from ownlab import MINE, OWN, RETURNED, cli, config, edit, lab

import maplake
from maplake.compute import run as module
from maplake.compute import tally
from maplake.compute.model import Computation
from maplake.compute.plan import Sources
from maplake.compute.registry import built_in, known_tables
from maplake.compute.run import run
from maplake.compute.settled import is_settled
from maplake.compute.stale import remove, standing
from maplake.config import load
from maplake.errors import ConfigError, IntegrityError, NotFoundError, SchemaError
from maplake.ingest.animals import load_animals
from maplake.ingest.delete import Target, delete, undelete
from maplake.ingest.state import read_state
from maplake.layout import Layout
from maplake.query.check import check
from maplake.tables import get

__all__ = ["config", "lab"]  # fixtures


def test_everything_once_then_nothing(config):
    first = run(config)
    assert not first.failed
    assert {d.status for d in first.done} == {"in"}
    again = run(config)
    assert again.done == []
    assert again.current == len(first.done)
    assert check(config.lake.root, deep=True) == []
    assert {s.status for s in standing(config)} == {"in"}


def test_what_another_process_commits_meanwhile_is_not_taken_for_computed(lab, config, monkeypatch):
    root = config.lake.root
    plain, others = module.publish, []

    def beside(*args):
        if not others:
            others.append(delete(config, Target(lab.sessions[0].subject_id, 1)))
            undelete(config, Target(lab.sessions[0].subject_id, 1))
            ingest(lab)
        return plain(*args)

    monkeypatch.setattr(module, "publish", beside)
    run(config)
    assert others
    assert not is_settled(root)
    assert cli(config, "ingest").exit_code == 0
    assert {s.status for s in standing(config) if s.table in built_in()} == {"in"}
    assert is_settled(root)


def test_a_dry_run_says_what_the_same_words_would_compute(config):
    def would(*words):
        done = cli(config, "compute", *words, "--dry-run", "--json")
        assert done.exit_code == 0, done.output
        return [
            (r["table"], r["subject_id"], r["session"])
            for r in json.loads(done.stdout)["to_compute"]
        ]

    with maplake.open(config.lake.root) as lake:
        animals = lake.table("lab.water_restriction").collect()
    number, h2o = animals.select("subject_id", "water_restriction_number").row(0)
    words = ("mylab.doubled", "--subject", h2o.lower(), "--session", "1")
    assert set(would(*words)) == {("mylab.doubled", number, 1)}
    assert cli(config, "compute", *words).exit_code == 0
    assert would(*words) == []
    assert set(would(*words, "--again")) == {("mylab.doubled", number, 1)}
    assert cli(config, "compute", "--subject", "nobody", "--dry-run").exit_code == 1
    assert cli(config, "compute", "mylab.dubbled", "--dry-run").exit_code == 1


def test_counts_are_kept_while_nothing_changes(config, monkeypatch):
    def counted():
        by_table = {row["table"]: row for row in tally.counts(config)}
        return by_table["mylab.doubled"]

    monkeypatch.setattr(tally, "SETTLED_NS", 0)
    run(config)
    before = counted()
    kept = Layout(config.lake.root).meta / "cache" / "computed_counts.json"
    with monkeypatch.context() as quick:
        quick.setattr(tally, "_counted", lambda config: pytest.fail("was counted anew"))
        assert counted() == before
    content = kept.read_bytes()
    for damaged in (b"", b"{}", content[:-20], b"0" * 64 + content[64:]):
        kept.write_bytes(damaged)
        assert counted() == before
        assert kept.read_bytes() == content
    edit(config, 'Column("doubled", INT, "twice the spikes")', 'Column("twice", REAL, "twice")')
    assert counted() == {"table": "mylab.doubled", "stale": before["in"]}
    name = next((Layout(config.lake.root).meta / "state").glob("*_*.json"))
    name.write_bytes(b"{}")
    with pytest.raises(IntegrityError):
        counted()


def test_rows_are_those_of_the_function_and_seen_everywhere(config):
    run(config, MINE)
    root = config.lake.root
    found = sql(root, "FROM mylab.doubled").sort("session", "insertion_number", "unit")
    units = sql(root, "FROM ephys.unit").sort("session", "insertion_number", "unit")
    assert found["doubled"].to_list() == (units["spike_count"] * 2).to_list()
    totals = sql(root, "FROM mylab.per_session ORDER BY session")["total"].to_list()
    by_session = units.group_by("session").agg(pl.col("spike_count").sum() * 2).sort("session")
    assert totals == by_session["spike_count"].to_list()
    assert sql(root, "FROM mylab.whole")["sessions"].to_list() == [2]
    with maplake.open(root) as lake:
        assert lake.table("mylab.doubled").collect().height == units.height
        rows = dict(lake.tables().select("table", "rows").iter_rows())
        assert rows["mylab.doubled"] == units.height
        comment = "SELECT comment FROM duckdb_columns() WHERE table_name = 'doubled' AND {}"
        assert lake.sql(comment.format("column_name = 'doubled'")).fetchall() == [
            ("twice the spikes",)
        ]
    sources = sql(root, "FROM ingest.source WHERE kind = 'computed'")
    assert set(sources["status"]) == {"in"}
    assert len(sources) == 4 + 2 + 1


def test_workers_and_order_do_not_matter(ingested_lab, tmp_path):
    found = []
    for place, workers in (("a", 1), ("b", 2)):
        lab = copy_lab(ingested_lab, tmp_path / place)
        (lab.directory / "lake_tables.py").write_text(OWN, encoding="utf-8")
        assert not run(load(lab.config), MINE, workers=workers).failed
        found.append(content(load(lab.config).lake.root))
    assert found[0] == found[1]


def test_a_key_that_kills_its_worker_is_one_error(config):
    edit(
        config,
        "    units = lake.table",
        "    if key == {'subject_id': 400001, 'session': 2, 'insertion_number': 1}:\n"
        "        __import__('os')._exit(9)\n    units = lake.table",
    )
    report = run(config, ["mylab.doubled"], workers=2)
    failed = [d for d in report.done if d.status == "failed"]
    assert [(d.session, d.insertion_number) for d in failed] == [(2, 1)]
    assert "killed" in failed[0].reason
    assert len(report.done) == 4
    assert len(sql(config.lake.root, "FROM mylab.doubled")) == 12


def test_progress_counts_partitions(config):
    seen = []
    run(config, ["mylab.doubled"], progress=lambda *step: seen.append(step))
    assert seen == [("mylab.doubled", 2, 4), ("mylab.doubled", 4, 4)]


def test_only_what_depends_on_a_change_is_computed_again(config):
    run(config, MINE)
    edit(config, "FACTOR = 1", "FACTOR = 2")
    stale = [s for s in standing(config) if s.status == "stale"]
    assert {s.table for s in stale} == {"mylab.doubled"}
    again = run(config, MINE)
    assert {d.table for d in again.done} == {"mylab.doubled", "mylab.per_session", "mylab.whole"}
    assert not any(s.status == "stale" for s in standing(config))
    total = sql(
        config.lake.root,
        "SELECT sum(doubled) / sum(spike_count) AS x FROM mylab.doubled "
        "JOIN ephys.unit USING (subject_id, session, insertion_number, unit)",
    )
    assert total["x"][0] == 4


def test_a_changed_source_takes_what_was_computed_from_it_along(lab, config):
    run(config)
    lines = lab.insertions_file.read_text(encoding="utf-8").splitlines()
    sheet = lab.directory / lab.insertions_file.name
    sheet.write_text("\n".join([lines[0], _moved(lines), *lines[2:], ""]), encoding="utf-8")
    ingest(lab)
    waiting = {s.table: s for s in standing(config) if s.status != "in"}
    assert waiting["psth.period_selectivity"].status == "waiting"
    assert len(sql(config.lake.root, "FROM psth.period_selectivity WHERE session = 1")) == 9
    again = run(config)
    assert {d.table for d in again.done} >= {"psth.period_selectivity"}
    assert not any(d.table == "ephys.unit_cell_type" for d in again.done)
    assert check(config.lake.root) == []


OF_THE_ANIMAL = """
from maplake.compute import INT, TEXT, Column, table

@table(
    "mylab.sex", "sex of the animal", by="session",
    columns=(Column("sex", TEXT, "sex"),),
    inputs=("experiment.session", "lab.subject"),
)
def sex(lake, key):
    return lake.table("lab.subject").filter(subject_id=key["subject_id"]).select("sex")
"""


def test_a_table_of_the_whole_lab_that_changes(lab):
    """Animals are no part of a session, whose rows stay: they are told to be stale, and redone."""
    (lab.directory / "lake_tables.py").write_text(OF_THE_ANIMAL, encoding="utf-8")
    config = load(lab.config)
    run(config)
    before = sql(config.lake.root, "FROM mylab.sex")["sex"].to_list()
    other = "M" if before[0] == "F" else "F"
    sheet = lab.directory / "corrected.csv"
    text = lab.animals_file.read_text(encoding="utf-8")
    sheet.write_text(text.replace(f",{before[0]},", f",{other},"), encoding="utf-8")
    load_animals(config, sheet)
    with maplake.open(config.lake.root) as lake:  # nobody is told the old rows are current
        assert set(lake.table("mylab.sex").collect()["sex"]) == {before[0]}
    stale = [s for s in standing(config) if s.status == "stale"]
    assert {s.table for s in stale} == {"mylab.sex"}
    assert len(stale) == 2
    assert stale_partitions(config) == ["mylab.sex"] * 2
    assert "mylab.sex" in cli(config, "status").stdout
    again = run(config)
    assert [(d.table, d.status) for d in again.done] == [("mylab.sex", "in")] * 2
    assert sql(config.lake.root, "FROM mylab.sex")["sex"].to_list() == [other] * 2
    assert stale_partitions(config) == []


def stale_partitions(config):
    done = cli(config, "check", "--json")
    found = json.loads(done.stdout)["problems"]
    assert done.exit_code == (7 if found else 0)
    return [problem["table"] for problem in found if problem["kind"] == "stale"]


def _moved(lines):
    names = lines[0].split(",")
    values = lines[1].split(",")
    place = next(i for i, n in enumerate(names) if n.strip().lower().startswith("ml"))
    values[place] = str(-float(values[place]))
    return ",".join(values)


def test_a_failing_key_stops_nothing_else(config):
    edit(
        config,
        "    units = lake.table",
        "    if key['session'] == 2 and key['insertion_number'] == 1:\n"
        "        raise ValueError('no such luck')\n    units = lake.table",
    )
    report = run(config, MINE)
    assert report.failed == 1
    failed = next(d for d in report.done if d.status == "failed")
    assert (failed.table, failed.session, failed.insertion_number) == ("mylab.doubled", 2, 1)
    assert "ValueError: no such luck" in failed.reason
    assert "lake_tables.py, line" in failed.reason
    assert len(sql(config.lake.root, "FROM mylab.doubled")) == 12
    edit(config, "raise ValueError('no such luck')", "pass")
    assert not run(config, MINE).failed
    assert len(sql(config.lake.root, "FROM mylab.doubled")) == 16


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[{'unit': 1}]", "wrong columns"),
        ("units.select('clustering_method', 'unit', doubled=pl.lit('x'))", "wrong types"),
        (
            "units.select('clustering_method', pl.lit(1).alias('unit'), doubled=pl.lit(1))",
            "not unique",
        ),
        (
            "units.select('clustering_method', 'unit', doubled=pl.lit(None, pl.Int32))",
            "have no doubled",
        ),
        (
            "units.select('clustering_method', 'unit', doubled=pl.lit(1), session=pl.lit(9))",
            "another session",
        ),
        ("7", "returned no rows"),
    ],
)
def test_rows_that_do_not_fit(config, returned, message):
    edit(
        config,
        RETURNED,
        f"return {returned}",
    )
    report = run(config, ["mylab.doubled"])
    assert report.failed == 4
    assert message in report.done[0].reason


def test_other_declaration_other_rows(config):
    run(config, MINE)
    edit(config, 'Column("doubled", INT, "twice the spikes")', 'Column("twice", REAL, "twice")')
    edit(config, 'doubled=pl.col("spike_count")', 'twice=pl.col("spike_count")')
    edit(config, "sum(doubled)", "sum(twice)")
    assert not run(config, MINE).failed
    assert sql(config.lake.root, "FROM mylab.doubled")["twice"].dtype == pl.Float64
    assert check(config.lake.root) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mylab.doubled", "ephys.doubled", "is taken"),
        ("mylab.doubled", "mylab.Doubled", "cannot be a name"),
        ('inputs=("ephys.unit",)', 'inputs=("ephys.nothing",)', "first input"),
        ('inputs=("ephys.unit",)', 'inputs=("ephys.unit_stat",)', "first input"),
        ('inputs=("ephys.unit",)', 'inputs=("ephys.unit", "mylab.per_session")', "each other"),
        ('key=("clustering_method", "unit")', 'key=("nothing",)', "not declared"),
        ("FACTOR = 1", "FACTOR = 1 / 0", "ZeroDivisionError"),
    ],
)
def test_wrong_declarations(config, old, new, message):
    edit(config, old, new)
    with pytest.raises((ConfigError, SchemaError), match=message):
        run(config, ["mylab.whole"] if "Doubled" not in new else ())


def test_an_ingest_computes_what_is_made_from_it(lab):
    config = load(lab.config)
    assert "computed" not in cli(config, "ingest", "--no-compute").stdout
    assert "computed" not in cli(config, "ingest", "behavior").stdout
    assert {s.status for s in standing(config)} == {"waiting"}
    first = cli(config, "ingest")
    assert first.exit_code == 0, first.output
    assert "computed 5 tables by partition: 20 in" in first.stdout
    assert {s.status for s in standing(config)} == {"in"}
    done = content(config.lake.root)
    again = cli(config, "ingest")
    assert "nothing to do" in again.stdout
    assert "computed" not in again.stdout
    assert json.loads(cli(config, "ingest", "--json").stdout).get("computed") is None
    assert content(config.lake.root) == done
    remove(config, "ephys.unit_cell_type")
    found = json.loads(cli(config, "ingest", "--json").stdout)
    assert {row["table"] for row in found["computed"]["computed"]} == {"ephys.unit_cell_type"}
    assert content(config.lake.root) == done
    assert check(config.lake.root, deep=True) == []


def test_an_ingest_says_what_could_not_be_computed(lab, monkeypatch):
    config = load(lab.config)
    monkeypatch.setattr("maplake.compute.units.drift_metric", lambda *_: 1 / 0)
    (lab.directory / "lake_tables.py").write_text("1 / 0", encoding="utf-8")  # is left alone
    done = cli(config, "ingest")
    assert done.exit_code == 4
    assert "ZeroDivisionError" in done.stdout
    assert "4 failed, 16 in" in done.stdout


def test_a_function_without_a_source_file_has_a_hash_of_its_own():
    def of(make):
        make.__code__ = make.__code__.replace(co_filename="<nowhere>")
        return Computation((get("ephys.unit_cell_type"),), ("ephys.unit",), make).code_hash()

    hashes = [of(lambda lake, key: key), of(lambda lake, key: key), of(lambda lake, key: lake)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_unknown_table(config):
    with pytest.raises(NotFoundError, match="no computed table"):
        run(config, ["ephys.unit"])


def test_named_modules(lab):
    folder = lab.directory / "analysis"
    folder.mkdir()
    (folder / "mine.py").write_text(
        textwrap.dedent(
            """
            from pathlib import Path
            from maplake.compute import INT, Column, sql_table

            units = sql_table(
                "mylab.units", "units", columns=(Column("units", INT, "count"),),
                inputs=("ephys.unit",), sql=Path("units.sql"),
            )
            """
        ),
        encoding="utf-8",
    )
    (folder / "units.sql").write_text(
        "SELECT count(*) AS units FROM ephys.unit WHERE subject_id = $subject_id "
        "AND session = $session AND insertion_number = $insertion_number",
        encoding="utf-8",
    )
    with lab.config.open("a", encoding="utf-8") as file:
        file.write('\n[tables]\nmodules = ["analysis/mine.py"]\n')
    config = load(lab.config)
    assert not run(config, ["mylab.units"]).failed
    assert sql(config.lake.root, "FROM mylab.units")["units"].to_list() == [4] * 4
    (folder / "units.sql").write_text("SELECT 7 AS units", encoding="utf-8")
    run(config, ["mylab.units"])
    assert sql(config.lake.root, "FROM mylab.units")["units"].to_list() == [7] * 4


def test_views_are_followed_to_the_tables_below(config):
    edit(config, 'inputs=("ephys.unit",)', 'inputs=("ephys.unit", "ephys.unit_stat")')
    run(config, ["mylab.doubled"])
    state = read_state(Layout(config.lake.root), "400001_1")[("computed", "mylab.doubled 1")]
    tables = {"/".join(path.split("/")[1:3]) for path in state.files}
    assert tables >= {
        "ephys/unit",
        "ephys/spike",
        "ephys/cluster_metric",
        "experiment/session_trial",
    }


@pytest.mark.parametrize(
    ("computation", "views", "tables"),
    [
        (
            "tracking.jaw_tuning",
            {"ephys.trial_zero"},
            {"ephys.ephys_trial", "ephys.ephys_trial_event", "experiment.trial_event"},
        ),
        (
            "psth.period_selectivity",
            {"psth.trial", "psth.period_window", "psth.last_event"},
            {"experiment.behavior_trial", "experiment.photostim_event", "experiment.trial_event"},
        ),
    ],
)
def test_built_in_tables_follow_from_the_views_that_they_read(config, computation, views, tables):
    with maplake.open(config.lake.root) as lake:
        sources = Sources(lake, known_tables(config.lake.root, built_in()))
        stored, text = sources.of(built_in()[computation])
    assert tables <= {table.full_name for table in stored}
    assert all(f"CREATE VIEW {name} AS" in text for name in views)


def test_rows_stay_current_where_the_catalog_is_made_in_memory(config):
    edit(config, 'inputs=("ephys.unit",)', 'inputs=("ephys.unit", "ephys.unit_stat")')
    run(config)
    Layout(config.lake.root).catalog.unlink()  # as in a folder that was moved
    assert {found.status for found in standing(config)} == {"in"}


def test_damaged_list_of_tables(config):
    run(config, MINE)
    file = Layout(config.lake.root).own_tables
    data = json.loads(file.read_bytes())
    data["tables"][0]["schema"] = "../../x"
    file.write_text(json.dumps(data), encoding="utf-8")
    with (
        pytest.raises(maplake.errors.IntegrityError, match="tables"),
        maplake.open(config.lake.root) as lake,
    ):
        lake.tables()
