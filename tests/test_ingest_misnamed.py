"""Files and folders that look like sources but for their names are told, with what was expected."""

from __future__ import annotations

import pytest
from clirun import home, run  # noqa: F401 - a fixture
from labs import ingest, lake_root, small

from maplake import simulate
from maplake.config import load
from maplake.ingest.status import status


@pytest.fixture
def lab(tmp_path):
    return small(tmp_path / "lab", animals=1, sessions=1)


def misnamed(sources):
    return {(s.kind, s.path): s.reason for s in sources if s.status == "misnamed"}


def strays(lab):
    """Make files and folders with names that fit nothing; return kinds and places."""
    file, probe = lab.sessions[0].file, lab.probes[0].folder
    files = [
        file.with_name(name)
        for name in (
            file.stem + " (1).mat",
            "1_" + file.name,
            file.name + ".part",
            "dl25_x_20191332_101010.mat",
        )
    ]
    for path in files:
        path.write_bytes(b"x")
    animal = probe.parent.parent
    folders = [animal / "20191332", animal / "Copy of 20190303", animal / "2019_03_03"]
    folders += [probe.with_name("probe3"), probe.with_name("12"), probe.with_name("imec0 (1)")]
    for path in folders:
        path.mkdir()
    return {("behavior", str(p)) for p in files} | {("ephys", str(p)) for p in folders}


def beside(lab):
    """Make what lies beside sources and is none."""
    file, probe = lab.sessions[0].file, lab.probes[0].folder
    for name in ("DefaultSettings.mat", "._" + file.name, "notes 20190303_1010.txt", "a.avi"):
        file.with_name(name).write_bytes(b"x")
    animal = probe.parent.parent
    for path in (
        *(animal / name for name in ("histology", "20190303_1", f"{animal.name}_030319", ".2019")),
        *(probe.with_name(name) for name in ("videos", "logs")),
    ):
        path.mkdir()


def test_they_are_told_with_the_pattern_by_every_run_and_by_status(lab):
    beside(lab)
    assert misnamed(ingest(lab, dry_run=True).sources) == {}
    expected = strays(lab)
    for _ in range(2):  # the second time from memory
        for sources in (ingest(lab).sources, status(load(lab.config))):
            assert misnamed(sources).keys() == expected
    reasons = misnamed(status(load(lab.config)))
    assert all(
        ("{h2o}_{protocol}_{YYYYMMDD}_{HHMMSS}.mat" in reason) == (kind == "behavior")
        for (kind, _), reason in reasons.items()
    )
    for path in (lab.probes[0].folder.with_name("probe3"), lab.probes[0].folder.with_name("12")):
        assert "imec{number}" in reasons["ephys", str(path)]
    assert not list(lake_root(lab).rglob("*20191332*"))


def test_one_that_gets_its_name_is_told_no_more(lab):
    probe = lab.probes[0].folder
    wrong = probe.rename(probe.with_name("probe1"))
    assert set(misnamed(ingest(lab).sources)) == {("ephys", str(wrong))}
    wrong.rename(probe)
    sources = ingest(lab).sources
    assert misnamed(sources) == {}
    assert {s.status for s in sources if s.kind == "ephys"} == {"in"}


def test_folders_of_tracking_and_files_of_foraging(tmp_path):
    lab = simulate.whole_lab(tmp_path, trials=14, units=4, seed=5)
    assert misnamed(status(load(lab.config))) == {}
    tracked = next(p for p in (tmp_path / "tracking").glob("*/*") if p.is_dir())
    mtl = next(p for p in (tmp_path / "tracking_mtl").glob("*/*/*") if p.is_dir())
    table = next((tmp_path / "foraging").rglob("20*-*.csv"))
    expected = {
        ("tracking", tracked.with_name(f"{tracked.parent.name}_133219")),
        ("tracking", tracked.with_name("Copy of " + tracked.name)),
        ("tracking", mtl.with_name(mtl.name.replace("_", "-"))),
        ("behavior", table.with_name("20191332-101010.csv")),
        ("behavior", table.with_name(table.stem + " (1).csv")),
    }
    for kind, path in expected:
        if kind == "tracking":
            path.mkdir()
        else:
            path.write_bytes(b"x")
    assert set(misnamed(status(load(lab.config)))) == {(k, str(p)) for k, p in expected}


def test_the_command_line_counts_them_says_where_and_lists_them_on_request(lab):
    strays(lab)
    root = str(lab.sessions[0].file.parent)
    for words in (("ingest", "--no-compute"), ("status",)):
        result = run("--config", str(lab.config), *words)
        assert "10 misnamed" in result.stdout
        assert f"behavior: 4 misnamed below {root}" in result.stderr
        assert "ephys: 6 misnamed below" in result.stderr
        assert "20191332" not in result.stdout
    listed = run("--config", str(lab.config), "status", "--all").stdout
    assert "dl25_x_20191332_101010.mat" in listed
    assert "probe3" in listed
    assert "its name fits no pattern" in listed
