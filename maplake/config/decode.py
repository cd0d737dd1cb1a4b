"""Turn what a TOML file says into frozen dataclasses, checking every key on the way.

The dataclasses declare everything: names, types, defaults and, through :func:`key`, limits.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from maplake.errors import suggest

__all__ = ["KeyProblem", "decode", "key"]

T = TypeVar("T")
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    Path: "a path in quotes",
}


class KeyProblem(Exception):  # noqa: N818 - caught and made a ConfigError by the caller
    """One key is wrong: its place, what is wrong with it, and what would be right."""

    def __init__(
        self,
        path: tuple[str | int, ...],
        message: str,
        *,
        found: object = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.path, self.message, self.found = path, message, found
        self.expected, self.hint = expected, hint


def key(
    default: Any = dataclasses.MISSING,
    *,
    at_least: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: bool = False,
) -> Any:
    """Declare a field with limits: a number's bounds, a text's allowed words, a regular expression.

    Texts of ``choices`` are compared without regard to case and stored as declared.
    """
    metadata = {"at_least": at_least, "above": above, "choices": choices, "pattern": pattern}
    return dataclasses.field(default=default, metadata=metadata)


def decode(cls: type[T], data: Any, base: Path, path: tuple[str | int, ...] = ()) -> T:
    """Build the dataclass ``cls`` from a table of a TOML document.

    Parameters
    ----------
    cls
        A dataclass whose fields are numbers, texts, truths, paths, other such dataclasses, and
        tuples, mappings and options of these.
    data
        What the document says at ``path``.
    base
        Folder that relative paths are relative to.
    path
        Where in the document ``data`` stands.

    Raises
    ------
    KeyProblem
        For the first key that is unknown, missing, of the wrong type or out of bounds.
    """
    if not isinstance(data, Mapping):
        raise _wrong(path, data, "a table of keys and values")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    for name in data:
        if name not in fields:
            raise KeyProblem((*path, name), f"unknown key {name!r}", hint=suggest(name, fields))
    for name, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise KeyProblem(path, f"the key {name!r} is missing", expected=_WORDS.get(hints[name]))
    values = {
        name: _limited(_value(hints[name], value, base, (*path, name)), fields[name], (*path, name))
        for name, value in data.items()
    }
    return cls(**values)


def _value(hint: Any, value: Any, base: Path, path: tuple[str | int, ...]) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):  # X | None
        return _value(args[0], value, base, path)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(path, value, "a list in [ ]")
        return tuple(_value(args[0], v, base, (*path, i)) for i, v in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(path, value, "a table of names and values")
        return {k: _value(args[1], v, base, (*path, k)) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return decode(hint, value, base, path)  # type: ignore[arg-type]
    return _scalar(hint, value, base, path)


def _scalar(hint: type, value: Any, base: Path, path: tuple[str | int, ...]) -> Any:
    wanted = str if hint is Path else hint
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise _wrong(path, value, _WORDS[hint])
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise _wrong(path, value, f"{_WORDS[hint]} that is not empty")
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(path, value, "a finite number")
    return _absolute(str(value), base, path) if hint is Path else value


def _absolute(text: str, base: Path, path: tuple[str | int, ...]) -> Path:
    try:
        return base / Path(text).expanduser()
    except RuntimeError:
        raise KeyProblem(path, "there is no such home folder", found=repr(text)) from None


def _limited(value: Any, field: dataclasses.Field[Any], path: tuple[str | int, ...]) -> Any:
    limits = field.metadata
    low, above = limits.get("at_least"), limits.get("above")
    if low is not None and value < low:
        raise _wrong(path, value, f"at least {low:g}")
    if above is not None and value <= above:
        raise _wrong(path, value, f"more than {above:g}")
    if limits.get("pattern"):
        _check_pattern(value, path)
    return _choice(value, limits["choices"], path) if limits.get("choices") else value


def _choice(value: str, choices: tuple[str, ...], path: tuple[str | int, ...]) -> str:
    for choice in choices:
        if choice.lower() == value.lower():
            return choice
    raise _wrong(path, value, f"one of {', '.join(choices)}")


def _check_pattern(value: str, path: tuple[str | int, ...]) -> None:
    try:
        re.compile(value)
    except re.error as error:
        raise _wrong(path, value, f"a regular expression ({error})") from None


def _wrong(path: tuple[str | int, ...], found: Any, expected: str) -> KeyProblem:
    name = next((str(part) for part in reversed(path) if isinstance(part, str)), "the file")
    shown = repr(found) if not isinstance(found, bool) else str(found).lower()
    return KeyProblem(path, f"the value of {name!r} cannot be used", found=shown, expected=expected)
