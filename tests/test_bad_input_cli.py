"""Bad input through the command line: one clear message, the documented exit code, and a lake in
which nothing has changed.

A lake is made from a good small lab; then one more session, with a fault, arrives.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from labs import content, small
from matfiles import StructArray, write_v73
from scipy.io import loadmat, savemat
from test_ingest_faults import FAULTS, moved
from typer.testing import CliRunner

from maplake.writers import files
from maplake.writers.lock import write_lock

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
main = __import__(f"{PACKAGE}.main", fromlist=["app"])


@dataclass
class Case:
    """A lab on disk whose lake lacks one session, which is there to be taken in."""

    folder: Path
    session: object
    probe: object
    before: dict

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def config(self) -> Path:
        return self.folder / "lake.toml"

    def run(self, *args: str):
        done = CliRunner().invoke(
            main.app, ["--config", str(self.config), *args], prog_name="maplake"
        )
        assert "Traceback" not in done.output
        return done

    def unchanged(self) -> bool:
        return content(self.lake) == self.before


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The raw files of a lab, and a copy with a lake of all but the second session."""
    lab = small(tmp_path_factory.mktemp("whole"))
    folder = tmp_path_factory.mktemp("base") / "lab"
    shutil.copytree(lab.directory, folder)
    session, probe = moved(lab, folder)
    session.file.unlink()
    shutil.rmtree(probe.folder)
    done = CliRunner().invoke(main.app, ["--config", str(folder / "lake.toml"), "ingest"])
    assert done.exit_code == 0, done.output
    return lab, folder


@pytest.fixture
def case(whole, tmp_path):
    lab, base = whole
    folder = tmp_path / "lab"
    shutil.copytree(base, folder)
    session, probe = moved(lab, folder)
    shutil.copy(lab.sessions[1].file, session.file)
    shutil.copytree(lab.sessions[1].probes[0].folder, probe.folder)
    return Case(folder, session, probe, content(folder / "lake"))


def reasons(done) -> list[str]:
    """Return the lines of a report that tell of failed sources."""
    return [line for line in done.stdout.splitlines() if re.search(r"\bfailed  ", line)]


# ------------------------------------------------------------------------------- raw files


def _unequal(session, _probe):
    data = loadmat(session.file, struct_as_record=True)
    types = data["SessionData"][0, 0]["TrialTypes"]
    data["SessionData"][0, 0]["TrialTypes"] = types[:, :-3]
    savemat(session.file, {"SessionData": data["SessionData"]}, long_field_names=True)


def _empty_folder(_session, probe):
    shutil.rmtree(probe.folder)
    probe.folder.mkdir()


RAW = {
    **FAULTS,
    "trial arrays of unequal length": (_unequal, "TrialTypes.*27"),
    "an empty probe folder": (_empty_folder, "empty"),
}


@pytest.mark.parametrize("fault", RAW)
def test_a_faulty_session_changes_nothing(fault, case):
    damage, message = RAW[fault]
    damage(case.session, case.probe)
    done = case.run("ingest")
    assert done.exit_code == 4, done.output
    told = reasons(done)
    assert len(told) == 1, done.output
    assert re.search(message, told[0]), told[0]
    near = [case.session.file.stem.split("_2")[0], case.probe.folder.name]
    assert any(name in told[0] for name in near)
    assert "1 failed" in done.stdout
    assert case.unchanged()
    # The same again for scripts, and by itself.
    listed = json.loads(case.run("status", "--json").stdout)["sources"]
    assert [s["status"] for s in listed].count("failed") == 1


def test_a_session_of_matlab_73_is_read_as_one_of_v5(case, whole):
    lab, _ = whole
    good = case.run("ingest")
    assert good.exit_code == 0
    expected = content(case.lake)
    write_v73(case.session.file, _plain(loadmat(lab.sessions[1].file)))
    assert case.session.file.read_bytes()[:10] == b"MATLAB 7.3"
    done = case.run("ingest")
    assert done.exit_code == 0, done.output
    assert "unchanged" not in reasons(done)
    assert content(case.lake) == expected


