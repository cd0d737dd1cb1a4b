"""The simulated lab as a whole: same arguments, same files; its sheets and settings."""

from __future__ import annotations

import ast
import csv
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from simlab import (
    FEW,
    LONG_CODES,
    SMALL,
    digests,
    probe_of,
    small,
)

from maplake import simulate
from maplake.simulate.spreadsheets import animal_rows, write_xlsx

__all__ = ["small"]  # fixture


def test_imports_nothing_else_of_maplake():
    libraries = {"h5py", "nrrd", "numpy", "polars", "scipy", "tifffile"}
    allowed = {*libraries, "__future__", *sys.stdlib_module_names}
    for path in Path(simulate.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.startswith("maplake.simulate") or name.split(".")[0] in allowed, path


def test_same_arguments_same_bytes(tmp_path):
    sorting = simulate.Sorting(metrics=True, phy_log=True)
    for name in ("a", "b"):
        simulate.lab(tmp_path / name, **SMALL, recording=FEW, sorting=sorting)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_other_seed_other_spikes(tmp_path):
    one, two = (probe_of(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    assert not np.array_equal(one.spike_sample, two.spike_sample)


def test_first_session_does_not_depend_on_what_follows(small, tmp_path):
    alone = simulate.lab(tmp_path, **SMALL, recording=FEW, task=LONG_CODES)
    ours, theirs = alone.sessions[0], small.sessions[0]
    assert ours.file.read_bytes() == theirs.file.read_bytes()
    np.testing.assert_array_equal(ours.probes[0].spike_sample, theirs.probes[0].spike_sample)


def test_configuration_names_what_is_there(small):
    config = tomllib.loads(small.config.read_text(encoding="utf-8"))
    rig = small.directory / config["behavior"]["rigs"][0]["path"]
    assert all(session.file.is_relative_to(rig) for session in small.sessions)
    (ephys,) = config["ephys"]["paths"]
    assert all(p.folder.is_relative_to(small.directory / ephys) for p in small.probes)
    sheets = config["spreadsheets"]
    assert (small.directory / sheets["animals"][0]) == small.animals_file
    assert (small.directory / sheets["insertion_locations"][0]) == small.insertions_file
    assert config["lake"]["root"] == "lake"
    assert config["behavior"]["min_file_kib"] == 0


def test_spreadsheets(small):
    with small.animals_file.open(encoding="utf-8", newline="") as file:
        animals = list(csv.DictReader(file))
    assert [row["water_restriction_number"] for row in animals] == [a.h2o for a in small.animals]
    with small.insertions_file.open(encoding="utf-8", newline="") as file:
        insertions = list(csv.DictReader(file))
    assert len(insertions) == len(small.probes)
    limited = [row for row in insertions if row["good_period"]]
    assert len(limited) == 1
    assert limited[0]["good_period"].endswith("-end")


def test_animals_as_xlsx(small, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    write_xlsx(tmp_path / "animals.xlsx", animal_rows(small.animals))
    header, row = openpyxl.load_workbook(tmp_path / "animals.xlsx").active.values
    assert header[1] == "Water restriction number"
    assert row[0] == small.animals[0].subject_id


def test_progress_names_sessions_and_probes(tmp_path):
    lines = []
    simulate.lab(tmp_path, **SMALL, recording=FEW, progress=lines.append)
    assert [line.split(":")[0] for line in lines] == [
        "MK001 session 1",
        "MK001 session 1 probe 1",
    ]
