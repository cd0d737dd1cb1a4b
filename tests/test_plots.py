"""Figures: every one of every key, what their lines are, what they say when data are missing."""

import json
import re
from dataclasses import replace

import figure_lake
import matplotlib.pyplot as plt
import numpy as np
import pytest
from lakefiles import write_manifests, write_table
from matplotlib.figure import Figure as Drawn

import maplake
from maplake.errors import NotFoundError
from maplake.plots import FIGURES, Key, behavior, brain, coding, drift, population, slices, units
from maplake.plots.lookup import check_key, rows
from maplake.plots.style import CONTRA, IPSI
from maplake.plots.unit_data import probe_unit_data
from maplake.tables import TABLES

PROBE = Key(101, 1, 1)
SESSION = Key(101, 1)
#: Labels of axes that count or have no dimension.
COUNTS = re.compile(
    r"trial|unit|proportion|probability|signal to noise|ISI|region|share|block|labelled|sessions"
    r"|animals|day|log|earned|\(.*(s|Hz|m|V|rad|10³).*\)"
)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    sessions = figure_lake.build(root)
    with maplake.open(root) as lake:
        yield lake, sessions


@pytest.fixture(scope="module")
def lake(truth):
    return truth[0]


def keys_of(lake, level):
    if level == "project":
        return [Key()]
    found = rows(lake, "SELECT subject_id, session FROM experiment.session ORDER BY ALL").rows()
    if level == "session":
        return [Key(*row) for row in found]
    query = "SELECT subject_id, session, insertion_number FROM ephys.probe_insertion ORDER BY ALL"
    probes = [Key(*row) for row in rows(lake, query).rows()]
    return probes if level == "probe" else [replace(probe, unit=10) for probe in probes]


def words(made):
    return " ".join(
        " ".join(text.get_text().split()) for ax in made.axes for text in (*ax.texts, ax.title)
    )


# ------------------------------------------------------------------------------- all of them


def test_every_kind_of_figure_is_there():
    levels = [figure.level for figure in FIGURES.values()]
    assert {level: levels.count(level) for level in levels} == {
        "session": 5, "probe": 6, "unit": 4, "project": 3,
    }  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_whatever_is_missing(lake, name, tmp_path):
    figure = FIGURES[name]
    for key in keys_of(lake, figure.level):
        made = figure.draw(lake, key)
        assert isinstance(made, Drawn)
        if figure.level == "project" or figure.fits(lake, key):
            made.savefig(tmp_path / "figure.png", dpi=20)
        for ax in made.axes:
            if ax.axison and ax.get_label() != "<colorbar>":
                drawn = ax.lines or ax.collections or ax.images or ax.patches
                assert drawn, f"{key}: nothing is drawn"
                for label in (ax.get_xlabel(), ax.get_ylabel()):
                    assert not label or COUNTS.search(label), label
            elif not ax.axison:
                assert ax.texts or not ax.lines
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", FIGURES)
def test_tables_of_figures_exist(name):
    assert set(FIGURES[name].tables) - {"arrays/ephys"} <= set(TABLES)


def test_figures_know_their_tasks(lake):
    assert FIGURES["foraging-performance"].fits(lake, Key(103, 1))
    assert not FIGURES["foraging-performance"].fits(lake, SESSION)
    assert FIGURES["drift-map"].fits(lake, PROBE)


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("behavior-performance", Key(104, 1), "no trial of this session has an outcome"),
        ("photostim-performance", Key(103, 1), "no photostimulation"),
        ("foraging-performance", SESSION, "no choices of water ports"),
        ("coding-direction", Key(105, 1), "no probe was inserted"),
        ("coding-direction", Key(102, 1), "there is no contra trial"),
        ("coding-direction", Key(101, 2), "no insertion location"),
        ("probe-tracks", Key(102, 1), "no histology"),
        ("drift-map", Key(101, 1, 2), "no histology for this probe"),
        ("pseudocoronal-slice", Key(101, 1, 2), "no histology for this probe"),
        ("selectivity-by-position", Key(101, 2, 1), "there is no insertion location"),
        ("group-psth", Key(102, 1, 1), "no trial is fit"),
        ("photostim-effect", Key(103, 1, 1), "no photostimulation"),
        ("unit-psth", Key(103, 1, 1, 10), "no such trials"),
        ("unit-psth", Key(101, 1, 1, 9999), "no such unit"),
        ("unit-psth-by-port", replace(PROBE, unit=10), "no such trials"),
        ("unit-tracking", Key(102, 1, 1, 10), "no tracking of the jaw"),
        ("unit-tracking", replace(PROBE, unit=10), "maplake compute"),
    ],
)
def test_figures_say_what_is_missing(lake, name, key, message):
    assert message in words(FIGURES[name].draw(lake, key))


