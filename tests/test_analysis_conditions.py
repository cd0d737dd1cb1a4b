"""Trial conditions that are added to a lake, and those of the foraging task."""

import json

import analysis_lake
import pytest
from lakefiles import finish

import maplake
from maplake.errors import ConfigError, IntegrityError, NotFoundError
from maplake.query import catalog
from maplake.query.own_conditions import path
from maplake.tables import get


@pytest.fixture
def root(tmp_path):
    analysis_lake.build(tmp_path, conditions={"Configured": "trial > 5"})
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
