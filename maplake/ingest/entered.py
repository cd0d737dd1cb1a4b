"""What people enter in sheets: animals. Loading a sheet again corrects what it says otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maplake import readers
from maplake.config import Config
from maplake.errors import (
    FileFormatError,
    MaplakeError,
    MissingFileError,
    SourceError,
    SpreadsheetError,
)
from maplake.ingest.lakes import (
    changed_globals,
    read_global,
    stage_global,
    update_catalog,
    writing,
)
from maplake.ingest.plan import subjects_by_h2o
from maplake.ingest.publish import rewrite
from maplake.ingest.report import SourceReport
from maplake.ingest.session import FAILED, IN, PLANNED, UNCHANGED, WAITING
from maplake.ingest.sources import reading
from maplake.ingest.state import SourceState, hash_file, read_manifest, read_state
from maplake.layout import LAKE_NAME, Layout, table_file
from maplake.readers import Reader
from maplake.tables import Table, get
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

if TYPE_CHECKING:
    import pyarrow as pa

ANIMALS, LAB = "animals", "lab"
_SURGERIES = "Surgery.csv"  # here, as its reader imports large libraries
_H2O = "lab.water_restriction"
#: Marks an animal that was in a sheet.
_GONE = "gone"


@dataclass
class Changes:
    """What loading a sheet changes, or would change.

    Attributes
    ----------
    added, changed, unchanged
        Number of rows.
    problems
        Rows that cannot be used, each with its number and the reason.
    details
        One line per row that is added, changed or removed.
    removed
        What has no row in the sheet any more, where the sheet is all that there is of it.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def lines(self) -> Iterable[str]:
        """Iterate over one line per change and problem."""
        yield from self.details
        yield from self.problems

    def note(self, what: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> None:
        """Count one row and describe what is new in it."""
        if old is None:
            self.added += 1
            self.details.append(f"+ {what}")
        elif dict(old) == dict(new):
            self.unchanged += 1
        else:
            self.changed += 1
            parts = [f"{k}: {old.get(k)} → {new[k]}" for k in new if old.get(k) != new[k]]
            self.details.append(f"~ {what}: {'; '.join(parts)}")


def sheet_reader(kind: str, path: Path) -> Reader:
    """Return the reader of a sheet.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileFormatError
        If no reader of the kind knows the file's type.
    """
    if not path.exists():
        raise MissingFileError("there is no such spreadsheet", file=path)
    for reader in readers.of_kind(kind):
        if reader.find(path):
            return reader
    raise FileFormatError(
        "not a sheet that can be read",
        file=path,
        found=path.suffix or "no suffix",
        expected=".xlsx or .csv",
    )


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


def _load_animals(
    config: Config, file: Path, dry_run: bool = False, earlier: Mapping[str, str] | None = None
) -> tuple[Changes, dict[str, str]]:
    """Load a sheet; return what changed, and a mark for each of its animals.

    ``earlier`` names, by animal, the sheets that go before this one.
    """
    tables = sheet_reader(ANIMALS, file).read(file).tables
    marks = {str(number): IN for number in tables[_H2O]["subject_id"].to_pylist()}
    rows = _of_no_other(Layout(config.lake.root), tables, file, earlier or {})
    return _enter(config, rows, file, dry_run), marks


def _enter(config: Config, rows: list[tuple[str, pa.Table]], file: Path, dry_run: bool) -> Changes:
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
        if name == _H2O:
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


def lab_of_config(config: Config, *, dry_run: bool = False) -> list[SourceReport]:
    """Load the foraging lab's people, rigs and animals; in a dry run only say so."""
    return [*_lists_of_config(config, dry_run), *_surgery_csv_of_config(config, dry_run)]


def _lists_of_config(config: Config, dry_run: bool) -> list[SourceReport]:
    """Load the people and rigs of ``foraging.lab_meta_dir``."""
    folder = config.foraging.lab_meta_dir
    if folder is None:
        return []
    from maplake.readers.foraging_meta import read_lab

    report = SourceReport(LAB, folder.name, UNCHANGED, path=str(folder))
    try:
        rows = list(read_lab(folder).tables.items())
        if dry_run:
            if any(changed_globals(Layout(config.lake.root), rows, replace=True)):
                report.status, report.rows = PLANNED, sum(data.num_rows for _, data in rows)
            return [report]
        with writing(config) as layout, staging_run(layout.root) as run:
            stage = Stage(layout, run)
            if stage_global(stage, layout, rows, replace=True):
                commit(layout, [stage.finish()], {"command": "ingest", "lab": str(folder)})
                report.status, report.rows = IN, sum(data.num_rows for _, data in rows)
            else:
                stage.abandon()
    except SourceError as error:
        report.status, report.reason = FAILED, str(error)
    return [report]


def _digest(layout: Layout, content: str) -> str:
    """Return a hash over a sheet's own and the tables that its rows correct."""
    found = [content]
    entries = read_manifest(layout, LAKE_NAME)
    for name in ("lab.subject", _H2O):
        path = str(table_file(get(name), {}))
        found.append(f"{path} {entries.get(path, {}).get('sha256')}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def _remember(config: Config, file: Path, content: str | None, marks: dict[str, str]) -> None:
    """Keep the marks of a sheet's animals; ``content`` is its hash, None = it is always read."""
    with writing(config) as layout:
        states = read_state(layout, LAKE_NAME)
        digest = _digest(layout, content) if content is not None else ""
        new = SourceState(ANIMALS, str(file), IN, fingerprint=digest, path=str(file))
        new.files = marks
        rewrite(layout, LAKE_NAME, states | {new.key: new}, "load-animal")


def _missed(
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


def _animals_of(sheet: Path) -> dict[str, int]:
    return _by_name(sheet_reader(ANIMALS, sheet).read(sheet).tables[_H2O])


def _by_name(rows: pa.Table) -> dict[str, int]:
    return {row["water_restriction_number"]: row["subject_id"] for row in rows.to_pylist()}


def _in_sheets(config: Config) -> dict[str, int]:
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


def _surgery_csv(config: Config) -> Path | None:
    folder = config.foraging.meta_dir
    return folder / _SURGERIES if folder is not None and (folder / _SURGERIES).is_file() else None


def _in_surgery_csv(config: Config) -> set[int]:
    file = _surgery_csv(config)
    if file is None:
        return set()
    from maplake.readers.foraging_surgery import animals_named

    with suppress(MaplakeError):
        return animals_named(file)
    return set()


def _not_in_sheets(
    sheets: Mapping[str, int], file: Path, tables: Mapping[str, pa.Table]
) -> tuple[dict[str, pa.Table], list[SourceReport]]:
    """Take out of the rows of ``Surgery.csv`` what sheets say; tell of names that they give others.

    ``sheets`` has the numbers of the sheets' animals by their short names.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    holders = {h2o.lower(): number for h2o, number in sheets.items()}
    keep, told = [], []
    for row in tables[_H2O].to_pylist():
        number, h2o = row["subject_id"], row["water_restriction_number"]
        holder = holders.get(h2o.lower(), number)
        if number in sheets.values():
            continue
        if holder == number:
            keep.append(number)
            continue
        reason = f"{h2o} of animal {number} is the name of animal {holder} in a sheet of lake.toml"
        told.append(SourceReport(ANIMALS, f"{file.name} {h2o}", FAILED, reason, path=str(file)))

    def only(name: str, column: str, values: pa.Array) -> pa.Table:
        return tables[name].filter(pc.is_in(tables[name][column], values))

    numbers = pa.array(keep, pa.int64())
    subjects = only("lab.subject", "subject_id", numbers)
    water = only(_H2O, "subject_id", numbers)
    people = only("lab.person", "username", subjects["username"])
    return {"lab.person": people, "lab.subject": subjects, _H2O: water}, told


def animals_of_surgery_csv(config: Config) -> dict[str, int]:
    """Return the animals' numbers by their short names that ``Surgery.csv`` would enter."""
    file = _surgery_csv(config)
    if file is None:
        return {}
    from maplake.readers.foraging_surgery import read_surgeries

    with suppress(MaplakeError), reading(file, ANIMALS):
        rows = _not_in_sheets(_in_sheets(config), file, read_surgeries(file).tables)[0][_H2O]
        return _by_name(rows)
    return {}


def _surgery_csv_of_config(config: Config, dry_run: bool) -> list[SourceReport]:
    """Load the animals of ``Surgery.csv`` in ``foraging.meta_dir``, if it is there.

    Of an animal that a sheet of lake.toml names, too, the sheet says all. Rows that cannot be used
    are told one by one, and the others go in. In a dry run nothing is written.
    """
    file = _surgery_csv(config)
    if file is None:
        return []
    from maplake.readers.foraging_surgery import animals_named, read_surgeries

    report = SourceReport(ANIMALS, file.name, UNCHANGED, path=str(file))
    known = read_state(Layout(config.lake.root), LAKE_NAME).get((ANIMALS, str(file)))
    before = known.files if known is not None else {}
    sheets = _in_sheets(config)
    try:
        with reading(file, ANIMALS):
            records, named = read_surgeries(file), {str(n) for n in animals_named(file)}
        tables, taken = _not_in_sheets(sheets, file, records.tables)
        entered = list(tables.items())
        changes = _enter(config, entered, file, dry_run=True)
        if changes.added or changes.changed:
            report.status, report.rows = PLANNED, changes.added + changes.changed
            if not dry_run:
                changes = _enter(config, entered, file, dry_run=False)
                report.status, report.rows = IN, changes.added + changes.changed
    except MaplakeError as error:
        if error.exit_code != SpreadsheetError.exit_code:
            raise
        report.status, report.reason = FAILED, str(error)
        return [report]
    loaded = {str(number) for number in tables[_H2O]["subject_id"].to_pylist()}
    marks = {n: IN if n in named else _GONE for n in sorted(before.keys() | loaded)}
    if marks != before and not dry_run:
        _remember(config, file, None, marks)
    told = [(WAITING if s.item_type == "animal" else FAILED, s) for s in records.skipped]
    rows = [
        SourceReport(ANIMALS, f"{file.name} row {s.item}", status,
                     f"{file.name}, row {s.item}: {s.reason}", path=str(file))
        for status, s in told
    ]  # fmt: skip
    return [report, *rows, *taken, *_missed(config, {file: marks}, sheets.values())]


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
            sheets[file] = dict.fromkeys(before, _GONE) | marks
            if not (changes.problems or dry_run):
                _remember(config, file, content, dict(sheets[file]))
        except MaplakeError as error:
            if error.exit_code != SpreadsheetError.exit_code:
                raise
            report.status, report.reason = FAILED, str(error)
        else:
            report.rows = changes.added + changes.changed
            if not report.rows:
                report.status = UNCHANGED
        reports.append(report)
    return [*reports, *_missed(config, sheets, _in_surgery_csv(config))]
