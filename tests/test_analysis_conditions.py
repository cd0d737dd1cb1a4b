"""Trial conditions that are added to a lake, and those of the foraging task."""

import json
import shutil

import analysis_lake
import pytest
from lakefiles import finish

import maplake
from maplake.errors import ConfigError, IntegrityError, NotFoundError
from maplake.query import catalog
from maplake.query.own_conditions import path
from maplake.tables import get


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    analysis_lake.build(root, conditions={"Configured": "trial > 5"})
    return root


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    catalog.build(tmp_path, conditions={"Configured": "trial > 5"})
    return tmp_path


def test_an_added_condition_is_usable_everywhere(root):
    with maplake.open(root) as lake:
        before = lake.sql("SELECT count(*) FROM psth.unit_psth").fetchall()[0][0]
        lake.conditions.add("Late hits", "trial > 30 AND outcome = 'hit'", "in the second half")
        rows = lake.conditions.list().filter(trial_condition_name="Late hits")
        assert rows.rows() == [
            ("Late hits", "trial > 30 AND outcome = 'hit'", "in the second half", None)
        ]
        trials = lake.sql(
            "SELECT trial FROM psth.condition_trial WHERE trial_condition_name = 'late HITS' "
            "AND subject_id = 101 AND session = 1"
        ).pl()["trial"]
        assert trials.min() > 30
        psth = lake.psth(101, 1, 1, condition="late hits")
        counts = lake.trial_counts(101, 1, 1, condition="LATE HITS")
        assert psth.trial_count.max() == len(counts.trial) > 0
        assert (psth.count == counts.count.sum(axis=1)).all()
        after = lake.sql("SELECT count(*) FROM psth.unit_psth").fetchall()[0][0]
        units = lake.sql("SELECT count(*) FROM ephys.unit WHERE unit_quality <> 'all'").fetchall()[
            0
        ][0]
        assert after == before + units
    with maplake.open(root) as again:  # it is part of the lake
        assert "Late hits" in again.conditions.list()["trial_condition_name"]
        again.conditions.remove("LATE hits")
        assert "Late hits" not in again.conditions.list()["trial_condition_name"]


def test_a_rebuilt_catalog_keeps_it(root):
    with maplake.open(root) as lake:
        lake.conditions.add("mine", "outcome = 'miss'")
    assert catalog.is_current(root, conditions={"Configured": "trial > 5"})
    catalog.build(root, conditions={"Configured": "trial > 5"})
    with maplake.open(root) as lake:
        assert {"mine", "Configured"} <= set(lake.conditions.list()["trial_condition_name"])


@pytest.mark.parametrize("name", ["good_noearlylick_HIT", "configured", "L_hit", " "])
def test_names_that_are_taken(root, name):
    with maplake.open(root) as lake, pytest.raises(ConfigError, match="taken"):
        lake.conditions.add(name, "trial > 5")
    assert not path(root).exists()


@pytest.mark.parametrize(
    "predicate", ["", "none_such > 3", "trial", "true) FROM psth.trial WHERE (true", "true; DROP"]
)
def test_predicates_that_are_none(root, predicate):
    with maplake.open(root) as lake:
        with pytest.raises(ConfigError):
            lake.conditions.add("wrong", predicate)
        assert "wrong" not in lake.conditions.list()["trial_condition_name"]


def test_names_may_hold_anything(root):
    name = 'it\'s "mine"; -- ü'
    with maplake.open(root) as lake:
        lake.conditions.add(name, "outcome = 'hit' -- a remark")
        assert lake.trial_counts(101, 1, 1, condition=name).count.any()


def test_only_added_ones_can_be_removed(root):
    with maplake.open(root) as lake:
        for name in ("good_noearlylick_hit", "Configured", "none such"):
            with pytest.raises(NotFoundError):
                lake.conditions.remove(name)


