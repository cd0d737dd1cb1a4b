"""``maplake.open`` and what a Lake offers besides PSTHs."""

import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from lakefiles import METHOD, small_lake, write_table

import maplake
from maplake.errors import (
    IntegrityError,
    LakeError,
    LakeNotFoundError,
    LakeVersionError,
    NotFoundError,
    QueryError,
)
from maplake.layout import Layout
from maplake.plots.psth import population_psth, raster_and_psth
from maplake.query import dictionary
from maplake.query.check import check
from maplake.query.erd import mermaid
from maplake.tables import TABLES

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    return root, small_lake(root)


@pytest.fixture
def lake(truth):
    with maplake.open(truth[0]) as lake:
        yield lake


@pytest.fixture
def copy(truth, tmp_path):
    target = tmp_path / "copy"
    shutil.copytree(truth[0], target)
    return target


@pytest.mark.parametrize("work", ["", "maplake.open(sys.argv[1])"])
def test_importing_maplake_and_opening_a_lake_import_next_to_nothing(truth, work):
    heavy = {"duckdb", "numpy", "polars", "scipy", "zarr", "pyarrow", "importlib.metadata"}
    code = f"import sys; import maplake; {work}\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, truth[0]],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert done.stdout.strip() == "[]"


def test_open_from_inside_the_lake_and_not_elsewhere(truth, tmp_path):
    root, _ = truth
    with maplake.open(root / "tables" / "ephys") as lake:
        assert lake.root == root.resolve()
    with pytest.raises(LakeNotFoundError, match="maplake init"):
        maplake.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"format_version": 99}', LakeVersionError),
        ("{", IntegrityError),
        ("{}", IntegrityError),
        ('{"format_version": "x"}', IntegrityError),
    ],
)
def test_versions(copy, text, error):
    Layout(copy).format_file.write_text(text)
    with pytest.raises(error):
        maplake.open(copy)


def test_sql_takes_parameters_and_says_what_is_wrong(lake):
    by_name = lake.sql("SELECT count(*) FROM ephys.unit WHERE unit = $unit", {"unit": 10})
    by_place = lake.sql("SELECT count(*) FROM ephys.unit WHERE unit = ?", [10])
    assert by_name.fetchall() == by_place.fetchall() == [(6,)]
    with pytest.raises(QueryError, match="no_such_table"):
        lake.sql("FROM no_such_table")
    with pytest.raises(QueryError, match="read-only"):
        lake.sql("CREATE TABLE lake.main.t (x INTEGER)")
    with pytest.raises(NotFoundError, match=r"ephys\.unit"):
        lake.table("ephys.unitt")


def test_a_second_connection_is_independent(lake):
    con = lake.connect()
    assert con.execute("SELECT count(*) FROM experiment.session").fetchone() == (3,)
    con.close()
    assert lake.sql("FROM experiment.session").fetchall()


def test_overview_and_representations(lake, truth):
    _, sessions = truth
    tables = dict(lake.tables().select("table", "rows").iter_rows())
    total = sum(len(v) for s in sessions for p in s.probes.values() for v in p.spikes.values())
    assert tables["ephys.spike"] == total
    assert tables["psth.unit_psth"] is None
    assert tables["psth.trial_condition"] >= 17
    assert "3 sessions of 2 animals, 6 probe insertions, 36 units" in repr(lake)
    assert "<table" in lake._repr_html_()
    assert lake.sessions()["h2o"].to_list() == ["xx101", "xx101", "xx102"]


def test_polars_leaves_out_files_unread(lake, copy):
    for path in (copy / "tables/ephys/spike").rglob("*.parquet"):
        if "session=2" not in str(path):
            path.write_bytes(b"not Parquet")
    with maplake.open(copy) as broken:
        found = broken.table("experiment.behavior_trial").filter(subject_id=101, session=2)
        assert found.collect().height == 40
        files = broken.table("ephys.unit").filter(pl.col("session") == 2).collect()
        assert set(files["session"]) == {2}


_ILL_FORMED = pa.py_buffer(b"\xff" * 6)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("unit", pa.array([1 << 40] * 6)),
        ("unit_quality", pa.array([[1]] * 6)),
        (
            "unit_quality",
            pa.Array.from_buffers(
                pa.string(), 6, [None, pa.array(range(7), pa.int32()).buffers()[1], _ILL_FORMED]
            ),
        ),
    ],
)
def test_a_table_of_units_that_somebody_changed_is_named(copy, column, values):
    file = copy / "tables/ephys/unit/subject_id=101/session=1/insertion_number=1/part.parquet"
    table = pq.read_table(file, partitioning=None).drop_columns([column])
    pq.write_table(table.append_column(column, values), file)
    with maplake.open(copy) as lake:
        assert len(lake.psth(101, 1, 2).units) > 0
        with pytest.raises(QueryError, match="units cannot be read") as caught:
            lake.psth(101, 1, 1)
    assert caught.value.file == str(file)