def test_an_empty_lake_has_figures_that_say_so(tmp_path):
    from lakefiles import finish

    finish(tmp_path)
    with maplake.open(tmp_path) as lake:
        for figure in FIGURES.values():
            if figure.level == "project":
                assert "no" in words(figure.draw(lake, Key()))


def test_panels_alone_raise(lake):
    with pytest.raises(NotFoundError, match="no histology"):
        brain.tracks(lake, Key(102, 1))
    with pytest.raises(NotFoundError, match="no animal 999"):
        check_key(lake, Key(999, 1))
    with pytest.raises(NotFoundError, match="no unit 9999"):
        check_key(lake, Key(101, 1, 1, 9999))


# ------------------------------------------------------------------------------- behavior


def test_moving_proportion_is_a_mean_over_the_trials_there_are():
    hit = np.array([1, 1, 1, 0, 0, 1, 0, 1, 1, 1], bool)
    found = behavior.moving_proportion(hit, 3)
    expected = [hit[max(0, i - 1) : i + 2].mean() for i in range(len(hit))]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(behavior.moving_proportion(hit), hit)  # 10 % of 10 trials
    assert behavior.moving_proportion(np.ones(100)).tolist() == [1.0] * 100


def test_performance_shows_every_trial(truth):
    lake, sessions = truth
    outcome = np.asarray(sessions[101, 1][0].columns["outcome"])
    ax = behavior.performance(lake, SESSION)
    for line, name in zip(ax.lines, ("hit", "miss", "ignore"), strict=False):
        np.testing.assert_array_equal(line.get_xdata(), np.flatnonzero(outcome == name) + 1)
        assert line.get_label() == f"{name}, n = {(outcome == name).sum()}"
    np.testing.assert_allclose(
        ax.lines[3].get_ydata(), behavior.moving_proportion(outcome == "hit", 6)
    )
    plt.close(ax.figure)


def test_photostim_performance_is_what_numpy_counts(truth):
    lake, sessions = truth
    s = sessions[101, 1][0]
    c = {name: np.asarray(values) for name, values in s.columns.items()}
    stim = np.array([s.stim.get(t, "") for t in c["trial"]])
    ax = behavior.photostim_performance(lake, SESSION, 6)
    for container, side in zip(ax.containers, ("left", "right"), strict=True):
        keep = (c["early_lick"] == "no early") & (c["trial_instruction"] == side)
        expected = [
            (c["outcome"][keep & (stim == what)] == "hit").mean() for what in ("", "both alm")
        ]
        np.testing.assert_allclose(container.lines[0].get_ydata(), expected)
    plt.close(ax.figure)


# ------------------------------------------------------------------------------- populations


def test_projection_draws_the_mean_of_the_trials(lake):
    found = coding.direction_of(lake, PROBE)
    ax = coding.projection(lake, PROBE, found=found)
    contra, ipsi = ax.lines[:2]
    np.testing.assert_allclose(contra.get_ydata(), found.contra.mean(axis=0))
    np.testing.assert_allclose(ipsi.get_ydata(), found.ipsi.mean(axis=0))
    assert (contra.get_color(), ipsi.get_color()) == (CONTRA, IPSI)
    assert f"n = {len(found.contra_trial)}" in contra.get_label()
    plt.close(ax.figure)