def test_the_same_name_in_lake_toml(root):
    with maplake.open(root) as lake:
        lake.conditions.add("mine", "trial > 7")
    catalog.build(root, conditions={"MINE": "trial > 7"})  # moved there: fine
    with pytest.raises(ConfigError, match="another predicate"):
        catalog.build(root, conditions={"mine": "trial > 8"})


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 3}', '{"a": {"predicate": 3}}'])
def test_a_damaged_file_is_named(root, text):
    path(root).write_text(text, encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"conditions\.json"):
        catalog.build(root)


def test_the_file_is_plain_json(root):
    with maplake.open(root) as lake:
        lake.conditions.add("mine", "trial > 7", "late")
    found = json.loads(path(root).read_text(encoding="utf-8"))
    assert found == {"mine": {"predicate": "trial > 7", "description": "late"}}


def test_published_conditions():
    rows = get("psth.trial_condition").rows
    assert sum(row[3] is None for row in rows) == 17
    foraging = [row[0] for row in rows if row[3] == "foraging"]
    assert sorted(foraging) == sorted(
        [f"{s}_hit" for s in ("L", "R", "LR")]
        + [f"{s}_hit_noearlylick" for s in ("L", "R", "LR")]
        + [f"{s}_miss" for s in ("L", "R")]
        + [f"{s}_miss_noearlylick" for s in ("L", "R", "LR")]
        + [f"{s}_all_noearlylick" for s in ("L", "R", "LR")]
    )


def test_foraging_conditions_are_left_out_of_other_sessions(root):
    finish(root)
    with maplake.open(root) as lake:
        names = lake.sql("SELECT DISTINCT trial_condition_name FROM psth.unit_psth").fetchall()
        assert len(names) == 17


HOSTILE = 'it\'s "mine"; DROP TABLE x; -- ü {} %s \\ \n'


def every_way(lake, name):
    """Trials, or spikes in them, of a condition of one probe's unit 50, by every way in."""
    key = "subject_id = 101 AND session = 1 AND insertion_number = 1 AND unit = 50"
    quoted = "'" + name.replace("'", "''") + "'"
    long = lake.sql(f"FROM psth.psth({quoted}) WHERE {key}").pl()
    counts = lake.trial_counts(101, 1, 1, 50, name)
    single = lake.sql(f"SELECT sum(count) FROM psth.trial_counts({quoted}) WHERE {key}").fetchall()
    within = f"spike_time <= {float(counts.edges[-1])!r}"
    raster = lake.sql(f"FROM psth.raster({quoted}) WHERE {key} AND {within}").pl()
    psth = lake.psth(101, 1, 1, 50, condition=name)
    both = lake.psth(101, 1, 1, 50, condition=[name, "good_noearlylick_hit"])
    view = lake.sql(
        f"SELECT trial_count, list_sum(unit_psth) * trial_count * 0.04 FROM psth.unit_psth "
        f"WHERE {key} AND lower(trial_condition_name) = lower({quoted})"
    ).fetchall()[0]
    yield "macro", int(long["trial_count"][0]), long["count"].sum()
    yield "trial_counts", len(counts.trial), counts.count.sum()
    yield "macro trial_counts", len(counts.trial), single[0][0]
    yield "macro raster", len(counts.trial), len(raster)
    yield "psth", psth.trial_count[0], psth.count.sum()
    yield "psth of several", both[name].trial_count[0], both[name].count.sum()
    yield "unit_psth", view[0], round(view[1])


@pytest.mark.parametrize("name", ["Ours", HOSTILE])
def test_every_way_in_takes_it(root, name):
    with maplake.open(root) as lake:
        lake.conditions.add(name, "outcome = 'hit' AND trial > 12")
        sides = {}
        for side in ("left", "right"):
            sides[side] = name + f" {side}"
            predicate = f"outcome = 'hit' AND trial_instruction = '{side}'"
            lake.conditions.add(sides[side], predicate)
        found = {way: (int(trials), int(n)) for way, trials, n in every_way(lake, name.upper())}
        assert len(set(found.values())) == 1, found
        assert found["psth"] == found["macro"]
        assert found["psth"][0] > 0
        times = lake.event_times(101, 1, "delay", name, occurrence="last")
        assert times["trial"].min() > 12
        axis = lake.coding_direction(101, 1, 1, condition=name + " {side}")
        assert len(axis.contra) == len(lake.trial_counts(101, 1, 1, condition=sides["left"]).trial)
        effect = lake.photostim_effect(101, 1, 1, control=name, window=(-1, 0))
        assert effect["control_trials"][0] == found["psth"][0]


