"""Which region is where: look-ups and SQL against the volume itself."""

from __future__ import annotations

import time

import duckdb
import numpy as np
import pytest
from ccf_lakes import VERSION, build, real
from hypothesis import given, settings
from hypothesis import strategies as st

from maplake.errors import IntegrityError, NotFoundError, QueryError
from maplake.query.ccf import Ccf
from maplake.simulate.ccf import simulate_framework, write_framework

TRUTH = simulate_framework()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ccf")
    return build(folder / "lake", write_framework(folder / "raw", TRUTH), 200)


@pytest.fixture(scope="module")
def ccf(root):
    return Ccf.open(root)


@pytest.fixture
def con(root):
    with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as con:
        yield con


def test_every_voxel_has_its_region(ccf):
    ap, dv, ml = np.meshgrid(*(np.arange(n) * 200 for n in TRUTH.volume.shape), indexing="ij")
    assert np.array_equal(ccf.region_at(ml, dv, ap), TRUTH.volume)
    assert ccf.shape == TRUTH.volume.shape[::-1]


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(-30_000, 30_000)] * 3), max_size=30))
def test_few_points_and_many_points_agree(root, points):
    few, many = Ccf.open(root), Ccf.open(root)
    assert many.volume.shape == TRUTH.volume.shape
    ml, dv, ap = np.array(points).reshape(-1, 3).T
    found = few.region_at(ml, dv, ap)
    assert np.array_equal(found, many.region_at(ml, dv, ap))
    for point, region in zip(points, found, strict=True):
        place = [round(value / 200) for value in point[::-1]]
        inside = all(0 <= p < n for p, n in zip(place, TRUTH.volume.shape, strict=True))
        assert region == (TRUTH.volume[tuple(place)] if inside else 0)


def test_outside_and_odd_shapes(ccf):
    assert ccf.region_at(5600, 4000, 6600) == TRUTH.volume[33, 20, 28]
    assert ccf.region_at(5600, 4000, 6600).shape == ()
    assert ccf.region_at([], [], []).shape == (0,)
    odd = [np.nan, np.inf, -np.inf, -101, 1e300]
    assert not ccf.region_at(odd, 4000, 6600).any()
    assert ccf.region_at(np.zeros((2, 3)), 0, 0).shape == (2, 3)
    for bad in (([1, 2], [1, 2, 3], 0), ("a", 1, 1), (None, [1], ["x"])):
        with pytest.raises(QueryError):
            ccf.region_at(*bad)


def test_names(ccf):
    ids = ccf.region_at([5600, 0], [4000, 0], [6600, 0])
    assert ccf.name_at([5600, 0], [4000, 0], [6600, 0]).tolist() == [TRUTH.names[ids[0]], None]


def test_voxels_of_a_region(ccf):
    for number, name in TRUTH.names.items():
        expected = np.argwhere(TRUTH.volume == number)[:, [2, 1, 0]] * 200
        for region in (number, name, name.upper()):
            found = ccf.voxels_of(region)
            assert {*map(tuple, found.tolist())} == {*map(tuple, expected.tolist())}
            assert len(found) == len(expected)
    with pytest.raises(NotFoundError, match="Did you mean Caudoputamen, left"):
        ccf.voxels_of("Caudoputamen, lef")
    with pytest.raises(NotFoundError):
        ccf.voxels_of(997)  # labelled, but without a name


def test_sql_has_every_named_voxel(con):
    named = np.isin(TRUTH.volume, list(TRUTH.names))
    rows = con.sql("FROM ccf.annotation").fetchnumpy()
    assert len(rows["ccf_x"]) == named.sum()
    place = tuple(np.asarray(rows[name]) // 200 for name in ("ccf_z", "ccf_y", "ccf_x"))
    assert np.array_equal(TRUTH.volume[place], rows["region_id"])
    names = con.sql("SELECT DISTINCT region_id, region_name FROM ccf.annotation").fetchall()
    assert dict(names) == {k: v for k, v in TRUTH.names.items() if (TRUTH.volume == k).any()}
    assert con.sql("SELECT DISTINCT annotation_version FROM ccf.annotation").fetchall() == [
        (VERSION,)
    ]


def test_sql_of_one_region_expands_only_its_runs(con):
    query = "SELECT count(*) FROM ccf.annotation WHERE region_id = 31"
    assert con.execute(query).fetchall()[0][0] == (TRUTH.volume == 31).sum()
    plan = con.sql(f"EXPLAIN {query}").fetchall()[0][1]
    scan = plan[plan.index("annotation_run") - 2000 :] if "annotation_run" in plan else plan
    assert "region_id=31" in scan.replace(" ", "")


def test_the_mesh_in_sql(con):
    ((name, count),) = con.sql(
        "SELECT annotated_brain_name, len(vertices) FROM ccf.annotated_brain_surface"
    ).fetchall()
    assert (name, count) == ("brain_isosurf", 6)


def test_no_volume_and_damaged_volume(tmp_path, root):
    with pytest.raises(NotFoundError, match="no annotation"):
        Ccf.open(tmp_path)
    with pytest.raises(NotFoundError, match="expected CCF_2017"):
        Ccf.open(root, "CCF_2099")
    with pytest.raises(NotFoundError):
        Ccf(tmp_path / "none.zarr")
    (tmp_path / "bad.zarr").mkdir()
    (tmp_path / "bad.zarr" / "zarr.json").write_text("{", encoding="ascii")
    with pytest.raises(IntegrityError):
        Ccf(tmp_path / "bad.zarr")


def test_real_volume(tmp_path):
    folder = real("map-ephys")
    paths = {
        "annotation": real("PyNutil/annotation_25.nrrd"),
        "region_csv": folder / "mousebrainontology_2.csv",
        "hexcode_csv": folder / "hexcode.csv",
        "surface_mesh": folder / "Annotation_new_10_ds222_16bit_isosurf.mat",
    }
    root = build(tmp_path / "lake", paths, 25)
    ccf = Ccf.open(root)
    # The caudoputamen, in both hemispheres at the same height.
    assert ccf.name_at([3500, 7900], [4000, 4000], [5000, 5000]).tolist() == ["Caudoputamen"] * 2
    points = np.random.default_rng(0).uniform(0, [11375, 7975, 13175], (1_000_000, 3)).T
    ccf.region_at(*points)
    begin = time.perf_counter()
    found = ccf.region_at(*points)
    assert time.perf_counter() - begin < 1
    assert 0.3 < (found > 0).mean() < 0.6
    with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as con:
        count = "SELECT count(*), min(ccf_x), max(ccf_x) FROM ccf.annotation WHERE region_name = "
        rows = con.execute(f"{count} 'Caudoputamen'").fetchall()[0]
    voxels = ccf.voxels_of("Caudoputamen")
    assert rows == (len(voxels), voxels[:, 0].min(), voxels[:, 0].max())
    assert len(voxels) == (ccf.volume == 672).sum()
