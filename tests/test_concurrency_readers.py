"""Readers beside writers: what they read is from between two commits."""

from __future__ import annotations

import os
import shutil
import threading
import time

import polars as pl
import pyarrow as pa
import pytest

import maplake
from maplake.config import Config
from maplake.config.settings import LakeSettings
from maplake.errors import LakeLockedError, QueryError
from maplake.ingest.lakes import init
from maplake.ingest.state import SourceState, state_json
from maplake.layout import Layout, manifest_file, session_name, state_file, table_file
from maplake.query import spool, steady
from maplake.query.catalog import build
from maplake.query.check import check
from maplake.query.lake import Lake
from maplake.query.steady import Steady
from maplake.tables import get
from maplake.writers import files
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run, write_lock

PAIR = ("lab.person", "lab.rig")


def rows(name, number):
    """One row whose text columns all say which commit it is of."""
    table = get(name)
    schema = table.file_schema
    return pa.Table.from_pylist([dict.fromkeys(schema.names, f"commit {number}")], schema=schema)


def put(root, run, number):
    """Commit the same number to two tables."""
    stage = Stage(Layout(root), run)
    for name in PAIR:
        stage.table(get(name), {}, rows(name, number))
    with write_lock(root):
        commit(Layout(root), [stage.finish()], {"number": number})


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers") / "lake"
    init(Config(lake=LakeSettings(folder)))
    with staging_run(folder) as run:
        put(folder, run, 0)
    return folder


@pytest.fixture
def root(first, tmp_path):
    shutil.copytree(first, tmp_path / "lake")
    build(tmp_path / "lake")
    return tmp_path / "lake"


@pytest.fixture
def slow(monkeypatch):
    """Make each rename of a commit take long enough to be seen between two of them."""
    plain = files.replace

    def replace(source, target):
        plain(source, target)
        time.sleep(0.02)

    monkeypatch.setattr(files, "replace", replace)


@pytest.fixture
def writer(root, slow):
    """A writer that commits until the test has seen enough."""
    stop = threading.Event()

    def write():
        with staging_run(root) as run:
            number = 0
            while not stop.is_set():
                number += 1
                put(root, run, number)
                stop.wait(0.05)

    thread = threading.Thread(target=write)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.parametrize("seconds", [1, 2])
