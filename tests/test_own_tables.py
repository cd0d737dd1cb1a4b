"""docs/own-tables.md, carried out as it is written: one file and one command."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from computelabs import make_lab
from labs import ingest, sql
from typer.testing import CliRunner

from maplake.config import load

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
