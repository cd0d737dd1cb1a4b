"""Many processes and machines: the same lake as one process makes, whoever dies on the way."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from labs import content
from typer.testing import CliRunner

from cli.main import app
from maplake import simulate
from maplake.config import load
from maplake.errors import ClusterError, WorkerLostError
from maplake.executors import Processes, is_cluster, open_executor
from maplake.ingest import pipeline

ROOT = Path(__file__).resolve().parent.parent
POSIX = pytest.mark.skipif(os.name == "nt", reason="kills processes as POSIX does")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return simulate.lab(
        tmp_path_factory.mktemp("lab"), animals=2, sessions=2, probes=1, trials=20, units=5,
        sorting=simulate.Sorting(pc_features=False), recording=simulate.Recording(channels=48),
    )  # fmt: skip


@pytest.fixture(scope="module")
def serial(lab):
    """The content of the lake that one process makes."""
    config = load(lab.config)
    assert not pipeline.run(config).failed
    return content(config.lake.root)


def other_lake(lab, folder):
    config = load(lab.config)
    return replace(config, lake=replace(config.lake, root=folder / "lake"))


def run_python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", code, *map(str, arguments)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


# Functions that workers import.


def square(number):
    return number * number


def die_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(task):
    mark, number = task
    if number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail_at_two(number):
    if number == 2:
        raise ZeroDivisionError
    return number


class TestProcesses:
    def test_every_task_has_its_result(self):
        with open_executor(2) as executor:
            assert dict(executor.run(square, range(8))) == {n: n * n for n in range(8)}
            assert dict(executor.run(square, [])) == {}

    @POSIX
    def test_a_task_that_kills_its_worker_is_the_only_one_lost(self):
        with Processes(2) as executor:
            found = dict(executor.run(die_at_three, range(6)))
        assert isinstance(found.pop(3), WorkerLostError)
        assert found == {n: n for n in (0, 1, 2, 4, 5)}

    @POSIX
    def test_a_worker_that_is_killed_once_is_replaced(self, tmp_path):
        mark = tmp_path / "mark"
        with Processes(2) as executor:
            found = executor.run(die_once, [(mark, n) for n in range(4)])
            assert sorted(result for _, result in found) == [0, 1, 2, 3]

    def test_an_error_of_the_function_is_raised(self):
        with pytest.raises(ZeroDivisionError), Processes(2) as executor:
            list(executor.run(fail_at_two, range(4)))

    def test_what_names_a_cluster(self):
        assert is_cluster("tcp://a:1")
        assert is_cluster("tls://a:1")
        assert is_cluster("/shared/scheduler.json")
        assert not any(is_cluster(word) for word in ("", "threads", "processes", "synchronous"))


INGEST = """
import sys
from dataclasses import replace
from pathlib import Path
from maplake.config import load
from maplake.ingest import pipeline
if __name__ == "__main__":
    config = load(Path(sys.argv[1]))
    config = replace(config, lake=replace(config.lake, root=Path(sys.argv[2])))
    report = pipeline.run(config, workers=2)
    print("failed:", [s.reason for s in report.sources if s.status == "failed"])
"""


def children(pid):
    """The processes that a process started."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()[1:]]
    return [int(r[0]) for r in rows if r[1] == str(pid) and "spawn_main" in r[2]]


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    pytest.fail("waited in vain")


def staged(root):
    return any((root / ".maplake" / "staging").glob("*/tables"))


