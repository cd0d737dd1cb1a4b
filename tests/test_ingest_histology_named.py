"""Histology by whose names there should be a session or a probe that there is not is told."""

from __future__ import annotations

from datetime import datetime

import pytest
from labs import ingest, small

from maplake.config import load
from maplake.ingest.status import status


@pytest.fixture
def lab(tmp_path):
    lab = small(tmp_path / "lab", animals=1, sessions=1)
    text = lab.config.read_text(encoding="utf-8")
    lab.config.write_text(f'{text}\n[histology]\npaths = ["histology"]\n', encoding="utf-8")
    (lab.directory / "histology").mkdir()
    return lab


def named(session):
    """When a session began by the name of its file."""
    return datetime.strptime(session.file.stem[-15:], "%Y%m%d_%H%M%S")


def put(lab, *names):
    session = lab.sessions[0]
    folder = lab.directory / "histology" / session.h2o / "histology"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name.format(h2o=session.h2o, start=named(session))).write_text("x", "utf-8")
    return folder


def waiting(sources):
    return {s.path.rpartition("/")[2]: s.reason for s in sources if s.status == "waiting"}


def test_a_day_a_time_and_a_probe_that_are_not_there(lab):
    folder = put(
        lab,
        "landmarks_{h2o}_19990131_1.csv",
        "landmarks_{h2o}_19990131_1_siteInfo.mat",
        "landmarks_{h2o}_{start:%Y%m%d}_235959_1.csv",
        "{h2o}_{start:%Y%m%d}_{start:%H%M%S}_7_channel_locations.json",
        "{h2o}_{start:%Y%m%d}_8_channel_locations_shank1.json",
        "{h2o}_20191399_1_channel_locations.json",  # no day, so nobody's name
        "notes of {h2o}.csv",
    )
    (folder / "loop").symlink_to(folder)
    session = lab.sessions[0]
    h2o, start = session.h2o, named(session)
    expected = {
        f"landmarks_{h2o}_19990131_1.csv": f"{h2o} has no session on 1999-01-31",
        f"landmarks_{h2o}_{start:%Y%m%d}_235959_1.csv": (
            f"no session of {h2o} on {start:%Y-%m-%d} began at the 235959 in the file's name "
            f"(there is: {start:%H:%M:%S})"
        ),
        f"{h2o}_{start:%Y%m%d}_{start:%H%M%S}_7_channel_locations.json": (
            f"{h2o} has no probe 7 on {start:%Y-%m-%d}"
        ),
        f"{h2o}_{start:%Y%m%d}_8_channel_locations_shank1.json": (
            f"{h2o} has no probe 8 on {start:%Y-%m-%d}"
        ),
    }
    assert waiting(ingest(lab, dry_run=True).sources) == expected
    for _ in range(2):
        assert waiting(ingest(lab).sources) == expected
        assert waiting(status(load(lab.config))) == expected


def test_one_that_gets_its_name_is_told_no_more(lab):
    folder = put(lab, "landmarks_{h2o}_{start:%Y%m%d}_000001_1.csv")
    (found,) = waiting(ingest(lab).sources)
    (folder / found).unlink()
    assert waiting(ingest(lab).sources) == {}
    assert waiting(status(load(lab.config))) == {}


def test_an_animal_without_any_session(lab):
    folder = lab.directory / "histology" / "XY99" / "histology"
    folder.mkdir(parents=True)
    (folder / "landmarks_XY99_20200102_1.csv").write_text("x", encoding="utf-8")
    found = waiting(ingest(lab).sources)
    assert found == {"landmarks_XY99_20200102_1.csv": "XY99 has no session on 2020-01-02"}


def test_what_fits_a_probe_is_no_stray(lab):
    put(
        lab,
        "landmarks_{h2o}_{start:%Y%m%d}_{start:%H%M%S}_1.csv",
        "landmarks_{h2o}_{start:%Y%m%d}_1.csv",
    )
    sources = ingest(lab, dry_run=True).sources
    assert waiting(sources) == {}
    assert [s.status for s in sources if s.kind == "histology"] == ["planned"]
