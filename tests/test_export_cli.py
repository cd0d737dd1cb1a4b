"""The command export: choices, exit codes, what it prints; and a real session through it."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
from lakefiles import small_lake
from scipy.io import loadmat
from typer.testing import CliRunner

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
main = __import__(f"{PACKAGE}.main", fromlist=["app"])
REAL = "real/bpod_mat/map-ephys/dl25_tw2_20180225_102508.mat"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli") / "lake"
    small_lake(root)
    return root


@pytest.fixture
def run(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAPLAKE_CONFIG", raising=False)

    def run(*args):
        arguments = ["--lake", str(root), "export", *map(str, args)]
        return CliRunner().invoke(main.app, arguments, prog_name="maplake")

    return run


def test_a_file_per_insertion(run, tmp_path):
    done = run("mat", "--subject", "xx101", "--session", 1, "--out", "mat")
    assert done.exit_code == 0, done.output
    names = [Path(line).name for line in done.stdout.splitlines()]
    assert names == [f"map-export_xx101_20240101_100000_s1_p{n}.mat" for n in (1, 2)]
    assert sorted(path.name for path in (tmp_path / "mat").iterdir()) == names
    again = run("mat", "--subject", "xx101", "--session", 1, "--out", "mat", "--json")
    assert again.exit_code == 1
    assert all("--force" in file["reason"] for file in json.loads(again.stdout)["files"])
    options = ("--insertion", 1, "--out", "mat", "--force")
    assert run("mat", "--subject", "101", "--session", 1, *options).exit_code == 0


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["mat"], 2, "say what"),
        (["mat", "--subject", "nobody"], 1, "xx101 (101)"),
        (["mat", "--subject", "101", "--session", "9"], 1, "xx101 session 2"),
        (["npz", "--all"], 1, "has a place in the CCF"),
        (["npz", "--all", "--condition", "x"], 1, "no trial condition"),
        (["nwb", "--all", "--timezone", "Mars"], 1, "time zone"),
        (["parquet"], 2, "--sql or --table"),
        (["parquet", "--sql", "SELECT 1", "--out", "folder"], 2, ".parquet"),
        (["parquet", "--table", "ephys.unti"], 1, "ephys.unit"),
        (["lake", "--where", "nothing = 1"], 1, "nothing"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_exit_codes(run, tmp_path, args, code, said):
    if args[0] == "nwb":
        pytest.importorskip("pynwb", reason="needs pynwb: pip install 'maplake[nwb]'")
    done = run(*args)
    assert done.exit_code == code, done.output
    assert said in " ".join((done.stdout + done.stderr).split())
    assert not list(tmp_path.iterdir())


def test_rows_and_a_smaller_lake(run, tmp_path):
    done = run("parquet", "--table", "ephys.unit", "--where", "unit = 7", "--out", "u.parquet")
    assert done.exit_code == 0, done.output
    assert "u.parquet" in done.stdout
    done = run("lake", "--subject", "102", "--out", "new", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["animals"], facts["sessions"], facts["insertions"]) == (1, 1, 2)
    assert (tmp_path / "new" / "lake.duckdb").exists()


def test_a_real_session(tmp_path, monkeypatch):
    folder = os.environ.get("MAPLAKE_TEST_DATA")
    if not folder:
        pytest.skip("MAPLAKE_TEST_DATA is not set: no real files")
    pynwb = pytest.importorskip("pynwb", reason="needs pynwb: pip install 'maplake[nwb]'")
    monkeypatch.chdir(tmp_path)
    rig = tmp_path / "rig" / "dl25" / "tw2" / "Session Data"
    rig.mkdir(parents=True)
    shutil.copy(Path(folder) / REAL, rig)
    (tmp_path / "lake.toml").write_text(
        "[lake]\nroot = 'lake'\n[behavior]\nmin_file_kib = 0\n"
        "rigs = [{ name = 'RRig', path = 'rig' }]\n[spreadsheets]\nanimals = ['animals.csv']\n",
        encoding="utf-8",
    )
    (tmp_path / "animals.csv").write_text(
        "subject_id,water_restriction_number,username,cage_number,date_of_birth,sex,animal_source,"
        "wr_start_date,wr_start_weight\n123,dl25,ada,1,,F,x,2018-01-01,20\n",
        encoding="utf-8",
    )
    for args in (["ingest"], ["export", "nwb", "--all", "--timezone", "UTC"]):
        done = CliRunner().invoke(main.app, args, prog_name="maplake")
        assert done.exit_code == 0, done.output
    (file,) = tmp_path.glob("sub-123/*.nwb")
    assert file.name == "sub-123_ses-20180225T112328_behavior.nwb"
    raw = loadmat(Path(folder) / REAL, squeeze_me=True, struct_as_record=False)["SessionData"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pynwb.NWBHDF5IO(str(file), mode="r") as io:
            session = io.read()
            starts = session.trials["start_time"][:]
            went = session.acquisition["BehavioralEvents"]["go_start_times"].data[:]
            age = session.subject.age
        inspector = pytest.importorskip("nwbinspector", reason="needs nwbinspector")
        found = list(inspector.inspect_nwbfile(nwbfile_path=file))
    assert starts.tolist() == (raw.TrialStartTimestamp - raw.TrialStartTimestamp[0]).tolist()
    assert set(went.tolist()) == set(range(1, len(starts) + 1))
    assert age == "P1D/"  # the sheet does not say when the animal was born
    worst = inspector.Importance.BEST_PRACTICE_VIOLATION.value
    assert [m.message for m in found if m.importance.value >= worst] == []
