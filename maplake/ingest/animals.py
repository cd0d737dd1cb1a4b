"""Animals, from the sheets of lake.toml. Loading a sheet again corrects what it says otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maplake.config import Config
from maplake.errors import MaplakeError, SpreadsheetError
from maplake.ingest.entered import Changes, sheet_reader
from maplake.ingest.lakes import read_global, stage_global, update_catalog, writing
from maplake.ingest.plan import subjects_by_h2o
from maplake.ingest.publish import rewrite
from maplake.ingest.report import SourceReport
from maplake.ingest.session import FAILED, IN, PLANNED, UNCHANGED, WAITING
from maplake.ingest.sources import reading
from maplake.ingest.state import SourceState, hash_file, read_manifest, read_state
from maplake.layout import LAKE_NAME, Layout, table_file
from maplake.tables import Table, get
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

if TYPE_CHECKING:
    import pyarrow as pa

ANIMALS = "animals"
H2O = "lab.water_restriction"
#: Marks an animal that was in a sheet.
GONE = "gone"
_SURGERIES = "Surgery.csv"  # here, as its reader imports large libraries


def load_animals(config: Config, file: Path, dry_run: bool = False) -> Changes:
    """Load a sheet of animals; rows that are there already are corrected.

    Parameters
    ----------
    config
        Names the lake.
    file
        The sheet, ``.xlsx`` or ``.csv``.
    dry_run
        Only say what would change.

    Raises
    ------
    SpreadsheetError
        If a row cannot be used, or gives an animal a water restriction number that is taken.
    """
    changes, _ = _load_animals(config, file, dry_run)
    if not dry_run:
        update_catalog(config)
    return changes


def animals_of_config(config: Config, *, dry_run: bool = False) -> list[SourceReport]:
    """Load the sheets of animals that lake.toml names; a faulty sheet stops no other.

    In a dry run nothing is written. An animal whose row has gone stays in the lake, and is told of.
    """
    reports = []
    sheets: dict[Path, Mapping[str, str]] = {}
    layout = Layout(config.lake.root)
    for file in config.spreadsheets.animals:
        report = SourceReport(ANIMALS, file.name, PLANNED if dry_run else IN, path=str(file))
        known = read_state(layout, LAKE_NAME).get((ANIMALS, str(file)))
        before = known.files if known is not None else {}
        sheets[file] = before
        try:
            with reading(file, ANIMALS):
                content = hash_file(file)  # now: what is changed from here on is loaded next time
            # Neither it nor what it says in the lake changed since it was loaded.
            if known is not None and known.fingerprint == _digest(layout, content):
                report.status = UNCHANGED
                reports.append(report)
                continue
            earlier = {
                number: other.name
                for other, known_ones in sheets.items()
                for number, mark in known_ones.items()
                if mark == IN and other != file
            }
            changes, marks = _load_animals(config, file, dry_run, earlier)
            sheets[file] = dict.fromkeys(before, GONE) | marks
            if not (changes.problems or dry_run):
                remember(config, file, content, dict(sheets[file]))
        except MaplakeError as error:
            if error.exit_code != SpreadsheetError.exit_code:
                raise
            report.status, report.reason = FAILED, str(error)
        else:
            report.rows = changes.added + changes.changed
            if not report.rows:
                report.status = UNCHANGED
        reports.append(report)
    return [*reports, *missed(config, sheets, _in_surgery_csv(config))]


def _load_animals(
    config: Config, file: Path, dry_run: bool = False, earlier: Mapping[str, str] | None = None
) -> tuple[Changes, dict[str, str]]:
    """Load a sheet; return what changed, and a mark for each of its animals.

    ``earlier`` names, by animal, the sheets that go before this one.
    """
    tables = sheet_reader(ANIMALS, file).read(file).tables
    marks = {str(number): IN for number in tables[H2O]["subject_id"].to_pylist()}
    rows = _of_no_other(Layout(config.lake.root), tables, file, earlier or {})
    return enter(config, rows, file, dry_run), marks


def enter(config: Config, rows: list[tuple[str, pa.Table]], file: Path, dry_run: bool) -> Changes:
    """Put the rows of a sheet into the lake, each in place of what it says of its animal."""
    if dry_run:
        return _compare(Layout(config.lake.root), rows, file)
    with writing(config) as layout:
        changes = _compare(layout, rows, file)
        if changes.added or changes.changed:
            with staging_run(layout.root) as run:
                stage = Stage(layout, run)
                # People that the sheet only names must not undo what is known of them.
                people = [item for item in rows if item[0] == "lab.person"]
                others = [item for item in rows if item[0] != "lab.person"]
                stage_global(stage, layout, people, replace=False)
                stage_global(stage, layout, others, replace=True)
                commit(layout, [stage.finish()], {"command": "load-animal", "file": str(file)})
    return changes


def _of_no_other(
    layout: Layout, tables: Mapping[str, pa.Table], file: Path, earlier: Mapping[str, str]
) -> list[tuple[str, pa.Table]]:
    """Leave out the animals of earlier sheets, of which this one must say nothing else.

    Else each run would load both sheets, and the last one would stay unsaid.
    """
    rows, otherwise = [], set()
    for name, data in tables.items():
        if "subject_id" not in data.column_names:
            rows.append((name, data))
            continue
        known = _by_key(get(name), read_global(layout, get(name)))
        numbers = [str(number) for number in data["subject_id"].to_pylist()]
        for number, row in zip(numbers, data.to_pylist(), strict=True):
            old = known.get((row["subject_id"],), row)
            new = {k for k, v in row.items() if v not in (None, "Unknown") and v != old.get(k)}
            if number in earlier and new:
                otherwise.add(f"{number} in {earlier[number]} ({', '.join(sorted(new))})")
        rows.append((name, data.filter([number not in earlier for number in numbers])))
    if otherwise:
        raise SpreadsheetError(
            "animals are in another sheet, too, with other values",
            file=file,
            found="; ".join(sorted(otherwise)),
            hint="Let one sheet alone describe an animal.",
        )
    return rows


def _compare(layout: Layout, rows: list[tuple[str, pa.Table]], file: Path) -> Changes:
    changes = Changes()
    for name, data in rows:
        if name == "lab.person":
            continue
        table = get(name)
        old = _by_key(table, read_global(layout, table))
        new = _by_key(table, data.select(table.file_schema.names))
        if name == H2O:
            _check_h2o(old, new, file)
        for key, row in new.items():
            changes.note(f"{name} {', '.join(map(str, key))}", old.get(key), row)
    return changes


def _by_key(table: Table, data: pa.Table | None) -> dict[tuple[Any, ...], dict[str, Any]]:
    if data is None:
        return {}
    return {tuple(row[name] for name in table.key): row for row in data.to_pylist()}


def _check_h2o(
    old: Mapping[tuple[Any, ...], Mapping[str, Any]],
    new: Mapping[tuple[Any, ...], Mapping[str, Any]],
    file: Path,
) -> None:
    """Refuse a water restriction number that two animals would share."""
    holders: dict[str, Any] = {}
    for key, row in {**old, **new}.items():
        number = row["water_restriction_number"]
        if number in holders:
            raise SpreadsheetError(
                f"the water restriction number {number} would belong to two animals",
                file=file,
                found=f"{holders[number]} and {key[0]}",
                hint="It names an animal in all file names, so it must be of one animal alone.",
            )
        holders[number] = key[0]


def _digest(layout: Layout, content: str) -> str:
    """Return a hash over a sheet's own and the tables that its rows correct."""
    found = [content]
    entries = read_manifest(layout, LAKE_NAME)
    for name in ("lab.subject", H2O):
        path = str(table_file(get(name), {}))
        found.append(f"{path} {entries.get(path, {}).get('sha256')}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def remember(config: Config, file: Path, content: str | None, marks: dict[str, str]) -> None:
    """Keep the marks of a sheet's animals; ``content`` is its hash, None = it is always read."""
    with writing(config) as layout:
        states = read_state(layout, LAKE_NAME)
        digest = _digest(layout, content) if content is not None else ""
        new = SourceState(ANIMALS, str(file), IN, fingerprint=digest, path=str(file))
        new.files = marks
        rewrite(layout, LAKE_NAME, states | {new.key: new}, "load-animal")


def missed(
    config: Config, sheets: Mapping[Path, Mapping[str, str]], elsewhere: Iterable[int] = ()
) -> Iterator[SourceReport]:
    """Yield the animals of the lake that were in a sheet and are in none any more.

    ``sheets`` has a mark for each animal that is, or was, in a sheet; ``elsewhere`` are animals
    that others name.
    """
    known = {str(number): h2o for h2o, number in subjects_by_h2o(Layout(config.lake.root)).items()}
    there = {number for marks in sheets.values() for number, mark in marks.items() if mark == IN}
    there |= {str(number) for number in elsewhere}
    for file, marks in sheets.items():
        for number in sorted((marks.keys() - there) & known.keys()):
            yield SourceReport(
                ANIMALS,
                f"{file.name} {known[number]}",
                WAITING,
                "no longer in the sheet, but in the lake: put its row back, or "
                f"`maplake delete subject {number}` removes it with all that is of it",
                int(number),
                h2o=known[number],
                path=str(file),
            )


def animals_of_sheets(config: Config) -> dict[str, int]:
    """Return the animals' numbers by their short names, of the sheets that can be read."""
    found: dict[str, int] = {}
    for file in config.spreadsheets.animals:
        with suppress(MaplakeError):
            found |= _animals_of(file)
    return found


def in_sheets(config: Config) -> dict[str, int]:
    """Return the animals of the sheets; of one that cannot be read now, those loaded from it."""
    layout = Layout(config.lake.root)
    found: dict[str, int] = {}
    for file in config.spreadsheets.animals:
        try:
            found |= _animals_of(file)
        except MaplakeError:
            known = read_state(layout, LAKE_NAME).get((ANIMALS, str(file)))
            marks = known.files if known is not None else {}
            in_lake = subjects_by_h2o(layout).items()
            found |= {h2o: number for h2o, number in in_lake if marks.get(str(number)) == IN}
    return found


def _animals_of(sheet: Path) -> dict[str, int]:
    return by_name(sheet_reader(ANIMALS, sheet).read(sheet).tables[H2O])


def by_name(rows: pa.Table) -> dict[str, int]:
    """Return the animals' numbers by their short names."""
    return {row["water_restriction_number"]: row["subject_id"] for row in rows.to_pylist()}


def surgery_csv(config: Config) -> Path | None:
    """Return the foraging lab's list of animals, if it is there."""
    folder = config.foraging.meta_dir
    return folder / _SURGERIES if folder is not None and (folder / _SURGERIES).is_file() else None


def _in_surgery_csv(config: Config) -> set[int]:
    file = surgery_csv(config)
    if file is None:
        return set()
    from maplake.readers.foraging_surgery import animals_named

    with suppress(MaplakeError):
        return animals_named(file)
    return set()
