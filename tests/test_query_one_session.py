"""Asking for one session of many reads that session: filters on the key reach the files."""

import json
import shutil

import pytest
from lakefiles import finish, small_lake

import maplake

HIT = "'good_noearlylick_hit'"
MACROS = [
    f"psth.raster({HIT})",
    f"psth.psth({HIT})",
    f"psth.psth({HIT}, event := 'delay')",
    f"psth.psth({HIT}, event := 'go_cue')",
    f"psth.trial_counts({HIT})",
    "psth.period_activity('delay')",
    "psth.period_activity('delay', good_only := true)",
    "psth.period_foraging_activity('delay')",
    "tracking.bad_frame()",
    "tracking.qc()",
]


def key_of(session):
    return session.subject_id, session.session


@pytest.fixture(scope="module")
def lakes(tmp_path_factory):
    """A lake of several sessions, the same with all but the first taken out, and its key."""
    many, one = (tmp_path_factory.mktemp(name) / "lake" for name in ("many", "one"))
    first, *others = map(key_of, small_lake(many))
    shutil.copytree(many, one)
    for subject, session in others:
        for folder in one.glob(f"tables/*/*/subject_id={subject}/session={session}"):
            shutil.rmtree(folder)
    shutil.rmtree(one / ".maplake" / "manifest")
    (one / ".maplake" / "manifest").mkdir()
    finish(one)
    assert others
    with (
        maplake.open(many) as everything,
        maplake.open(one) as alone,
        everything.connect() as from_many,
        alone.connect() as from_one,
    ):
        yield from_many, from_one, first


def views(con):
    """Views that have the key of a session, tables among them."""
    rows = con.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_columns() "
        "WHERE column_name IN ('subject_id', 'session') AND NOT internal "
        "GROUP BY ALL HAVING count(*) = 2 ORDER BY 1"
    ).fetchall()
    return [name for (name,) in rows]


def rows_read(con, source, key):
    query = f"FROM {source} WHERE subject_id = {key[0]} AND session = {key[1]}"
    plan = con.execute(f"EXPLAIN (ANALYZE, FORMAT json) {query}").fetchall()[0][1]
    return json.loads(plan)["query"]["total_rows_scanned"]


def test_each_view_and_macro_reads_the_session_alone(lakes):
    many, one, key = lakes
    sources = [*views(many), *MACROS]
    assert len(sources) > 60
    more = {}
    for source in sources:
        found, least = rows_read(many, source, key), rows_read(one, source, key)
        if found > least:
            more[source] = found, least
    assert more == {}
