"""Parquet files, arrays of spikes and names of files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from lakefiles import trials

from maplake.errors import SchemaError
from maplake.layout import safe_name
from maplake.tables import get
from maplake.writers import parquet, spikes

TRIALS = get("experiment.session_trial")
KEY = {"subject_id": 1, "session": 2}


class TestConform:
    def test_orders_columns_and_rows(self):
        shuffled = trials().select(["stop_time", "trial", "start_time"])
        found = parquet.conform(TRIALS, shuffled)
        assert found.column_names == ["trial", "start_time", "stop_time"]
        assert found["trial"].to_pylist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t.drop_columns(["trial"]), "wrong columns"),
            (lambda t: t.append_column("more", t["trial"]), "wrong columns"),
            (lambda t: t.set_column(0, "trial", pa.array(["a", "b", "c"])), "wrong types"),
            (lambda t: t.set_column(0, "trial", pa.array([1, None, 3])), "have no trial"),
            (lambda t: t.set_column(0, "trial", pa.array([1, 1, 3])), "not unique"),
            (lambda t: t.set_column(0, "trial", pa.array([1.5, 2, 3])), "wrong types"),
        ],
    )
    def test_refuses(self, change, message):
        with pytest.raises(SchemaError, match=message):
            parquet.conform(TRIALS, change(trials()))

    def test_refuses_unknown_words(self):
        table = get("ephys.unit_noise_label")
        row = {"clustering_method": "kilosort2", "unit": 1, "noise": "maybe"}
        with pytest.raises(SchemaError, match=r"noise.*'maybe'.*good, noise"):
            parquet.conform(table, pa.Table.from_pylist([row]))

    def test_same_rows_give_the_same_bytes(self, tmp_path):
        one, two = tmp_path / "1.parquet", tmp_path / "2.parquet"
        parquet.write(TRIALS, parquet.conform(TRIALS, trials()), one)
        parquet.write(TRIALS, parquet.conform(TRIALS, trials().take([2, 0, 1])), two)
        assert one.read_bytes() == two.read_bytes()

    def test_units_travel_with_the_file(self, tmp_path):
        path = tmp_path / "t.parquet"
        parquet.write(TRIALS, parquet.conform(TRIALS, trials()), path)
        assert pq.read_schema(path).field("start_time").metadata[b"unit"] == b"s"

    def test_spike_samples_are_delta_encoded(self, tmp_path):
        table = get("ephys.spike")
        n = 1000
        data = pa.table(
            {
                "clustering_method": ["k"] * n,
                "unit": np.repeat(np.arange(10, dtype=np.int32), 100),
                "trial": pa.array([1] * n, pa.int32()),
                "spike_sample": np.arange(n),
            }
        )
        path = tmp_path / "s.parquet"
        parquet.write(table, parquet.conform(table, data), path)
        encodings = pq.ParquetFile(path).metadata.row_group(0).column(3).encodings
        assert "DELTA_BINARY_PACKED" in encodings

    def test_merge_replaces_rows_of_the_same_key(self):
        table = get("lab.person")
        old = pa.table({"username": ["a", "b"], "fullname": ["A", "B"]})
        new = pa.table({"username": ["c", "b"], "fullname": ["C", "New B"]})
        found = parquet.merge(table, old, new)
        assert found.to_pylist() == [
            {"username": "a", "fullname": "A"},
            {"username": "b", "fullname": "New B"},
            {"username": "c", "fullname": "C"},
        ]

    def test_merge_refuses_rows_without_what_a_table_must_have(self):
        table = get("lab.person")
        old = pa.table({"username": ["a", None], "fullname": ["A", "B"]})
        new = pa.table({"username": ["c"], "fullname": ["C"]})
        for pair in ((old, new), (new, old)):
            with pytest.raises(SchemaError, match="do not fit"):
                parquet.merge(table, *pair)


def test_zarr_store_has_one_file_per_array_and_the_same_bytes_every_time(tmp_path):
    arrays = {
        "spike_sample": np.arange(700_000),
        "waveform": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "unit": np.zeros(0, np.int32),
    }
    for name in ("a.zarr", "b.zarr"):
        spikes.write(tmp_path / name, arrays, {"sampling_rate": 30000.0})
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    for name, array in arrays.items():
        np.testing.assert_array_equal(group[name][...], array)
    found = {
        p.relative_to(tmp_path / "a.zarr"): p
        for p in (tmp_path / "a.zarr").rglob("*")
        if p.is_file()
    }
    assert len([p for p in found if p.name != "zarr.json"]) == 2
    for relative, path in found.items():
        assert path.read_bytes() == (tmp_path / "b.zarr" / relative).read_bytes()


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", ".hidden", "", "a'b", "mäuse", "con:", "a b"]
)
def test_names_from_files_are_made_safe(name):
    safe = safe_name(name)
    assert safe
    assert not set(safe) & set("/\\:'\" ")
    assert not safe.startswith(".")
