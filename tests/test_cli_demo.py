"""`maplake demo`, and other commands in the lab that it makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clirun import home, process, run

__all__ = ["home"]  # fixture


def test_demo_leaves_other_folders_alone(home):
    (home / "mine").mkdir()
    (home / "mine" / "notes.txt").write_text("dear diary", encoding="utf-8")
    done = run("demo", "mine")
    assert done.exit_code == 1
    assert [file.name for file in (home / "mine").iterdir()] == ["notes.txt"]


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory):
    """A small demo, made by the real command in a process of its own."""
    for name in ("maplake.query.check", "maplake.plots.psth"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("demo") / "lab"
    done = process(
        "demo", str(folder), "--trials", "40", "--units", "6", "--json", cwd=folder.parent
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_demo_makes_a_lab(small_demo):
    folder, facts = small_demo
    assert (facts["animals"], facts["sessions"], facts["probe insertions"]) == (4, 8, 11)
    assert (facts["tasks"], facts["spike sorters"], facts["videos"]) == (3, 3, 132)
    assert facts["trials"] == 212
    assert facts["tracked positions"] > 40_000
    assert facts["electrodes in the brain"] > 1000
    assert facts["brain regions"] == 9
    assert facts["problems"] == 0
    assert facts["spikes"] > 10_000
    assert (folder / "lake.toml").is_file()
    assert Path(facts["figure"]).read_bytes().startswith(b"\x89PNG")


def test_commands_on_the_demo(small_demo, home):
    folder, facts = small_demo
    config = ("--config", str(folder / "lake.toml"))
    assert json.loads(run(*config, "ingest", "--json").stdout)["counts"].keys() == {"unchanged"}
    assert "failed" not in json.loads(run(*config, "status", "--json").stdout)["counts"]
    tables = json.loads(run(*config, "tables", "--json").stdout)
    assert {row["table"]: row["rows"] for row in tables}["ephys.unit"] == facts["units"]
    assert run(*config, "check").stdout.startswith("no problems")
    best = facts["best unit"]
    unit = ("--insertion", str(best["insertion_number"]), "--unit", str(best["unit"]))
    subject = (best["h2o"], str(best["session"]))
    rows = json.loads(run(*config, "psth", *subject, *unit, "--json").stdout)
    assert len(rows) == 1
    assert len(rows[0]["rate"]) == 149
    done = run(*config, "psth", *subject, *unit, "--png", "unit.png")
    assert done.exit_code == 0, done.output
    assert (home / "unit.png").is_file()
    assert run(*config, "psth", *subject, *unit, "--png", "unit.nope").exit_code == 1


def test_demo_keeps_what_was_added_to_it(small_demo):
    folder, _ = small_demo
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert run("demo", str(folder)).exit_code == 1
    assert (folder / "notes.txt").is_file()
    assert (folder / "lake.toml").is_file()
