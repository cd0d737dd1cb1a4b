"""Histology: both formats against what is true, electrodes found by geometry, bad input."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from maplake.errors import (
    AmbiguousSourceError,
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MaplakeError,
    SourceError,
)
from maplake.readers import channel_locations, site_info
from maplake.readers.base import HistologyContext, ProbeSites
from maplake.readers.histology_files import Insertion, locate
from maplake.readers.landmarks import read_landmarks
from maplake.readers.probe_sites import sites_of
from maplake.readers.site_matching import match_sites
from maplake.simulate.geometry import GENERATIONS, recorded_sites
from maplake.simulate.histology import simulate_shank, write_channel_locations, write_site_info
from maplake.tables import get
from maplake.writers.parquet import conform

H2O, START = "MK001", datetime(2021, 3, 1, 10, 15, 0)
META = {"3B": {"imDatPrb_type": "0", "typeImEnabled": "1"}, "21": {"imDatPrb_type": "21"},
        "24": {"imDatPrb_type": "24"}}  # fmt: skip


def probe(kind, region_at=None, channels=384):
    sites = sites_of(META[kind])
    number = np.arange(1, len(sites.position) + 1, dtype=np.int32)
    recorded = recorded_sites(GENERATIONS[kind], channels).electrode
    geometry = ProbeSites(number, sites.index[:, 0] + 1, *sites.position.T)
    return HistologyContext(geometry, recorded, region_at=region_at)


def tracks(context, seed=0):
    rng = np.random.default_rng(seed)
    shanks = np.unique(context.sites.shank)
    return [simulate_shank(rng, int(s), context.sites.y[context.sites.shank == s]) for s in shanks]


def voxel(position):
    return (20 * np.rint(position / 20)).astype(int)


def write_locations(folder, context, items, kind, prefix=""):
    site, place = {}, {}
    for item in items:
        ours = context.sites.shank == item.shank
        kept = np.isin(context.sites.electrode[ours], context.recorded)
        site[item.shank] = np.flatnonzero(kept)
        position = np.column_stack([context.sites.x[ours], context.sites.y[ours]])
        place[item.shank] = position[kept]
    write_channel_locations(folder, prefix, items, site, place, is_first_generation=kind == "3B")
    return folder / f"{prefix}channel_locations"


def true_positions(context, items, in_brain_only=False):
    rows = {}
    for item in items:
        numbers = context.sites.electrode[context.sites.shank == item.shank]
        for place, number in enumerate(numbers):
            if number in set(context.recorded) and (item.in_brain[place] or not in_brain_only):
                rows[int(number)] = (voxel(item.position[place]), item.mri[place])
    return rows


def check_tables(records):
    for name, table in records.tables.items():
        declared = get(name)
        if "subject_id" not in declared.file_schema.names:
            conform(declared, table)


@pytest.mark.parametrize("kind", ["3B", "21", "24"])
def test_format_1(tmp_path, kind):
    context = probe(kind)
    items = tracks(context)
    stem = f"landmarks_{H2O}_20210301_1"
    write_site_info(tmp_path, stem, items, START)
    assert site_info.find(tmp_path / stem) == [tmp_path / stem]
    assert len(site_info.READER.files(tmp_path / stem)) == 2 * len(items)
    records = site_info.read(tmp_path / stem, context)
    check_tables(records)
    rows = records.tables["histology.electrode_ccf_position"].to_pylist()
    expected = true_positions(context, items, in_brain_only=True)
    assert [row["electrode"] for row in rows] == sorted(expected)
    for row in rows:
        ccf, mri = expected[row["electrode"]]
        assert [row["ccf_x"], row["ccf_y"], row["ccf_z"]] == ccf.tolist()
        assert np.allclose([row["mri_x"], row["mri_y"], row["mri_z"]], mri)
    check_track(records, items)
    landmarks = records.tables["histology.subject_to_ccf_landmark"].to_pylist()
    assert {r["landmark_name"]: tuple(list(r.values())[1:]) for r in landmarks} == dict(
        items[0].landmarks
    )


def check_track(records, items):
    points = records.tables["histology.labeled_probe_track_point"].to_pandas()
    for item in items:
        ours = points[points["shank"] == item.shank]
        assert ours["order"].tolist() == list(range(len(item.track)))
        assert np.allclose(ours[["ccf_x", "ccf_y", "ccf_z"]], item.track)
    assert records.tables["histology.labeled_probe_track"].num_rows == 1


@pytest.mark.parametrize("kind", ["3B", "21", "24"])
def test_format_2(tmp_path, kind):
    context = probe(kind)
    items = tracks(context)
    path = write_locations(tmp_path, context, items, kind)
    records = channel_locations.read(path, context)
    check_tables(records)
    expected = true_positions(context, items)
    rows = records.tables["histology.electrode_ccf_position"].to_pylist()
    assert {r["electrode"]: [r["ccf_x"], r["ccf_y"], r["ccf_z"]] for r in rows} == {
        number: ccf.tolist() for number, (ccf, _) in expected.items()
    }
    assert {row["mri_x"] for row in rows} == {None}
    check_track(records, items)


def test_positions_outside_of_the_volume_are_kept_apart(tmp_path):
    context = probe("3B", region_at=lambda ml, dv, ap: np.where(dv > 3000, 315, 0))
    items = tracks(context)
    path = write_locations(tmp_path, context, items, "3B")
    records = channel_locations.read(path, context)
    inside = records.tables["histology.electrode_ccf_position"]
    outside = records.tables["histology.electrode_ccf_position_error"]
    assert inside.num_rows + outside.num_rows == 384
    assert min(inside["ccf_y"].to_pylist()) > 3000 >= max(outside["ccf_y"].to_pylist())
    assert set(outside["reason"].to_pylist()) == {"outside of the annotated volume"}
    check_tables(records)


def test_sites_outside_of_the_brain_are_recorded_as_skipped(tmp_path):
    context = probe("3B")
    item = tracks(context)[0]
    item.in_brain[:3] = False
    write_site_info(tmp_path, "landmarks_MK001_20210301_1", [item], START)
    records = site_info.read(tmp_path / "landmarks_MK001_20210301_1", context)
    # The uppermost sites are above the brain's surface.
    assert [s.item for s in records.skipped] == ["1", "2", "3", "381", "382", "383", "384"]
    assert records.tables["histology.electrode_ccf_position"]["electrode"][0].as_py() == 4


# lateral and axial of channels 0 to 3, as the tools write them for electrodes 1 to 4
CONVENTIONS = [
    ("3B", (43, 11, 59, 27), 20, 20), ("3B", (43, 11, 59, 27), 20, 0),
    ("3B", (27, 59, 11, 43), 20, 0), ("3B", (27, 59, 11, 43), 20, 20),
    ("3B", (16, 48, 0, 32), 20, 0), ("21", (27, 59, 27, 59), 15, 20),
    ("21", (27, 59, 27, 59), 15, 0), ("21", (0, 32, 0, 32), 15, 0),
]  # fmt: skip


@pytest.mark.parametrize("channels", [8, 384])
@pytest.mark.parametrize("case", CONVENTIONS)
def test_electrodes_are_found_whatever_the_origin(case, channels):
    kind, lateral, pitch, low = case
    n = np.arange(channels)
    place = np.column_stack([np.array(lateral)[n % 4], low + pitch * (n // 2)]).astype(float)
    names = [f"channel_{i}" for i in n]
    found = match_sites(Path("x"), names, place, n.tolist(), 1, probe(kind))
    assert found.tolist() == (n + 1).tolist()


@given(st.sets(st.integers(0, 383), min_size=1, max_size=60), st.sampled_from(CONVENTIONS))
def test_any_subset_of_channels_is_found(channels, case):
    kind, lateral, pitch, low = case
    n = np.array(sorted(channels))
    place = np.column_stack([np.array(lateral)[n % 4], low + pitch * (n // 2)]).astype(float)
    names = [f"channel_{i}" for i in n]
    found = match_sites(Path("x"), names, place, n.tolist(), 1, probe(kind))
    assert found.tolist() == (n + 1).tolist()


def test_a_place_without_a_site_is_named(tmp_path):
    context = probe("3B")
    path = write_locations(tmp_path, context, tracks(context), "3B")
    file = tmp_path / "channel_locations.json"
    content = json.loads(file.read_text(encoding="ascii"))
    content["channel_7"]["lateral"] = 35.0
    file.write_text(json.dumps(content), encoding="ascii")
    with pytest.raises(CorruptFileError, match=r"channel_7.*lateral 35, axial 80"):
        channel_locations.read(path, context)
    content["channel_7"] = content["channel_6"]
    file.write_text(json.dumps(content), encoding="ascii")
    with pytest.raises(CorruptFileError, match="channel_6, channel_7"):
        channel_locations.read(path, context)


def test_one_file_per_shank_paired_by_its_number(tmp_path):
    context = probe("24")
    path = write_locations(tmp_path, context, tracks(context), "24")
    (tmp_path / "channel_locations_shank3.json").rename(tmp_path / "channel_locations_shank_3.json")
    channel_locations.read(path, context)  # either spelling
    (tmp_path / "channel_locations_shank_3.json").unlink()
    with pytest.raises(FileFormatError, match=r"3: .*expected 4, for shank 1, 2, 3, 4"):
        channel_locations.read(path, context)
    single = probe("3B")
    with pytest.raises(FileFormatError, match="expected 1"):
        channel_locations.read(path, single)


def test_a_single_shank_may_be_numbered(tmp_path):
    context = probe("3B")
    path = write_locations(tmp_path, context, tracks(context), "3B")
    (tmp_path / "channel_locations.json").rename(tmp_path / "channel_locations_shank1.json")
    records = channel_locations.read(path, context)
    assert records.tables["histology.electrode_ccf_position"].num_rows == 384


def test_where_histology_is_found(tmp_path):
    context = probe("3B")
    items = tracks(context)
    one = Insertion(H2O, START, 1)
    assert locate(tmp_path, one) is None
    shared = tmp_path / H2O / "histology"
    shared.mkdir(parents=True)
    write_site_info(shared, f"landmarks_{H2O}_20210301_1", items, START)
    assert locate(tmp_path, one) == shared / f"landmarks_{H2O}_20210301_1"
    assert locate(tmp_path, Insertion(H2O, START, 2)) is None
    with pytest.raises(AmbiguousSourceError, match="expected 101500 after the date"):
        locate(tmp_path, Insertion(H2O, START, 1, sessions_that_day=2))
    write_site_info(shared, f"landmarks_{H2O}_20210301_101500_1", items, START)
    timed = locate(tmp_path, Insertion(H2O, START, 1, sessions_that_day=2))
    assert timed == shared / f"landmarks_{H2O}_20210301_101500_1"
    # Format 2 wins, wherever it lies.
    own = tmp_path / H2O / "20210301_1" / "alf"
    path = write_locations(own, context, items, "3B")
    assert locate(tmp_path, one) == path
    assert channel_locations.find(path) == [path]
    assert not site_info.find(path)
    relative = PurePosixPath("other/20210301/1")
    path = write_locations(tmp_path / "roots" / relative, context, items, "3B")
    assert locate(tmp_path / "roots", Insertion(H2O, START, 1, relative=relative)) == path
    prefixed = write_locations(shared, context, items, "3B", f"{H2O}_20210301_1_")
    assert locate(tmp_path, one) == prefixed


def test_two_sets_of_channel_locations_are_ambiguous(tmp_path):
    context = probe("3B")
    for name in ("a", "b"):
        folder = tmp_path / H2O / "20210301_1" / name
        write_locations(folder, context, tracks(context), "3B")
    with pytest.raises(AmbiguousSourceError):
        locate(tmp_path, Insertion(H2O, START, 1))


def site(**changes):
    n = np.arange(960.0)
    base = {"pos": {"x": n, "y": n, "z": n, "mmPerPixel": 0.02},
            "warp": {"x": n, "y": n, "z": n}, "ont": {"id": n + 1}}  # fmt: skip
    for key, value in changes.items():
        part, field = key.split("_", 1)
        base[part] = {**base[part], field: value}
    return {"site": base}


BAD_SITES = {
    "too few": (site(pos_x=np.arange(9.0), pos_y=np.arange(9.0), pos_z=np.arange(9.0)),
                LengthMismatchError),
    "unequal": (site(pos_x=np.arange(959.0)), LengthMismatchError),
    "regions unequal": (site(ont_id=np.arange(961.0)), LengthMismatchError),
    "not finite": (site(pos_y=np.full(960, np.nan)), CorruptFileError),
    "no scale": (site(pos_mmPerPixel=0.0), CorruptFileError),
    "no site": ({"other": 1.0}, FileFormatError),
    "text": (site(pos_x="abc"), SourceError),
    "too large": (site(pos_x=np.full(960, 1e308)), CorruptFileError),
    "warp of numbers": ({**site(), "site": {**site()["site"], "warp": np.arange(3.0)}},
                        FileFormatError),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SITES)
def test_bad_site_info(tmp_path, name):
    content, error = BAD_SITES[name]
    file = tmp_path / "landmarks_MK001_20210301_1_siteInfo.mat"
    savemat(file, content)
    with pytest.raises(error) as caught:
        site_info.read(tmp_path / "landmarks_MK001_20210301_1", probe("3B"))
    assert caught.value.file == str(file)


def test_damaged_site_info(tmp_path):
    file = tmp_path / "landmarks_MK001_20210301_1_siteInfo.mat"
    savemat(file, site())
    content = file.read_bytes()
    for cut in (0, 50, 200, len(content) // 2):
        file.write_bytes(content[:cut])
        with pytest.raises(SourceError):
            site_info.read(tmp_path / "landmarks_MK001_20210301_1", probe("3B"))


def test_places_half_way_between_voxels_are_rounded_to_the_even_one(tmp_path):
    half = np.arange(960) + 0.5
    savemat(tmp_path / "landmarks_MK001_20210301_1_siteInfo.mat",
            site(pos_x=half, pos_y=half, pos_z=half))  # fmt: skip
    records = site_info.read(tmp_path / "landmarks_MK001_20210301_1", probe("3B", channels=384))
    found = records.tables["histology.electrode_ccf_position"]["ccf_x"].to_numpy()
    np.testing.assert_array_equal(found, 20 * np.rint(half[:384]))


def test_more_rows_than_sites_are_fine(tmp_path):
    n = np.arange(970.0)
    changes = {f"{part}_{axis}": n for part in ("pos", "warp") for axis in "xyz"}
    savemat(tmp_path / "landmarks_MK001_20210301_1_siteInfo.mat", site(ont_id=n, **changes))
    records = site_info.read(tmp_path / "landmarks_MK001_20210301_1", probe("3B"))
    assert records.tables["histology.electrode_ccf_position"].num_rows == 383  # site 1 has id 0
    assert [s.item_type for s in records.skipped] == ["electrode", "labelled track"]


def test_a_point_of_the_track_has_no_place_in_the_animals_image(tmp_path):
    """As BigWarp writes a point that was set in one image only."""
    row = '"Pt-2","false","Infinity","Infinity","Infinity","5100.0","2100.0","3100.0"\n'
    file = tmp_path / "landmarks.csv"
    file.write_text('"Pt-1","true","1.0","2.0","3.0","4.0","5.0","6.0"\n' + row)
    found = read_landmarks(file)
    assert found.track.tolist() == [[5100.0, 2100.0, 3100.0]]
    assert found.warp == {"Pt-1": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)}


@pytest.mark.parametrize(
    ("content", "place"),
    [("", None), ("Pt-1,true,1,2,3,4,5\n", "row 1"), ("Pt-1,maybe,1,2,3,4,5,6\n", "row 1"),
     ("Pt-1,true,1,2,3,4,5,6\nPt-2,true,1,2,3,4,5,six\n", "row 2"),
     ("Pt-1,true,1,2,3,4,5,nan\n", "row 1"), ("Pt-1,false,1,2,3,Infinity,5,6\n", "row 1"),
     ("Pt-1,true,Infinity,2,3,4,5,6\n", "row 1"), ("Pt-1,true,1,2,3,4,5,6\n" * 2, "row 2"),
     ("\xff\xfe\x00", None)],
)  # fmt: skip
def test_bad_landmarks(tmp_path, content, place):
    file = tmp_path / "landmarks.csv"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(CorruptFileError) as caught:
        read_landmarks(file)
    assert caught.value.place == place


def channel(**changes):
    return {"x": 1.0, "y": 2.0, "z": 3.0, "lateral": 43.0, "axial": 20.0, **changes}


ORIGIN = {"bregma": [5739.0, 5400.0, 332.0]}
BAD_JSON = {
    "empty": "",
    "cut": '{"channel_0": {"x": 1',
    "list": "[1, 2]",
    "no channels": json.dumps({"origin": ORIGIN}),
    "no origin": json.dumps({"channel_0": channel()}),
    "two origins": json.dumps({"channel_0": channel(), "origin": {**ORIGIN, "lambda": [1, 2, 3]}}),
    "flat origin": json.dumps({"channel_0": channel(), "origin": {"bregma": [1, 2]}}),
    "text": json.dumps({"channel_0": channel(x="__import__('os')"), "origin": ORIGIN}),
    "missing": json.dumps({"channel_0": {"x": 1.0}, "origin": ORIGIN}),
    "not finite": json.dumps({"channel_0": channel(z=float("nan")), "origin": ORIGIN}),
    "huge": json.dumps({"channel_0": channel(z=1e300), "origin": ORIGIN}),
    "no channel": json.dumps({"channel_0": 3, "origin": ORIGIN}),
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_channel_locations(tmp_path, name):
    file = tmp_path / "channel_locations.json"
    file.write_text(BAD_JSON[name], encoding="ascii")
    with pytest.raises(MaplakeError) as caught:
        channel_locations.read(tmp_path / "channel_locations", probe("3B"))
    assert caught.value.file == str(file)


@pytest.mark.parametrize(
    "content", ["{}", '{"xyz_picks": [[1, 2]]}', '{"xyz_picks": [[1, 2, "a"]]}']
)
def test_bad_picks(tmp_path, content):
    context = probe("3B")
    path = write_locations(tmp_path, context, tracks(context), "3B")
    (tmp_path / "xyz_picks.json").write_text(content, encoding="ascii")
    with pytest.raises((FileFormatError, CorruptFileError)):
        channel_locations.read(path, context)


def test_origin_as_a_list_and_early_files_without_picks(tmp_path):
    content = {"channel_0": channel(), "origin": [ORIGIN]}
    (tmp_path / "channel_locations.json").write_text(json.dumps(content), encoding="ascii")
    records = channel_locations.read(tmp_path / "channel_locations", probe("3B"))
    assert records.tables["histology.electrode_ccf_position"].to_pylist()[0] | {} == {
        "electrode": 1, "ccf_x": 5740, "ccf_y": 320, "ccf_z": 5400,
        "mri_x": None, "mri_y": None, "mri_z": None,
    }  # fmt: skip
    assert records.tables["histology.labeled_probe_track"].num_rows == 0
    assert [s.item_type for s in records.skipped] == ["labelled track"]
