"""The annotation volume into Zarr, names, colours and mesh: real, simulated and bad files."""

from __future__ import annotations

import bz2
import gzip
import json
import tracemalloc
from pathlib import Path

import nrrd
import numpy as np
import pytest
import tifffile
import zarr
from ccf_lakes import VERSION, real
from scipy.io import savemat

from maplake.errors import (
    ConfigError,
    CorruptFileError,
    FileFormatError,
    MaplakeError,
    MissingFileError,
    UnreadableFileError,
)
from maplake.readers import channel_locations
from maplake.readers.base import HistologyContext, ProbeSites
from maplake.readers.ccf_annotation import open_volume
from maplake.readers.ccf_tables import read_regions, read_surface
from maplake.readers.tiff_stack import open_tiff
from maplake.simulate.ccf import simulate_framework, write_framework
from maplake.tables import get
from maplake.writers.ccf import write_volume
from maplake.writers.parquet import conform


def load(path, tmp_path, resolution):
    """Load a volume; return the array and the voxels of the runs."""
    store = tmp_path / "volume.zarr"
    runs = write_volume(store, open_volume(path), resolution, VERSION)
    array = zarr.open_array(str(store), mode="r")
    conform(get("ccf.annotation_run"), runs, is_sorted=True)
    assert runs.equals(conform(get("ccf.annotation_run"), runs).cast(runs.schema))  # sorted
    expanded = np.zeros(array.shape, np.uint32)
    for row in runs.to_pylist():
        x, z = row["ccf_x"] // resolution, row["ccf_z"] // resolution
        y = slice(row["ccf_y_start"] // resolution, row["ccf_y_stop"] // resolution + 1)
        assert not expanded[z, y, x].any()
        expanded[z, y, x] = row["region_id"]
    return array, expanded


@pytest.mark.parametrize("tiff", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_what_is_written_is_loaded(tmp_path, tiff, step):
    truth = simulate_framework()
    paths = write_framework(tmp_path, truth, tiff=tiff)
    if tiff:  # a TIFF says nothing about the voxels; the size of the whole does
        assert open_volume(paths["annotation"]).voxel_um == 200
    array, expanded = load(paths["annotation"], tmp_path, 200 * step)
    expected = truth.volume[::step, ::step, ::step]
    assert np.array_equal(array[...], expected)
    assert np.array_equal(expanded, expected)
    assert array.dtype == np.uint32
    assert array.attrs["resolution_um"] == 200 * step
    assert array.metadata.dimension_names == ("ap", "dv", "ml")
    assert array.shards is not None


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("kind", ["<u4", ">u4", "<u2", "u1", "<i4", "<u8"])
def test_encodings_and_types(tmp_path, encoding, detached, kind):
    volume = np.random.default_rng(1).integers(0, 99, (5, 7, 130)).astype(kind)
    path = tmp_path / ("v.nhdr" if detached else "v.nrrd")
    header = {"spacings": [25.0] * 3, "encoding": encoding,
              "endian": "big" if kind[0] == ">" else "little"}  # fmt: skip
    nrrd.write(str(path), volume, header, detached_header=detached)
    array, expanded = load(path, tmp_path, 25)
    assert np.array_equal(array[...], volume)
    assert np.array_equal(expanded, volume)


def test_data_beside_the_header_that_must_not_be_read(tmp_path, monkeypatch):
    volume = np.ones((2, 2, 2), np.uint32)
    nrrd.write(str(tmp_path / "v.nhdr"), volume, {"encoding": "raw"}, detached_header=True)
    open_file = Path.open

    def refuse(path, *arguments, **options):
        if path.suffix == ".raw":
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnreadableFileError, match="Permission denied") as caught:
        open_volume(tmp_path / "v.nhdr")
    assert caught.value.file == str(tmp_path / "v.raw")


def test_packed_in_several_streams_with_lines_to_skip(tmp_path):
    volume = np.arange(4 * 3 * 6, dtype="<u4").reshape(4, 3, 6)
    data = volume.tobytes(order="F")
    head = "NRRD0004\ntype: uint32\ndimension: 3\nsizes: 4 3 6\nendian: little\nencoding: {}\n"
    head += "spacings: 25 25 25\nline skip: {}\n\n"
    for encoding, pack in (("gzip", gzip.compress), ("bzip2", bz2.compress)):
        path = tmp_path / f"{encoding}.nrrd"
        body = pack(data[:100]) + pack(data[100:])
        path.write_bytes(head.format(encoding, 1).encode() + b"a line\n" + body)
        planes = np.stack([p.copy() for p in open_volume(path).planes()], axis=2)
        assert np.array_equal(planes, volume)


@pytest.mark.parametrize(
    ("spacing", "units", "expected"),
    [(25.0, None, 25.0), (0.025, None, 25.0), (0.01, "mm", 10.0), (50.0, "microns", 50.0)],
)
def test_voxel_sizes(tmp_path, spacing, units, expected):
    header = {"space": "left-posterior-superior", "space directions": np.eye(3) * spacing}
    header |= {"space units": [units] * 3} if units else {}
    nrrd.write(str(tmp_path / "v.nrrd"), np.zeros((2, 2, 2), np.uint32), header)
    assert open_volume(tmp_path / "v.nrrd").voxel_um == expected


def test_resolution_must_be_a_whole_multiple(tmp_path):
    paths = write_framework(tmp_path, simulate_framework())
    for resolution in (100, 300, 201):
        with pytest.raises(ConfigError, match="expected 200, 400"):
            write_volume(tmp_path / "z", open_volume(paths["annotation"]), resolution, VERSION)


def test_axes_in_another_order_are_refused(tmp_path):
    truth = simulate_framework()
    turned = np.moveaxis(truth.volume, 1, 0)
    nrrd.write(str(tmp_path / "v.nrrd"), turned, {"spacings": [200.0] * 3})
    with pytest.raises(FileFormatError, match="40 x 66 x 57; expected AP x DV x ML, 66 x 40 x 57"):
        open_volume(tmp_path / "v.nrrd")


def test_a_volume_is_streamed(tmp_path):
    volume = np.zeros((400, 300, 400), np.uint32)  # 192 MB
    volume[50:350, 50:250, 50:350] = 7
    nrrd.write(str(tmp_path / "v.nrrd"), volume, {"spacings": [10.0] * 3})
    del volume
    tracemalloc.start()
    write_volume(tmp_path / "z", open_volume(tmp_path / "v.nrrd"), 20, VERSION)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80e6


HEAD = "NRRD0004\ntype: {}\ndimension: 3\nsizes: {}\nendian: little\nencoding: {}\n{}\n"


def header(kind="uint32", sizes="2 2 2", encoding="raw", more="", data=b"\0" * 32):
    return HEAD.format(kind, sizes, encoding, more).encode() + data


BAD_NRRD = {
    "empty": (b"", CorruptFileError),
    "other": (b"MATLAB 5.0 and so on", FileFormatError),
    "header cut": (b"NRRD0004\ntype: uint32\ndim", MaplakeError),
    "no sizes": (b"NRRD0004\ntype: uint32\n\n", MaplakeError),
    "cut": (header(data=b"\0" * 31), CorruptFileError),
    "no data": (header(data=b""), CorruptFileError),
    "gzip cut": (header(encoding="gzip", data=gzip.compress(b"\0" * 32)[:12]), CorruptFileError),
    "no gzip": (header(encoding="gzip", data=b"\0" * 32), CorruptFileError),
    "bzip2 cut": (header(encoding="bzip2", data=bz2.compress(b"\0" * 32)[:-3]), CorruptFileError),
    "float": (header("float"), FileFormatError),
    "two axes": (HEAD.replace("3", "2", 1).format("uint32", "2 4", "raw", "").encode(),
                 MaplakeError),
    "huge": (header(sizes="99999999 99999999 99999999"), CorruptFileError),
    "negative size": (header(sizes="-2 2 2"), MaplakeError),
    "negative id": (header("int32", data=b"\xff" * 32), CorruptFileError),
    "id too large": (header(data=b"\xff" * 32), CorruptFileError),
    "hex": (header(encoding="hex"), FileFormatError),
    "not cubes": (header(more="spacings: 1 2 3\n"), FileFormatError),
    "not finite": (header(more="spacings: nan nan nan\n"), FileFormatError),
    "outside": (header(more="data file: ../../../etc/passwd\n", data=b""), FileFormatError),
    "absolute": (header(more="data file: /etc/passwd\n", data=b""), FileFormatError),
    "windows": (header(more="data file: ..\\secret\n", data=b""), FileFormatError),
    "list": (header(more="data file: LIST\n", data=b"a\nb\n"), MaplakeError),
    "not there": (header(more="data file: other.raw\n", data=b""), MissingFileError),
    "skip": (header(more="byte skip: -7\n"), FileFormatError),
    "skip of words": (header(more="byte skip: many\n"), MaplakeError),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_NRRD)
@pytest.mark.filterwarnings("ignore::UserWarning:nrrd")
def test_bad_nrrd(tmp_path, name):
    content, error = BAD_NRRD[name]
    path = tmp_path / "v.nrrd"
    path.write_bytes(content)
    with pytest.raises(error):
        write_volume(tmp_path / "z", open_volume(path), 20, VERSION)


def test_bad_tiff(tmp_path):
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, np.ones((3, 4, 5), np.uint16), photometric="minisblack")
    content = path.read_bytes()
    for cut in (0, 2, 4, 30, len(content) // 2):
        path.write_bytes(content[:cut])
        with pytest.raises(MaplakeError):
            write_volume(tmp_path / f"z{cut}", open_volume(path), 20, VERSION)
    tifffile.imwrite(path, np.ones((3, 4, 5), np.float32), photometric="minisblack")
    with pytest.raises(FileFormatError, match="whole numbers"):
        open_volume(path)
    for tag, value in (("ImageWidth", 2**31), ("BitsPerSample", 7000)):  # 16 GiB; of no type
        tifffile.imwrite(path, np.ones((6, 4, 5), np.uint16), photometric="minisblack")
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[4].tags[tag].overwrite(value)
        with pytest.raises(CorruptFileError, match="differ in size"):
            list(open_tiff(path).planes(1))
    with tifffile.TiffWriter(path) as writer:
        for _ in range(3):
            writer.write(np.ones((4, 5), np.uint16), metadata=None, contiguous=False)
    with tifffile.TiffFile(path, mode="r+") as file:
        for page in file.pages:
            page.tags["ImageWidth"].overwrite(0)
    with pytest.raises(CorruptFileError, match="impossible"):
        open_volume(path)
    tifffile.imwrite(path, np.ones((4, 5), np.uint16))
    with pytest.raises(FileFormatError):
        open_volume(path)


def test_no_volume_at_all(tmp_path):
    with pytest.raises(MissingFileError):
        open_volume(tmp_path / "none.nrrd")
    with pytest.raises(FileFormatError, match=r"expected \.nrrd"):
        open_volume(tmp_path / "volume.npy")
    (tmp_path / "folder.nrrd").mkdir()
    with pytest.raises(MaplakeError):
        open_volume(tmp_path / "folder.nrrd")


def test_simulated_names_and_mesh(tmp_path):
    truth = simulate_framework()
    paths = write_framework(tmp_path, truth)
    rows = read_regions(paths["region_csv"], paths["hexcode_csv"], VERSION).to_pylist()
    assert {r["region_id"]: (r["region_name"], r["color_code"]) for r in rows} == {
        number: (name, truth.colors[number]) for number, name in truth.names.items()
    }
    (mesh,) = read_surface(paths["surface_mesh"]).to_pylist()
    assert mesh["annotated_brain_name"] == "brain_isosurf"
    assert np.array_equal(mesh["vertices"], truth.vertices)
    assert np.array_equal(mesh["faces"], truth.faces)


@pytest.mark.parametrize(
    ("content", "place"),
    [("", None), ("1,a\n1,b\n", "row 2"), ("1,a\n2\n", "row 2"), ("1,a\n-2,b\n", "row 2"),
     ("1,a\n2,\n", "row 2"), ("1,a\nx,b\n", "row 2"), ("1,a\n99999999999,b\n", "row 2"),
     ("id,name\n1\n", "row 2"), ("a,b\n1,2\n", "row 1"), ("\xff\xfe", None)],
)  # fmt: skip
def test_bad_regions(tmp_path, content, place):
    file = tmp_path / "regions.csv"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises((CorruptFileError, FileFormatError)) as caught:
        read_regions(file, None, VERSION)
    assert caught.value.place == place


def test_bad_colours(tmp_path):
    (tmp_path / "names.csv").write_text("1,a\n", encoding="ascii")
    (tmp_path / "hex.csv").write_text("1,green\n", encoding="ascii")
    with pytest.raises(CorruptFileError, match="region 1: no colour; found green"):
        read_regions(tmp_path / "names.csv", tmp_path / "hex.csv", VERSION)
    with pytest.raises(MissingFileError):
        read_regions(tmp_path / "names.csv", tmp_path / "none.csv", VERSION)


TRIANGLE = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize(
    "mesh",
    [{"vertices": TRIANGLE}, {"vertices": TRIANGLE, "faces": [[1, 2, 4]]},
     {"vertices": TRIANGLE, "faces": [[0, 1, 2]]}, {"vertices": TRIANGLE[:, :2],
      "faces": [[1, 2, 3]]},
     {"vertices": TRIANGLE * np.nan, "faces": [[1, 2, 3]]}, {"vertices": "x", "faces": "y"},
     {"vertices": TRIANGLE, "faces": [[1, 2, 2.5]]}],
)  # fmt: skip
def test_bad_mesh(tmp_path, mesh):
    savemat(tmp_path / "mesh.mat", {"mesh": mesh})
    with pytest.raises((FileFormatError, CorruptFileError)):
        read_surface(tmp_path / "mesh.mat")
    (tmp_path / "mesh.mat").write_bytes(b"")
    with pytest.raises(CorruptFileError):
        read_surface(tmp_path / "mesh.mat")


def test_real_volume(tmp_path):
    path = real("PyNutil/annotation_25.nrrd")
    volume = open_volume(path)
    assert volume.shape == (528, 320, 456)
    assert volume.voxel_um == 25
    store = tmp_path / "z"
    runs = write_volume(store, volume, 25, VERSION)
    truth, _ = nrrd.read(str(path))
    assert np.array_equal(zarr.open_array(str(store), mode="r")[...], truth)
    ids, counts = np.unique(truth, return_counts=True)
    assert len(ids) == 672
    table = runs.to_pandas()
    voxels = (table.ccf_y_stop - table.ccf_y_start) // 25 + 1
    assert voxels.groupby(table.region_id).sum().to_dict() == dict(
        zip(ids[1:].tolist(), counts[1:].tolist(), strict=True)
    )
    half = write_volume(tmp_path / "half", volume, 50, VERSION)
    assert set(half["voxel_size"].to_pylist()) == {50}
    assert np.array_equal(zarr.open_array(str(tmp_path / "half"))[...], truth[::2, ::2, ::2])


def test_real_names_and_colours():
    folder = real("map-ephys")
    table = read_regions(folder / "mousebrainontology_2.csv", folder / "hexcode.csv", VERSION)
    rows = {row.pop("region_id"): row for row in table.to_pylist()}
    assert len(rows) == 1327
    assert rows[1] == {
        "annotation_version": VERSION,
        "region_name": "Tuberomammillary nucleus, ventral part",
        "color_code": "FF4C3E",
    }
    assert {len(row["color_code"]) for row in rows.values()} == {6}
    for other in ("iblatlas/allen_structure_tree.csv", "PyNutil/allen2017_colours.csv"):
        same = read_regions(real(other), None, VERSION).to_pylist()
        assert len(same) == 1327
        assert {r["region_id"]: r["color_code"] for r in same} == {
            number: row["color_code"] for number, row in rows.items()
        }


def test_real_mesh():
    table = read_surface(real("map-ephys/Annotation_new_10_ds222_16bit_isosurf.mat"))
    assert table["annotated_brain_name"].to_pylist() == ["Annotation_new_10_ds222_16bit_isosurf"]
    vertices = np.array(table["vertices"][0].as_py())
    faces = np.array(table["faces"][0].as_py())
    assert vertices.shape == (102295, 3)
    assert faces.shape == (204280, 3)
    assert (faces.min(), faces.max()) == (0, 102294)
    # ML, AP, DV in voxels of 20 um
    assert np.all(vertices.max(axis=0) < [570, 660, 400])


def test_real_track_lies_in_the_real_brain(tmp_path):
    """Points traced by the tool that writes format 2, in m from bregma, through the volume."""
    source = real("PyNutil/annotation_25.nrrd").parents[2] / "ibl_histology/ibllib"
    with np.load(source / "alignment_data.npz", allow_pickle=False) as data:
        picks = data["xyz_picks"] * 1e6
    assert picks.shape == (11, 3)
    channel = dict.fromkeys(("x", "y", "z"), 0.0) | {"lateral": 43.0, "axial": 20.0}
    origin = {"bregma": [5739.0, 5400.0, 332.0]}
    content = {"channel_locations": {"channel_0": channel, "origin": origin}}
    content["xyz_picks"] = {"xyz_picks": picks.tolist()}
    for name, value in content.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value), encoding="ascii")
    sites = ProbeSites(np.array([1]), np.array([1]), np.array([16.0]), np.array([0.0]))
    context = HistologyContext(sites, np.array([1]))
    records = channel_locations.read(tmp_path / "channel_locations", context)
    points = records.tables["histology.labeled_probe_track_point"]
    x, y, z = (points[name].to_numpy() for name in ("ccf_x", "ccf_y", "ccf_z"))
    assert np.allclose([x[0], y[0], z[0]], [5739 - 2713, 332 + 543, 5400 + 4124])
    volume, _ = nrrd.read(str(real("PyNutil/annotation_25.nrrd")))
    inside = volume[tuple(np.rint(v / 25).astype(int) for v in (z, y, x))] > 0
    assert inside[1:-1].all()
