"""Spark reads the tables as they are; skipped without pyspark and java."""

from __future__ import annotations

import shutil
import warnings

import duckdb
import pytest
from labs import ingest, lake_root

from maplake import simulate

pytest.importorskip("pyspark", reason="needs pyspark")
pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs java")

TABLES = ("experiment/session", "experiment/trial_event", "ephys/unit", "ephys/spike")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    lab = simulate.lab(
        tmp_path_factory.mktemp("lab"), animals=1, sessions=2, probes=1, trials=10, units=4,
        sorting=simulate.Sorting(pc_features=False), recording=simulate.Recording(channels=48),
    )  # fmt: skip
    ingest(lab)
    return lake_root(lab)


@pytest.fixture(scope="module")
def spark():
    from pyspark.sql import SparkSession

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
        spark = session.config("spark.sql.timeType.enabled", "true").getOrCreate()
        yield spark
        spark.stop()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.filterwarnings("ignore")
def test_a_table_has_the_same_rows_and_sums(root, spark, table):
    folder = root / "tables" / table
    frame = spark.read.parquet(str(folder))
    numbers = [name for name, kind in frame.dtypes if kind in ("int", "bigint", "double")]
    query = "SELECT count(*), " + ", ".join(f"sum(CAST({n} AS DOUBLE))" for n in numbers)
    frame.createOrReplaceTempView("t")
    found = tuple(spark.sql(f"{query} FROM t").collect()[0])
    files = f"{folder.as_posix()}/**/*.parquet"
    expected = duckdb.sql(f"{query} FROM read_parquet('{files}', hive_partitioning = true)")
    assert found == pytest.approx(expected.fetchall()[0], nan_ok=True)