def test_a_clock_of_whole_seconds_does_not_hide_commits(root, monkeypatch, seconds):
    """As that of ext3, HFS+ or FAT."""
    real, step = steady._changed, seconds * 1_000_000_000
    monkeypatch.setattr(steady, "_changed", lambda folder: real(folder) // step * step)
    put_once = threading.Event()

    def write():
        with staging_run(root) as run:
            put(root, run, 1)
        put_once.set()

    def read(lake):
        first = lake.sql("SELECT fullname FROM lab.person").fetchall()[0][0]
        if not put_once.is_set():  # between the two, in the same second as the last change
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
        return first, lake.sql("SELECT rig FROM lab.rig").fetchall()[0][0]

    os.utime(Layout(root).journal)
    os.utime(Layout(root).log)
    with maplake.open(root) as lake:
        assert lake.steady(lambda: read(lake)) == ("commit 1", "commit 1")


BOTH = "SELECT p.fullname AS a, r.rig AS b FROM lab.person AS p, lab.rig AS r"


def by_sql(lake):
    return lake.sql(BOTH).fetchall()


def by_derived(lake):
    return lake.sql(BOTH).filter("a IS NOT NULL").pl().rows()


def by_arrow_reader(lake):
    return [tuple(r.values()) for r in lake.sql(BOTH).to_arrow_reader().read_all().to_pylist()]


def by_frames(lake):
    pair = lake.table("lab.person").join(lake.table("lab.rig"), how="cross")
    return pair.group_by("fullname", "rig").agg(pl.len()).select("fullname", "rig").collect().rows()


def by_two_queries(lake):
    def read():
        first = lake.sql("SELECT fullname FROM lab.person").fetchall()[0][0]
        time.sleep(0.03)
        return [(first, lake.sql("SELECT rig FROM lab.rig").fetchall()[0][0])]

    return lake.steady(read)


def by_lazy_relation(lake):
    return lake.sql(BOTH).pl(lazy=True).filter(pl.col("a").is_not_null()).collect().rows()


@pytest.mark.parametrize("deep", [False, True])
def test_check_finds_nothing_wrong_beside_writers(root, deep):
    """New sessions, and the same ones anew, while it goes through files, records and tables."""
    stop, wrong = threading.Event(), []
    numbers = {session_name(1, n): n for n in range(1, 6)}
    files.write_json(Layout(root).session_registry, {"1": numbers})
    with staging_run(root) as run:
        for number in numbers.values():
            put_session(root, run, number, number)
    known = places(check(root, deep=deep))  # this lake has no more than these trials

    def write():
        number = 0
        with staging_run(root) as run:
            while not stop.is_set():
                number += 1
                put_session(root, run, number % 5 + 1, number)
                stop.wait(0.02)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        end = time.monotonic() + 6
        while time.monotonic() < end and not wrong:
            wrong = [p for p in check(root, deep=deep) if places([p]) - known]
    finally:
        stop.set()
        thread.join()
    assert wrong == []
    (root / "tables/experiment/session_trial/subject_id=1/session=2/part.parquet").unlink()
    assert {"missing"} <= {problem.kind for problem in check(root, deep=deep)}


def places(problems):
    return {(problem.table, problem.partition, problem.kind) for problem in problems}


def put_session(root, run, session, trials):
    """Commit so many trials of a session with its records."""
    layout, name, key = (
        Layout(root),
        session_name(1, session),
        {"subject_id": 1, "session": session},
    )
    stage = Stage(layout, run)
    numbers = range(1, trials + 1)
    data = {"trial": pa.array(numbers, pa.int32()), "start_time": [float(n) for n in numbers]}
    data["stop_time"] = data["start_time"]
    table = get("experiment.session_trial")
    stage.table(table, key, pa.table(data))
    state = SourceState("behavior", name, "in", None, 1, session)
    state.outputs = [str(table_file(table, key))]
    stage.json(manifest_file(name), {"files": stage.staged.manifest})
    stage.json(state_file(name), state_json([state]))
    with write_lock(root):
        commit(layout, [stage.finish()], {"session": name})


@pytest.mark.parametrize(
    "read", [by_sql, by_derived, by_arrow_reader, by_frames, by_two_queries, by_lazy_relation]
)
def test_a_reader_never_sees_half_a_commit(root, writer, read):
    seen = set()
    with maplake.open(root) as lake:
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            found = read(lake)
            assert [a == b for a, b in found] == [True]
            seen.update(found)
    assert len(seen) > 1


def test_the_test_sees_half_commits_without_steady(root, writer, monkeypatch):
    """What the tests above hold is not held by chance."""
    monkeypatch.setattr(Steady, "__call__", lambda self, read: read())
    with maplake.open(root) as lake:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            ((a, b),) = by_sql(lake)
            if a != b:
                return
    pytest.fail("no half commit in 10 s")


def test_a_read_that_never_fits_between_commits_gets_its_turn(root, writer):
    with maplake.open(root) as lake:

        def read():
            first = lake.sql("SELECT fullname FROM lab.person").fetchall()[0][0]
            time.sleep(0.3)  # longer than the pause between two commits
            return first, lake.sql("SELECT rig FROM lab.rig").fetchall()[0][0]

        first, second = lake.steady(read)
        assert first == second


def test_a_dead_writers_commit_is_finished_by_the_next_read(root, monkeypatch):
    with maplake.open(root) as lake:
        assert lake.sql("SELECT rig FROM lab.rig").fetchall() == [("commit 0",)]
        plain = files.replace

        def dies(source, target):
            plain(source, target)
            if target.name == "part.parquet":
                raise KeyboardInterrupt

        with staging_run(root) as run, monkeypatch.context() as patch:
            patch.setattr(files, "replace", dies)
            with pytest.raises(KeyboardInterrupt):
                put(root, run, 1)
        assert by_sql(lake) == [("commit 1", "commit 1")]


def test_a_writer_that_dies_just_before_a_reader_has_its_turn_is_no_error(root, monkeypatch):
    plain, died = steady.Steady._locked, []

    def locked(self, *, is_last):
        if not died:
            died.append(True)
            with staging_run(root) as run, monkeypatch.context() as patch:
                patch.setattr(files, "sync_through", _dies_at_the_end)
                with pytest.raises(KeyboardInterrupt):
                    put(root, run, 1)
        return plain(self, is_last=is_last)

    def read():
        if not died:  # overlapped by commits again and again
            (Layout(root).log / "new").touch()
            (Layout(root).log / "new").unlink()
        return by_sql(lake)

    monkeypatch.setattr(steady.Steady, "_locked", locked)
    with maplake.open(root) as lake:
        assert lake.steady(read) == [("commit 1", "commit 1")]
    assert died


def _dies_at_the_end(path):
    if path.parent.name == "journal":
        raise KeyboardInterrupt


def test_a_commit_that_does_not_end_is_told(root, monkeypatch):
    monkeypatch.setattr(steady, "PATIENCE_S", 0.2)
    (Layout(root).journal / "x.json").write_text("{}", encoding="utf-8")
    with Lake(root) as lake, pytest.raises(LakeLockedError, match="under way"):
        lake.sql("SELECT 1 AS x").fetchall()


def test_a_lake_that_cannot_be_locked_and_never_rests_is_told(root, monkeypatch):
    monkeypatch.setattr(steady, "PATIENCE_S", 0.2)
    log = Layout(root).log

    def read():
        (log / "new").touch()
        (log / "new").unlink()

    with write_lock(root), maplake.open(root) as lake, pytest.raises(QueryError, match="every try"):
        lake.steady(read)


def test_an_error_of_the_query_is_told_at_once(root):
    with maplake.open(root) as lake:
        with pytest.raises(QueryError, match="nothing_there"):
            lake.sql("FROM nothing_there")
        calls = []

        def wrong():
            calls.append(1)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            lake.steady(wrong)
        assert calls == [1]


def test_a_result_does_what_a_relation_does(root):
    import duckdb

    with maplake.open(root) as lake:
        found = lake.sql("SELECT range AS x FROM range(5)")
        assert found.columns == ["x"]
        assert found.filter("x > 2").aggregate("sum(x) AS s").fetchall() == [(7,)]
        assert found.limit(2).to_arrow_table().num_rows == 2
        assert len(found) == 5
        assert "x" in repr(found)
        assert found.union(lake.sql("SELECT 9 AS x")).pl()["x"].sum() == 19
        assert duckdb.sql("SELECT max(x) FROM found").fetchall() == [(4,)]
        assert pa.table(found).num_rows == 5
        assert found.df().x.tolist() == [0, 1, 2, 3, 4]
        lake.sql("CREATE TEMP TABLE t AS SELECT 1 AS x")
        assert lake.sql("FROM t WHERE x = ?", [1]).fetchall() == [(1,)]


def test_frames_of_two_lakes_join(root, tmp_path):
    other = tmp_path / "other"
    init(Config(lake=LakeSettings(other)))
    with maplake.open(root) as a, maplake.open(other) as b:
        assert a.table("lab.rig").join(b.table("lab.rig"), on="rig").collect().height == 0
        plain = pl.LazyFrame({"rig": ["commit 0"]})
        assert a.table("lab.rig").join(plain, on="rig").collect().height == 1
        assert plain.join(a.table("lab.rig"), on="rig").collect().height == 1


def test_many_batches_wait_on_disk(monkeypatch):
    monkeypatch.setattr(spool, "_IN_MEMORY", 1000)
    table = pa.table({"x": list(range(5000))})
    found = spool.spooled(pa.RecordBatchReader.from_batches(table.schema, table.to_batches(100)))
    assert found.read_all() == table
