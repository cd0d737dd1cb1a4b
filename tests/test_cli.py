"""The command line: what it prints where, exit codes, and that it is documented."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from clirun import COMMANDS, PACKAGE, ROOT, fake, faults, home, output, process, run
from rich.console import Console
from rich.table import Table

from maplake.errors import CorruptFileError, LakeLockedError
from maplake.ingest.report import Report, SourceReport

__all__ = ["fake", "home"]  # fixtures


# ------------------------------------------------------------------------------- help and docs


def parameters(name):
    """Those of a command, or of all commands of a group."""
    below = getattr(COMMANDS[name], "commands", {}).values()
    return [p for command in (COMMANDS[name], *below) for p in command.params]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_page_with_examples(name):
    assert COMMANDS[name].help
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    assert section, f"docs/cli.md lacks {name}"
    assert re.search(rf"^maplake .*\b{name}\b", section[1], re.MULTILINE)
    for option in re.findall(r"--[a-z-]+", section[1]):
        known = {o for p in parameters(name) for o in (*p.opts, *p.secondary_opts)}
        known |= {"--lake", "--config", "--snapshot"}
        assert option in known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_has_help(name):
    for parameter in parameters(name):
        assert parameter.help, f"{name} {parameter.name}"
    assert run(name, "--help").exit_code == 0


def test_commands_are_those_promised():
    assert set(COMMANDS) >= {
        "init", "ingest", "status", "tables", "erd", "sql", "psth", "load-animal",
        "load-insertion-location", "rebuild", "check", "catalog", "shell", "demo", "archived",
        "restore",
    }  # fmt: skip


def test_exit_codes_are_documented_the_same_everywhere():
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    text = " ".join(re.sub("[│•]", " ", run("--help").stdout).split())
    for code, meaning in faults.EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in page
        assert f"{code}: {meaning}" in text


def test_help_imports_nothing_heavy():
    heavy = ("duckdb", "polars", "scipy", "numpy", "pyarrow", "matplotlib", "zarr", "h5py")
    script = (
        f"import sys\nfrom {PACKAGE}.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment,
        encoding="utf-8", check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr.strip() == "[]"


def test_version():
    assert run("--version").stdout.startswith("maplake ")


# ------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--help"], 0),
        (["nonsense"], 2),
        (["ingest", "--workers", "0"], 2),
        (["ingest", "nonsense"], 2),
        (["sql", "SELECT 1", "--csv", "--json"], 2),
        (["--config", "nothing.toml", "status"], 3),
        (["catalog"], 5),
        (["tables", "ephys.unti"], 1),
        *((["--lake", "nowhere", *words], 5) for words in (["check"], ["status"], ["log"])),
        (["--lake", "nowhere", "sql", "SELECT 1"], 5),
    ],
)
def test_exit_codes(args, code):
    assert run(*args).exit_code == code


def test_exit_code_of_a_process(home):
    done = process("--config", "nothing.toml", "status", cwd=home)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("error: nothing.toml: there is no such settings file")
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["status", "--help"], 0, "by session and source"),
        (["publish", "--help"], 0, "manifest"),  # a group of commands
        (["--quiet", "status", "--help"], 0, "by session and source"),
        (["statsu"], 2, "Did you mean 'status'"),
        (["--help"], 0, "demo"),
    ],
)
def test_a_process_knows_all_commands_though_it_makes_one_ready(home, args, code, said):
    done = process(*args, cwd=home)
    assert done.returncode == code
    assert said in re.sub(r"[│\s]+", " ", done.stdout + done.stderr)


@pytest.mark.parametrize("words", [["compact"], ["delete", "session", "MK001", "1"]])
def test_what_only_looks_does_not_undo(home, words):
    done = run(*words, "--undo", "--dry-run")
    assert done.exit_code == 2
    assert "choose one of" in done.stderr


def test_error_as_json_keeps_standard_output_clean():
    done = run("--config", "nothing.toml", "status", "--json")
    assert done.stdout == ""
    error = json.loads(done.stderr)
    assert (error["error"], error["exit_code"]) == ("ConfigError", 3)


def test_locked_lake(fake):
    fake("maplake.ingest.pipeline.run", LakeLockedError("is being written to", hint="Wait."))
    done = run("ingest")
    assert done.exit_code == 6
    assert "is being written to. Wait." in done.stderr


def test_unexpected_errors_are_short_unless_debugging(fake):
    fake("maplake.ingest.pipeline.run", RuntimeError("[bold]oops"))
    done = run("ingest")
    assert done.exit_code == 70
    assert "unexpected RuntimeError: [bold]oops" in done.stderr
    assert "--debug" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("--debug", "ingest")
    assert done.exit_code == 70
    assert "Traceback" in done.stderr
    assert json.loads(run("ingest", "--json").stderr)["exit_code"] == 70


def test_debug_shows_where_our_own_errors_come_from(fake):
    fake("maplake.ingest.pipeline.run", CorruptFileError("is cut off", file="a.mat"))
    assert "Traceback" in run("--debug", "ingest").stderr


# ------------------------------------------------------------------------------- data in


def test_init_writes_settings_and_makes_the_lake(home):
    (home / "lake.toml").unlink()
    done = run("init")
    assert done.exit_code == 0, done.output
    assert "wrote lake.toml" in done.stdout
    assert (home / "lake" / "lake.duckdb").exists()
    again = run("init")
    assert again.exit_code == 0
    assert "wrote" not in again.stdout


SOURCES = [
    SourceReport("behavior", "dl25_a", "in", None, 7, 1, h2o="dl25", rows=9, skipped={"trial": 2}),
    SourceReport("ephys", "dl25/1", "failed", "it is broken", 7, 1, 1, h2o="dl25"),
    SourceReport("behavior", "dl25_b", "unchanged", h2o="dl25"),
]


def test_ingest_reports_and_fails_with_4(fake):
    calls = fake("maplake.ingest.pipeline.run", Report(SOURCES))
    done = run("ingest", "behavior", "insertion-location", "--subject", "dl25", "--workers", "2")
    assert done.exit_code == 4
    ((config,), options) = calls[0]
    assert config.lake.root.name == "lake"
    assert options["kinds"] == ["behavior", "insertion_location"]
    assert (options["subject"], options["workers"], options["dry_run"]) == ("dl25", 2, False)
    assert options["progress"] is None  # nobody watches
    assert "it is broken" in done.stdout
    assert "dl25_b" not in done.stdout
    assert done.stdout.endswith("1 failed, 1 in, 1 unchanged; 2 trials left out\n")


def test_ingest_as_json(fake):
    fake("maplake.ingest.pipeline.run", Report(SOURCES))
    done = run("ingest", "--json")
    assert done.exit_code == 4
    report = json.loads(done.stdout)
    assert report["counts"] == {"in": 1, "failed": 1, "unchanged": 1}
    assert report["skipped_trials"] == 2
    assert report["failed"] is True
    assert report["sources"][1]["reason"] == "it is broken"
    assert done.stderr == ""


def test_ingest_with_nothing_to_do(fake):
    fake("maplake.ingest.pipeline.run", Report(SOURCES[2:]))
    done = run("ingest")
    assert done.exit_code == 0
    assert done.stdout == "nothing to do: 1 unchanged\n"


def test_status(fake):
    fake("maplake.ingest.status.status", SOURCES)
    done = run("status")
    assert done.exit_code == 0
    assert "it is broken" in done.stdout
    assert json.loads(run("status", "--json").stdout)["skipped_trials"] == 2


@pytest.mark.parametrize(("sessions", "is_compact"), [(199, False), (200, False), (200, True)])
def test_status_of_a_large_lake_names_what_makes_it_quick(fake, home, sessions, is_compact):
    many = [replace(SOURCES[0], subject_id=1, session=n) for n in range(sessions)]
    fake("maplake.ingest.status.status", many)
    if is_compact:
        (home / "lake" / ".maplake").mkdir(parents=True, exist_ok=True)
        (home / "lake" / ".maplake" / "compact.json").write_text(
            '{"tables": ["ephys.unit", "ephys.unit_waveform"]}', "utf-8"
        )
    done = run("status")
    assert ("maplake compact" in done.stderr) == (sessions == 200 and not is_compact)


def test_rebuild(fake):
    calls = fake("maplake.ingest.pipeline.rebuild", Report(SOURCES[:1]))
    assert run("rebuild", "--workers", "3").exit_code == 0
    assert calls[0][1]["workers"] == 3


@dataclass
class Changes:
    added: int = 1
    changed: int = 2
    unchanged: int = 3
    problems: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=lambda: ["+ dl25"])


@pytest.mark.parametrize(
    ("command", "where"),
    [
        ("load-animal", "maplake.ingest.animals.load_animals"),
        ("load-insertion-location", "maplake.ingest.locations.load_insertion_location"),
    ],
)
def test_loading_sheets(fake, command, where):
    calls = fake(where, Changes())
    done = run(command, "a.xlsx", "--dry-run")
    assert done.exit_code == 0
    assert calls[0][0][1:] == (Path("a.xlsx"), True)
    assert done.stdout == "+ dl25\nwould be: 1 added, 2 changed, 3 unchanged\n"
    fake(where, Changes(problems=["row 3: no session"]))
    done = run(command, "a.xlsx", "--json")
    assert done.exit_code == 4
    assert json.loads(done.stdout)["problems"] == ["row 3: no session"]


# ------------------------------------------------------------------------------- care


def test_catalog(home):
    assert run("init").exit_code == 0
    (home / "lake" / "lake.duckdb").unlink()
    assert run("catalog").exit_code == 0
    assert (home / "lake" / "lake.duckdb").exists()


def test_lake_without_settings(home):
    run("init")
    (home / "lake.toml").unlink()
    assert run("catalog").exit_code == 3
    assert run("--lake", "lake", "catalog").exit_code == 0


# ------------------------------------------------------------------------------- output


def test_plain_values():
    values = {"nan": float("nan"), "list": (1, None), "path": Path("a"), "bytes": b"\x01"}
    assert output.plain(values) == {"nan": None, "list": [1, None], "path": "a", "bytes": "01"}


def test_a_table_off_a_terminal_is_that_of_rich_without_its_lines(capsys):
    rows = [
        {"n": i, "text": "x" * (i % 7), "wide": None if i % 2 else "é脳" * (i % 3), "x": i * 1.5}
        for i in range(20)
    ]
    output.Output().table(rows)
    stream = io.StringIO()
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, justify="right" if name in ("n", "x") else "left")
    for row in rows:
        table.add_row(*(output.cell_text(value) for value in row.values()))
    Console(file=stream, width=10_000).print(table)
    assert capsys.readouterr().out == stream.getvalue()


def test_one_long_reason_does_not_fill_the_other_lines_of_a_table(capsys):
    rows = [{"name": "a", "reason": "long " * 100}, {"name": "b", "reason": None}]
    output.Output().table(rows)
    assert [len(line) for line in capsys.readouterr().out.splitlines()] == [12, 505, 1]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_do_not_command_the_terminal(monkeypatch, capsys, is_terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    name = "a\x1b]0;owned\x07\x1b[2J\x9b2Jb\rc"
    out = output.Output()
    out.line(name)
    out.note(name)
    out.table([{name: name}])
    out.fault(name)
    said = "".join(capsys.readouterr())
    assert said.count("a]0;owned[2J2Jbc") == 5
    styles = re.sub(r"\x1b\[[0-9;]*m", "", said)  # those of rich itself
    assert not [c for c in styles if not c.isprintable() and c != "\n"]
