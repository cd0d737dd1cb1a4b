"""Commands killed where they touch the file system, and disks that fail: a sample.

``python tests/crash.py --all`` tries every point.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import faults
import pytest

HARNESS = Path(__file__).with_name("crash.py")
WHY_NOT = faults.why_not()


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
def test_whatever_happens_a_lake_is_as_before_or_as_after(tmp_path):
    report = tmp_path / "report.json"
    # A process of its own: only one without threads can be forked.
    done = subprocess.run(
        [sys.executable, str(HARNESS), "--sample", "--report", str(report)],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text(encoding="utf-8"))
    assert {tally["fault"] for tally in found["tallies"]} >= {"kill", "ENOSPC", "EIO on fsync"}
    killed = {tally["command"] for tally in found["tallies"] if tally["fault"] == "kill"}
    promised = {"ingest", "ingest --replace", "compute", "delete session", "rebuild", "compact"}
    assert killed >= promised
    assert sum(tally["cases"] for tally in found["tallies"]) >= 25


def passes(script, folder):
    """Run a script that is given this folder and one to write to, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent), str(folder)],
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
class TestWatch:
    """The harness itself: it sees what libraries written in C do, and stops it."""

    def test_sees_and_fails_calls(self, tmp_path):
        script = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import errno, pathlib, faults\n"
            "root = pathlib.Path(sys.argv[2])\n"
            "def work():\n"
            "    import pyarrow as pa, pyarrow.parquet as pq, zarr\n"
            "    pq.write_table(pa.table({'a': [1]}), root / 'a.parquet')\n"
            "    zarr.create_array(str(root / 'b.zarr'), data=__import__('numpy').arange(3))\n"
            "    return 0\n"
            "run = faults.watch(work, root, lambda op: None)\n"
            "assert run.code == 0, run.text\n"
            "assert {'a.parquet', 'b.zarr/zarr.json'} <= {o.other or o.path for o in run.ops}\n"
            "\n\n"
            "full = lambda op: errno.ENOSPC if op.kind == 'write' else None\n"
            "run = faults.watch(work, root, full)\n"
            "assert run.code == 99 and 'No space left' in run.text, run.text\n"
            "run = faults.watch(work, root, lambda op: 'kill' if op.number == 2 else None)\n"
            "assert run.code == -9 and len(run.ops) == 2, run\n"
        )
        passes(script, tmp_path)

    def test_tells_the_calls_of_a_process_from_those_of_the_ones_it_starts(self, tmp_path):
        script = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import pathlib, subprocess, faults\n"
            "root = pathlib.Path(sys.argv[2])\n"
            "def work():\n"
            "    (root / 'mine').mkdir()\n"
            "    place = str(root / 'theirs')\n"
            "    code = 'import os, sys; os.mkdir(sys.argv[1])'\n"
            "    found = subprocess.run([sys.executable, '-c', code, place]).returncode\n"
            "    (root / 'mine').rmdir()\n"
            "    return 3 if found == -9 else found\n"
            "seen = []\n"
            "run = faults.watch(work, root, seen.append, faults.OWN)\n"
            "assert [(o.number, o.path) for o in run.ops] == [(1, 'mine'), (2, 'mine')], run\n"
            "found = [(o.number, o.path) for o in seen]\n"
            "assert found == [(1, 'mine'), (0, 'theirs'), (2, 'mine')]\n"
            "(root / 'theirs').rmdir()\n"
            "kill = lambda op: 'kill' if op.number == 1 else None\n"
            "run = faults.watch(work, root, kill, faults.WORKERS)\n"
            "assert run.code == 3 and [o.path for o in run.ops] == ['theirs'], run\n"
            "assert not (root / 'theirs').exists()\n"
        )
        passes(script, tmp_path)
