"""The command that draws figures into files."""

from importlib.util import find_spec

import figure_lake
import pytest
from typer.testing import CliRunner

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
main = __import__(f"{PACKAGE}.main", fromlist=["app"])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    figure_lake.build(root)
    return root


def run(root, *arguments):
    return CliRunner().invoke(main.app, ["--lake", str(root), "figure", *arguments])


def test_the_list_has_every_figure(root):
    from maplake.plots import FIGURES

    done = run(root)
    assert done.exit_code == 0, done.output
    assert all(name in done.output for name in FIGURES)


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_the_suffix_says_the_format(root, tmp_path, suffix, start):
    file = tmp_path / f"unit.{suffix}"
    key = ["--subject", "xx101", "--session", "1", "--insertion", "1", "--unit", "50"]
    done = run(root, "unit-psth", *key, "--out", str(file))
    assert done.exit_code == 0, done.output
    assert file.read_bytes().startswith(start)


def test_without_out_the_file_is_named_after_the_figure(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(root, "growth").exit_code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["growth.png"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nonsense"], 1),
        (["drift-map", "--subject", "101", "--session", "1"], 2),
        (["drift-map", "--subject", "101", "--session", "1", "--insertion", "7"], 1),
        (["growth", "--out", "growth.nonsense"], 1),
        (["growth", "--out", "no/such/folder/growth.png"], 1),
    ],
)
def test_what_cannot_be_drawn_is_an_error(root, arguments, code):
    assert run(root, *arguments).exit_code == code