def test_spikes_of_a_clustering_and_of_a_unit(lake, truth):
    s = truth[1][0]
    probe = s.probes[2]
    spikes = lake.spikes(101, 1, 2)
    units = sorted(probe.spikes)
    np.testing.assert_array_equal(spikes.units, units)
    np.testing.assert_array_equal(spikes.sample, np.concatenate([probe.spikes[u] for u in units]))
    np.testing.assert_array_equal(np.unique(spikes.unit), [u for u in units if u != 7])
    assert spikes.waveform.shape == (6, 4, 2)
    one = lake.spikes(101, 1, 2, unit=40, clustering_method=METHOD)
    assert len(one) == len(probe.spikes[40])
    np.testing.assert_array_equal(one.sample, probe.spikes[40])
    np.testing.assert_array_equal(one.time, (probe.spikes[40] - probe.start[0]) / probe.rate)
    np.testing.assert_array_equal(one.depth, probe.spikes[40] / 7.0)
    np.testing.assert_array_equal(one.amplitude, probe.spikes[40] / 3.0)
    np.testing.assert_array_equal(one.site, probe.spikes[40] % 4 + 1)
    assert set(one.unit) == {40}
    assert one.waveform.shape == (4, 2)
    assert len(lake.spikes(101, 1, 2, unit=7)) == 0
    assert "unit 40" in repr(one)
    table = (
        lake.table("ephys.spike")
        .filter(subject_id=101, session=1, insertion_number=2, unit=40)
        .collect()
    )
    np.testing.assert_array_equal(table["spike_time"], one.time)


def test_spikes_that_are_not_there(lake, copy):
    for key in ((1, 1, 1), (101, 9, 1), (101, 1, 9)):
        with pytest.raises(NotFoundError):
            lake.spikes(*key)
    with pytest.raises(NotFoundError, match="no unit 999"):
        lake.spikes(101, 1, 1, unit=999)
    with pytest.raises(NotFoundError):
        lake.spikes(101, 1, 1, clustering_method="../../../etc")
    (copy / "arrays/ephys/subject_id=101/session=1/insertion_number=1/other.zarr").mkdir()
    with maplake.open(copy) as damaged:
        with pytest.raises(NotFoundError, match="several"):
            damaged.spikes(101, 1, 1)
        with pytest.raises(LakeError, match="cannot be opened"):
            damaged.spikes(101, 1, 1, clustering_method="other")


@pytest.mark.parametrize(("place", "value"), [(-1, 5 << 32), (1, -1), (0, 1), (3, 0)])
def test_offsets_that_do_not_divide_the_spikes(copy, place, value):
    """As a flipped bit makes them: an array of 80 GB was asked for."""
    store = copy / "arrays/ephys/subject_id=101/session=1/insertion_number=2"
    offsets = zarr.open_group(str(next(store.glob("*.zarr"))), mode="r+")["unit_offset"]
    offsets[place] = value
    with maplake.open(copy) as damaged:
        with pytest.raises(LakeError, match="does not divide the spikes"):
            _ = damaged.spikes(101, 1, 2).unit
        with pytest.raises(LakeError, match="does not divide the spikes"):
            _ = damaged.spikes(101, 1, 2, unit=40).sample


# ------------------------------------------------------------------------------- check


def kinds(root, **options):
    return {(p.kind, p.table) for p in check(root, **options)}


def test_a_sound_lake_has_no_problems(truth):
    assert check(truth[0], deep=True) == []


def test_check_finds_missing_extra_and_changed_files(copy):
    spike = copy / "tables/ephys/spike/subject_id=101/session=1"
    shutil.copytree(spike / "insertion_number=1", spike / "insertion_number=3")
    (copy / "tables/ephys/unit/subject_id=102/session=1/insertion_number=1/part.parquet").unlink()
    chunk = next(p for p in sorted((copy / "arrays").rglob("*")) if p.is_file())
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    quick = kinds(copy)
    assert {("extra", "ephys.spike"), ("missing", "ephys.unit")} <= quick
    assert ("reference", "ephys.spike") in quick
    assert ("checksum", "") not in quick
    assert ("checksum", "") in kinds(copy, deep=True)


def test_check_finds_wrong_rows(copy):
    key = {"subject_id": 101, "session": 1}
    write_table(copy, "experiment.session_trial", key, trial=[1, 1, 2])
    write_table(
        copy,
        "experiment.behavior_trial",
        {"subject_id": 101, "session": 2},
        trial=[1, 2],
        outcome=["hit", "it's"],
        trial_instruction=["left"] * 2,
        early_lick=["no early"] * 2,
        task=["audio delay"] * 2,
    )
    insertion = {**key, "insertion_number": 1}
    write_table(copy, "ephys.unit_note", insertion, unit=[10, 11], clustering_method=[METHOD] * 2)
    write_table(
        copy,
        "lab.water_restriction",
        {},
        subject_id=[101, 102],
        water_restriction_number=["same", "same"],
    )
    found = kinds(copy)
    assert {
        ("key", "experiment.session_trial"),
        ("reference", "experiment.behavior_trial"),
        ("values", "experiment.behavior_trial"),
        ("unique", "lab.water_restriction"),
        ("rows", "experiment.session_trial"),
        ("bytes", "experiment.session_trial"),
    } <= found


