"""What status says of what was deleted and of what another source of its session holds back."""

from __future__ import annotations

import numpy as np
import pytest
from clirun import home, run  # noqa: F401 - a fixture
from computelabs import copy_lab
from labs import ingest, small

from maplake.config import load
from maplake.errors import NotFoundError
from maplake.ingest.archive import archived
from maplake.ingest.delete import Target, delete
from maplake.ingest.pipeline import prepare
from maplake.ingest.status import status


@pytest.fixture
def lab(ingested_lab, tmp_path):
    return copy_lab(ingested_lab, tmp_path / "lab")


def of_session(sources, number):
    return {(s.kind, s.insertion_number): s for s in sources if s.session == number}


def test_what_was_deleted_is_deleted_and_not_absent(lab):
    config, subject = load(lab.config), lab.sessions[0].subject_id
    delete(config, Target(subject, 1))
    delete(config, Target(subject, 2, 1))
    first = of_session(status(config), 1)
    assert {s.status for s in first.values()} == {"deleted"}
    second = of_session(status(config), 2)
    assert second["ephys", 1].status == "deleted"
    assert second["ephys", 2].status == "in"
    assert "absent" not in {s.status for (_, number), s in second.items() if number == 1}
    for words in (("ingest", "--no-compute"), ("status",)):
        result = run("--config", str(lab.config), *words)
        assert "4 deleted" in result.stdout
        assert "was deleted on" in result.stdout
    lab.probes[0].folder.rename(lab.directory / "elsewhere")  # its raw files have gone, too
    probe = lab.probes[0]
    found = of_session(status(config), probe.session.number)
    assert found["ephys", 1].status == "deleted"


def test_a_source_is_held_back_by_one_of_its_session_that_failed(tmp_path):
    lab = small(tmp_path, animals=1, sessions=1)
    file = lab.sessions[0].file
    file.write_bytes(file.read_bytes()[:-3000])
    report = ingest(lab)
    (said,) = [s for s in report.sources if s.kind == "ephys"]
    found = of_session(status(load(lab.config)), 1)
    assert found["behavior", None].status == "failed"
    assert found["ephys", 1].status == "waiting" == said.status
    assert found["ephys", 1].reason == said.reason
    assert said.reason.startswith(f"held back because {file.stem} failed")


def test_a_session_that_there_is_not_is_an_error_that_says_which_there_are(lab):
    config = load(lab.config)
    for options in ({"dry_run": True}, {}, {"subject": "MK001"}):
        with pytest.raises(NotFoundError, match=r"no session 9\. There are 1, 2"):
            ingest(lab, session=9, **options)
    with pytest.raises(NotFoundError):
        prepare(config, session=9)
    for command in ("ingest", "compute", "log"):
        for subject in ((), ("--subject", "MK001")):
            words = (command, *subject, "--session", "9")
            result = run("--config", str(lab.config), *words)
            assert result.exit_code == 1, words
            assert "no session 9" in result.stderr
            assert "1, 2" in result.stderr
    assert run("--config", str(lab.config), "log", "--session", "2").exit_code == 0
    delete(config, Target(lab.sessions[0].subject_id, 2))
    assert run("--config", str(lab.config), "log", "--session", "2").exit_code == 0


def test_what_leaves_something_to_compute_says_so(computed_lab, tmp_path):
    lab = copy_lab(computed_lab, tmp_path / "computed")
    words = ("--config", str(lab.config))
    said = "`maplake compute` computes what waits or is stale"
    assert said not in run(*words, "ingest", "ephys", "--replace").stderr
    probe = next(lab.directory.glob("ephys/MK001/*/1"))
    file = next(probe.rglob("spike_clusters.npy"))
    clusters = np.load(file)
    clusters[0] = clusters[1] = clusters[clusters != clusters[0]][0]
    np.save(file, clusters)
    result = run(*words, "ingest", "ephys", "--replace")
    assert said in result.stderr
    assert "ephys.unit_cell_type" in result.stderr
    run(*words, "compute")
    (old,) = archived(load(lab.config))
    key = (str(old.subject_id), str(old.session), str(old.insertion_number))
    result = run(*words, "restore", *key, old.name.split(" ")[-1])
    assert said in result.stderr
    assert said not in run(*words, "--quiet", "ingest", "ephys").stderr
