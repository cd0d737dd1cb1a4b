"""What the query commands say where an answer is empty, or a name is not there or not yet."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
from clirun import home, run
from lakefiles import small_lake

import maplake
from maplake.errors import NotFoundError, QueryError
from maplake.plots import FIGURES
from maplake.query import own_conditions

__all__ = ["home"]  # fixture
PSTH = ("psth", "xx101", "1", "--insertion", "1")
DAMAGED = "`maplake check --deep` tells which files are damaged."


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("told") / "lake"
    small_lake(root, conditions={"none": "trial < 0"})
    return root


@pytest.fixture
def ask(root):
    return lambda *words: run("--lake", str(root), *words)


def test_a_condition_without_a_trial_is_told(ask, root):
    with maplake.open(root) as lake:
        query = "SELECT count(*) FROM psth.trial WHERE subject_id = 101 AND session = 1"
        trials = lake.sql(query).fetchall()[0][0]
    done = ask(*PSTH, "--condition", "None", "--condition", "good_noearlylick_hit")
    assert done.exit_code == 0, done.output
    said = "insertion 1: no trial of None (trial < 0) with the event go; the session has"
    assert done.stderr == f"{said} {trials} trials\n"
    assert ask(*PSTH).stderr == ""
    assert ask(*PSTH, "--condition", "none", "--json").stderr == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*PSTH, "--condition", "good_noearlylick_hti"), "Did you mean 'good_noearlylick_hit'?"),
        ((*PSTH, "--condition", "l_HIT_noearly"), "Did you mean 'L_hit_noearlylick'?"),
        ((*PSTH, "--event", "smaple"), "Did you mean 'sample'?"),
        ((*PSTH, "--event", "go_ceu"), "Did you mean 'go_cue'?"),
        (("sql", "FROM psth.psth('good_noearlylick_hti')"), "'good_noearlylick_hit'?"),
        (("figure", "unit-psht"), "Did you mean 'unit-psth'?"),
        (("figure", "zzz"), "Known are "),
        (("tables", "ephys.unti"), "Did you mean ephys.unit"),
        ((*PSTH, "--bin", "0"), "(--bin, --start, --stop)"),
    ],
)
def test_what_is_near_is_named_once(ask, words, said):
    done = ask(*words)
    assert done.exit_code == 1, done.output
    assert said in done.stderr
    assert done.stderr.count("Did you mean") <= 1


def test_names_in_python(root):
    with pytest.raises(NotFoundError, match="'drift-map'"):
        FIGURES["drift_map"]
    assert FIGURES.get("drift_map") is None
    with maplake.open(root) as lake:
        with pytest.raises(QueryError, match="mean 'delay'"):
            lake.event_times(101, 1, "dealy")
        with pytest.raises(QueryError, match="mean 'good_noearlylick_hit'") as caught:
            lake.sql("FROM psth.psth('good_noearlylick_hti')").pl()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ((*PSTH, "--condition", "Mine"), "the trial condition 'Mine'"),
        (("sql", "FROM psth.psth('mine')"), "the trial condition 'mine'"),
        ((*PSTH, "--event", "later"), "the event 'later'"),
        (("export", "npz", "--all", "--condition", "mine", "--out", "npz"), "condition 'mine'"),
    ],
)
def test_what_is_not_yet_in_the_catalog(root, home, words, kind):
    settings = home / "lake.toml"
    settings.write_text(
        f"[lake]\nroot = {json.dumps(str(root))}\n[conditions]\nmine = 'trial > 5'\n"
        '[align_types]\nlater = { event = "go", trial_offset = 0, time_offset = 1.0, '
        "start = -1.0, stop = 1.0 }\n",
        encoding="utf-8",
    )
    done = run(*words)
    assert done.exit_code == 1, done.output
    said = " is in lake.toml, but not yet in the catalog. Run `maplake catalog`."
    assert f"{kind}{said}" in done.output


def test_a_condition_beside_the_lake_that_the_catalog_lacks(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    run("--lake", str(copy), "catalog")
    own_conditions.write(copy, {"mine": own_conditions.OwnCondition("trial > 5")})
    done = run("--lake", str(copy), *PSTH, "--condition", "mine")
    assert "is in the lake's own conditions, but not yet in the catalog" in done.stderr


def test_a_unit_of_quality_all(ask, root):
    with maplake.open(root) as lake:
        query = "SELECT unit FROM ephys.unit WHERE unit_quality = 'all' AND subject_id = 101 "
        unit = lake.sql(f"{query} AND session = 1 AND insertion_number = 1").fetchall()[0][0]
    done = ask(*PSTH, "--unit", str(unit))
    assert done.exit_code == 1
    assert "the unit is of quality 'all'. all_units (--all-units) keeps such units." in done.stderr
    assert ask(*PSTH, "--unit", str(unit), "--all-units").exit_code == 0


def test_times_in_the_table_are_multiples_of_the_bin(root, ask, monkeypatch):
    import polars as pl

    from maplake.query.activity import Psth

    rows = Psth.to_polars
    noisy = pl.col("time").abs() < 0.02  # 2.7e-15: the edge that is meant to be 0
    monkeypatch.setattr(
        Psth, "to_polars", lambda self: rows(self).with_columns(rate=noisy.cast(pl.Float64))
    )
    shown = ask(*PSTH, "--start", "-1.2", "--stop", "1.2").stdout.splitlines()
    assert {line.split()[-1] for line in shown[1:]} == {"0"}


@pytest.mark.parametrize("keep", [0, 6, -200])
def test_a_damaged_file_that_a_query_finds(root, tmp_path, keep):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    run("--lake", str(copy), "catalog")
    file = next(copy.glob("tables/ephys/unit/subject_id=101/session=1/insertion_number=1/*"))
    file.write_bytes(file.read_bytes()[:keep])
    asked = (
        ("sql", "SELECT max(unit_amp) FROM ephys.unit"),
        (*PSTH,),
        ("export", "parquet", "--table", "ephys.unit", "--out", "x.parquet"),
    )
    for words in asked:
        done = run("--lake", str(copy), *words)
        assert done.exit_code == 1, done.output
        assert DAMAGED in done.stderr, words
    if keep:  # polars takes a file of no bytes for one of no rows
        with maplake.open(copy) as lake, pytest.raises(QueryError, match="check --deep"):
            lake.table("ephys.unit").collect()
