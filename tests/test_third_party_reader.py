"""A package outside maplake adds a format by an entry point; nothing in maplake knows of it."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pytest
from labs import content, lake_root, sql, statuses

from maplake import readers, simulate
from maplake.config import load
from maplake.errors import ConfigError
from maplake.ingest import pipeline

MODULE = '''
"""A sorter that writes one CSV file: unit, sample, channel."""

import numpy as np
import pyarrow as pa

from maplake.readers.base import Reader, Records


def find(folder):
    return sorted(folder.glob("*.spikes.csv"))


def read(path, context):
    unit, sample, channel = np.loadtxt(path, delimiter=",", dtype=np.int64).T
    ids = np.unique(unit)
    n = len(ids)
    peak = [int(np.bincount(channel[unit == u]).argmax()) for u in ids]
    method = ["csvsort"] * n
    waveform = np.tile(np.sin(np.arange(40.0)), (n, 1))
    tables = {
        "ephys.unit": pa.table({
            "clustering_method": method, "unit": ids, "unit_quality": ["good"] * n,
            "channel": peak, "unit_posx": context.position[np.array(peak) - 1, 0],
            "unit_posy": context.position[np.array(peak) - 1, 1],
            "unit_amp": [50.0] * n, "unit_snr": [5.0] * n,
        }),
        "ephys.unit_waveform": pa.table(
            {"clustering_method": method, "unit": ids, "waveform": waveform.tolist()}),
    }
    depth = context.position[channel - 1, 1]
    arrays = {
        "spike_sample": sample, "spike_unit": unit, "spike_channel": channel,
        "spike_depth": depth, "spike_amplitude": np.ones(len(unit)),
        "waveform": waveform[:, None, :],
    }
    return Records(tables, arrays)


READER = Reader("csvsort", kind="sorting", find=find, read=read, priority=1)
'''


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with an entry point on the path, as pip would."""

    def put(module, target="lab_sorter:READER"):
        site = tmp_path / "site"
        info = site / "lab_sorter-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "lab_sorter.py").write_text(textwrap.dedent(module), encoding="utf-8")
        (info / "METADATA").write_text("Name: lab-sorter\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(
            f"[maplake.readers]\ncsvsort = {target}\n", encoding="utf-8"
        )
        monkeypatch.syspath_prepend(str(site))
        readers.all_readers.cache_clear()

    yield put
    sys.modules.pop("lab_sorter", None)
    readers.all_readers.cache_clear()


def test_its_sessions_go_in_like_any_other(tmp_path, install):
    lab = simulate.lab(
        tmp_path / "lab",
        animals=1,
        sessions=1,
        probes=1,
        trials=20,
        units=4,
        recording=simulate.Recording(channels=48),
    )
    probe = lab.probes[0]
    channel = np.searchsorted(probe.electrode, probe.spike_electrode) + 1
    rows = np.column_stack([probe.spike_unit, probe.spike_sample, channel])
    np.savetxt(probe.folder / "mine.spikes.csv", rows, fmt="%d", delimiter=",")
    install(MODULE)

    report = pipeline.run(load(lab.config))

    assert set(statuses(report).values()) == {"in"}
    found = sql(lake_root(lab), "SELECT clustering_method, unit, spike_sample FROM ephys.spike")
    assert set(found["clustering_method"]) == {"csvsort"}
    assert found.height == len(probe.spike_sample)
    assert any("csvsort.zarr" in name for name in content(lake_root(lab)))


@pytest.mark.parametrize(
    ("module", "message"),
    [("READER = 1", "is no reader"), ("import nothing_like_this", "cannot be loaded")],
)
def test_a_faulty_package_is_named(install, module, message):
    install(module)
    with pytest.raises(ConfigError, match=message):
        readers.all_readers()
