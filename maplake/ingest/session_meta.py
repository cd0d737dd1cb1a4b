"""What people note of an animal's days: weights, water, remarks; each day goes to its session."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from maplake.config import Config
from maplake.errors import SourceError
from maplake.ingest.index import read_index
from maplake.ingest.lakes import writing
from maplake.ingest.publish import stage_records
from maplake.ingest.report import SourceReport
from maplake.ingest.session import FAILED, IN, PLANNED, SKIPPED, SessionPlan, State
from maplake.ingest.sources import BEHAVIOR
from maplake.ingest.state import SourceState, read_state, state_name
from maplake.layout import Layout, table_file
from maplake.tables import get
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

if TYPE_CHECKING:
    from maplake.readers.foraging_meta import AnimalDay

KIND = "session_meta"


def of_config(config: Config, planned: Sequence[SessionPlan] | None = None) -> list[SourceReport]:
    """Load the animals' days below ``foraging.meta_dir`` that have a session in the lake.

    Parameters
    ----------
    config
        Names the folder and the lake.
    planned
        Sessions that a run would take in before; where they are given, nothing is written.
    """
    folder = config.foraging.meta_dir
    if folder is None:
        return []
    from maplake.readers.foraging_meta import read_animal

    reports = []
    by_animal: dict[str, list[tuple[str, SourceState, State]]] = {}
    for name, states in read_index(Layout(config.lake.root)).items():
        for state in states.values():
            if state.kind == BEHAVIOR and state.status == IN:
                by_animal.setdefault(state.h2o, []).append((name, state, states))
    for session in planned or ():
        known = {name for name, _, _ in by_animal.get(session.h2o, ())}
        if session.name not in known and any(i.source.kind == BEHAVIOR for i in session.todo):
            start = session.start.isoformat()
            new = SourceState(BEHAVIOR, "", PLANNED, h2o=session.h2o, start=start)
            new.subject_id, new.session = session.subject_id, session.session
            by_animal.setdefault(session.h2o, []).append((session.name, new, session.state))
    for h2o, sessions in sorted(by_animal.items()):
        file = folder / f"{h2o}.csv"
        if Path(h2o).name != h2o or not file.is_file():
            continue
        try:
            days, left_out = read_animal(file)
        except SourceError as error:
            reports.append(SourceReport(KIND, file.name, FAILED, str(error), h2o=h2o))
            continue
        reports += [
            SourceReport(KIND, row.item, SKIPPED, row.reason, h2o=h2o, path=str(file))
            for row in left_out
        ]
        reports += _sessions(config, days, sessions, file, dry_run=planned is not None)
    return reports


def _sessions(
    config: Config,
    days: dict[date, AnimalDay],
    sessions: list[tuple[str, SourceState, State]],
    file: Path,
    *,
    dry_run: bool,
) -> list[SourceReport]:
    reports = []
    for name, behavior, states in sessions:
        day = days.get(datetime.fromisoformat(behavior.start).date())
        if day is None:
            continue
        digest = hashlib.sha256(repr(day).encode()).hexdigest()
        known = states.get((KIND, KIND))
        if known is not None and known.fingerprint == digest:
            continue
        report = SourceReport(KIND, f"{file.name} {day.day}", PLANNED, h2o=behavior.h2o)
        if not dry_run:
            report.status = IN
            report.rows = _commit(config, name, behavior, day, digest, file)
        report.subject_id, report.session = behavior.subject_id, behavior.session
        reports.append(report)
    return reports


def _commit(
    config: Config, name: str, behavior: SourceState, day: AnimalDay, digest: str, file: Path
) -> int:
    from maplake.readers.foraging_meta import day_tables

    partition = {"subject_id": behavior.subject_id, "session": behavior.session}
    with writing(config) as layout, staging_run(config.lake.root) as run:
        stage = Stage(layout, run)
        states = read_state(layout, state_name(behavior.subject_id, behavior.session))
        new = SourceState(
            KIND,
            KIND,
            IN,
            None,
            behavior.subject_id,
            behavior.session,
            fingerprint=digest,
            path=str(file),
            h2o=behavior.h2o,
            reader="foraging_meta",
            reader_version=1,
            time=datetime.now().isoformat(timespec="seconds"),
        )
        for table_name, data in day_tables(day).items():
            new.rows[table_name] = stage.table(get(table_name), partition, data)
            new.outputs.append(str(table_file(get(table_name), partition)))
        old = states[new.key].outputs if new.key in states else []
        stage.staged.deletes += sorted(set(old) - set(stage.staged.writes))
        staged = stage.finish()
        extra = Stage(layout, run)
        stage_records(extra, layout, name, states | {new.key: new}, staged, gone=old)
        commit(layout, [staged, extra.finish()], {"command": "ingest", "session_meta": name})
    return sum(new.rows.values())
