"""The command line: what it prints where, exit codes, and that it is documented."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import maplake
from maplake.errors import CorruptFileError, LakeLockedError
from maplake.ingest.report import Report, SourceReport

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
        ("load-animal", "maplake.ingest.entered.load_animals"),
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


# ------------------------------------------------------------------------------- data out


@pytest.fixture
def lake(monkeypatch):
    """A lake that answers any SQL, with one animal."""
    connection = duckdb.connect()
    connection.execute(
        "CREATE SCHEMA lab; CREATE TABLE lab.water_restriction AS "
        "SELECT 432998 AS subject_id, 'dl25' AS water_restriction_number; "
        "CREATE TABLE t AS SELECT range AS t FROM range(3)"
    )
    asked = []

    def psth(*args, **kwargs):
        asked.append((args, kwargs))
        query = "SELECT 7 AS unit, t AS time, t * 2::DOUBLE AS rate, 5 AS trial_count FROM t"
        return SimpleNamespace(to_polars=lambda: connection.sql(query).pl())

    lake = SimpleNamespace(sql=connection.sql, psth=psth, asked=asked)
    monkeypatch.setattr(maplake, "open", lambda root: lake, raising=False)
    yield lake
    connection.close()


QUERY = "SELECT 1 AS a, [1.5, 'nan'::DOUBLE] AS b, DATE '2018-02-25' AS c, NULL AS d, 'µ,\"' AS e"


def test_sql_table(lake):
    done = run("sql", QUERY)
    assert done.exit_code == 0, done.output
    head, row = done.stdout.splitlines()
    assert head.split() == ["a", "b", "c", "d", "e"]
    assert row.split()[0] == "1"
    assert "2018-02-25" in row


def test_sql_shows_the_first_rows_and_says_so(lake):
    done = run("sql", "FROM range(10)", "--rows", "3")
    assert len(done.stdout.splitlines()) == 4
    assert "only the first 3 rows" in done.stderr


def test_sql_csv(lake):
    rows = list(csv.reader(io.StringIO(run("sql", QUERY, "--csv").stdout)))
    assert rows == [["a", "b", "c", "d", "e"], ["1", "[1.5, null]", "2018-02-25", "", 'µ,"']]
    many = run("sql", "FROM range(25_000)", "--csv").stdout.splitlines()
    assert len(many) == 25_001


def test_sql_json(lake):
    (row,) = json.loads(run("sql", QUERY, "--json").stdout)
    assert row == {"a": 1, "b": [1.5, None], "c": "2018-02-25", "d": None, "e": 'µ,"'}
    assert json.loads(run("sql", "FROM range(0)", "--json").stdout) == []


def test_sql_parquet(lake, home):
    done = run("sql", QUERY, "--parquet", "out's.parquet")
    assert done.exit_code == 0, done.output
    assert duckdb.read_parquet(str(home / "out's.parquet")).fetchall()[0][0] == 1
    assert run("sql", QUERY, "--parquet", "no/such/folder.parquet").exit_code == 1


def test_sql_from_standard_input(lake):
    assert run("sql", "-", "--csv", input="SELECT 42 AS answer").stdout == "answer\n42\n"


def test_sql_faults_are_ours(lake):
    for query in ("SELEC 1", "FROM nowhere", "SELECT 'x'::INT AS a FROM range(3)"):
        done = run("sql", query)
        assert done.exit_code == 1, query
        assert "Error" in done.stderr


def test_tables_of_one_table():
    done = run("tables", "ephys.good_period")
    assert "good_period_start" in done.stdout
    facts = json.loads(run("tables", "ephys.good_period", "--json").stdout)
    assert {"column": "session", "type": "int32"}.items() <= facts["columns"][1].items()
    assert facts["columns"][3]["unit"] == "s"
    assert facts["refs"][0]["table"] == "ephys.probe_insertion"


@pytest.mark.parametrize("subject", ["432998", "dl25", "DL25"])
def test_psth_of_an_animal_by_either_name(lake, subject):
    done = run("psth", subject, "3", "--unit", "7", "--bin", "0.1", "--condition", "c1")
    assert done.exit_code == 0, done.output
    args, options = lake.asked[0]
    assert args == (432998, 3)
    assert (options["unit"], options["bin"], options["condition"]) == (7, 0.1, "c1")
    head, row = done.stdout.splitlines()
    assert "peak (Hz)" in head
    assert row.split() == ["7", "c1", "5", "2", "4", "2"]


def test_psth_as_data(lake):
    options = ("--condition", "c1", "--condition", "c2")
    rows = json.loads(run("psth", "dl25", "3", *options, "--json").stdout)
    assert [row["trial_condition_name"] for row in rows] == ["c1", "c2"]
    assert rows[0]["rate"] == [0, 2, 4]
    assert len(run("psth", "dl25", "3", *options, "--csv").stdout.splitlines()) == 7


def test_psth_of_nobody(lake):
    done = run("psth", "x'; DROP", "1")
    assert done.exit_code == 1
    assert "Known are dl25 (432998)" in done.stderr


def test_psth_figure_needs_one_unit(lake):
    assert run("psth", "dl25", "3", "--png", "a.png").exit_code == 2


def test_shell(lake):
    done = run("shell", input="print(lake.sql('SELECT 6 * 7').pl().row(0))\n")
    assert done.exit_code == 0
    assert "(42,)" in done.stdout


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


# ------------------------------------------------------------------------------- the demo


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


def test_erd():
    pytest.importorskip("maplake.query.erd")
    assert run("erd").stdout.startswith("erDiagram")


# ------------------------------------------------------------------------------- output


def test_plain_values():
    values = {"nan": float("nan"), "list": (1, None), "path": Path("a"), "bytes": b"\x01"}
    assert output.plain(values) == {"nan": None, "list": [1, None], "path": "a", "bytes": "01"}


def test_a_long_table_looks_as_a_short_one(monkeypatch, capsys):
    rows = [
        {"n": i, "text": "x" * (i % 7), "wide": None if i % 2 else "é脳" * (i % 3), "x": i * 1.5}
        for i in range(20)
    ]
    output.Output().table(rows)
    short = capsys.readouterr().out
    monkeypatch.setattr(output, "_MANY", 1)
    output.Output().table(rows)
    assert capsys.readouterr().out == short
