"""Find and read ``lake.toml``."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from maplake.config.checks import check
from maplake.config.decode import KeyProblem, decode
from maplake.config.model import Config, place_of
from maplake.config.settings import LEVELS, LoggingSettings, Settings
from maplake.config.toml_lines import find_lines
from maplake.errors import ConfigError

CONFIG_NAME = "lake.toml"
CONFIG_VARIABLE = "MAPLAKE_CONFIG"
LEVEL_VARIABLE = "MAPLAKE_LOGLEVEL"
_SHOWN = 80  # characters of a line that is no TOML


def load(file: Path | None = None) -> Config:
    """Read the settings from ``file``, else from where :func:`find_config` finds them.

    Paths become absolute: relative ones are relative to the file, ``~`` is the home folder.
    Whether they exist is not looked at (see :meth:`Config.require_paths`).

    Raises
    ------
    ConfigError
        If there is no such file, it is no TOML, or a key in it is unknown, of the wrong type,
        impossible or double; the message names the file, the line and the key.
    """
    file = find_config() if file is None else Path(file)
    text = _read(file)
    data = _parse(text, file)
    lines = find_lines(text)
    try:
        settings = decode(Settings, _with_plain_conditions(data), file.resolve().parent)
        check(settings)
    except KeyProblem as problem:
        raise ConfigError(
            problem.message,
            file=file,
            place=place_of(problem.path, lines),
            found=problem.found,
            expected=problem.expected,
            hint=problem.hint,
        ) from None
    values = {f.name: getattr(settings, f.name) for f in fields(settings)}
    values["lake"] = replace(settings.lake, root=file.resolve().parent / settings.lake.root)
    values["logging"] = _level_from_environment(settings.logging)
    return Config(**values, file=file.resolve(), lines=lines)


def find_config(start: Path | None = None) -> Path:
    """Return the settings file: that of ``MAPLAKE_CONFIG``, else ``lake.toml`` in or above here.

    Parameters
    ----------
    start
        Folder to look in first; by default the current one.

    Raises
    ------
    ConfigError
        If there is none.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named).expanduser()
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
    raise ConfigError(
        f"no {CONFIG_NAME} here or in a folder above",
        file=start,
        hint="`maplake init` writes one; --config FILE or the variable "
        f"{CONFIG_VARIABLE} name one elsewhere.",
    )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            "there is no such settings file", file=file, hint="`maplake init` writes one."
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", file=file) from None
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text", file=file, place=f"byte {error.start}") from None


def _parse(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        where = re.search(r" \(at (?:line (\d+), column (\d+)|(end of document))\)", str(error))
        place = found = hint = None
        if where:
            line, column, _ = where.groups()
            place = f"line {line}, column {column}" if line else f"line {text.count(chr(10)) + 1}"
            found = text.split("\n")[int(line) - 1].strip()[:_SHOWN] if line else None
        message = re.sub(r" \(at .*\)$", "", str(error))
        if "\\" in text:
            hint = r"Write \ in paths as / or put the path in 'single quotes'."
        elif message == "Invalid value":
            hint = "Texts and paths stand in quotes."
        raise ConfigError(
            f"this is not valid TOML: {message}", file=file, place=place, found=found, hint=hint
        ) from None


def _with_plain_conditions(data: dict[str, Any]) -> dict[str, Any]:
    """Let ``name = "predicate"`` stand for ``name = { predicate = "predicate" }``."""
    conditions = data.get("conditions")
    if not isinstance(conditions, dict):
        return data
    tables = {n: {"predicate": c} if isinstance(c, str) else c for n, c in conditions.items()}
    return {**data, "conditions": tables}


def _level_from_environment(settings: LoggingSettings) -> LoggingSettings:
    level = os.environ.get(LEVEL_VARIABLE)
    if not level:
        return settings
    if level.upper() not in LEVELS:
        raise ConfigError(
            "the logging level is not known",
            place=f"environment variable {LEVEL_VARIABLE}",
            found=repr(level),
            expected=f"one of {', '.join(LEVELS)}",
        )
    return replace(settings, level=level.upper())