def test_sides_are_swapped_across_hemispheres(lake):
    right, left = (coding.direction_of(lake, Key(101, 1, n)) for n in (1, 2))
    assert (right.hemisphere, left.hemisphere) == ("right", "left")
    ax = coding.correlation(right, left, names=("a", "b"))
    shared = [t for t in right.contra_trial.tolist() if t in left.ipsi_trial.tolist()]
    inside = (left.time >= -0.4) & (left.time < 0)
    at = [left.ipsi_trial.tolist().index(t) for t in shared]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), left.ipsi[at][:, inside].mean(axis=1))
    plt.close(ax.figure)


def test_stacked_differences_are_scaled_to_their_maximum(lake):
    contra, ipsi = population.by_side(lake, PROBE, "good_noearlylick_{}_hit")
    chosen = contra.units.filter(contra.units["unit"].is_in([50, 40]))
    found = population.stacked_difference(contra, ipsi, chosen)
    row = contra.units["unit"].to_list().index(50)
    wide = np.pad(contra.rate[row] - ipsi.rate[row], 2)
    ones = np.pad(np.ones(149), 2)
    smooth = np.convolve(wide, np.ones(5), "valid") / np.convolve(ones, np.ones(5), "valid")
    np.testing.assert_allclose(
        found[chosen["unit"].to_list().index(50)], smooth / np.abs(smooth).max(), atol=1e-12
    )
    # Right hemisphere: left trials are contra.
    left = lake.psth(101, 1, 1, condition="good_noearlylick_left_hit")
    np.testing.assert_array_equal(contra.rate, left.rate)


def test_averages_are_over_units(lake):
    contra, ipsi = population.by_side(lake, PROBE, "all_noearlylick_nostim_{}")
    ax = population.average(contra, ipsi)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), contra.rate.mean(axis=0))
    np.testing.assert_allclose(ax.lines[0].get_xdata(), contra.time - 0.02)
    plt.close(ax.figure)


def test_drift_map_counts_every_spike(truth):
    lake, sessions = truth
    probe = sessions[101, 1][0].probes[1]
    maps = drift.drift_maps(lake, PROBE)
    assert list(maps) == [1]  # all units are on site 1
    labelled = [u for u in probe.spikes if probe.quality[u] != "all"]
    samples = np.concatenate([probe.spikes[u] for u in labelled])
    assert maps[1].count.sum() == len(samples)
    assert maps[1].count.shape == (1000, 200)
    time, depth = (samples - probe.start[0]) / probe.rate, samples / 7.0
    # A spike on an edge may fall to either side of it: sums of halves must agree nearly.
    expected = np.histogram2d(time, depth, [maps[1].time[::100], maps[1].depth[::50]])[0]
    found = maps[1].count.reshape(10, 100, 4, 50).sum(axis=(1, 3))
    assert np.abs(found - expected).sum() <= 6


def test_slices_are_painted_run_by_run(lake):
    picture, voxel = slices.painted(slices.slice_of(lake, PROBE, 1))
    assert voxel == 20
    here, there = [0x11, 0x22, 0x33], [0x44, 0x55, 0x66]
    assert picture[100, 198:204].tolist() == [here] * 3 + [there] * 3
    assert picture[101, 199:203].tolist() == [here] * 3 + [[255] * 3]


def test_regions_are_those_of_the_sites(lake):
    found = drift.regions_of(lake, PROBE)
    assert found["region_name"].to_list() == ["here"] * 4
    ax = drift.regions(found.filter(shank=1))
    assert ax.patches[0].get_facecolor()[:3] == pytest.approx((0x11 / 255, 0x22 / 255, 0x33 / 255))
    plt.close(ax.figure)


# ------------------------------------------------------------------------------- units


def test_unit_data_are_psths_and_rasters(truth):
    lake, sessions = truth
    s = sessions[101, 1][0]
    data = probe_unit_data(lake, PROBE)
    names = [panel.title for panel in data.panels]
    assert names == ["correct", "incorrect"]
    for panel, outcome in zip(data.panels, ("hit", "miss"), strict=True):
        for group, side in zip(panel.groups, ("left", "right"), strict=True):
            condition = f"good_noearlylick_{side}_{outcome}"
            result = lake.psth(101, 1, 1, condition=condition, all_units=True)
            assert result.units["unit"].to_list() == data.units["unit"].to_list()
            np.testing.assert_allclose(group.rate, result.rate)
            times = s.probes[1].aligned(50, s.condition(condition))
            inside = (times >= panel.edges[0]) & (times <= panel.edges[-1])
            found, row = group.spikes(data.place(50))
            np.testing.assert_allclose(np.sort(found), np.sort(times[inside]))
            assert set(group.trial[row]) <= s.condition(condition)


