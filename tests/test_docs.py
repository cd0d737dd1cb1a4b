"""README and docs: every block that can run is run, in order, on a demo; names and links hold.

Blocks fenced as bash, sql and python are run; toml blocks of docs/querying.md are added to the
demo's settings, others must be valid. Blocks fenced as sh, ini and bat are for a reader's own lab:
their maplake commands must be ones that the command line takes. SQL and paths in blocks of other
languages are tried, too. All of it shares one small demo in each process.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pytest
from matplotlib import pyplot as plt
from typer.main import get_command

import maplake
from maplake.config import load
from maplake.plots.psth import epoch_times
from maplake.query import diagram
from maplake.tables import TABLES

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Read on the command line or by other programs only.
NOT_RUN = ("CONTRIBUTING.md", "cluster.md", "reliability.md")
RUN = sorted(page.relative_to(ROOT).as_posix() for page in PAGES if page.name not in NOT_RUN)
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAPSHELL = """
ingest-behavior ingest-foraging ingest-ephys ingest-tracking ingest-histology ingest-all
populate-psth publication-login publication-publish-ephys publication-publish-video
publication-discover-ephys publication-discover-video export-recording generate-report
sync-report shell erd load-ccf automate-computation automate-sync-and-cleanup
load-insertion-location load-animal load-meta-foraging loop
"""


@cache
def command_line():
    return get_command(__import__(f"{PACKAGE}.main", fromlist=["app"]).app)


def commands():
    return command_line().commands


def blocks(page: Path):
    return FENCE.findall(page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment in which ``maplake`` is this code, installed or not."""
    bin_folder = tmp_path_factory.mktemp("bin")
    script = bin_folder / "maplake"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {PACKAGE} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    path = os.pathsep.join([str(bin_folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MAPLAKE_")}
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, environment):
    """A folder in which ``maplake demo`` was run, small."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    folder = tmp_path_factory.mktemp("docs")
    shell("maplake demo --trials 40 --units 6", folder, environment)
    return folder


def shell(script: str, cwd: Path, environment) -> Path:
    """Run a block in bash, and return the folder that it ends in."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{script}\necho; pwd"],
        cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return Path(done.stdout.splitlines()[-1])


def words_of(text: str):
    """Yield the words of each maplake command in a block of a shell, an ini or a bat file."""
    text = text.replace("\\\n", " ").replace("^\n", " ")
    text = re.sub(r"^Description=.*|(^|\s)#.*$", "", text, flags=re.MULTILINE)
    lexer = shlex.shlex(text.replace("\\", "/"), posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    words: list[str] | None = None
    before, operators = "\n", set("();<>|&\n")
    for token in [*lexer, "\n"]:
        if re.search(r"maplake(\.exe)? ", token):  # a command within quotes
            yield from words_of(token)
        elif words is not None and set(token) <= operators:
            if "[OPTIONS]" not in words:  # no command but how one looks
                yield words
            words = None
        elif words is not None:
            words.append(token)
        elif set(before) <= operators and re.search(r"(^|[/=])maplake(\.exe)?$", token):
            words = []
        before = token


def unknown(words: list[str]) -> str:
    """Return the first word of a command that the command line would not take, or nothing."""
    command = command_line()
    takes_value = False
    for word in words:
        options = {o: p for p in command.params for o in (*p.opts, *p.secondary_opts)}
        if word.startswith("-") and not takes_value and word not in ("-", "-h", "--help"):
            if word not in options:
                return word
            takes_value = not getattr(options[word], "is_flag", False)
        elif hasattr(command, "commands") and not takes_value:
            if word not in command.commands:
                return word
            command = command.commands[word]
        else:
            takes_value = False
    return ""


def query(script: str, lake: Path) -> None:
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        assert connection.execute(script).fetchall(), f"no rows: {script}"


@pytest.mark.parametrize("name", RUN)
def test_every_block_runs(name, folder, environment, monkeypatch):
    if shutil.which("duckdb", path=environment["PATH"]) is None:
        pytest.skip("needs the duckdb command: pip install '.[test]'")
    if name == "docs/exports.md":
        pytest.importorskip("pynwb", reason="needs pynwb: pip install 'maplake[nwb]'")
    plt.switch_backend("Agg")
    cwd, names = folder, {}
    for kind, text in blocks(ROOT / name):
        monkeypatch.chdir(cwd)
        if kind == "bash":
            cwd = shell(text, cwd, environment)
        elif kind == "sql":
            query(text, cwd / "lake")
        elif kind == "python":
            exec(compile(text, name, "exec"), names)  # noqa: S102 - our own page
        elif kind == "toml" and name == "docs/querying.md":
            with (cwd / "lake.toml").open("a", encoding="utf-8") as file:
                file.write(f"\n{text}")
    if "lake" in names:
        names["lake"].close()
    plt.close("all")


def test_settings_in_the_readme_are_valid(tmp_path):
    texts = [text for kind, text in blocks(ROOT / "README.md") if kind == "toml"]
    assert texts
    for text in texts:
        (tmp_path / "lake.toml").write_text(text, encoding="utf-8")
        load(tmp_path / "lake.toml")


def test_the_two_commands_stand_as_they_are():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\npip install . && maplake demo\n" in readme
    assert "\npip install '.[test]' && pytest\n" in readme


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).is_file(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    code = [t for k, t in blocks(page) if k in ("bash", "sh", "ini", "bat")]
    found = [words for one in [*code, *_spans(text)] for words in words_of(one)]
    assert found or page.name not in ("README.md", "cli.md", "watch.md")
    for words in found:
        assert not unknown(words), f"{' '.join(words)}: {unknown(words)}"


def _spans(text: str) -> list[str]:
    return re.findall(r"`(maplake [^`]*)`", FENCE.sub("", text))


def test_every_old_command_has_its_line():
    page = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    table = page.split("| `mapshell` |")[1].split("## Tables")[0]
    rows = re.findall(r"^\| (`.*?) \| (.+?) \|$", table, re.MULTILINE)
    named = [name.split()[0] for old, _ in rows for name in re.findall("`(.*?)`", old)]
    assert sorted(named) == sorted(MAPSHELL.split())


def test_tables_that_stand_for_old_ones_exist():
    page = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    table = page.split("## Tables")[1].split("## Queries")[0]
    rows = re.findall(r"^\| `.*?` .*?\| (.+?) \|", table, re.MULTILINE)
    named = re.findall(r"`([a-z]+\.[a-z_]+)`", "\n".join(rows))
    allowed = {"psth.psth", "psth.raster", "psth.period_foraging_activity", "lake.tuning"}
    assert len(named) > 90
    assert {name for name in named if name not in TABLES} <= allowed | {"maplake.plots"}


def test_diagrams_are_current():
    for path, text in diagram.files():
        assert (ROOT / "docs" / path).read_text(encoding="utf-8") == text, (
            "run `python -m maplake.query.diagram docs`"
        )


def test_the_site_builds(tmp_path):
    pytest.importorskip("mkdocs", reason="needs mkdocs: pip install mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for file in tmp_path.rglob("*.html"):
        loaded = re.findall(r"<(?:link|script|img)[^>]+(?:href|src)=\"(https?:[^\"]+)", _read(file))
        assert not loaded, f"{file.name} needs the net: {loaded}"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_other_languages_ask_is_there(page, request):
    found = [t for k, t in blocks(page) if k in ("r", "julia", "matlab")]
    if page.name == "README.md":
        found += re.findall(r"`([^`]*\blake/[^`]*)`", page.read_text(encoding="utf-8"))
    if not found:
        return
    lake = request.getfixturevalue("folder") / "maplake-demo" / "lake"
    for text in found:
        for sql in re.findall(r'"((?:FROM|SELECT)[^"]*)"', text):
            query(sql, lake)
        for path in re.findall(r'"lake/([^"]*)"', text):
            assert (lake / path).exists(), path


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_notebooks_run(file, folder, monkeypatch):
    plt.switch_backend("Agg")
    monkeypatch.chdir(folder)
    with plt.rc_context():
        names = runpy.run_path(str(file))
    names["lake"].close()
    assert plt.get_fignums()
    plt.close("all")
    cells = _read(file).split("# %%")[1:]
    assert 5 <= sum(not cell.startswith(" [markdown]") for cell in cells) <= 12
    assert "**Try:**" in cells[-1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_that_is_not_run_is_code(page):
    text = page.read_text(encoding="utf-8")
    for kind, block in blocks(page):
        if kind == "python":
            compile(block, page.name, "exec")
    for script in re.findall(r"python ([\w/]+\.py)", text):
        assert (ROOT / script).is_file(), script
    for module in re.findall(r"python -m (maplake[\w.]+)", text):
        assert find_spec(module), module


def test_other_settings_are_valid_toml():
    for page in PAGES:
        for kind, text in blocks(page):
            if kind == "toml":
                tomllib.loads(text)


def test_parameters_of_macros_are_documented(folder):
    page = (ROOT / "docs" / "querying.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `psth\.(\w+)` \| (.*?) \|", page, re.MULTILINE)
    documented = {name: re.findall(r"`(\w+)", words) for name, words in rows if "`" in words}
    assert {"psth", "raster"} <= set(documented)
    lake = folder / "maplake-demo" / "lake" / "lake.duckdb"
    with duckdb.connect(str(lake), read_only=True) as connection:
        for name, words in documented.items():
            found = connection.execute(
                "SELECT parameters FROM duckdb_functions() "
                "WHERE schema_name = 'psth' AND function_name = ?",
                [name],
            ).fetchone()
            assert found is not None
            assert sorted(found[0]) == sorted(words)


def test_the_picture_is_small():
    assert (ROOT / "docs" / "psth.png").stat().st_size < 150_000


def test_the_picture_marks_the_go_cue_at_zero(folder):
    with maplake.open(folder / "maplake-demo" / "lake") as lake:
        sessions = [s for s in lake.sessions().iter_rows(named=True) if s["task"] == "audio delay"]
        assert len(sessions) == 4
        for session in sessions:
            times = epoch_times(lake, (session["subject_id"], session["session"], 1))
            assert times == pytest.approx({"sample": -2.4, "delay": -1.2, "go": 0.0}, abs=1e-6)
