"""Raw files that change, come later or are sorted again: what an ingest replaces, and what not."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from labs import content, ingest, lake_root, reasons, small, sql, statuses, table
from scipy.io import loadmat, savemat

from maplake import simulate
from maplake.config import load
from maplake.errors import NotFoundError
from maplake.ingest.archive import archived, restore
from maplake.query.check import check
from maplake.readers import animals


class TestChanges:
    def test_a_touched_file_is_read_but_nothing_changes(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        root = lake_root(lab)
        before = content(root)
        os.utime(lab.sessions[0].file, (1, 1))
        ingest(lab)
        assert content(root) == before
        assert set(statuses(ingest(lab)).values()) == {"unchanged"}

    def test_a_new_sorting_replaces_the_old_one_on_request_only(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        config = load(lab.config)
        root = lake_root(lab)
        before = content(root)
        probe = lab.probes[0]
        name = probe.folder.relative_to(lab.directory / "ephys").as_posix()
        clusters = np.load(probe.sorting_folder / "spike_clusters.npy")
        clusters[0] = clusters[1] = clusters[clusters != clusters[0]][0]
        np.save(probe.sorting_folder / "spike_clusters.npy", clusters)

        report = ingest(lab)
        assert statuses(report)["ephys", name] == "waiting"
        assert "--replace" in reasons(report)[name]
        assert content(root) == before

        report = ingest(lab, replace=True)
        assert [k for k, v in statuses(report).items() if v == "in"] == [("ephys", name)]
        assert "identical" in reasons(report)[next(n for n in reasons(report) if n != name)]
        after = content(root)
        session = f"subject_id={probe.session.subject_id}/session={probe.session.number}/"
        assert all(session in path for path in after if after[path] != before.get(path))
        found = sql(root, "FROM ephys.archived_clustering_spike")
        assert found.height == len(probe.spike_sample)
        assert not check(root, deep=True)

        # The old one comes back whole, the new one takes its place in the archive.
        (old,) = archived(config)
        label = old.name.split(" ")[-1]
        restore(config, probe.session.subject_id, probe.session.number, 1, label)
        living = {path: digest for path, digest in content(root).items() if "archive" not in path}
        assert living == before
        assert len(archived(config)) == 1
        assert not check(root, deep=True)
        assert statuses(ingest(lab))["ephys", name] == "waiting"
        with pytest.raises(NotFoundError, match="kilosort2_"):
            restore(config, probe.session.subject_id, probe.session.number, 1, "kilosort9_x")

        # There is none in the lake whose place it could take.
        record = root / f".maplake/state/{probe.session.subject_id}_{probe.session.number}.json"
        states = json.loads(record.read_bytes())["sources"]
        left = [state for state in states if state["name"] != name]
        record.write_text(json.dumps({"sources": left}), encoding="utf-8")
        label = archived(config)[0].name.split(" ")[-1]
        with pytest.raises(NotFoundError, match="no ephys"):
            restore(config, probe.session.subject_id, probe.session.number, 1, label)

    def test_corrected_bitcodes_are_taken_without_being_asked(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        probe = lab.probes[0]
        file = next(probe.folder.glob("*bitcode.mat"))
        values = {k: v for k, v in loadmat(file).items() if not k.startswith("__")}
        savemat(file, values | {"goCue": values["goCue"] + 30})
        ingest(lab)
        found = table(
            lake_root(lab),
            "ephys.ephys_trial",
            subject_id=probe.session.subject_id,
            session=probe.session.number,
        ).sort("trial")
        assert found["go_sample"].to_list() == (probe.go_sample + 30).tolist()

    def test_changed_behavior_takes_its_probes_along(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        other = small(tmp_path / "other", task=simulate.Task(skipped=(9,)))
        shutil.copy(other.sessions[0].file, lab.sessions[0].file)
        report = ingest(lab)
        again = [k for k, v in statuses(report).items() if v == "in"]
        assert [kind for kind, _ in again[:2]] == ["behavior", "ephys"]

    def test_new_sessions_keep_the_old_numbers(self, tmp_path):
        lab = small(tmp_path, sessions=3)
        first = min((lab.directory / "behavior" / "MK001").rglob("*.mat"))
        aside = tmp_path / first.name
        first.rename(aside)
        ingest(lab)
        aside.rename(first)
        ingest(lab)
        found = sql(lake_root(lab), "FROM experiment.session WHERE subject_id = 400001")
        numbers = dict(
            zip(found["session_date"].sort(), found.sort("session_date")["session"], strict=True)
        )
        assert list(numbers.values()) == [3, 1, 2]

    def test_raw_files_may_go_once_they_are_in(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab)
        before = content(lake_root(lab))
        for session in lab.sessions:
            session.file.unlink()
        report = ingest(lab)
        assert not report.failed
        assert content(lake_root(lab)) == before

    def test_selecting_one_session(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab, subject="MK002", session=2)
        found = sql(lake_root(lab), "SELECT subject_id, session FROM experiment.session").rows()
        assert found == [(400002, 2)]

    def test_dry_run_writes_nothing(self, tmp_path):
        lab = small(tmp_path)
        ingest(lab, kinds=["animals"])
        before = {p: p.stat().st_mtime_ns for p in lake_root(lab).rglob("*") if p.is_file()}
        report = ingest(lab, dry_run=True)
        assert "planned" in statuses(report).values()
        assert before == {p: p.stat().st_mtime_ns for p in lake_root(lab).rglob("*") if p.is_file()}

    def test_animals_not_entered_yet_make_sessions_wait(self, tmp_path):
        lab = small(tmp_path)
        sheet = lab.animals_file.read_text(encoding="utf-8").splitlines()
        lab.animals_file.write_text("\n".join(sheet[:2]) + "\n", encoding="utf-8")
        report = ingest(lab)
        assert not report.failed
        waiting = [s for s in report.sources if s.status == "waiting" and s.kind == "behavior"]
        assert {s.h2o for s in waiting} == {"MK002"}
        assert all("load-animal" in s.reason for s in waiting)
        lab.animals_file.write_text("\n".join(sheet) + "\n", encoding="utf-8")
        assert "waiting" not in statuses(ingest(lab)).values()

    def test_a_sheet_of_animals_that_changes_while_it_is_read_is_read_again(
        self, tmp_path, monkeypatch
    ):
        lab = small(tmp_path)
        load_rows = animals.load_rows

        def read_before_a_change(path, required):
            found = load_rows(path, required)
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(",7000,", ",8000,", 1), encoding="utf-8")
            return found

        with monkeypatch.context() as during:
            during.setattr(animals, "load_rows", read_before_a_change)
            ingest(lab, kinds=["animals"])
        ingest(lab, kinds=["animals"])
        cages = table(lake_root(lab), "lab.subject")["cage_number"].to_list()
        assert 8000 in cages
