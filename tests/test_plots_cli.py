"""The command that draws figures into files."""

from importlib.util import find_spec

import figure_lake
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from typer.testing import CliRunner

import maplake

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
main = __import__(f"{PACKAGE}.main", fromlist=["app"])
draw = __import__(f"{PACKAGE}.psth", fromlist=["draw"]).draw


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
        (["growth", "--out", "."], 1),
    ],
)
def test_what_cannot_be_drawn_is_an_error(root, arguments, code):
    assert run(root, *arguments).exit_code == code


@pytest.mark.parametrize(
    ("task", "shown"),
    [
        ("audio delay", "contra hit"),
        ("foraging", "contra reward"),
        ("multi-target-licking", "mean rate"),
    ],
)
def test_the_picture_of_a_psth_fits_the_task(root, tmp_path, monkeypatch, task, shown):
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda f, *a, **o: (drawn.append(f), save(f, *a, **o)))
    with maplake.open(root) as lake:
        keys = lake.sql(
            "SELECT subject_id, session, insertion_number, unit FROM ephys.unit "
            "JOIN experiment.session USING (subject_id, session) WHERE task = ? ORDER BY ALL",
            [task],
        ).fetchall()
        file = tmp_path / "unit.png"
        draw(lake, keys[0], file)
    plt.close("all")
    assert file.read_bytes().startswith(b"\x89PNG")
    words = [text.get_text() for text in drawn[0].findobj(Text)]
    assert any(word.startswith(shown) for word in words), words