@POSIX
class TestIngest:
    def test_a_killed_worker_costs_nothing(self, lab, serial, tmp_path):
        code = tmp_path / "run.py"
        code.write_text(INGEST)
        root = tmp_path / "lake"
        run = run_python(code, lab.config, root)
        wait_for(lambda: staged(root) and children(run.pid))
        os.kill(children(run.pid)[0], signal.SIGKILL)
        out, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
        assert "failed: []" in out
        assert content(root) == serial
        assert not list((root / ".maplake" / "staging").iterdir())

    def test_ctrl_c_stops_at_once_and_leaves_nothing_behind(self, lab, tmp_path):
        root = tmp_path / "lake"
        run = subprocess.Popen(
            [sys.executable, "-m", "cli", "--config", str(lab.config), "--lake", str(root),
             "ingest", "--workers", "2"],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_for(lambda: staged(root) and children(run.pid))
        workers = children(run.pid)
        begin = time.monotonic()
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the whole group
        _, err = run.communicate(timeout=30)
        assert time.monotonic() - begin < 10
        assert run.returncode == 130
        assert "Traceback" not in err
        for folder in ("staging", "journal"):
            found = root / ".maplake" / folder
            assert not found.exists() or not list(found.iterdir())
        for pid in workers:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


CLUSTER = """
import os, signal, sys, threading, time
from dataclasses import replace
from pathlib import Path
from distributed import Client, LocalCluster
from maplake.config import load
from maplake.compute.run import run as compute
from maplake.ingest import pipeline

def kill_one(client, pids, root):
    busy = []
    while not busy:
        time.sleep(0.01)
        if any((root / ".maplake" / "staging").glob("*/tables")):
            busy = [worker for worker, tasks in client.processing().items() if tasks]
    os.kill(pids[busy[0]], signal.SIGKILL)
    print("killed", flush=True)

if __name__ == "__main__":
    root = Path(sys.argv[2])
    config = load(Path(sys.argv[1]))
    config = replace(config, lake=replace(config.lake, root=root))
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster, Client(cluster) as client:
        pids = client.run(os.getpid)
        thread = threading.Thread(target=kill_one, args=(client, pids, root), daemon=True)
        thread.start()
        report = pipeline.run(config, scheduler=cluster.scheduler_address)
        thread.join(5)
        print("ingest:", [s.reason for s in report.sources if s.status == "failed"])
        done = compute(config, ["ephys.unit_cell_type"], scheduler=cluster.scheduler_address)
        print("compute:", done.failed, len(done.done))
"""


@POSIX
def test_a_dask_cluster_makes_the_same_lake_though_a_worker_dies(lab, serial, tmp_path):
    pytest.importorskip("distributed", reason="needs maplake[dask]")
    code = tmp_path / "run.py"
    code.write_text(CLUSTER)
    root = tmp_path / "lake"
    run = run_python(code, lab.config, root)
    out, err = run.communicate(timeout=180)
    assert run.returncode == 0, err
    assert "killed" in out, err
    assert "ingest: []" in out, out + err
    assert "compute: 0 4" in out, out + err
    found = content(root)
    assert {path: found.get(path) for path in serial} == serial


def test_other_code_on_a_worker_is_told():
    from maplake import cluster

    here = cluster.code_version()
    assert set(here) >= {"maplake", "pyarrow"}
    cluster._compare(here, dict(here), "w")
    with pytest.raises(ClusterError, match=r"worker tcp://w.*pyarrow 1\.0") as caught:
        cluster._compare(here, here | {"pyarrow": "1.0"}, "tcp://w")
    assert caught.value.exit_code == 3


def test_a_scheduler_that_is_not_there(lab, monkeypatch):
    pytest.importorskip("distributed", reason="needs maplake[dask]")
    from maplake import cluster

    monkeypatch.setattr(cluster, "_CONNECT_S", 0.3)
    with (
        pytest.raises(ClusterError, match="does not answer"),
        open_executor(1, "tcp://127.0.0.1:9"),
    ):
        pass
    with pytest.raises(ClusterError, match="does not answer"), open_executor(1, "/none/s.json"):
        pass
    found = CliRunner().invoke(
        app, ["--config", str(lab.config), "ingest", "--scheduler", "nowhere"]
    )
    assert found.exit_code == 2


@POSIX
def test_printed_commands_may_run_all_at_once_and_again(lab, serial, tmp_path):
    root = tmp_path / "a lake"
    options = ["--config", str(lab.config), "--lake", str(root), "--quiet"]
    printed = CliRunner().invoke(app, [*options, "ingest", "--print-commands"])
    assert printed.exit_code == 0, printed.output
    lines = printed.stdout.splitlines()
    assert len(lines) == 4
    assert not any("part.parquet" in path and "session=" in path for path in content(root))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    jobs = [subprocess.Popen(line, shell=True, cwd=ROOT, env=environment) for line in lines]  # noqa: S602
    assert [job.wait(120) for job in jobs] == [0] * 4
    assert content(root) == serial
    again = subprocess.run(
        [*shlex.split(lines[0]), "--json"], cwd=ROOT, env=environment, capture_output=True
    )
    assert set(json.loads(again.stdout)["counts"]) == {"unchanged"}
    empty = CliRunner().invoke(app, [*options, "ingest", "--print-commands", "--json"])
    assert json.loads(empty.stdout) == {"commands": []}


def test_printed_commands_read_where_they_run_whatever_the_settings_say_of_dask(lab, tmp_path):
    settings = lab.config.with_name("of_a_cluster.toml")
    text = lab.config.read_text(encoding="utf-8")
    settings.write_text(f'{text}\n[dask]\nscheduler = "tcp://localhost:1"\n', encoding="utf-8")
    options = ["--config", str(settings), "--lake", str(tmp_path / "lake"), "--quiet"]
    printed = CliRunner().invoke(app, [*options, "ingest", "--print-commands"])
    assert printed.exit_code == 0, printed.output
    first = shlex.split(printed.stdout.splitlines()[0])
    assert first[first.index("--scheduler") + 1] == "none"
    done = CliRunner().invoke(app, first[first.index("--config") :])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "lake" / "tables" / "experiment" / "session_trial").is_dir()
