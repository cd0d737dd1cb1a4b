"""Every raw format, when something is wrong with a file, and when results are replaced."""

from __future__ import annotations

import shutil
import time
from types import SimpleNamespace

import pytest
from labs import content, ingest, lake_root, reasons, rows
from scipy.io import loadmat, savemat

from maplake import simulate
from maplake.config import load
from maplake.ingest import pipeline
from maplake.ingest.archive import archived, restore
from maplake.ingest.status import status
from maplake.query.check import check


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Raw files of a smaller lab, to be copied before anything is done to them."""
    return simulate.whole_lab(tmp_path_factory.mktemp("raw"), trials=14, units=4, seed=5)


def copied(raw, folder):
    shutil.copytree(raw.directory, folder)
    return SimpleNamespace(directory=folder, config=folder / "lake.toml")


@pytest.fixture(scope="module")
def good(raw, tmp_path_factory):
    """The same taken in by one worker: to be copied, too."""
    lab = copied(raw, tmp_path_factory.mktemp("good") / "lab")
    assert not ingest(lab, workers=1).failed
    return lab


def garble(path):
    path.write_bytes(b"\x00 no such format \xff" * 50)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def empty(path):
    path.write_bytes(b"")


def swap(old, new):
    def spoil(path):
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return spoil


def without_last_line(path):
    path.write_text("".join(path.read_text("ascii").splitlines(True)[:-1]), "ascii")


HOSTILE = "__import__('os').system('touch pwned')"

#: Several files at once, each of another session: (animal, session), kind, file, what happens.
ROUNDS = [
    [
        (("MK001", 1), "tracking", "tracking/MK001/**/*_side_3-*.csv", garble),
        (("MK002", 1), "ephys", "ephys/MK002/20210301/1/*.ap_res.mat", cut),
        (("MK003", 1), "ephys", "ephys/MK003/catgt*/*.XA_0_0.adj.txt", swap("1", "x")),
        (
            ("MK004", 2),
            "behavior",
            "foraging/**/20210321-*.csv",
            swap("{'lickport", HOSTILE + "{'"),
        ),
    ],
    [
        (("MK001", 1), "histology", "histology/MK001/**/*_siteInfo.mat", cut),
        (("MK002", 1), "ephys", "ephys/MK002/20210301/2/*_jrc.mat", empty),
        (("MK003", 1), "nidq", "ephys/MK003/catgt*/*.nidq.bin", cut),
        (("MK004", 1), "ephys", "ephys/MK004/**/*bitcode.mat", cut),
    ],
    [
        (("MK001", 1), "tracking", "tracking/MK001/**/*_body_4-*.h5", cut),
        (("MK002", 2), "histology", "histology/MK002/**/*channel_locations_shank2.json", cut),
        (("MK003", 1), "behavior", "behavior_mtl/MK003/*_093000.mat", cut),
        (
            ("MK004", 1),
            "behavior",
            "foraging/**/20210320-100000.csv",
            swap("reward_probabilities_L", "x"),
        ),
    ],
    [
        (("MK001", 1), "lfp", "ephys/MK001/20210301/1/*.lf.bin", cut),
        (("MK002", 2), "histology", "histology/MK002/**/*xyz_picks_shank3.json", swap("[", "{")),
        (("MK003", 2), "ephys", "ephys/MK003/*_g1/*.XA_0_0.txt", without_last_line),
    ],
]


@pytest.mark.parametrize("faults", ROUNDS, ids=["first", "second", "third", "fourth"])
def test_a_session_with_a_bad_file_stays_out_whole(raw, tmp_path, faults):
    lab = copied(raw, tmp_path / "lab")
    for _, _, pattern, spoil in faults:
        (path,) = sorted(lab.directory.glob(pattern))[:1]
        spoil(path)
    report = ingest(lab)
    failed = {(s.h2o, s.session): s for s in report.sources if s.status == "failed"}
    assert {place: s.kind for place, s in failed.items()} == {
        place: kind for place, kind, _, _ in faults
    }, reasons(report)
    assert all(s.reason for s in failed.values())
    held = [s for s in report.sources if "held back" in (s.reason or "")]
    assert held
    for one in held:  # nothing can be taken in without the session's behavior
        alone = failed[one.h2o, one.session].kind != "behavior"
        assert ("to take in others alone" in one.reason) == alone
    animals = {a.h2o: a.subject_id for a in raw.animals}
    out = {(animals[h2o], number) for (h2o, number), _, _, _ in faults}
    root = lake_root(lab)
    inside = rows(root, "SELECT subject_id, session FROM experiment.session")
    assert sorted(inside) == sorted({(s.subject_id, s.number) for s in raw.sessions} - out)
    for subject_id, number in out:
        assert not list(root.glob(f"*/**/subject_id={subject_id}/session={number}"))
    assert check(root) == []
    assert not (tmp_path / "pwned").exists()
    assert {(s.h2o, s.session) for s in status(load(lab.config)) if s.status == "failed"} == set(
        failed
    )
    for _, _, pattern, _ in faults:  # the file is put right: the next run takes the session in
        (path,) = sorted(lab.directory.glob(pattern))[:1]
        shutil.copy(raw.directory / path.relative_to(lab.directory), path)
    assert not ingest(lab).failed
    assert len(rows(root, "FROM experiment.session")) == len(raw.sessions)
    assert check(root, deep=True) == []


def test_a_bad_annotation_keeps_no_session_out(raw, tmp_path):
    lab = copied(raw, tmp_path / "lab")
    volume = next(lab.directory.glob("ccf/*.nrrd"))
    good = volume.read_bytes()
    cut(volume)
    report = ingest(lab, subject="MK001")
    assert [s.kind for s in report.sources if s.status == "failed"] == ["ccf"]
    root = lake_root(lab)
    outside = "SELECT count(*) FROM histology.electrode_ccf_position_error"
    before = rows(root, outside)
    volume.write_bytes(good)
    report = ingest(lab, subject="MK001")
    # What was held against no volume is held against it now.
    assert {s.kind for s in report.sources if s.status == "in"} >= {"ccf", "histology"}
    assert rows(root, outside) > before
    assert check(root, deep=True) == []


def test_the_same_files_give_the_same_bytes(raw, good, tmp_path):
    lab = copied(raw, tmp_path / "two")
    assert not ingest(lab, workers=2).failed
    found = content(lake_root(lab))
    assert found == content(lake_root(good))
    state = (lab.directory / "lake" / ".maplake" / "log").stat().st_mtime_ns
    begin = time.perf_counter()
    report = ingest(lab)
    assert time.perf_counter() - begin < 1
    assert {s.status for s in report.sources} == {"unchanged"}
    assert content(lake_root(lab)) == found
    assert (lab.directory / "lake" / ".maplake" / "log").stat().st_mtime_ns == state


def waiting(report, kind):
    return {s.name: s.reason for s in report.sources if (s.kind, s.status) == (kind, "waiting")}


def test_a_rebuild_gives_the_same_again(good, tmp_path):
    lab = copied(good, tmp_path / "lab")
    root = lake_root(lab)
    before = content(root)
    report = pipeline.rebuild(load(lab.config))
    assert not report.failed
    assert content(root) == before
    assert check(root, deep=True) == []


class TestReplacement:
    def test_histology_done_again_replaces_the_old_one_on_request_only(self, raw, tmp_path):
        lab = copied(raw, tmp_path / "lab")
        ingest(lab, subject="MK001")
        root, config = lake_root(lab), load(lab.config)
        before = self._histology(root)
        file = next(lab.directory.glob("histology/MK001/histology/*_1_siteInfo.mat"))
        data = loadmat(file, simplify_cells=True)["site"]
        data["pos"]["x"] = data["pos"]["x"] + 10
        savemat(file, {"site": data})
        report = ingest(lab, subject="MK001")
        (reason,) = waiting(report, "histology").values()
        assert "--replace" in reason
        assert self._histology(root) == before
        report = ingest(lab, subject="MK001", kinds=["histology"], replace=True)
        assert [s.kind for s in report.sources if s.status == "in"] == ["histology"]
        after = self._histology(root)
        assert after != before
        kept = rows(
            root,
            "SELECT insertion_number, electrode, ccf_x, ccf_y, ccf_z "
            "FROM histology.archived_electrode_histology ORDER BY ALL",
        )
        assert kept == [row for row in before if row[0] == 1]
        assert len(rows(root, "FROM histology.archived_labeled_probe_track_point")) == 8
        assert check(root, deep=True) == []
        (old,) = archived(config)
        restore(config, old.subject_id, old.session, 1, old.name.split(" ")[-1])
        assert self._histology(root) == before
        (new,) = archived(config)
        assert new.name != old.name
        assert check(root, deep=True) == []
        # The files on disk are those of the archived one: it is not taken again unasked.
        assert "in" not in {s.status for s in ingest(lab, subject="MK001").sources}
        assert self._histology(root) == before

    def _histology(self, root):
        return rows(
            root,
            "SELECT insertion_number, electrode, ccf_x, ccf_y, ccf_z "
            "FROM histology.electrode_ccf_position ORDER BY ALL",
        )

    def test_identical_histology_is_refused(self, raw, tmp_path):
        lab = copied(raw, tmp_path / "lab")
        ingest(lab, subject="MK001")
        report = ingest(lab, subject="MK001", kinds=["histology"], replace=True)
        same = [s for s in report.sources if s.kind == "histology"]
        assert len(same) == 2
        assert all(s.status == "unchanged" and "identical" in s.reason for s in same)
        assert not archived(load(lab.config))

    def test_another_sorter_is_a_new_sorting(self, raw, tmp_path):
        lab = copied(raw, tmp_path / "lab")
        folder = lab.directory / "ephys" / "MK002" / "20210301" / "1"
        result = next(folder.glob("*.ap_res.mat"))
        content_of = result.read_bytes()
        result.unlink()
        ingest(lab, subject="MK002")
        root = lake_root(lab)
        methods = (
            "SELECT DISTINCT clustering_method FROM ephys.unit "
            "WHERE session = 1 AND insertion_number = 1"
        )
        assert rows(root, methods) == [("jrclust_v3",)]
        result.write_bytes(content_of)
        report = ingest(lab, subject="MK002")
        assert list(waiting(report, "ephys")) == ["MK002/20210301/1"]
        assert rows(root, methods) == [("jrclust_v3",)]
        ingest(lab, subject="MK002", replace=True)
        assert rows(root, methods) == [("jrclust_v4",)]
        (old,) = archived(load(lab.config))
        assert "jrclust_v3" in old.name
        assert check(root, deep=True) == []
