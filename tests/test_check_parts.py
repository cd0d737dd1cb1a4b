"""``maplake check`` part by part: the same findings, and nothing kept that grows with the lake."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from itertools import chain

import pytest
from lakefiles import small_lake, write_table

from maplake.layout import Layout, manifest_file
from maplake.query import check as module
from maplake.query import check_parts
from maplake.query.check import check
from maplake.query.check_known import Known
from maplake.query.connection import connect
from maplake.tables import stored


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    small_lake(root)
    return root


@pytest.fixture
def copy(truth, tmp_path):
    return shutil.copytree(truth, tmp_path / "copy")


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_the_parts_of_a_table_are_all_its_files_once(truth, monkeypatch, most):
    monkeypatch.setattr(check_parts, "_FILES", most)
    for table in stored():
        parts = list(check_parts.parts_of(truth, table, merged=False))
        if not check_parts.levels_of(table, merged=False):
            assert parts == [None]
            continue
        files = [check_parts.files_of(truth, table, part, merged=False) for part in parts]
        there = Layout(truth).table_dir(table).rglob("part.parquet")
        wanted = sorted(p.relative_to(truth).as_posix() for p in there)
        assert sorted(chain.from_iterable(files)) == wanted
        assert all(len(f) <= most or len(part) == 1 for f, part in zip(files, parts, strict=True))


@pytest.mark.parametrize("most", [1, 1000])
def test_what_is_wrong_in_several_parts_is_one_problem(copy, monkeypatch, most):
    for subject, session in ((101, 1), (101, 2), (102, 1)):
        key = {"subject_id": subject, "session": session}
        write_table(copy, "experiment.trial_note", key, trial=[999, 999], trial_note=["x"] * 2,
                    trial_note_type=["early"] * 2)  # fmt: skip
        write_table(copy, "ephys.insertion_note", {**key, "insertion_number": 9},
                    insertion_comment=["x"])  # fmt: skip
    monkeypatch.setattr(check_parts, "_FILES", most)
    found = {(p.table, p.kind): p.rows for p in check(copy)}
    assert found["experiment.trial_note", "key"] == 3
    assert found["experiment.trial_note", "reference"] == 6
    assert found["ephys.insertion_note", "reference"] == 3


def test_a_key_of_the_whole_lake_is_compared_across_parts(copy, monkeypatch):
    monkeypatch.setattr(check_parts, "_FILES", 1)
    before = {(p.table, p.kind) for p in check(copy)}
    file = "tables/experiment/session/subject_id=101/session={}/part.parquet"
    shutil.copy(copy / file.format(1), copy / file.format(2))
    after = {(p.table, p.kind) for p in check(copy)}
    assert ("experiment.session", "unique") in after - before


def test_nothing_is_kept_of_files_that_were_checked(truth, monkeypatch):
    opened = []

    def keep(root):
        opened.append(connect(root))
        return opened[0]

    monkeypatch.setattr(module, "connect", keep)
    monkeypatch.setattr(module, "closing", nullcontext)
    assert check(truth) == []
    kept = dict(opened[0].execute("SELECT tag, memory_usage_bytes FROM duckdb_memory()").fetchall())
    opened[0].close()
    assert kept["OBJECT_CACHE"] == 0


def test_files_that_no_manifest_knows_are_found_wherever_they_are(copy):
    table = "tables/ephys/unit/subject_id=101"
    places = (
        "tables/a.txt",
        "tables/ephys/unit/a.txt",
        f"{table}/a.txt",
        f"{table}/session=1/a.txt",
        f"{table}/session=77/a.txt",
        f"tables/ephys/unit/x/{table}/session=1/a.txt",
        "arrays/a.txt",
        "arrays/new/subject_id=101/session=1/x/a.txt",
    )
    for place in places:
        (copy / place).parent.mkdir(parents=True, exist_ok=True)
        (copy / place).write_bytes(b"")
    found = [p.partition for p in check(copy) if p.kind == "extra"]
    assert found == sorted(places)


def test_a_file_of_two_manifests(copy):
    names = sorted(p.stem for p in (Layout(copy).meta / "manifest").glob("*.json"))
    book, other = (name for name in names if name.startswith("101_"))
    first, second = (copy / manifest_file(name) for name in (book, other))
    files = [json.loads(path.read_bytes())["files"] for path in (first, second)]
    path = next(iter(files[0]))
    second.write_text(json.dumps({"files": files[1] | {path: files[0][path]}}), encoding="utf-8")
    assert "101_1, 101_2" in next(p.message for p in check(copy) if p.kind == "extra")


def test_a_file_of_another_session_is_known_whichever_manifest_comes_first(tmp_path):
    path = "tables/ephys/unit/subject_id=2/session=1/part.parquet"
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(b"")
    for book in ("1_1", "3_1", "lake"):
        known = Known(tmp_path, ["1_1", "2_1", "3_1", "lake"])
        for name in ("1_1", "2_1", "3_1", "lake"):
            if name == book:
                assert known.add(path, book) is None
            known.close(name)
        assert list(known.strays()) == []