def _plain(value):
    """Turn what scipy read into what :mod:`matfiles` writes."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if not k.startswith("__")}
    if isinstance(value, np.ndarray) and value.dtype.names:
        rows = [{n: _plain(one[n]) for n in value.dtype.names} for one in value.ravel()]
        return rows[0] if len(rows) == 1 else StructArray(rows)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [_plain(one) for one in value.ravel()]
    return value


# ------------------------------------------------------------------------------- settings


def test_a_missing_root(case):
    shutil.rmtree(case.folder / "ephys")
    done = case.run("ingest")
    assert done.exit_code == 3
    assert len(done.stderr.splitlines()) == 1
    assert re.search(r"lake\.toml, line \d+, key ephys\.paths.*does not exist", done.stderr)
    assert "Correct the path" in done.stderr
    assert case.unchanged()


def test_a_misspelt_key(case):
    text = case.config.read_text(encoding="utf-8")
    case.config.write_text(text.replace("min_file_kib", "min_file_kb"), encoding="utf-8")
    done = case.run("ingest")
    assert done.exit_code == 3
    assert len(done.stderr.splitlines()) == 1
    assert re.search(r"line \d+.*min_file_kb.*min_file_kib", done.stderr)
    assert case.unchanged()


@pytest.mark.parametrize("predicate", ["trail <= 50", "trial", ""])
def test_a_condition_that_is_none(case, predicate):
    text = case.config.read_text("utf-8")
    try:
        case.config.write_text(f"{text}\n[conditions]\nbad = '{predicate}'\n", "utf-8")
        done = case.run("catalog")
    finally:
        case.config.write_text(text, "utf-8")
    assert done.exit_code == 3
    line = text.count("\n") + 3
    assert f"lake.toml, line {line}, key conditions.bad" in done.stderr
    assert case.unchanged()


def test_empty_folders(tmp_path):
    (tmp_path / "behavior").mkdir()
    (tmp_path / "lake.toml").write_text(
        "[behavior]\nrigs = [{ name = 'RRig', path = 'behavior' }]\n", encoding="utf-8"
    )
    done = Case(tmp_path, None, None, {}).run("ingest")
    assert done.exit_code == 0
    assert "no sources" in done.stdout


# ------------------------------------------------------------------------------- spreadsheets


def test_a_spreadsheet_row_for_no_session(case):
    rows = (case.folder / "insertions.csv").read_text(encoding="utf-8").splitlines()
    sheet = case.folder / "more.csv"
    changed = rows[-1].replace("2021-03-02", "2020-01-01")
    sheet.write_text(f"{rows[0]}\n{changed}\n", encoding="utf-8")
    done = case.run("load-insertion-location", str(sheet))
    assert done.exit_code == 4
    assert len(done.stderr.splitlines()) == 1
    assert re.search(r"more\.csv.*row 2.*no session", done.stderr), done.stderr
    assert case.unchanged()


def test_a_spreadsheet_with_a_wrong_cell(case):
    sheet = case.folder / "animals.csv"
    sheet.write_text(
        sheet.read_text(encoding="utf-8").replace("2021-01-04", "yesterday", 1), encoding="utf-8"
    )
    done = case.run("load-animal", str(sheet))
    assert done.exit_code == 4
    assert re.search(r"animals\.csv.*row 2.*yesterday", done.stderr), done.stderr
    assert case.unchanged()


# ------------------------------------------------------------------------------- the lake


def test_a_lake_of_a_newer_version(case):
    (case.lake / ".maplake" / "format.json").write_text('{"format_version": 999}', encoding="utf-8")
    for command in (["ingest"], ["sql", "FROM ephys.unit"], ["status"], ["check"], ["catalog"]):
        done = case.run(*command)
        assert done.exit_code == 5, command
        assert len(done.stderr.splitlines()) == 1
        assert "999" in done.stderr
        assert "Update maplake" in done.stderr
    assert case.unchanged()


def test_a_locked_lake(case):
    text = case.config.read_text(encoding="utf-8")
    short = text.replace('root = "lake"', 'root = "lake"\nlock_timeout_s = 0.1')
    case.config.write_text(short, encoding="utf-8")
    with write_lock(case.lake):
        done = case.run("ingest")
        assert done.exit_code == 6
        assert len(done.stderr.splitlines()) == 1
        assert re.search(r"another process is writing.*process \d+.*Wait", done.stderr)
        assert case.unchanged()
        assert case.run("sql", "FROM ephys.unit LIMIT 1").exit_code == 0  # reading needs no lock
    assert case.run("ingest").exit_code == 0


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("function", ["make_dir", "sync_file", "replace", "write_bytes"])
def test_a_disk_that_cannot_be_written_to(case, monkeypatch, code, function):
    whole = getattr(files, function)

    def refuse(*paths, **options):
        if any(Path(p).is_relative_to(case.lake) for p in paths if isinstance(p, Path)):
            raise OSError(code, {errno.EROFS: "Read-only file system"}.get(code, "No space left"))
        whole(*paths, **options)

    monkeypatch.setattr(files, function, refuse)
    done = case.run("ingest")
    assert done.exit_code == 5, done.output
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert str(case.lake) in lines[0]
    assert ("read-only" if code == errno.EROFS else "full") in lines[0]
    assert case.unchanged()
    monkeypatch.undo()
    assert case.run("ingest").exit_code == 0  # nothing was left behind that is in the way
    assert case.run("check", "--deep").exit_code == 0
