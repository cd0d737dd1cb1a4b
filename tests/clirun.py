"""The command line under test: as a function call, and as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

# Installed it is maplake_cli; in a checkout it is the folder cli.
PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
main = __import__(f"{PACKAGE}.main", fromlist=["app"])
output = __import__(f"{PACKAGE}.output", fromlist=["plain"])
faults = __import__(f"{PACKAGE}.faults", fromlist=["EXIT_CODES"])

ROOT = Path(__file__).parents[1]
COMMANDS = get_command(main.app).commands


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A folder with settings and no environment of the user's."""
    for name in ("MAPLAKE_CONFIG", "MAPLAKE_LOGLEVEL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "lake.toml").write_text("[lake]\nroot = 'lake'\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args, **options):
    return CliRunner().invoke(main.app, list(args), prog_name="maplake", **options)


def process(*args, cwd=None, **options):
    """Run the real command in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", PACKAGE, *args],
        capture_output=True, text=True, encoding="utf-8", env=environment, cwd=cwd, timeout=120,
        check=False, **options,
    )  # fmt: skip


@pytest.fixture
def fake(monkeypatch):
    """Replace a library function by one that returns or raises, and keeps its arguments."""

    def fake(where: str, result):
        calls = []

        def call(*args, **kwargs):
            calls.append((args, kwargs))
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(where, call)
        return calls

    return fake