def test_the_command_line_and_figures_take_it(root, tmp_path, monkeypatch):
    from clirun import run
    from matplotlib import pyplot as plt

    plt.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    with maplake.open(root) as lake:
        lake.conditions.add(HOSTILE, "outcome = 'hit' AND trial > 12")
        found = lake.psth(101, 1, 1, 50, condition=HOSTILE)
        assert HOSTILE in found.plot().get_title() or found.trial_count[0] > 0
        plt.close("all")
    (tmp_path / "lake.toml").write_text("[lake]\nroot = '.'\n", encoding="utf-8")
    options = ("--insertion", "1", "--unit", "50", "--condition", HOSTILE, "--json")
    result = run("psth", "101", "1", *options)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert row["trial_count"] == found.trial_count[0]
    assert row["rate"] == pytest.approx(found.rate[0].tolist(), rel=1e-9)


def test_errors_speak_to_the_command_line_too(root, tmp_path, monkeypatch):
    from clirun import run

    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake.toml").write_text("[lake]\nroot = '.'\n", encoding="utf-8")
    for arguments in (
        ("102", "9"),
        ("101", "1", "--unit", "999"),
        ("101", "1", "--condition", "?"),
    ):
        result = run("psth", *arguments)
        assert result.exit_code == 1
        assert "lake." not in result.stderr
        assert "()" not in result.stderr


def test_lake_toml_gives_descriptions(root, monkeypatch):
    from clirun import run

    monkeypatch.chdir(root)
    text = """
    [lake]
    root = "."
    [conditions]
    plain = "trial > 3"
    told = { predicate = "free_water", description = "it's free" }
    """
    (root / "lake.toml").write_text(text, encoding="utf-8")
    result = run("catalog")
    assert result.exit_code == 0, result.output
    with maplake.open(root) as lake:
        rows = lake.conditions.list().rows_by_key("trial_condition_name", unique=True)
        assert rows["told"] == ("free_water", "it's free", None)
        assert rows["plain"] == ("trial > 3", None, None)
        lake.conditions.add("mine", "trial > 4", "ours")  # writes the catalog anew
        again = lake.conditions.list().rows_by_key("trial_condition_name", unique=True)
        assert again["told"] == rows["told"]
        assert again["mine"] == ("trial > 4", "ours", None)


@pytest.mark.parametrize(
    "predicate",
    [
        "(SELECT true)",
        "trial IN (SELECT trial FROM psth.trial)",
        "(SELECT count(*) > 0 FROM read_csv('/etc/passwd'))",
        "true; ATTACH 'x.db'",
        "true UNION SELECT 1, true",
        "true) FROM psth.trial; DROP VIEW psth.trial; --",
        "sum(trial) > 3",
        "row_number() OVER () > 3",
        "unnest([true])",
        "random() > 0.5",
        "COLUMNS(*) > 3",
        "#1 > 3",
        "trial > ?",
        "trial > $x",
        "getenv('HOME') = '/root'",
        "error('no')",
        "'yes'",
        "NULL",
        "/* never closed",
        "trial > 3\x00",
    ],
)
def test_hostile_predicates(root, predicate):
    """A predicate is refused, or is a plain question about a trial."""
    with maplake.open(root) as lake:
        before = lake.conditions.list()
        with pytest.raises(ConfigError):
            lake.conditions.add("wrong", predicate)
        assert lake.conditions.list().equals(before)
        assert lake.sql("SELECT count(*) FROM psth.unit_psth").fetchall()[0][0] > 0
