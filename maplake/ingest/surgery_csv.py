"""The foraging lab's animals: ``Surgery.csv`` of ``foraging.meta_dir``. Sheets go before it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from maplake.config import Config
from maplake.errors import MaplakeError, SpreadsheetError
from maplake.ingest.animals import (
    ANIMALS,
    GONE,
    H2O,
    by_name,
    enter,
    in_sheets,
    missed,
    remember,
    surgery_csv,
)
from maplake.ingest.report import SourceReport
from maplake.ingest.session import FAILED, IN, PLANNED, UNCHANGED, WAITING
from maplake.ingest.sources import reading
from maplake.ingest.state import read_state
from maplake.layout import LAKE_NAME, Layout

if TYPE_CHECKING:
    import pyarrow as pa


def animals_of_surgery_csv(config: Config) -> dict[str, int]:
    """Return the animals' numbers by their short names that ``Surgery.csv`` would enter."""
    file = surgery_csv(config)
    if file is None:
        return {}
    from maplake.readers.foraging_surgery import read_surgeries

    with suppress(MaplakeError), reading(file, ANIMALS):
        rows = _not_in_sheets(in_sheets(config), file, read_surgeries(file).tables)[0][H2O]
        return by_name(rows)
    return {}


def surgery_csv_of_config(config: Config, dry_run: bool) -> list[SourceReport]:
    """Load the animals of ``Surgery.csv`` in ``foraging.meta_dir``, if it is there.

    Of an animal that a sheet of lake.toml names, too, the sheet says all. Rows that cannot be used
    are told one by one, and the others go in. In a dry run nothing is written.
    """
    file = surgery_csv(config)
    if file is None:
        return []
    from maplake.readers.foraging_surgery import animals_named, read_surgeries

    report = SourceReport(ANIMALS, file.name, UNCHANGED, path=str(file))
    known = read_state(Layout(config.lake.root), LAKE_NAME).get((ANIMALS, str(file)))
    before = known.files if known is not None else {}
    sheets = in_sheets(config)
    try:
        with reading(file, ANIMALS):
            records, named = read_surgeries(file), {str(n) for n in animals_named(file)}
        tables, taken = _not_in_sheets(sheets, file, records.tables)
        entered = list(tables.items())
        changes = enter(config, entered, file, dry_run=True)
        if changes.added or changes.changed:
            report.status, report.rows = PLANNED, changes.added + changes.changed
            if not dry_run:
                changes = enter(config, entered, file, dry_run=False)
                report.status, report.rows = IN, changes.added + changes.changed
    except MaplakeError as error:
        if error.exit_code != SpreadsheetError.exit_code:
            raise
        report.status, report.reason = FAILED, str(error)
        return [report]
    loaded = {str(number) for number in tables[H2O]["subject_id"].to_pylist()}
    marks = {n: IN if n in named else GONE for n in sorted(before.keys() | loaded)}
    if marks != before and not dry_run:
        remember(config, file, None, marks)
    told = [(WAITING if s.item_type == "animal" else FAILED, s) for s in records.skipped]
    rows = [
        SourceReport(ANIMALS, f"{file.name} row {s.item}", status,
                     f"{file.name}, row {s.item}: {s.reason}", path=str(file))
        for status, s in told
    ]  # fmt: skip
    return [report, *rows, *taken, *missed(config, {file: marks}, sheets.values())]


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
    for row in tables[H2O].to_pylist():
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
    water = only(H2O, "subject_id", numbers)
    people = only("lab.person", "username", subjects["username"])
    return {"lab.person": people, "lab.subject": subjects, H2O: water}, told
