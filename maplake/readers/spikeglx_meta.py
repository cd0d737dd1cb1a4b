"""SpikeGLX metadata: ``key=value`` lines and the tables among them.

Serves every stream (``.ap.meta``, ``.lf.meta``, ``.nidq.meta``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    MissingFileError,
    UnknownValueError,
    UnreadableFileError,
)
from maplake.readers.plain_text import decode

__all__ = ["Meta", "number", "parse_meta", "parse_table", "probe_code", "require", "start_time"]

#: SpikeGLX writes some 80 kB; more than this is something else.
_MAX_BYTES = 16 * 2**20

_TABLE = re.compile(r"(?:\([^()]*\))+")


class Meta(dict[str, str]):
    """The values of a metadata file by key, and the ``path`` that they come from."""

    def __init__(self, values: Mapping[str, str], path: Path) -> None:
        super().__init__(values)
        self.path = path


def parse_meta(path: Path) -> Meta:
    """Read a SpikeGLX metadata file.

    Keys lose the ``~`` that marks tables (some tools drop it); values stay the exact text, so
    that serial numbers do not become numbers. A value may contain ``=``.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If the file is not there or cannot be read.
    CorruptFileError
        If it is empty, binary, or has a line without ``=``.
    FileFormatError
        If a key stands there twice with different values.
    """
    values: dict[str, str] = {}
    key = ""
    for number_, line in enumerate(_read_text(path).splitlines(), start=1):
        name, equals, value = line.partition("=")
        name = name.strip().removeprefix("~")
        if equals and name:
            key, value = name, value.strip()
            if values.setdefault(key, value) != value:
                raise FileFormatError(
                    "the key stands there twice", file=path, place=f"line {number_}, key {key}"
                )
        elif line.strip() and key == "userNotes":
            values[key] += f"\n{line.strip()}"  # the one value that people type
        elif line.strip():
            raise CorruptFileError(
                "the line is cut short or no SpikeGLX metadata",
                file=path,
                place=f"line {number_}",
                found=repr(line[:40]),
                expected="key=value",
            )
    return Meta(values, path)


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise FileFormatError("the file is too large for SpikeGLX metadata", file=path)
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    if not data.strip():
        raise CorruptFileError("the file is empty", file=path, expected="SpikeGLX metadata")
    if b"\0" in data:
        raise CorruptFileError("binary data", file=path, expected="SpikeGLX metadata (text)")
    return decode(data)


def _path(meta: Mapping[str, str]) -> Path | None:
    return getattr(meta, "path", None)


def require(meta: Mapping[str, str], *keys: str) -> str:
    """Return the value of the first of ``keys`` that is there and not empty.

    Raises
    ------
    FileFormatError
        If there is none.
    """
    for key in keys:
        if meta.get(key, ""):
            return meta[key]
    raise FileFormatError("the key is missing", file=_path(meta), place=f"key {' or '.join(keys)}")


def number(meta: Mapping[str, str], key: str, *, whole: bool = False) -> float:
    """Return a value as a finite number above 0 (``whole``: an integer of 0 or more).

    Raises
    ------
    FileFormatError
        If the key is missing.
    CorruptFileError
        If the value is no such number.
    """
    text = require(meta, key)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    good = value >= 0 and value.is_integer() if whole else value > 0
    if not (math.isfinite(value) and good):
        raise CorruptFileError(
            "not a usable number",
            file=_path(meta),
            place=f"key {key}",
            found=text[:40],
            expected="a whole number" if whole else "a number above 0",
        )
    return value


def parse_table(meta: Mapping[str, str], key: str) -> tuple[list[str], list[list[str]]]:
    """Split a table ``(header)(entry)(entry)…`` into its header's fields and its entries' fields.

    Raises
    ------
    FileFormatError
        If the key is missing.
    CorruptFileError
        If the parentheses do not match (as in a file cut short).
    """
    text = require(meta, key)
    if not _TABLE.fullmatch(text):
        raise CorruptFileError(
            "the table is damaged",
            file=_path(meta),
            place=f"key {key}",
            found=f"…{text[-30:]}",
            expected="(header)(entry)(entry)…",
        )
    header, *entries = text[1:-1].split(")(")
    return header.split(","), [re.split(r"[\s:;]+", entry.strip()) for entry in entries]


def probe_code(meta: Mapping[str, str]) -> int:
    """Return ``imDatPrb_type`` as a number; 0 where it is absent.

    Raises
    ------
    UnknownValueError
        If it is no number.
    """
    text = meta.get("imDatPrb_type", "0").removeprefix("NP") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise UnknownValueError(
            "not a type of probe", file=_path(meta), place="key imDatPrb_type", found=text[:40]
        )
    return int(text)


def start_time(meta: Meta) -> datetime | None:
    """Return when the recording began, to the second; None if the file does not say.

    Raises
    ------
    CorruptFileError
        If what it says is no time.
    """
    key = "fileCreateTime_original" if meta.get("fileCreateTime_original") else "fileCreateTime"
    text = meta.get(key, "")
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError as error:
        raise CorruptFileError(
            "not a time",
            file=meta.path,
            place=f"key {key}",
            found=text[:40],
            expected="YYYY-MM-DDTHH:MM:SS",
        ) from error