def test_check_survives_a_file_that_cannot_be_read(copy):
    file = copy / "tables/experiment/behavior_trial/subject_id=101/session=2/part.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    found = kinds(copy)
    assert ("unreadable", "experiment.behavior_trial") in found
    assert ("bytes", "experiment.behavior_trial") in found


def test_check_finds_other_columns(copy):
    import pyarrow.parquet as pq

    file = copy / "tables/experiment/session_trial/subject_id=102/session=1/part.parquet"
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.set_column(0, "trial", table["trial"].cast("int64")), file)
    assert ("schema", "experiment.session_trial") in kinds(copy)


def test_views_are_joined_with_views(lake):
    units, stats = lake.table("ephys.unit"), lake.table("ephys.unit_stat")
    key = ["subject_id", "session", "insertion_number", "clustering_method", "unit"]
    some = stats.filter(pl.col("unit") > 1)
    assert stats.join(some, on=key).select(pl.len()).collect().item() == some.collect().height
    found = units.join(stats, on=key).join(lake.table("ephys.unit_passing_criteria"), on=key)
    assert found.collect().height == units.collect().height > 0


# ---------------------------------------------------------------- diagram, dictionary, figures


def test_diagram_and_dictionary_know_every_table():
    diagram, page = mermaid(), dictionary.markdown()
    assert diagram.startswith("erDiagram\n")
    for name, table in TABLES.items():
        assert f'["{name}"]' in diagram
        assert f"### {name}\n" in page
        assert all(column.comment in page for column in table.all_columns)
    assert "tracking" not in mermaid(["lab"])
    with pytest.raises(NotFoundError, match="psth"):
        mermaid(["nothing"])


def test_the_dictionary_in_docs_is_current():
    file = REPOSITORY / "docs" / "tables.md"
    assert file.read_text(encoding="utf-8") == dictionary.markdown(), (
        "write it anew: python -m maplake.query.dictionary docs/tables.md"
    )


def test_raster_and_psth_figure(lake):
    upper, lower = raster_and_psth(lake, 101, 1, 1, 50)
    assert "xx101 session 1, probe 1, unit 50" in upper.get_title()
    names = [text.get_text() for text in lower.get_legend().get_texts()]
    assert [name.split()[0] for name in names] == ["contra", "ipsi"]
    left = lake.psth(101, 1, 1, 50, condition="good_noearlylick_left_hit")
    np.testing.assert_array_equal(lower.lines[0].get_ydata(), left.rate[0])
    assert names[0].endswith(f"n = {left.trial_count[0]}")
    plt.close(upper.figure)
    with pytest.raises(NotFoundError):
        raster_and_psth(lake, 101, 1, 1, 999)
    assert not plt.get_fignums()  # no empty figure was left open


def test_figure_without_a_location_names_the_sides(copy):
    shutil.rmtree(copy / "tables/ephys/insertion_location")
    with maplake.open(copy) as lake:
        from maplake.query import catalog

        catalog.build(copy)
        _, lower = raster_and_psth(lake, 101, 1, 1, 7)
        names = [text.get_text().split()[0] for text in lower.get_legend().get_texts()]
        assert names == ["left", "right"]
        plt.close(lower.figure)


def test_population_figure_and_plot(lake):
    upper, lower = population_psth(lake, 101, 1, 1)
    assert "5 units" in upper.get_title()
    assert lower.get_ylabel() == "rate (Hz)"
    plt.close(upper.figure)
    with pytest.raises(NotFoundError, match="no trials"):
        population_psth(lake, 101, 1, 1, "all_noearlylick_right_alm_stim")
    assert not plt.get_fignums()
    for unit in (10, None):
        ax = lake.psth(101, 1, 1, unit).plot()
        assert "go" in ax.get_xlabel()
        plt.close(ax.figure)


def test_a_query_larger_than_memory_leaves_the_current_folder_alone(truth, tmp_path, monkeypatch):
    root, _ = truth
    monkeypatch.chdir(tmp_path)
    with maplake.open(root) as lake, lake.connect() as con:
        con.execute("SET memory_limit = '60MB'; SET threads = 1")
        con.execute("CREATE TEMP TABLE large AS SELECT hash(range) AS x FROM range(10000000)")
        assert con.execute("SELECT count(*) FROM duckdb_temporary_files()").fetchall()[0][0] > 0
        assert [*tmp_path.iterdir()] == []
