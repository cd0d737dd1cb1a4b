"""Views of units: passing criteria, where they are; and tracking quality."""

import lakefiles
import numpy as np
import pytest
from lakefiles import METHOD, finish, small_lake, write_table

import maplake
from maplake.query import catalog
from maplake.tables import get

KEY = {"subject_id": 101, "session": 1, "insertion_number": 1}
UNITS = [7, 10, 20, 30, 40, 50]


@pytest.fixture
def root(tmp_path):
    small_lake(tmp_path)
    return tmp_path


def metrics(root, **columns):
    write_table(
        root,
        "ephys.cluster_metric",
        KEY,
        clustering_method=[METHOD] * len(UNITS),
        unit=UNITS,
        epoch_name_quality_metrics=["complete_session"] * len(UNITS),
        **columns,
    )


def passed(root):
    catalog.build(root)
    with maplake.open(root) as lake:
        rows = lake.sql(
            "SELECT unit, criteria, criteria_passed FROM ephys.unit_passing_criteria WHERE "
            "subject_id = 101 AND session = 1 AND insertion_number = 1"
        ).fetchall()
    return {unit: (criteria, result) for unit, criteria, result in rows}


def limits(root, **columns):
    rows = len(columns["brain_area"])
    names = ("unit_amp_min", "firing_rate_min", "presence_ratio_min", "isi_violation_max",
             "amplitude_cutoff_max")  # fmt: skip
    write_table(root, "ephys.unit_criteria", {}, **{n: [None] * rows for n in names} | columns)


def test_limits_of_an_area(root):
    metrics(
        root,
        presence_ratio=[0.99, 0.8, 0.99, 0.99, None, 0.99],
        amplitude_cutoff=[0.01, 0.01, 0.5, 0.01, 0.01, 0.01],
        isi_viol=[0.1, 0.1, 0.1, 9.0, 0.1, 0.1],
        firing_rate=[5.0] * 6,
    )
    limits(
        root,
        brain_area=["all", "ALM"],
        presence_ratio_min=[0.9, None],
        isi_violation_max=[0.5, None],
        amplitude_cutoff_max=[0.1, None],
        firing_rate_min=[1.0, 6.0],
    )
    assert passed(root) == {
        7: ("all", True),
        10: ("all", False),
        20: ("all", False),
        30: ("all", False),
        40: ("all", False),  # its presence is not known
        50: ("all", True),
    }
    meant_for(root, "ALM")
    assert passed(root) == dict.fromkeys(UNITS, ("ALM", False))  # 5 Hz are too few there


def meant_for(root, *areas):
    sides = ["left"] * len(areas)
    write_table(root, "ephys.recordable_brain_region", KEY, brain_area=areas, hemisphere=sides)


