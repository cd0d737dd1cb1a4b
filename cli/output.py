"""What commands say: tables and sentences for people, JSON for scripts, progress on terminals."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Literal

from maplake.errors import MaplakeError

__all__ = ["Output", "Progress", "plain"]

#: Called with a text, the number of things done, and their total.
Progress = Callable[[str, int, int], None]

_LONG = 60  # characters of a list or text shown in a table's cell
#: What terminals obey, but for the ends of lines.
_CONTROLS = dict.fromkeys((*range(10), *range(11, 32), *range(127, 160)))
_MANY = 100  # rows; a table of thousands takes rich seconds


@dataclass
class Output:
    """Where results, remarks and errors go.

    Results go to standard output, everything else to standard error. Off a terminal there are
    neither colours nor progress, and lines are not wrapped.
    """

    json: bool = False
    quiet: bool = False

    def document(self, data: Any) -> None:
        """Print a result as one JSON document."""
        sys.stdout.write(json.dumps(plain(data), ensure_ascii=False, indent=2) + "\n")

    def line(self, text: str = "") -> None:
        """Print a sentence that is a result."""
        _write(text, sys.stdout)

    def note(self, text: str) -> None:
        """Print a remark to standard error, unless quiet or in JSON."""
        if not (self.quiet or self.json):
            _write(text, sys.stderr)

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
        """Print rows as a table; ``columns`` chooses and orders them."""
        names = list(columns) or list(rows[0] if rows else ())
        if not sys.stdout.isatty() or len(rows) > _MANY:
            sys.stdout.writelines(f"{line}\n" for line in _plain_table(rows, names))
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in names:
            side: Literal["left", "right"] = "right" if _is_numeric(rows, name) else "left"
            table.add_column(Text(cell_text(name)), justify=side, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell_text(row.get(name))) for name in names))
        self._console(sys.stdout).print(table)

    def error(self, error: MaplakeError) -> None:
        """Print an error for people or, in JSON, as one object; always to standard error."""
        if self.json:
            text = json.dumps({**error.as_dict(), "exit_code": error.exit_code})
            sys.stderr.write(text + "\n")
        else:
            self.fault(str(error))

    def fault(self, text: str) -> None:
        """Print the text of an error to standard error."""
        from rich.text import Text

        label = Text("error: ", style="bold red")
        self._console(sys.stderr).print(label + Text(_printable(text)), soft_wrap=True)

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """Show a bar while long work runs; None where nobody would see it."""
        if self.quiet or self.json or not sys.stderr.isatty():
            yield None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        words = TextColumn("{task.description}", markup=False)
        columns = (words, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=self._console(sys.stderr), transient=True) as bar:
            task = bar.add_task("looking for sources", total=None)

            def show(text: str, done: int, total: int) -> None:
                bar.update(task, description=text, completed=done, total=total)

            yield show

    def _console(self, file: IO[str]) -> Any:
        from rich.console import Console

        # Made anew for each use, as streams are exchanged in tests; off a terminal wide enough
        # that nothing is cut.
        terminal = file.isatty()
        return Console(file=file, width=None if terminal else 10_000, emoji=False)


def _is_numeric(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(isinstance(row.get(name), (int, float)) for row in rows)


def _plain_table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[str]:
    """Return the lines of a table as rich makes them off a terminal, without blanks at the end."""
    columns = []
    for name in names:
        cells = [cell_text(name), *(cell_text(row.get(name)) for row in rows)]
        numeric = _is_numeric(rows, name)
        # Nothing follows the last column: one long reason would make every line as long.
        wide = max(map(_width, cells)) if numeric or name != names[-1] else 0
        # Python fills up to a number of characters, of which some are two columns wide.
        fills = [wide - (0 if cell.isascii() else _width(cell) - len(cell)) for cell in cells]
        fill = str.rjust if numeric else str.ljust
        columns.append(list(map(fill, cells, fills)))
    return ("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def _write(text: str, file: IO[str]) -> None:
    """Print a sentence as rich does without styles; most commands need no more of it."""
    file.write(_printable(text) + "\n")


def _printable(text: str) -> str:
    """Return a text without what makes a terminal do more than show it, as names of files may."""
    return text if text.isprintable() else text.expandtabs().translate(_CONTROLS)


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: dates as ISO text, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return plain(float(value))
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if hasattr(value, "tolist"):  # numpy
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def cell_text(value: Any) -> str:
    """Return a value as one line of a table's cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value if value.isprintable() else _printable(value.replace("\n", " "))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple, dict)):
        text = json.dumps(plain(value), ensure_ascii=False)
        return text if len(text) <= _LONG else f"{text[:_LONG]}…"
    return cell_text(str(value))


def write_csv(names: Sequence[str], batches: Iterable[Sequence[Mapping[str, Any]]]) -> None:
    """Write rows as CSV to standard output; lists as JSON, nulls as nothing."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for rows in batches:
        writer.writerows([[_csv_cell(row[name]) for name in names] for row in rows])


def write_json_rows(batches: Iterable[Sequence[Mapping[str, Any]]]) -> None:
    """Write rows as one JSON list to standard output, a row per line."""
    separator = "[\n"
    for rows in batches:
        for row in rows:
            sys.stdout.write(separator + json.dumps(plain(row), ensure_ascii=False))
            separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


def _csv_cell(value: Any) -> Any:
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(plain(value), ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date, time, Path)):
        return str(value)
    return value
