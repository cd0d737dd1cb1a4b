"""Insertion locations from sheets: each row belongs to one probe insertion of one session."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from maplake.config import Config
from maplake.errors import MaplakeError, SpreadsheetError
from maplake.ingest.entered import Changes, sheet_reader
from maplake.ingest.lakes import read_global, stage_global, update_catalog, writing
from maplake.ingest.location_rows import (
    KIND,
    Place,
    gone_from,
    of_earlier,
    tables_of,
)
from maplake.ingest.location_sessions import LakeSessions, animal_of, place_of, sessions_of
from maplake.ingest.publish import rewrite, stage_records
from maplake.ingest.report import SourceReport
from maplake.ingest.session import (
    FAILED,
    IN,
    PLANNED,
    UNCHANGED,
    WAITING,
    SessionPlan,
)
from maplake.ingest.sources import reading
from maplake.ingest.state import SourceState, hash_file, read_state
from maplake.layout import LAKE_NAME, Layout, table_file
from maplake.tables import get
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

if TYPE_CHECKING:
    from maplake.readers.insertion_locations import InsertionRow

__all__ = ["KIND", "load_insertion_location", "of_config"]

_SHEETS = "insertion_locations"
#: How many rows that go a message lists.
_SHOWN = 20


def load_insertion_location(config: Config, file: Path, dry_run: bool = False) -> Changes:
    """Load a sheet of insertion locations; rows that are there already are corrected.

    Parameters
    ----------
    config
        Names the lake.
    file
        The sheet, ``.xlsx`` or ``.csv``.
    dry_run
        Only say what would change.

    Returns
    -------
    What changed; rows that match no insertion, or more than one, are its ``problems``.
    """
    lake = LakeSessions(Layout(config.lake.root))
    changes, _, _ = _load(config, file, lake, {}, dry_run=dry_run, whole=False)
    if not dry_run:
        update_catalog(config)
    return changes


def of_config(config: Config, planned: Sequence[SessionPlan] | None = None) -> list[SourceReport]:
    """Load the sheets of insertion locations that lake.toml names.

    What was loaded from one of them and has no row in it any more is removed: a sheet that changed
    replaces its own rows.

    Parameters
    ----------
    config
        Names them and the lake.
    planned
        Sessions that a run would take in before; where they are given, nothing is written.
    """
    reports, dry_run = [], planned is not None
    for file in config.spreadsheets.insertion_locations:
        lake = LakeSessions(Layout(config.lake.root), planned or ())
        known = read_state(lake.layout, LAKE_NAME).get((_SHEETS, str(file)))
        try:
            with reading(file, KIND):
                content = hash_file(file)  # now: what is changed from here on is loaded next time
            if known is not None and known.fingerprint == lake.digest(content):
                reports.append(SourceReport(KIND, file.name, UNCHANGED, path=str(file)))
                continue
            before = known.files if known is not None else {}
            changes, waiting, prints = _load(config, file, lake, before, dry_run=dry_run)
        except MaplakeError as error:
            if error.exit_code != SpreadsheetError.exit_code:
                raise
            reports.append(SourceReport(KIND, file.name, FAILED, str(error), path=str(file)))
            continue
        done = changes.added + changes.changed
        status = (PLANNED if dry_run else IN) if done or changes.removed else UNCHANGED
        reason = _removed(changes.removed) if changes.removed else None
        reports.append(SourceReport(KIND, file.name, status, reason, rows=done, path=str(file)))
        reports += waiting
        if not dry_run:
            _remember(config, file, prints, "" if waiting else lake.digest(content))
    return reports


def _removed(what: Sequence[str]) -> str:
    more = f" and {len(what) - _SHOWN} more" if len(what) > _SHOWN else ""
    return f"rows that are no longer in the sheet go: {'; '.join(what[:_SHOWN])}{more}"


def _remember(config: Config, file: Path, prints: Mapping[str, str], digest: str) -> None:
    """Keep what a sheet was held against; the digest is blank if not all of it was loaded."""
    with writing(config) as layout:
        known = read_state(layout, LAKE_NAME)
        new = SourceState(_SHEETS, str(file), IN, fingerprint=digest, path=str(file))
        new.files = dict(prints)
        if known.get(new.key) != new:
            rewrite(layout, LAKE_NAME, known | {new.key: new}, "load-insertion-location")


def _load(
    config: Config,
    file: Path,
    lake: LakeSessions,
    known: Mapping[str, str],
    *,
    dry_run: bool = False,
    whole: bool = True,
) -> tuple[Changes, list[SourceReport], dict[str, str]]:
    """Load a sheet, but for the animals of which nothing changed since.

    Parameters
    ----------
    config
        Names the lake.
    file
        The sheet.
    lake
        Its animals and sessions; sees what is loaded.
    known
        Hashes of the animals whose rows were loaded whole before; see LakeSessions.prints_of.
    dry_run
        Only say what would change.
    whole
        The sheet's rows are all that there is of it: what was loaded from others of it goes.

    Returns
    -------
    changes
        What changed.
    waiting
        Rows that do not fit.
    prints
        Hashes of the animals whose rows all fit.
    """
    subjects = lake.subjects
    prints: dict[str, str] = {}
    changed: dict[str, str] = {}
    was_asked = False

    def choose(texts: Mapping[str, str]) -> AbstractSet[str]:
        nonlocal was_asked
        was_asked = True
        prints.update(lake.prints_of(texts))
        changed.update({a: text for a, text in texts.items() if known.get(a) != prints[a]})
        return changed.keys()

    reader = sheet_reader(_SHEETS, file)
    with reading(file, reader.name):
        records = reader.read(file, choose)
    changes, reports = Changes(), []
    for item in records.skipped:
        text = f"{file.name}, row {item.item}: {item.reason}"
        changes.problems.append(text)
        reports.append(SourceReport(KIND, f"{file.name} row {item.item}", FAILED, text))
    faulty: set[str] = set(records.info.get("faulty", ()))  # other readers know of no animals
    rows: list[InsertionRow] = records.info["rows"]
    sessions = sessions_of(lake, {animal_of(row, subjects) or 0 for row in rows})
    sheets = config.spreadsheets.insertion_locations
    earlier = sheets[: sheets.index(file)] if whole else ()
    todo: dict[Place, InsertionRow] = {}
    for row in rows:
        place, problem = place_of(row, sessions, subjects)
        status = WAITING if place is None else FAILED
        other = None if place is None else of_earlier(lake.states, place, earlier)
        if place is not None and place in todo:  # to the reader, with and without a time are two
            problem = f"repeats the insertion of row {todo[place].row}"
        elif place is not None and other is not None:
            if other.fingerprint == _fingerprint(row, place):
                changes.unchanged += 1
                continue
            problem = f"{Path(other.path).name} has other values for this insertion"
        if place is None or problem:
            faulty.add(row.water_restriction_number.lower())
            text = f"{file.name}, row {row.row}: {problem}"
            changes.problems.append(text)
            reports.append(SourceReport(KIND, f"{file.name} row {row.row}", status, text))
        else:
            todo[place] = row
    by_session: dict[str, dict[Place, InsertionRow]] = defaultdict(dict)
    for place, row in todo.items():
        by_session[place.name][place] = row
    gone: dict[str, list[SourceState]] = defaultdict(list)
    # Rows that name no animal by its water restriction number are of anybody.
    if whole and was_asked and "" not in prints:
        read = changed.keys() - faulty
        unread = prints.keys() - read
        for name, state in gone_from(
            lake.states, lake.subjects, file, todo, read, unread, is_sure=not reports
        ):
            gone[name].append(state)
    for name in sorted({*by_session, *gone}):
        _load_session(config, file, name, by_session[name], gone[name], changes, dry_run)
    if not dry_run:
        _enter_projects(config, file, todo)
        # What was loaded just now is part of them.
        lake.look_again(by_session)
        prints |= lake.prints_of(changed)
    return changes, reports, {a: print_ for a, print_ in prints.items() if a not in faulty}


def _enter_projects(config: Config, file: Path, rows: Mapping[Place, InsertionRow]) -> None:
    """Put the sessions into the projects that their rows name."""
    found = {(p.subject_id, p.session, r.project) for p, r in rows.items() if r.project}
    if not found:
        return
    import pyarrow as pa

    from maplake.ingest.load_table import enter

    known = read_global(Layout(config.lake.root), get("experiment.project"))
    names = set(known["project_name"].to_pylist()) if known is not None else set()
    project = get("experiment.project")
    new = [{"project_name": name} for name in sorted({name for *_, name in found} - names)]
    if new:
        rows_of = pa.Table.from_pylist(new, schema=project.arrow_schema)
        enter(config, project.full_name, rows_of, file)
    member = get("experiment.project_session")
    columns = ("subject_id", "session", "project_name")
    data = [dict(zip(columns, row, strict=True)) for row in sorted(found)]
    enter(config, member.full_name, pa.Table.from_pylist(data, schema=member.arrow_schema), file)


def _load_session(
    config: Config,
    file: Path,
    name: str,
    rows: Mapping[Place, InsertionRow],
    gone: Sequence[SourceState],
    changes: Changes,
    dry_run: bool,
) -> None:
    state = read_state(Layout(config.lake.root), name)
    todo: dict[Place, InsertionRow] = {}
    for place, row in rows.items():
        old = state.get((KIND, f"insertion {place.insertion_number}"))
        print_ = _fingerprint(row, place)
        what = f"session {place.session} of {place.subject_id}, insertion {place.insertion_number}"
        before = {"content": old.fingerprint[:8]} if old else None
        changes.note(what, before, {"content": print_[:8]})
        if old is None or old.fingerprint != print_ or old.path != str(file):
            todo[place] = row
    for one in gone:
        what = f"session {one.session} of {one.subject_id}, insertion {one.insertion_number}"
        changes.removed.append(what)
        changes.details.append(f"- {what}")
    if (todo or gone) and not dry_run:
        with writing(config) as layout, staging_run(config.lake.root) as run:
            _commit(layout, run, file, name, todo, [one.key for one in gone])


def _fingerprint(row: InsertionRow, place: Place) -> str:
    content = {k: v for k, v in asdict(row).items() if k != "row"}
    return hashlib.sha256(f"{sorted(content.items())}{place.behavior}".encode()).hexdigest()


def _commit(
    layout: Layout,
    run: str,
    file: Path,
    name: str,
    rows: Mapping[Place, InsertionRow],
    gone: Iterable[tuple[str, str]],
) -> None:
    import pyarrow as pa

    stage = Stage(layout, run)
    state = read_state(layout, name)
    lost = [state.pop(key) for key in gone if key in state]
    old = [path for one in lost for path in one.outputs]
    areas = []
    for place, row in rows.items():
        key = (KIND, f"insertion {place.insertion_number}")
        old += state[key].outputs if key in state else []
        new = SourceState(
            *key,
            IN,
            None,
            place.subject_id,
            place.session,
            place.insertion_number,
            reader=_SHEETS,
            reader_version=1,
            fingerprint=_fingerprint(row, place),
            depends=place.behavior,
            path=str(file),
            time=datetime.now().isoformat(timespec="seconds"),
        )
        for table_name, data in tables_of(layout, row, place).items():
            table = get(table_name)
            new.rows[table_name] = stage.table(table, place.partition, data)
            new.outputs.append(str(table_file(table, place.partition)))
        state[key] = new
        areas.append(row.brain_area)
    for path in sorted(set(old) - set(stage.staged.writes)):
        stage.delete(path)
    staged = stage.finish()
    schema = get("lab.brain_area").file_schema
    lookup = pa.Table.from_pylist(
        [{"brain_area": a, "description": None} for a in areas], schema=schema
    )
    extra = Stage(layout, run)
    stage_records(extra, layout, name, state, staged, gone=old)
    stage_global(extra, layout, [("lab.brain_area", lookup)], replace=False)
    note = {"command": "load-insertion-location", "session": name}
    commit(layout, [staged, extra.finish()], note)