def test_limits_are_as_published(root):
    """Strict ones, by the probe's area; the first one by name of several."""
    rates = [5.0, 5.0, 5.0, 0.2, 5.0, 5.0]
    isi = [0.05, 0.05, 0.1, 0.05, 0.05, 0.0999]
    presence = [0.96, 0.95, 0.99, 0.99, 0.99, 0.99]
    cutoff = [0.01, 0.01, 0.01, 0.01, 0.1, 0.01]
    metrics(root, presence_ratio=presence, amplitude_cutoff=cutoff, isi_viol=isi, firing_rate=rates)
    with maplake.open(root) as lake:
        sizes = dict(lake.sql("SELECT unit, unit_amp FROM ephys.unit WHERE subject_id = 101 "
                              "AND session = 1 AND insertion_number = 1").fetchall())  # fmt: skip
    kept = zip(UNITS, presence, cutoff, isi, rates, strict=True)
    alm = {
        unit: ("ALM", sizes[unit] > 100 and p > 0.95 and c < 0.1 and i < 0.1 and r > 0.2)
        for unit, p, c, i, r in kept
    }
    rows = [("ALM", 100.0, 0.2, 0.95, 0.1, 0.1), ("Thalamus", 1e9, 0.1, 0.9, 0.05, 0.08)]
    assert rows[0] in get("ephys.unit_criteria").rows
    names = get("ephys.unit_criteria").file_schema.names
    limits(root, **dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    meant_for(root, "Thalamus", "ALM")
    assert passed(root) == alm
    meant_for(root, "Thalamus")
    assert passed(root) == dict.fromkeys(UNITS, ("Thalamus", False))
    meant_for(root, "Cerebellum")
    assert passed(root) == dict.fromkeys(UNITS, (None, True))


def test_without_metrics_it_is_not_known(root):
    limits(root, brain_area=["ALM"])
    meant_for(root, "ALM")
    assert passed(root) == dict.fromkeys(UNITS, ("ALM", None))


def test_one_epoch_of_several_is_enough(root):
    write_table(
        root, "ephys.cluster_metric", KEY, clustering_method=[METHOD] * 2, unit=[7, 7],
        epoch_name_quality_metrics=["a", "b"], presence_ratio=[0.1, 0.99],
        amplitude_cutoff=[0.01, 0.01], isi_viol=[0.0, 0.0], firing_rate=[9.0, 9.0],
    )  # fmt: skip
    limits(root, brain_area=["all"], presence_ratio_min=[0.9])
    assert passed(root)[7] == ("all", True)
    assert passed(root)[10] == ("all", None)


def test_where_units_are(root):
    write_table(
        root,
        "histology.electrode_ccf_position",
        KEY,
        electrode=[1],
        ccf_x=[100],
        ccf_y=[240],
        ccf_z=[60],
    )
    write_table(
        root,
        "histology.interpolated_electrode_ccf",
        {**KEY, "insertion_number": 2},
        electrode=[1],
        ccf_x=[100],
        ccf_y=[260],
        ccf_z=[60],
    )
    write_table(
        root,
        "ccf.annotation_run",
        {"annotation_version": "CCF_2017"},
        region_id=[7, 8, 7],
        ccf_x=[100, 100, 120],
        ccf_z=[60, 60, 60],
        ccf_y_start=[200, 260, 0],
        ccf_y_stop=[240, 300, 500],
        voxel_size=[20, 20, 20],
    )
    write_table(
        root,
        "ccf.ccf_brain_region",
        {},
        annotation_version=["CCF_2017"] * 2,
        region_id=[7, 8],
        region_name=["Seven", "Eight"],
        color_code=["FF0000", "00FF00"],
    )
    finish(root)
    with maplake.open(root) as lake:
        rows = lake.sql(
            "SELECT DISTINCT insertion_number, ccf_y, interpolated, region_name, color_code "
            "FROM ephys.unit_ccf WHERE subject_id = 101 AND session = 1 ORDER BY ALL"
        ).fetchall()
        assert rows == [(1, 240, False, "Seven", "FF0000"), (2, 260, True, "Eight", "00FF00")]
        count = lake.sql("SELECT count(*) FROM ephys.unit_ccf").fetchall()[0][0]
        assert count == 2 * len(UNITS)


def test_a_place_without_a_region_stays(root):
    write_table(
        root,
        "histology.electrode_ccf_position",
        KEY,
        electrode=[1],
        ccf_x=[0],
        ccf_y=[0],
        ccf_z=[0],
    )
    catalog.build(root)
    with maplake.open(root) as lake:
        found = lake.sql("SELECT DISTINCT region_id, region_name FROM ephys.unit_ccf").fetchall()
    assert found == [(None, None)]


def test_tracking_quality(root):
    x = np.array([0.0, 21, 0, 5, 25.5, 25.5, np.nan, 90])
    y = np.array([0.0, 0, 0, 0, 0, 40, 40, 40])
    write_table(
        root,
        "tracking.tracking_position",
        {"subject_id": 101, "session": 1, "tracking_device": "Camera 0"},
        trial=[3] * 8,
        feature=["jaw"] * 8,
        frame=np.arange(8),
        time=np.arange(8) * 0.0034,
        x=lakefiles.pa.array(x, mask=np.isnan(x)),
        y=y,
    )
    catalog.build(root)
    with maplake.open(root) as lake:
        bad = lake.sql("SELECT frame FROM tracking.tracking_bad_frame ORDER BY 1").fetchall()
        # Up and down in x, up in x by 20.5, up in y; the frame before the jump.
        assert bad == [(0,), (1,), (3,), (4,)]
        qc = lake.sql("FROM tracking.tracking_qc").pl().row(0, named=True)
        assert (qc["frame_count"], qc["bad_count"], qc["bad_percentage"]) == (8, 4, 50.0)
        assert qc["bad_frames"] == [0, 1, 3, 4]
        wide = lake.sql("SELECT bad_count FROM tracking.qc(limit_px := 30)").fetchall()
        assert wide == [(1,)]
    names = {"tracking_device": ["Camera 0", "Camera 1"], "feature": ["jaw", "jaw"]}
    write_table(root, "tracking.qc_limit", {}, **names, max_jump=[20.7, 1.0])
    catalog.build(root)
    with maplake.open(root) as lake:
        qc = lake.sql("FROM tracking.tracking_qc").pl().row(0, named=True)
    assert (qc["bad_count"], qc["bad_frames"]) == (3, [0, 1, 4])
