"""What is known of sessions whose records rest: nobody looks at them, and they are counted."""

from __future__ import annotations

from collections import Counter

import pytest
from ownlab import OWN, RETURNED, config, edit, lab

from maplake.compute import ledger, tally
from maplake.compute.again import forget
from maplake.compute.plan import Books
from maplake.compute.run import run
from maplake.compute.stale import STALE, standing
from maplake.ingest import pipeline
from maplake.ingest.delete import Target, delete, undelete
from maplake.layout import Layout

__all__ = ["config", "lab"]  # fixtures

#: The lab's tables that are each of one session.
BY_SESSION = OWN[: OWN.index('@table(\n    "mylab.whole"')]
TOTAL = BY_SESSION[BY_SESSION.index("per_session = ") :]


@pytest.fixture
def looked(config, monkeypatch):
    """Sessions whose records are read; files that were written just now count as resting."""
    config.file.with_name("lake_tables.py").write_text(BY_SESSION, "utf-8")
    monkeypatch.setattr(ledger, "SETTLED_NS", 0)
    seen = set()
    read = Books.read

    def noted(layout, only=None):
        seen.update({"all"} if only is None else only)
        return read(layout, only)

    monkeypatch.setattr(Books, "read", noted)
    return seen


def counted(config):
    found = {row["table"]: {k: n for k, n in row.items() if k != "table"} for row in
             tally.counts(config)}  # fmt: skip
    by_table = {}
    for item in standing(config):
        by_table.setdefault(item.table, Counter())[item.status] += 1
    assert found == by_table
    return found


def names(lab):
    return {f"{s.subject_id}_{s.number}" for s in lab.sessions}


def test_a_session_that_rests_is_not_looked_at(lab, config, looked):
    first = run(config)
    assert looked == names(lab)
    looked.clear()
    again = run(config)
    assert again.done == []
    assert again.current == len(first.done)
    assert looked == set()
    one = lab.sessions[0]
    mine = f"{one.subject_id}_{one.number}"
    of_session = run(config, subject=one.subject_id, session=one.number)
    assert of_session.current == sum(d.session == one.number for d in first.done)
    assert forget(config, ["mylab.doubled"], session=one.number) == 2
    done = run(config).done
    assert {(d.table, d.session) for d in done} == {("mylab.doubled", one.number)}
    assert looked == {mine}


def test_a_change_of_code_or_of_a_shared_table_looks_at_all(lab, config, looked):
    run(config)
    for change in (
        lambda: edit(config, RETURNED, RETURNED.replace("* FACTOR", "* FACTOR * 3")),
        lambda: edit(config, "FACTOR = 1", "FACTOR = 2"),
        lambda: (Layout(config.lake.root).meta / "cache/computed_sessions.json").unlink(),
    ):
        change()
        looked.clear()
        run(config)
        assert looked == names(lab)


def test_the_counts_are_those_of_looking_at_everything(lab, config, looked):
    root, subject = config.lake.root, lab.sessions[0].subject_id
    counted(config)
    run(config, built_in=True)
    assert counted(config)["mylab.doubled"] == {"waiting": 4}
    run(config)
    assert {status for by in counted(config).values() for status in by} == {"in"}
    delete(config, Target(subject, 1))
    counted(config)
    undelete(config, Target(subject, 1))
    pipeline.run(config)
    run(config, built_in=True)
    assert counted(config)["mylab.doubled"] == {"in": 2, "waiting": 2}
    edit(config, "FACTOR = 1", "FACTOR = 0")
    assert counted(config)["mylab.doubled"] == {STALE: 2, "waiting": 2}
    edit(config, RETURNED, "raise OSError('gone')")
    assert run(config, session=1).failed
    assert counted(config)["mylab.doubled"] == {"failed": 2, STALE: 2}
    edit(config, TOTAL, "")  # nobody knows any more how to compute it
    assert "mylab.per_session" in counted(config)
    run(config, built_in=True)
    assert "mylab.per_session" in counted(config)
    file = Layout(root).meta / "cache" / "computed_sessions.json"
    whole = file.read_bytes()
    for damaged in (b"", b"[]", b'{"bases": 1, "books": 2}', whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        (Layout(root).meta / "cache" / "computed_counts.json").unlink(missing_ok=True)
        counted(config)


def test_what_was_written_just_now_is_not_taken_for_resting(config, looked, monkeypatch):
    """It can be written again within one tick of the file system's clock."""
    monkeypatch.setattr(ledger, "SETTLED_NS", 3_600_000_000_000)
    run(config)
    looked.clear()
    assert run(config).done == []
    assert len(looked) == 2
