"""Smaller lakes: what is cut, that what is left holds together, and that nothing else leaks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from labs import content, sql
from lakefiles import finish, small_lake, write_table

import maplake
from maplake.errors import IntegrityError, NotFoundError, QueryError
from maplake.exports.lake import export_lake
from maplake.exports.lake_keys import Keys, choose
from maplake.exports.select import Selection
from maplake.query import catalog
from maplake.query.check import check


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("source") / "lake"
    small_lake(root)
    write_table(
        root,
        "lab.subject",
        {},
        subject_id=[101, 102, 103],
        username=["x", "owner of 102", None],
        sex=["M"] * 3,
    )
    write_table(root, "lab.person", {}, username=["x", "owner of 102", "nobody"])
    write_table(root, "lab.probe", {}, probe=["1", "unused"], probe_type=["np", "np"])
    for name in ("ephys.unit_criteria", "experiment.project"):  # as every lake has them
        (root / "tables" / name.replace(".", "/") / "part.parquet").unlink()
    finish(root)
    assert problems(root) == []
    return root


def problems(root):
    return [p for p in check(root, deep=True) if "no source is known" not in p.message]


def export(source, target, wanted, **options):
    with maplake.open(source) as lake:
        keys = choose(lake, wanted, options.pop("regions", ()))
        return export_lake(lake, keys, target, **options)


def column(root, table, name):
    return sql(root, f"SELECT DISTINCT {name} FROM {table} ORDER BY ALL").to_series().to_list()


@pytest.fixture(scope="module")
def animal(source, tmp_path_factory):
    return export(source, tmp_path_factory.mktemp("animal") / "new", Selection(["xx101"]))


def test_an_animal(source, animal):
    done, root = animal, animal.root
    assert problems(root) == []
    assert (len(done.keys.subjects), len(done.keys.sessions), len(done.keys.insertions)) == (
        1,
        2,
        4,
    )
    for table in ("ephys.unit", "experiment.session", "lab.subject", "lab.water_restriction"):
        assert column(root, table, "subject_id") == [101]
    old, new = content(source), content(root)
    assert {k: v for k, v in old.items() if "subject_id=101" in k}.items() <= new.items()
    assert not any("subject_id=102" in path for path in new)


def test_people_and_probes_of_others_stay_behind(source, animal, tmp_path):
    root = animal.root
    assert column(root, "lab.person", "username") == ["x"]
    assert column(root, "lab.probe", "probe") == ["1"]
    assert column(root, "lab.probe_type_electrode", "electrode") == [1, 2, 3, 4]
    other = export(source, tmp_path / "other", Selection(["102"])).root
    assert column(other, "lab.person", "username") == ["owner of 102", "x"]


def test_psths_are_the_same(source, animal):
    root = animal.root
    query = (
        "SELECT * FROM psth.unit_psth WHERE subject_id = 101 AND session = 2 "
        "ORDER BY insertion_number, unit, trial_condition_name"
    )
    assert sql(root, query).equals(sql(source, query))
    with maplake.open(root) as lake:
        assert len(lake.spikes(101, 2, 1)) > 0


def test_one_insertion(source, tmp_path):
    root = export(source, tmp_path / "new", Selection(["101"], [1], [2])).root
    assert problems(root) == []
    assert column(root, "ephys.probe_insertion", "insertion_number") == [2]
    assert column(root, "ephys.spike", "insertion_number") == [2]
    assert column(root, "experiment.behavior_trial", "session") == [1]
    assert not any("insertion_number=1" in path for path in content(root))


def test_where(source, tmp_path):
    root = export(source, tmp_path / "new", Selection(where="session = 1")).root
    assert column(root, "experiment.session", "subject_id") == [101, 102]
    assert column(root, "experiment.session", "session") == [1]


def test_another_client_opens_it_from_another_folder(animal, tmp_path):
    command = shutil.which("duckdb") or shutil.which(
        "duckdb", path=str(Path(sys.executable).parent)
    )
    if command is None:
        pytest.skip("needs the duckdb command: pip install '.[test]'")
    done = subprocess.run(
        [command, "-readonly", "-csv", "-noheader", str(animal.root / "lake.duckdb"),
         "SELECT count(*) FROM ephys.unit"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "24"


class TestPlaces:
    def test_what_is_there_stays(self, source, tmp_path):
        root = tmp_path / "new"
        export(source, root, Selection(["101"]))
        with pytest.raises(QueryError, match="--force"):
            export(source, root, Selection(["102"]))
        export(source, root, Selection(["102"]), force=True)
        assert column(root, "lab.subject", "subject_id") == [102]
        assert [path.name for path in tmp_path.iterdir()] == ["new"]

    def test_only_lakes_are_replaced(self, source, tmp_path):
        (tmp_path / "thesis.tex").write_text("x", encoding="utf-8")
        with pytest.raises(QueryError, match="no lake"):
            export(source, tmp_path, Selection(["101"]), force=True)
        assert (tmp_path / "thesis.tex").exists()

    def test_not_into_itself(self, source, tmp_path):
        for place in (source, source / "tables" / "x", source.parent):
            with pytest.raises(QueryError, match=r"inside another|in a lake's folder"):
                export(source, place, Selection(["101"]), force=True)

    def test_a_damaged_file_is_not_passed_on(self, source, tmp_path):
        copy = tmp_path / "copy"
        shutil.copytree(source, copy)
        found = copy.glob("arrays/ephys/subject_id=101/session=1/**/spike_depth/c/*")
        file = next(path for path in found if path.is_file())
        file.write_bytes(file.read_bytes() + b"x")
        catalog.build(copy)
        with pytest.raises(IntegrityError, match="not what was written"):
            export(copy, tmp_path / "new", Selection(["101"]))
        assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_unknown_regions_are_named(source):
    with maplake.open(source) as lake, pytest.raises(NotFoundError, match="no brain region"):
        choose(lake, Selection(), ["Nowhere"])


def test_rows_without_keys_are_kept():
    keys = Keys(frozenset({1}), frozenset({(1, 2)}), frozenset({(1, 2, 3)}))
    assert keys.holds({"annotation_version": "x"})
    assert keys.holds({"subject_id": None, "session": None})
    assert keys.holds({"subject_id": "1", "session": "2"})
    assert not keys.holds({"subject_id": 1, "session": 3})
    assert not keys.holds({"subject_id": 1, "session": 2, "insertion_number": 1})
