"""Simulated labs for the tests of the simulator, and what reads their files with plain tools."""

from __future__ import annotations

import csv
import hashlib

import numpy as np
import pytest
from scipy.io import loadmat

from maplake import simulate

SMALL = {"animals": 1, "sessions": 1, "probes": 1, "trials": 30, "units": 8}
FEW = simulate.Recording(channels=64)
# Codes must differ for a test to tell trials apart by them.
LONG_CODES = simulate.Task(bits=20)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return simulate.lab(
        tmp_path_factory.mktemp("small"),
        sessions=2,
        **{k: v for k, v in SMALL.items() if k != "sessions"},
        recording=FEW,
        task=LONG_CODES,
    )


@pytest.fixture(scope="module")
def long_session(tmp_path_factory):
    lab = simulate.lab(
        tmp_path_factory.mktemp("long"),
        **(SMALL | {"trials": 300, "units": 12}),
        rate_hz=10.0,
        recording=FEW,
        sorting=simulate.Sorting(pc_features=False),
    )
    return lab.sessions[0]


def probe_of(directory, **changes):
    """The only probe of a small lab."""
    return simulate.lab(directory, **({"recording": FEW} | SMALL | changes)).probes[0]


def session_data(session):
    return loadmat(session.file, squeeze_me=True, struct_as_record=False)["SessionData"]


def load(probe, name):
    return np.load(probe.sorting_folder / f"{name}.npy", allow_pickle=False)


def meta_of(probe):
    (path,) = probe.folder.glob("*.ap.meta")
    lines = path.read_text(encoding="ascii").splitlines()
    return path, dict(line.split("=", 1) for line in lines)


def read_tsv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