def test_unit_figure_draws_the_data(lake):
    data = probe_unit_data(lake, PROBE)
    made = FIGURES["unit-psth"].draw(lake, replace(PROBE, unit=50), data=data)
    upper, lower = made.axes[0], made.axes[2]
    group = data.panels[0].groups[1]
    first = len(data.panels[0].groups[0].trial)
    time, row = group.spikes(data.place(50))
    ticks = [line for line in upper.lines if line.get_marker() == "|"][1]
    np.testing.assert_array_equal(ticks.get_xdata(), time)
    np.testing.assert_array_equal(ticks.get_ydata(), row + first)
    np.testing.assert_array_equal(lower.lines[1].get_ydata(), group.rate[data.place(50)])
    assert "unit 50" in made.get_suptitle()


def test_foraging_units_reach_into_neighbouring_trials(lake):
    data = probe_unit_data(lake, Key(103, 1, 1))
    assert [len(panel.groups) for panel in data.panels] == [4] * 4
    last = data.panels[3].groups[0]
    side = "L"  # the probe is in the right hemisphere
    result = lake.psth(
        103, 1, 1, condition=f"{side}_hit", event="iti_start", start=-3, stop=10, bin=0.1,
        all_units=True,
    )  # fmt: skip
    np.testing.assert_allclose(last.rate, result.rate)
    assert len(last.trial) == result.trial_count[0]


def test_ports_have_their_own_trials(lake):
    data = probe_unit_data(lake, Key(104, 1, 1))
    (panel,) = data.panels
    assert [(group.name, len(group.trial)) for group in panel.groups] == [
        ("mtl-2", 5),
        ("mtl-5", 7),
    ]
    query = (
        "SELECT spike_time FROM ephys.trial_spikes WHERE subject_id = 104 AND unit = 30 "
        f"AND trial <= 5 AND spike_time BETWEEN 0 AND {panel.edges[-1]} ORDER BY spike_time"
    )
    time, _ = panel.groups[0].spikes(data.place(30))
    np.testing.assert_allclose(np.sort(time), rows(lake, query)["spike_time"].to_numpy())
    ax = units.heat_map(panel, data.place(30))
    assert ax.images[0].get_array().shape == (2, len(panel.edges) - 1)
    plt.close(ax.figure)


def test_unit_data_as_json(lake):
    data = probe_unit_data(lake, PROBE)
    found = json.loads(json.dumps(data.as_dict(50), allow_nan=False))
    group = found["panels"][1]["groups"][0]
    place = data.place(50)
    np.testing.assert_allclose(group["rate"], data.panels[1].groups[0].rate[place], atol=1e-3)
    np.testing.assert_allclose(
        group["spike_time"], data.panels[1].groups[0].spikes(place)[0], atol=1e-3
    )
    assert json.dumps(probe_unit_data(lake, Key(102, 1, 1)).as_dict(50), allow_nan=False)


# ------------------------------------------------------------------------------- fingerprints


def test_fingerprints_follow_the_files_of_the_key(tmp_path):
    figure_lake.build(tmp_path)
    with maplake.open(tmp_path) as lake:
        keys = {"drift-map": PROBE, "behavior-performance": SESSION, "growth": Key()}
        before = {name: FIGURES[name].fingerprint(lake, key) for name, key in keys.items()}
        other = FIGURES["drift-map"].fingerprint(lake, Key(101, 1, 2))
        write_table(
            tmp_path, "histology.electrode_ccf_position", figure_lake.HISTOLOGY, electrode=[1]
        )
        write_manifests(tmp_path)
        after = {name: FIGURES[name].fingerprint(lake, key) for name, key in keys.items()}
        assert [name for name in keys if before[name] != after[name]] == ["drift-map"]
        assert FIGURES["drift-map"].fingerprint(lake, Key(101, 1, 2)) == other
