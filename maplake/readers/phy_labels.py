"""What people and programs wrote about the units of a phy folder (``cluster_*`` files)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from maplake.errors import FileFormatError
from maplake.readers.base import Skipped
from maplake.readers.phy import TextTable, read_text_table

__all__ = ["Labels", "label_files", "read_labels"]

#: Words for the quality of a unit, and the lake's word for each.
_QUALITY = {
    "good": "good",
    "ok": "ok",
    "multi": "multi",
    "mua": "multi",
    "all": "all",
    "unsorted": "all",
    "noise": "all",
    "": "all",
    "nan": "all",
}
_NOISE = ("good", "noise")
_GROUP = "cluster_group.tsv"
#: First one that is there; file and column.
_QUALITY_FILES = (("cluster_groups.csv", "group"), ("cluster_KSLabel.tsv", "KSLabel"))
#: Files ``cluster_*.tsv`` that are no notes.
_NO_NOTES = {"Amplitude", "ContamPct", "group", "KSLabel", "info"}


@dataclass
class Labels:
    """What is written about units, by unit number.

    Attributes
    ----------
    quality
        The lake's word for the quality.
    noise
        ``good`` or ``noise``.
    notes
        Note by source and unit.
    skipped
        Files that were passed over, and why.
    """

    quality: dict[int, str] = field(default_factory=dict)
    noise: dict[int, str] = field(default_factory=dict)
    notes: dict[str, dict[int, str]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)

    def units(self) -> set[int]:
        """Return the units that something is written about."""
        return {
            *self.quality,
            *self.noise,
            *(unit for note in self.notes.values() for unit in note),
        }


def label_files(folder: Path) -> Iterator[Path]:
    """Iterate over the files that :func:`read_labels` opens."""
    names = [name for name, _ in _QUALITY_FILES if (folder / name).is_file()][:1]
    yield from (folder / name for name in [*names, _GROUP] if (folder / name).is_file())
    yield from _note_files(folder)


def _note_files(folder: Path) -> list[Path]:
    paths = (path for path in folder.glob("cluster_*.tsv") if path.is_file())
    return sorted(p for p in paths if p.stem.removeprefix("cluster_") not in _NO_NOTES)


def read_labels(folder: Path) -> Labels:
    """Read the labels and notes of the units of a phy folder.

    The quality is that of ``cluster_groups.csv``, else of ``cluster_KSLabel.tsv``, else of
    ``cluster_group.tsv`` if that holds words of quality; units without a word are ``all``.
    ``cluster_group.tsv`` with exactly the columns cluster_id and group and no words but good and
    noise is the noise label. Where it holds phy's own groups (mua, unsorted) as well, only its
    noise is, and groups that are not the quality are kept as notes of the source ``group``. A unit
    whose quality file says ``noise`` is kept as ``all``, with the noise label noise.

    Raises
    ------
    UnknownValueError
        If a word is in no list; names file, row and word.
    SourceError
        If a file is unreadable or damaged, or a unit is in it twice.
    """
    labels = Labels()
    _read_quality(folder, labels)
    _read_group(folder / _GROUP, labels)
    for path in _note_files(folder):
        source = path.stem.removeprefix("cluster_")
        table = read_text_table(path)
        column = _note_column(table, source)
        if column is None:
            labels.skipped.append(Skipped("file", path.name, "no column cluster_id and one note"))
        else:
            notes = {unit: text.strip() for unit, text in _by_unit(table, column).items()}
            labels.notes[source] = {unit: text for unit, text in notes.items() if text}
    return labels


def _by_unit(table: TextTable, column: str) -> dict[int, str]:
    units = table.ids().tolist()
    seen: dict[int, str] = {}
    for row, (unit, word) in enumerate(zip(units, table.words(column), strict=True), start=1):
        if unit in seen:
            raise FileFormatError(
                "a unit is there twice", file=table.path, place=f"row {row}", found=f"unit {unit}"
            )
        seen[unit] = word
    return seen


def _words(table: TextTable, column: str, known: tuple[str, ...]) -> dict[int, str]:
    """Return a column in lower case by unit; UnknownValueError for a word not ``known``."""
    words = {unit: word.strip().lower() for unit, word in _by_unit(table, column).items()}
    for row, word in enumerate(words.values()):
        if word not in known:
            raise table.unknown(row, column, [word for word in known if word])
    return words


def _read_quality(folder: Path, labels: Labels) -> None:
    for name, title in _QUALITY_FILES:
        if (folder / name).is_file():
            _set_quality(_words(read_text_table(folder / name), title, tuple(_QUALITY)), labels)
            return
    if not (folder / _GROUP).is_file():
        return
    table = read_text_table(folder / _GROUP)
    column = _note_column(table, "group")
    if column is None:
        return
    if column == "group" or all(w.strip().lower() in _QUALITY for w in table.words(column)):
        _set_quality(_words(table, column, tuple(_QUALITY)), labels)


def _set_quality(words: dict[int, str], labels: Labels) -> None:
    labels.quality = {unit: _QUALITY[word] for unit, word in words.items()}
    labels.noise = {unit: word for unit, word in words.items() if word == "noise"}


def _read_group(path: Path, labels: Labels) -> None:
    if not path.is_file():
        return
    table = read_text_table(path)
    if set(table.columns) != {"cluster_id", "group"}:
        return
    words = _words(table, "group", tuple(_QUALITY))
    if set(words.values()) <= set(_NOISE):
        labels.noise = labels.noise | words
        return
    labels.noise = labels.noise | {unit: word for unit, word in words.items() if word == "noise"}
    if {unit: _QUALITY[word] for unit, word in words.items()} != labels.quality:
        labels.notes["group"] = {unit: word for unit, word in words.items() if word}


def _note_column(table: TextTable, source: str) -> str | None:
    """Return the column with the notes: the one named as the file, else the only other one."""
    others = [name for name in table.columns if name != "cluster_id"]
    if "cluster_id" not in table.columns or not others:
        return None
    for name in (source, source.replace("_", "")):
        if name in others:
            return name
    return others[0] if len(others) == 1 else None
