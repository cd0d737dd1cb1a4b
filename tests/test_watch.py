"""Watching raw folders: whole sessions go in once, half-copied ones wait, broken ones are told."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from computelabs import make_lab
from labs import content, sql
from typer.testing import CliRunner

from maplake.config import load
from maplake.ingest import pipeline, rounds
from maplake.watch.health import health_file, read_health
from maplake.watch.watch import Settings, Watch

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
ROOT = Path(__file__).parents[1]
MINUTE = 60.0


@dataclass
class Arrivals:
    """A lab whose raw files arrive bit by bit in another folder."""

    source: Path
    folder: Path
    now: float = 0.0

    @property
    def config(self):
        return load(self.folder / "lake.toml")

    @property
    def sessions(self):
        names = (p.relative_to(self.source) for p in (self.source / "behavior").rglob("*.mat"))
        return sorted(names, key=lambda p: p.name)

    def probes(self, session):
        day = session.stem.split("_")[2]
        found = (self.source / "ephys").glob(f"*/{day}/*")
        return sorted(p.relative_to(self.source) for p in found)

    def copy(self, path, *, part=1.0):
        source, target = self.source / path, self.folder / path
        if source.is_dir():
            names = sorted(p.relative_to(self.source) for p in source.rglob("*") if p.is_file())
            for name in names[: int(len(names) * part)]:
                self.copy(name)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        body = source.read_bytes()
        target.write_bytes(body[: int(len(body) * part)])
        shutil.copystat(source, target)  # as copies that keep times do

    def arrive(self, session):
        for path in [session, *self.probes(session)]:
            self.copy(path)

    def watch(self, **options):
        made = Watch(self.config, Settings(**({"settle_s": 2 * MINUTE} | options)))
        made.settling.clock = lambda: self.now
        return made

    def minutes(self, watch, count):
        for _ in range(count):
            watch.round()
            self.now += MINUTE

    def in_lake(self):
        found = sql(self.config.lake.root, "SELECT session FROM experiment.session ORDER BY ALL")
        return found["session"].to_list()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watch") / "lab"
    return make_lab(folder, sessions=3, trials=12, units=3).directory


@pytest.fixture
def arrivals(source, tmp_path):
    folder = tmp_path / "lab"
    folder.mkdir()
    for path in source.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
        elif path.name != "lake":
            (folder / path.name).mkdir()
    return Arrivals(source, folder)


def test_an_hour_of_arrivals(arrivals, caplog):
    """One session whole, one copied slowly, one broken and mended; a crash in between."""
    caplog.set_level(logging.INFO, "maplake.watch")
    first, slow, broken = arrivals.sessions
    watch = arrivals.watch()
    arrivals.minutes(watch, 2)
    arrivals.arrive(first)
    arrivals.minutes(watch, 2)
    assert arrivals.in_lake() == []  # it has not settled
    assert watch.health.settling
    arrivals.minutes(watch, 2)
    assert arrivals.in_lake() == [1]

    for part in (0.2, 0.5, 0.7, 0.9):  # longer than it takes to settle, never at rest
        arrivals.copy(slow, part=part)
        for probe in arrivals.probes(slow):
            arrivals.copy(probe, part=part)
        arrivals.minutes(watch, 1)
    assert arrivals.in_lake() == [1]
    arrivals.arrive(slow)
    arrivals.copy(broken, part=0.5)
    for probe in arrivals.probes(broken):
        arrivals.copy(probe)
    arrivals.minutes(watch, 6)
    assert arrivals.in_lake() == [1, 2]
    assert list(watch.health.problems) == [f"behavior {broken.stem}"]

    after_crash = arrivals.watch()
    arrivals.minutes(after_crash, 8)
    ours = [r for r in caplog.records if r.name == "maplake.watch"]
    told = [r for r in ours if r.levelno >= logging.ERROR and broken.name in r.message]
    assert len(told) == 1
    arrivals.arrive(broken)
    arrivals.minutes(after_crash, 4)
    assert arrivals.in_lake() == [1, 2, 3]
    assert after_crash.health.problems == {}
    came = [r.message for r in caplog.records if r.message.startswith("in: behavior")]
    assert len(came) == len(set(came)) == 3

    whole = make_whole(arrivals)
    assert content(arrivals.config.lake.root) == content(whole)


def make_whole(arrivals):
    """The same raw files, taken in at once."""
    folder = arrivals.folder.with_name("whole")
    shutil.copytree(arrivals.folder, folder, ignore=shutil.ignore_patterns("lake"))
    Watch(load(folder / "lake.toml"), Settings(settle_s=0)).round()
    return folder / "lake"


def test_a_broken_session_is_not_read_again_and_again(arrivals, monkeypatch):
    broken = arrivals.sessions[0]
    arrivals.copy(broken, part=0.5)
    watch = arrivals.watch(settle_s=0)
    arrivals.minutes(watch, 1)
    assert watch.health.problems
    monkeypatch.setattr(rounds, "stage_session", None)  # would fail if it were called
    arrivals.minutes(watch, 2)
    assert watch.health.fault is None


def test_a_round_that_cannot_run_is_told_once_and_tried_again(arrivals, caplog):
    caplog.set_level(logging.INFO, "maplake.watch")
    arrivals.arrive(arrivals.sessions[0])
    watch = arrivals.watch(settle_s=0)
    away = (arrivals.folder / "ephys").rename(arrivals.folder / "unmounted")
    arrivals.minutes(watch, 3)
    assert "does not exist" in watch.health.fault
    assert sum(r.levelno == logging.ERROR for r in caplog.records) == 1
    assert watch.health.last_success is None
    away.rename(arrivals.folder / "ephys")
    arrivals.minutes(watch, 1)
    assert watch.health.fault is None
    assert watch.health.last_success
    assert arrivals.in_lake() == [1]


def test_computes_and_reports_only_after_a_change(arrivals):
    drawn = []
    watch = arrivals.watch(settle_s=0)
    watch.report = lambda: drawn.append(arrivals.in_lake())
    arrivals.minutes(watch, 3)
    arrivals.arrive(arrivals.sessions[0])
    arrivals.minutes(watch, 3)
    assert drawn == [[], [1]]
    computed = sql(arrivals.config.lake.root, "SELECT count(*) FROM ephys.unit_cell_type").item()
    assert computed > 0


def test_health_file_and_status(arrivals, tmp_path):
    arrivals.copy(arrivals.sessions[0], part=0.5)
    watch = arrivals.watch(settle_s=0)
    watch.run(rounds=1)
    health = read_health(health_file(arrivals.config.lake.root))
    assert (health.state, health.rounds, health.pid) == ("stopped", 1, os.getpid())
    assert health.last_success
    assert len(health.problems) == 1
    app = __import__(f"{PACKAGE}.main", fromlist=["app"]).app
    args = ["--config", str(arrivals.folder / "lake.toml"), "status"]
    assert health.last_success[:16].replace("T", " ") in CliRunner().invoke(app, args).stdout
    document = json.loads(CliRunner().invoke(app, [*args, "--json"]).stdout)
    assert document["watch"]["problems"] == health.problems
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    assert read_health(bad) is None


@pytest.fixture
def start(arrivals):
    """Start watches in processes of their own; none outlives its test."""
    started = []
    yield lambda: started.append(process_of(arrivals)) or started[-1]
    for process in started:
        process.kill()
        process.communicate()


def process_of(arrivals):
    return subprocess.Popen(
        [sys.executable, "-m", PACKAGE, "--config", str(arrivals.folder / "lake.toml"), "watch",
         "--interval", "0.2", "--settle", "0.5"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_killed_and_ended_by_signals(arrivals, start):
    root = arrivals.config.lake.root
    killed = start()
    arrivals.arrive(arrivals.sessions[0])
    wait_for(lambda: (root / ".maplake" / "staging").is_dir() and any_staged(root))
    killed.kill()
    killed.wait()
    again = start()
    wait_for(lambda: (root / "tables" / "experiment" / "session").is_dir())
    again.send_signal(signal.SIGTERM)
    _, log = again.communicate(timeout=60)
    assert again.returncode == 0, log
    assert "stopped" in log
    assert "Traceback" not in log
    assert read_health(health_file(root)).state == "stopped"
    assert not any((root / ".maplake" / "staging").iterdir())
    assert arrivals.in_lake() == [1]
    report = pipeline.run(arrivals.config)
    assert "behavior" not in {source.kind for source in report.sources if source.status == "in"}


def any_staged(root):
    staging = root / ".maplake" / "staging"
    return any("part.parquet" in names for _, _, names in os.walk(staging))
