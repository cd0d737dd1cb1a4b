"""docs/own-tables.md, carried out as it is written: one file and one command."""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from computelabs import copy_lab, make_lab
from labs import ingest, sql
from typer.testing import CliRunner

import maplake
from maplake.compute import registry
from maplake.compute.run import run
from maplake.compute.stale import remove, standing
from maplake.config import load
from maplake.config.settings import TableSettings
from maplake.errors import ConfigError
from maplake.query.check import check

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
PAGE = (Path(__file__).parents[1] / "docs" / "own-tables.md").read_text(encoding="utf-8")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = make_lab(tmp_path_factory.mktemp("own") / "lab", sessions=1)
    ingest(lab)
    return lab


def test_the_page_as_written(lab, monkeypatch):
    app = __import__(f"{PACKAGE}.main", fromlist=["app"]).app
    monkeypatch.chdir(lab.directory)
    monkeypatch.delenv("MAPLAKE_CONFIG", raising=False)
    example, query = blocks("python")
    Path("lake_tables.py").write_text(f"{example}\n{query}", encoding="utf-8")
    root = load(lab.config).lake.root
    for command in "".join(blocks("sh")).splitlines():
        words = shlex.split(command)
        assert words.pop(0) == "maplake"
        if "--remove" in words:
            check_rows(root)
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"{command}\n{done.output}"
        assert "mylab" in done.stdout or "unit_quality" in done.stdout or "status" in command
    assert "mylab.baseline_rate" not in sql(root, "FROM ingest.source")["name"].to_list()


def check_rows(root):
    spikes = sql(root, "FROM ephys.trial_spikes WHERE spike_time >= -1 AND spike_time < 0")
    trials = sql(root, "SELECT count(*) AS n FROM ephys.ephys_trial WHERE go_time IS NOT NULL "
                 "GROUP BY insertion_number ORDER BY insertion_number")["n"]  # fmt: skip
    found = sql(root, "FROM mylab.baseline_rate")
    assert len(found) == len(sql(root, "FROM ephys.unit")) > 0
    for row in found.to_dicts():
        keys = {n: row[n] for n in ("insertion_number", "unit")}
        count = spikes.filter(**keys).height
        rate = count / trials[row["insertion_number"] - 1]
        assert np.isclose(row["baseline_rate"], rate, rtol=1e-12)
    licks = sql(root, "FROM mylab.lick_count")["licks"].sum()
    assert licks == len(sql(root, "FROM experiment.action_event")) > 0


def test_every_argument_and_type_is_on_the_page():
    import inspect

    from maplake import compute
    from maplake.tables.own import _TYPES

    for name in inspect.signature(compute.table).parameters:
        assert re.search(rf"\b{name}\b", PAGE), name
    for name in _TYPES:
        assert name.upper() in PAGE
        assert hasattr(compute, name.upper())


PACKAGED = """
from pathlib import Path

from maplake.compute import INT, METHOD, TO_UNIT, UNIT, Column, sql_table, table


@table(
    "packaged.site", "site of each unit", columns=(METHOD, UNIT, Column("site", INT, "its site")),
    key=("clustering_method", "unit"), refs=(TO_UNIT,), inputs=("ephys.unit",),
)
def site(lake, key):
    return lake.table("ephys.unit").filter(**key).select("clustering_method", "unit",
                                                         site="electrode")


deepest = sql_table(
    "packaged.deepest", "lowest site with a unit", by="session",
    columns=(Column("site", INT, "site"),), inputs=("packaged.site",), sql=Path("deepest.sql"),
)
"""
DEEPEST = """
SELECT min(site) AS site FROM packaged.site
WHERE subject_id = $subject_id AND session = $session
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with an entry point on the path, as pip would."""
    monkeypatch.syspath_prepend(tmp_path / "site")

    def put(module=PACKAGED):
        info = tmp_path / "site" / "lab_tables-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Name: lab-tables\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(
            "[maplake.tables]\nlab = lab_tables\n", encoding="utf-8"
        )
        (info.parent / "lab_tables.py").write_text(textwrap.dedent(module), encoding="utf-8")
        (info.parent / "deepest.sql").write_text(DEEPEST, encoding="utf-8")
        return info.parent

    yield put
    sys.modules.pop("lab_tables", None)


@pytest.fixture
def config(lab, tmp_path):
    copied = copy_lab(lab, tmp_path / "lab")
    (copied.directory / "lake_tables.py").unlink(missing_ok=True)
    return load(copied.config)


def test_a_package_brings_tables(config, install, monkeypatch):
    site = install()
    report = run(config, ["packaged.deepest"], workers=2)
    assert {d.status for d in report.done} == {"in"}
    root = config.lake.root
    units = sql(root, "FROM ephys.unit")
    found = sql(root, "FROM packaged.site")
    assert found["site"].sort().to_list() == units["electrode"].sort().to_list()
    assert sql(root, "FROM packaged.deepest")["site"].to_list() == [units["electrode"].min()]
    source = sql(root, "FROM ingest.source WHERE name LIKE 'packaged.site%'").to_dicts()[0]
    assert (source["reader"], source["status"]) == ("lab_tables.site", "in")
    assert check(root, deep=True) == []
    # Uninstalled: the rows stay and are told to have nobody who computes them.
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(site)])
    sys.modules.pop("lab_tables")
    with maplake.open(root) as lake:
        assert lake.table("packaged.site").collect().height == len(units)
    mine = [s for s in standing(config) if s.table.startswith("packaged.")]
    assert {s.status for s in mine} == {"stale"}
    assert "--remove" in mine[0].reason
    for name in sorted({s.table for s in mine}):  # of each, since nobody knows which needs which
        remove(config, name)
    assert not (root / "tables" / "packaged").exists()
    assert check(root, deep=True) == []


def test_removal_takes_what_a_package_made_of_it(config, install):
    install()
    run(config, ["packaged.deepest"])
    assert set(remove(config, "packaged.site")) == {"packaged.site", "packaged.deepest"}
    assert check(config.lake.root, deep=True) == []


def test_a_broken_package_is_named(config, install):
    install("import nothing_of_this_name")
    with pytest.raises(ConfigError, match="'lab' cannot be loaded"):
        run(config)


def test_the_same_table_from_a_package_and_a_file(config, install):
    install()
    config.file.with_name("lake_tables.py").write_text(
        PACKAGED.replace('Path("deepest.sql")', repr(DEEPEST)),
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match="declared twice"):
        run(config)


def test_what_is_run_is_what_the_file_says_now(config, monkeypatch):
    """An edit that keeps the size and the second of the last change leaves compiled code valid."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = config.file.with_name("lake_tables.py")
    before = PACKAGED.replace('Path("deepest.sql")', repr(DEEPEST))
    for text in (before, before.replace("deepest", "nearest")):
        file.write_text(text, encoding="utf-8")
        os.utime(file, (1_700_000_000, 1_700_000_000))
        tables = registry.load(config)
    assert "packaged.nearest" in tables
    assert "packaged.deepest" not in tables


@pytest.mark.parametrize("name", ["tables.txt", "tables.pyc"])
def test_nothing_but_python_text_is_run(config, name):
    file = config.file.with_name(name)
    file.write_text("raise RuntimeError('it was run')", encoding="utf-8")
    named = replace(config, tables=TableSettings((file,)))
    with pytest.raises(ConfigError, match="no Python file"):
        registry.load(named)
