"""Conditions and moments to align to, as lake.toml declares them, and which trials they take."""

import duckdb
import numpy as np
import pytest
from lakefiles import finish, make_session, small_lake, write_lab, write_session, write_table

import maplake
from maplake.errors import ConfigError
from maplake.layout import Layout
from maplake.query import catalog


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ("trial >", "syntax error"),
        ("no_such_column = 1", "no_such_column"),
        ("trial + 1", "true or false"),
        ("true) FROM psth.trial WHERE (true", "syntax error"),
        ("true) UNION SELECT 1, (true", "more than one expression"),
        ("true), (false", "more than one expression"),
        ("true); DROP TABLE psth.trial; SELECT 1, (true", "Only SELECT"),
        ("count(*) > 1", "GROUP BY"),
        ("true); SELECT 1, (true", "more than one expression"),
        (" ", "empty"),
    ],
)
def test_a_wrong_condition_is_named(tmp_path, predicate, message):
    with pytest.raises(ConfigError, match=message) as caught:
        catalog.build(tmp_path, conditions={"fine": "trial > 1", "mine": predicate})
    assert "'mine'" in str(caught.value)
    assert not Layout(tmp_path).catalog.exists()


@pytest.mark.parametrize("name", ["", "  ", "GOOD_noearlylick_HIT"])
def test_condition_names_are_unique_whatever_their_case(tmp_path, name):
    with pytest.raises(ConfigError, match="empty or taken"):
        catalog.build(tmp_path, conditions={name: "true"})


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("delay", ("go", 0, 0.0, -1.0, 1.0)),
        ("mine", ("cough", 0, 0.0, -1.0, 1.0)),
        ("mine", ("go", 0)),
        ("Go_Cue", ("go", 0, 0.0, -1.0, 1.0)),
    ],
)
def test_wrong_align_types_are_named(tmp_path, name, row):
    with pytest.raises(ConfigError, match=name):
        catalog.build(tmp_path, align_types={name: row})


def test_condition_names_may_hold_anything(tmp_path):
    small_lake(tmp_path, conditions={"it's; --": "outcome = 'hit'"})
    with maplake.open(tmp_path) as lake:
        assert lake.psth(101, 1, condition="IT'S; --").trial_count.max() > 0


def test_ambiguous_photostimulation_is_an_error_only_where_asked(tmp_path):
    rng = np.random.default_rng(3)
    for number in (1, 2, 3):
        write_session(tmp_path, make_session(rng, 1, number))
    site = {"photo_stim": [4, 5, 6, 6], "skull_reference": ["Bregma"] * 4}
    write_table(
        tmp_path,
        "experiment.photostim_location",
        {"subject_id": 1, "session": 1},
        **site,
        ml_location=[-1.0, 1.0, -1.0, 1.0],
        brain_area=["ALM", "ALM", "ALM", "vS1"],
    )
    write_table(
        tmp_path,
        "experiment.photostim_location",
        {"subject_id": 1, "session": 2},
        **site,
        ml_location=[0.0, 1.0, -1.0, 1.0],
        brain_area=["ALM"] * 4,
    )
    write_lab(tmp_path, [1])
    finish(tmp_path)
    with maplake.open(tmp_path) as lake:
        region = "FROM experiment.photostim_brain_region WHERE subject_id = 1"
        assert lake.sql(f"{region} AND session = 3 ORDER BY photo_stim").fetchall() == [
            (1, 3, 4, "ALM", "left"),
            (1, 3, 5, "ALM", "right"),
            (1, 3, 6, "ALM", "both"),
        ]
        for number, message in ((1, "several brain areas"), (2, "has no side")):
            with pytest.raises(duckdb.Error, match=message):
                lake.sql(f"{region} AND session = {number}").fetchall()
        trials = lake.sql("SELECT DISTINCT session, photostim, stim_sites FROM psth.trial").pl()
        sites = trials.filter(session=1, photostim=True)["stim_sites"].to_list()
        assert [] in sites
        assert ["both alm"] not in sites


def test_passive_photostimulation(tmp_path):
    rng = np.random.default_rng(3)
    s = make_session(rng, 1, 1)
    write_session(tmp_path, s)
    key = s.key
    write_table(tmp_path, "experiment.photostim_trial", key, trial=[1, 41, 42])
    write_lab(tmp_path, [1])
    finish(tmp_path)
    with maplake.open(tmp_path) as lake:
        found = lake.sql("SELECT trial FROM experiment.passive_photostim_trial ORDER BY trial")
        assert found.fetchall() == [(41,), (42,)]
