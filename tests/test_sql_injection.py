"""Every place where a name or a value meets SQL: a hostile one is refused, or stands for itself."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pytest
from lakefiles import small_lake

import maplake
from maplake.errors import MaplakeError, QueryError, SchemaError
from maplake.exports import lake_keys, rows, select
from maplake.layout import table_file
from maplake.plots import lookup, psth
from maplake.query import aligned, catalog, conditions, sqltext
from maplake.tables import get, own

SUBJECT = 101
PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
#: Each ends a name in another way and then does what would be seen: a file beside the lake, a view
#: or table gone, or more rows than asked for.
COPY = "COPY (SELECT 1) TO 'pwned.csv'"
WORDS = [
    f"x'; {COPY}; --",
    f'x"; {COPY}; --',
    f'"."x"; {COPY}; --',
    f"x'); {COPY}; --",
    f'x") AS y; {COPY}; --',
    f"x\n; {COPY}; --",
    f"*/ {COPY}; /*",
    f"$$; {COPY}; $$",
    f"x'\0; {COPY}; --",
    "' OR true --",
    "') OR ('' = '",
    "x' UNION SELECT 'y",
    "\\' OR true --",
    "%s %(x)s {0} {x} ? $1 :x",
    "'; DROP SCHEMA ephys CASCADE; --",
    "'" * 999,
    "x" * 20_000,
    "\u202e'--;\u2066 \U0001f40d",
    "n\u0303 ' \u00f1 \ufeff\u200b",
    "",
]
NAMES = [f"{n} {word[:24]!r}" for n, word in enumerate(WORDS)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("injection") / "lake"
    folder.mkdir()
    small_lake(folder)
    return folder


@pytest.fixture(scope="module")
def lake(root):
    with maplake.open(root) as opened:
        yield opened


@pytest.fixture
def unharmed(root, tmp_path, monkeypatch):
    """Whatever a test does: no file appears, none changes, no view goes."""
    monkeypatch.chdir(tmp_path)  # where COPY would write to
    before = _content(root)
    yield
    assert [*tmp_path.rglob("pwned*")] == []
    assert _content(root) == before
    with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as con:
        assert con.sql("SELECT count(*) FROM ephys.unit").fetchall()[0][0] > 0


def _content(root: Path) -> dict[str, str]:
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(root.parent.rglob("*")) if p.is_file()}  # fmt: skip


def _command(name: str):
    return __import__(f"{PACKAGE}.{name}", fromlist=[name])


# ------------------------------------------------------------- names that nothing in the lake has

_KEY = (SUBJECT, 1)
_UNIT = (SUBJECT, 1, 1, 10)

#: Place: what is asked with the word in it. Each must be refused; nothing is called so.
REFUSED = {
    "psth, condition": lambda lake, w: lake.psth(*_KEY, condition=w),
    "psth, conditions": lambda lake, w: lake.psth(*_KEY, condition=[w, w + "!"]),
    "psth, event": lambda lake, w: lake.psth(*_KEY, event=w),
    "psth, clustering": lambda lake, w: lake.psth(*_KEY, clustering_method=w),
    "raster, condition": lambda lake, w: lake.raster(*_UNIT, condition=w),
    "raster, event": lambda lake, w: lake.raster(*_UNIT, event=w),
    "raster, clustering": lambda lake, w: lake.raster(*_UNIT, clustering_method=w),
    "counts, condition": lambda lake, w: lake.trial_counts(*_KEY, condition=w),
    "counts, event": lambda lake, w: lake.trial_counts(*_KEY, event=w),
    "counts, clustering": lambda lake, w: lake.trial_counts(*_KEY, clustering_method=w),
    "selectivity, periods": lambda lake, w: lake.selectivity(*_KEY, periods=[w]),
    "coding direction, condition": lambda lake, w: lake.coding_direction(*_KEY, 1, condition=w),
    "coding direction, clustering": lambda lake, w: lake.coding_direction(
        *_KEY, 1, clustering_method=w
    ),
    "photostim effect, stimulated": lambda lake, w: lake.photostim_effect(*_KEY, stimulated=w),
    "photostim effect, control": lambda lake, w: lake.photostim_effect(*_KEY, control=w),
    "event times, event": lambda lake, w: lake.event_times(*_KEY, w),
    "event times, condition": lambda lake, w: lake.event_times(*_KEY, "go", w),
    "event times, occurrence": lambda lake, w: lake.event_times(*_KEY, "go", occurrence=w),
    "tuning, feature": lambda lake, w: lake.tuning(*_UNIT, feature=w),
    "tuning, coordinate": lambda lake, w: lake.tuning(*_UNIT, coordinate=w),
    "tuning, device": lambda lake, w: lake.tuning(*_UNIT, tracking_device=w),
    "pynapple, clustering": lambda lake, w: lake.to_pynapple(*_KEY, 1, clustering_method=w),
    "neo, clustering": lambda lake, w: lake.to_neo(*_KEY, 1, clustering_method=w),
    "table": lambda lake, w: lake.table(w),
    "table, schema": lambda lake, w: lake.table(f"{w}.unit"),
    "table, name": lambda lake, w: lake.table(f"ephys.{w}"),
    "spikes, clustering": lambda lake, w: lake.spikes(*_KEY, 1, clustering_method=w),
    "condition, removed": lambda lake, w: lake.conditions.remove(w),
    "condition, predicate": lambda lake, w: conditions.check_conditions({"mine": f"{w} \0"}),
    "export, animal": lambda lake, w: select.sessions(
        lake, select.Selection(subjects=[w or "no one"])
    ),
    "export, region": lambda lake, w: lake_keys.choose(lake, select.Selection(), [w]),
    "export, table": lambda lake, w: rows.export_tables(lake, [w], Path("out")),
    "figure, clustering": lambda lake, w: lookup.check_key(lake, lookup.Key(*_UNIT, w or "?")),
    "psth, occurrence": lambda lake, w: lake.psth(*_KEY, occurrence=w),
    "raster, occurrence": lambda lake, w: lake.raster(*_UNIT, occurrence=w),
    "counts, occurrence": lambda lake, w: lake.trial_counts(*_KEY, occurrence=w),
    "selectivity, clustering": lambda lake, w: lake.selectivity(*_KEY, clustering_method=w),
    "command line, animal": lambda lake, w: _command("psth").find_subject(lake, w),
}  # fmt: skip


#: Words that end each kind of quotes.
FEW = [*WORDS[:3], WORDS[8], "' OR true --", "x' UNION SELECT 'y", "%s {0} $1 ?", "'" * 99]


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("place", REFUSED)
def test_names_that_nothing_has_are_refused(place, lake):
    for word in FEW:
        with pytest.raises(MaplakeError):
            REFUSED[place](lake, word)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("word", WORDS, ids=NAMES)
def test_predicates_of_exports_are_predicates(word, lake):
    """What is more than a predicate is refused; the rest selects sessions or none."""
    for text in (word, f"true; {word}", f"true) {word}", f"h2o = {sqltext.literal(word)}"):
        with suppress(MaplakeError):
            assert select.sessions(lake, select.Selection(where=text))
        with suppress(MaplakeError):
            rows.export_tables(lake, ["lab.subject"], Path("out.parquet"), where=text, force=True)
    with pytest.raises(QueryError):
        select.predicate(lake, f"true; {COPY}")


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("word", WORDS, ids=NAMES)
def test_parameters_are_values(word, lake):
    assert lake.sql("SELECT ? AS word", [word]).fetchall() == [(word,)]
    found = lake.sql("FROM ephys.unit WHERE unit_quality = $word", {"word": word}).pl()
    assert not len(found)
    assert not len(psth._condition_trials(lake, (*_KEY, 1), word))


# ----------------------------------------------------------- names that are what they say, quoted


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("word", WORDS, ids=NAMES)
def test_pieces_of_sql_stand_for_themselves(word):
    con = duckdb.connect()
    assert con.sql(f"SELECT {sqltext.literal(word)}").fetchall() == [(word,)]
    assert con.sql(f"SELECT {sqltext.literal([word, word])}").fetchall() == [([word, word],)]
    name = word.replace("\0", "") or "x"  # DuckDB's own names end at a zero byte
    assert con.sql(f"SELECT 1 AS {sqltext.identifier(name)}").columns == [name]
    con.execute("CREATE TABLE canary AS SELECT 'x' AS place")
    for where in (aligned.where({"place": word}), select.place({"place": word}, "canary")):
        assert con.sql(f"FROM canary WHERE {where}").fetchall() == []
    odd = select.place({name: 1}, "t")
    found = con.sql(
        f"SELECT count(*) FROM (SELECT 1 AS {sqltext.identifier(name)}) AS t WHERE {odd}"
    )
    assert found.fetchall() == [(1,)]


@pytest.fixture(scope="module")
def worded(tmp_path_factory):
    """A lake whose own conditions, moments and tables are called or told in hostile words."""
    folder = tmp_path_factory.mktemp("worded") / "it's $$; --"
    folder.mkdir()
    names = [word for word in WORDS if word]
    known = dict.fromkeys(names, "outcome = 'hit'")
    small_lake(folder, conditions=known)
    tables = [_declared("mylab", f"t{n}", "x", word) for n, word in enumerate(WORDS)]
    declared = folder / ".maplake" / "tables.json"
    declared.write_text(json.dumps({"tables": tables}), encoding="utf-8")
    moments = {f"{word}!": ("go", 0, 0.0, -1.0, 1.0) for word in names}
    catalog.build(folder, conditions=known, align_types=moments)
    yield folder
    assert [*folder.parent.rglob("pwned*")] == []


def _declared(schema, name, column, word):
    return {"schema": schema, "name": name, "comment": word, "store": "GLOBAL", "key": [column],
            "order": [], "unique": [], "refs": [],
            "columns": [{"name": column, "type": "int", "comment": word, "unit": word,
                         "nullable": False, "values": []}]}  # fmt: skip


def test_the_catalog_takes_conditions_and_moments_by_their_names(worded, tmp_path, monkeypatch):
    """CREATE VIEW and CREATE MACRO of a catalog, and what asks them."""
    monkeypatch.chdir(tmp_path)
    with maplake.open(worded) as lake:
        for word in filter(None, WORDS):
            assert lake.psth(*_KEY, condition=word).trial_count.max() > 0
            assert lake.psth(*_KEY, event=f"{word}!", start=-1, stop=1).trial_count.max() > 0
        found = lake.sql("SELECT trial_condition_name FROM psth.trial_condition").fetchall()
    assert {word for word in WORDS if word} <= {name for (name,) in found}
    assert [*tmp_path.iterdir()] == []


def test_the_catalog_tells_comments_as_they_are(worded, tmp_path, monkeypatch):
    """COMMENT ON of views and columns; the script does the same in memory."""
    monkeypatch.chdir(tmp_path)
    asked = "SELECT view_name, comment FROM duckdb_views() WHERE schema_name = 'mylab'"
    with duckdb.connect(str(worded / "lake.duckdb"), read_only=True) as con:
        found = dict(con.sql(asked).fetchall())
    script = duckdb.connect()
    script.execute((worded / "views.sql").read_text(encoding="utf-8"))
    assert dict(script.sql(asked).fetchall()) == found
    for number, word in enumerate(WORDS):
        assert (found[f"t{number}"] or "").startswith(word)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("word", WORDS, ids=NAMES)
def test_names_of_own_tables_are_plain(word):
    for declared in (_declared(word, "mine", "x", ""), _declared("mylab", word, "x", ""),
                     _declared("mylab", "mine", word, "")):  # fmt: skip
        with pytest.raises(SchemaError):
            own.check_own(own.from_dict(declared), ["ephys"])


@pytest.mark.parametrize("word", WORDS, ids=NAMES)
def test_partitions_are_numbers_or_names_without_slashes(word):
    table = get("ephys.unit")
    path = table_file(table, {"subject_id": word, "session": word, "insertion_number": word})
    assert len(path.parts) == 7
    assert ".." not in path.parts


# ------------------------------------------------------------------------ no place is forgotten

#: Modules that put SQL together and at how many places, looked at one by one: what they put in are
#: names of the declarations, numbers, parameters, and what ``sqltext`` quotes; words of users are
#: in the tests above. Whoever adds one does the same.
FORMATTED = """
cli/demo.py:1 cli/psth.py:1 cli/query.py:1 maplake/compute/jaw.py:1
maplake/exports/lake_globals.py:1 maplake/exports/lake_keys.py:2 maplake/exports/nwb.py:1
maplake/exports/nwb_behavior.py:8 maplake/exports/nwb_clock.py:3 maplake/exports/nwb_ephys.py:7
maplake/exports/nwb_frame.py:2 maplake/exports/nwb_trials.py:7 maplake/exports/recording.py:1
maplake/exports/recording_tracking.py:4 maplake/exports/recording_trials.py:4
maplake/exports/recording_units.py:9 maplake/exports/rows.py:2 maplake/exports/select.py:3
maplake/exports/viewer.py:1 maplake/plots/behavior.py:3 maplake/plots/brain.py:2
maplake/plots/coding.py:1 maplake/plots/drift.py:3 maplake/plots/foraging.py:5
maplake/plots/lookup.py:6 maplake/plots/population.py:1 maplake/plots/project.py:2
maplake/plots/psth.py:5 maplake/plots/quality.py:1 maplake/plots/selectivity.py:1
maplake/plots/slices.py:4 maplake/plots/unit_data.py:6 maplake/plots/unit_tracking.py:4
maplake/query/absent.py:1 maplake/query/aligned.py:5 maplake/query/analysis.py:1
maplake/query/catalog.py:5 maplake/query/check.py:9 maplake/query/check_compact.py:2
maplake/query/conditions.py:2 maplake/query/connection.py:2 maplake/query/effects.py:2
maplake/query/handover.py:1 maplake/query/overview.py:1 maplake/query/partition.py:5
maplake/query/selectivity.py:2 maplake/query/views.py:8 maplake/reports/facts.py:3
"""
_SQL = re.compile(r"\b(SELECT|FROM|WHERE|JOIN|COPY|CREATE|ATTACH|DETACH|COMMENT ON|DROP|SET)\b")


def _places(tree: ast.AST) -> int:
    """Return at how many places code fills something into SQL."""

    def is_sql(node: ast.AST) -> bool:
        return isinstance(node, ast.Constant) and bool(_SQL.search(str(node.value)))

    has_sql, count = any(map(is_sql, ast.walk(tree))), 0
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            count += any(map(is_sql, node.values))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            text = node.func.value  # a template: a text, or a constant of the module
            template = isinstance(text, ast.Constant) or getattr(text, "id", "x").isupper()
            fills = node.func.attr in ("format", "format_map", "replace")
            count += has_sql and fills and template
    return count


def test_no_place_that_puts_sql_together_is_forgotten():
    package = Path(maplake.__file__).parent
    commands = Path(import_module(f"{PACKAGE}.main").__file__).parent
    found = set()
    for name, top in (("maplake", package), ("cli", commands)):
        for path in top.rglob("*.py"):
            count = _places(ast.parse(path.read_text(encoding="utf-8")))
            if count:
                found.add(f"{name}/{path.relative_to(top).as_posix()}:{count}")
    assert sorted(found) == sorted(FORMATTED.split())


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ('lake.sql(f"SELECT {x}")', 1),
        ('_Q = "SELECT {x}"\nlake.sql(_Q.format(x=1))', 1),
        ('lake.sql("SELECT {x}".replace("{x}", x))', 1),
        ('print(f"{x} rows"); name.replace("a", "b"); "SELECT 1"', 0),
    ],
)
def test_a_place_that_puts_sql_together_is_found(code, count):
    assert _places(ast.parse(code)) == count
