"""What is made from a lake goes elsewhere: no command writes into a lake's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from clirun import home, run
from lakefiles import small_lake
from matplotlib import pyplot as plt

import maplake
from maplake.errors import QueryError

__all__ = ["home"]  # fixture
PSTH = ("psth", "xx101", "1", "--insertion", "1", "--unit", "50")
SELECT = "COPY (SELECT 1 AS a)"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("outside") / "lake"
    small_lake(root)
    return root


def there(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "command",
    [
        ("sql", "SELECT 1", "--parquet", "{}/tables/ephys/unit/x.parquet"),
        ("sql", SELECT + " TO '{}/arrays/x.parquet'"),
        (*PSTH, "--png", "{}/x.png"),
        ("figure", "growth", "--out", "{}/x.png"),
        ("report", "--out", "{}/.maplake/report"),
        ("export", "mat", "--all", "--out", "{}/mat"),
        ("export", "npz", "--all", "--out", "{}/npz"),
        ("export", "parquet", "--sql", "SELECT 1", "--out", "{}/tables/x.parquet"),
        ("export", "parquet", "--table", "ephys.unit", "--out", "{}/tables", "--force"),
        ("export", "lake", "--all", "--out", "{}/arrays/lake"),
        ("export-snapshot", "paper", "{}/arrays/paper"),
        ("demo", "{}/demo"),
    ],
)
def test_no_command_writes_into_a_lake(root, command):
    before = there(root)
    words = [word.replace("{}", root.as_posix()) for word in command]
    done = run("--lake", str(root), *words)
    assert done.exit_code == 1, done.output
    assert "in a lake's folder, where maplake alone writes" in done.output
    assert there(root) == before


def test_nor_into_another_lake_or_by_a_way_around(root, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(root, other)
    for place in ("../other/x.csv", "elsewhere/../../other/tables/x.csv"):
        with pytest.raises(QueryError, match="in a lake's folder"), maplake.open(root) as lake:
            lake.sql(f"{SELECT} TO '{tmp_path / 'a' / place}'")
    assert there(other) == [other / path.relative_to(root) for path in there(root)]


@pytest.mark.parametrize(
    "query",
    [
        SELECT + " TO '{}'",
        "SELECT 'é, TO'; " + SELECT + " /* TO 'x' */ to -- 'y'\n '{}' (FORMAT csv)",
        "CREATE TEMP TABLE t AS SELECT 1 AS a; COPY t TO '{}'",
        "EXPORT DATABASE '{}'",
        "EXPORT DATABASE memory TO '{}'",
    ],
)
def test_sql_that_writes_files(root, tmp_path, query):
    outside = tmp_path / "it's.csv"
    inside = root / "tables" / "it's.csv"
    with maplake.open(root) as lake:
        with pytest.raises(QueryError, match="in a lake's folder"):
            lake.sql(query.replace("{}", str(inside).replace("'", "''")))
        assert not inside.exists()
        if "DATABASE" not in query:
            lake.sql(query.replace("{}", str(outside).replace("'", "''")))
            assert outside.exists()


def test_sql_may_read_what_is_in_the_lake(root, tmp_path):
    source = root / "tables/ephys/unit/**/*.parquet"
    target = tmp_path / "units.csv"
    with maplake.open(root) as lake:
        lake.sql(f"COPY (FROM '{source.as_posix()}') TO '{target.as_posix()}'")
    assert target.stat().st_size


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (("sql", "SELECT 1", "--parquet", "new/a.parquet"), "new/a.parquet"),
        ((*PSTH, "--png", "new/unit.png"), "new/unit.png"),
        ((*PSTH, "--png", "unit"), "unit.png"),
        (("figure", "growth", "--out", "new/g.svg"), "new/g.svg"),
        (("figure", "growth", "--out", "g"), "g.png"),
    ],
)
def test_the_folder_is_made_and_the_file_is_named(root, command, file):
    done = run("--lake", str(root), *command)
    assert done.exit_code == 0, done.output
    assert Path(file).is_file()
    assert done.stderr.replace("\\", "/").strip() == f"wrote {file}"
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("figure", "growth", "--out", "lake.toml/g.png"), "cannot be written"),
        (("figure", "growth", "--out", "."), "is a folder; expected a file"),
        (("sql", "SELECT 1", "--parquet", "."), "is a folder; expected a file"),
        (("report", "--out", "lake.toml"), "is a file; expected a folder"),
    ],
)
def test_what_cannot_be_written_is_told_in_one_sentence(root, command, said):
    done = run("--lake", str(root), *command)
    assert done.exit_code == 1, done.output
    assert said in done.output
    assert "Errno" not in done.output
