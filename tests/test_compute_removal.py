"""Computed tables that go: removed by hand, or computed by nobody any more."""

from __future__ import annotations

import json

import pytest
from labs import content, sql
from ownlab import MINE, cli, config, lab, own

import maplake
from maplake.compute.run import run
from maplake.compute.stale import remove, standing
from maplake.errors import NotFoundError
from maplake.query.check import check

__all__ = ["config", "lab"]  # fixtures


@pytest.mark.parametrize("more", ["--subject=1", "--session=1", "--again", "mylab.doubled"])
def test_a_removal_is_of_all_animals(config, more):
    run(config, ["mylab.doubled"])
    assert cli(config, "compute", "--remove", "mylab.doubled", more).exit_code == 2
    assert len(sql(config.lake.root, "FROM mylab.doubled")) == 16


def test_the_repair_of_a_table_that_nobody_computes_is_to_remove_it(config):
    run(config, MINE)
    (config.file.parent / "lake_tables.py").unlink()
    repairs = json.loads(cli(config, "check", "--json").stdout)["repairs"]
    assert "maplake compute --remove mylab.doubled" in repairs
    assert [cli(config, *repair.split()[1:]).exit_code for repair in repairs] == [0] * len(repairs)
    assert cli(config, "check").exit_code == 0


def test_removal_takes_dependants_along(config):
    run(config, MINE)
    before = content(config.lake.root)
    assert set(remove(config, "mylab.per_session", dry_run=True)) == {
        "mylab.per_session",
        "mylab.whole",
    }
    assert content(config.lake.root) == before
    assert remove(config, "mylab.doubled") == {
        "mylab.doubled": 16, "mylab.per_session": 2, "mylab.whole": 1,
    }  # fmt: skip
    with maplake.open(config.lake.root) as lake, pytest.raises(NotFoundError):
        lake.table("mylab.doubled")
    assert not any("mylab" in path for path in content(config.lake.root))
    assert check(config.lake.root) == []
    assert {d.table for d in own(run(config, MINE))} == {
        "mylab.doubled",
        "mylab.per_session",
        "mylab.whole",
    }


def test_a_module_that_is_gone_leaves_its_tables_readable(config):
    run(config, MINE)
    config.file.with_name("lake_tables.py").unlink()
    assert len(sql(config.lake.root, "FROM mylab.doubled")) == 16
    assert {s.status for s in standing(config) if s.table.startswith("mylab")} == {"stale"}
    assert remove(config, "mylab.doubled")["mylab.doubled"] == 16
