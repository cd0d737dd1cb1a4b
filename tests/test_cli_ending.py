"""How commands end that are not done: unread, interrupted, or asked wrongly."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time

import pytest
from clirun import PACKAGE, ROOT, faults, home, main, process, run
from typer.main import get_command

import maplake

__all__ = ["home"]  # fixture


# What is more than a buffer holds, what is less, and what typer prints before there is a command.
@pytest.mark.parametrize("words", [["erd"], ["erd", "--schema", "lab"], ["--version"]])
def test_a_command_that_nobody_reads_ends_quietly(words):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", PACKAGE, *words], env=environment, stdout=-1, stderr=-1
    ) as started:
        started.stdout.close()
        said = started.stderr.read()
        assert started.wait(120) == faults.UNREAD
    assert said == b""


def fails(number):
    def fail(*_args):
        raise OSError(number, os.strerror(number))

    return fail


def test_what_windows_says_of_a_closed_pipe(monkeypatch):
    monkeypatch.setattr(maplake, "open", fails(errno.EINVAL))
    done = run("sql", "SELECT 1", "--csv")
    assert done.exit_code == faults.UNEXPECTED, "an EINVAL of something else"
    monkeypatch.setattr(sys.stdout.__class__, "flush", fails(errno.EINVAL))
    assert faults._is_unread(OSError(errno.EINVAL, "Invalid argument"))
    assert not faults._is_unread(OSError(errno.ENOSPC, "No space left on device"))


def test_an_interrupted_command_says_so(monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(maplake, "open", interrupted)
    done = run("sql", "SELECT 1")
    assert (done.exit_code, done.stderr) == (130, "interrupted\n")


_WAITING = """
import os, signal, threading, time
from maplake.executors import Processes

def interrupt():
    time.sleep(3)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

if __name__ == "__main__":
    threading.Thread(target=interrupt).start()
    with Processes(2) as pool:
        list(pool.run(time.sleep, [60, 60]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of threads")
def test_workers_end_soon_also_where_a_signal_does_not_end_a_wait(tmp_path):
    file = tmp_path / "waiting.py"
    file.write_text(_WAITING, encoding="utf-8")
    started = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, file], env=environment, stderr=-1, check=False)
    assert b"KeyboardInterrupt" in done.stderr
    assert time.monotonic() - started < 40


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["psth", "dl25", "--json"], "Missing argument", "`maplake psth --help`"),
        (["psth", "dl25", "x", "--json"], "integer", "`maplake psth --help`"),
        (["tables", "--jsno", "--json"], "No such option", "`maplake tables --help`"),
        (["export", "mat", "--json"], "say what", "`maplake export mat --help`"),
        (["psht", "--json"], "Did you mean 'psth'", "`maplake --help`"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_json_too(words, said, hint):
    done = run(*words)
    assert done.exit_code == 2
    found = json.loads(done.stderr)
    assert (found["error"], found["exit_code"]) == ("UsageError", 2)
    assert said in found["message"]
    assert found["hint"] == f"{hint} tells more."
    assert "Usage:" in run(*words[:-1]).stderr or words[0] == "tables"


VALUED = [o.opts[0] for o in get_command(main.app).params if not o.is_flag and o.opts != ["--help"]]


@pytest.mark.parametrize("option", VALUED)
def test_the_value_of_a_global_option_is_not_taken_for_the_command(option):
    """Only the command that is asked for is made ready, so it is told from the words before it."""
    done = process(option, "init", "--quiet", "status", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "maplake status [OPTIONS]" in done.stdout


@pytest.mark.parametrize(("words", "said"), [
    (("sql", "SELECT 1 AS one", "--csv"), "one 1"),
    (("status",), "no sources: lake.toml names no folders, or there is nothing in them"),
])  # fmt: skip
def test_a_command_ends_without_a_word_of_libraries(home, words, said):
    """They may have their say when Python ends: of what was not given back, for one."""
    assert process("init", cwd=home).returncode == 0
    done = process(*words, cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert " ".join(done.stdout.split()).startswith(said)
