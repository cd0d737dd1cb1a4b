"""Logging as the settings say: to the terminal and, if asked, to a rotating file."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from maplake.config.model import Config

_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_MIB = 1024 * 1024
_OURS = "maplake-"


def setup_logging(config: Config, *, quiet: bool = False) -> None:
    """Send the log of maplake to standard error and to the configured file.

    The file is rotated at 5 MiB and three older ones are kept. A file that cannot be written to
    is a warning, no error: reading a lake must not fail for want of a log. Calling this again
    replaces what it set up before.

    Parameters
    ----------
    config
        Its ``logging`` gives level and file.
    quiet
        Show only errors on standard error; the file gets everything.
    """
    log = logging.getLogger("maplake")
    for handler in [h for h in log.handlers if (h.name or "").startswith(_OURS)]:
        log.removeHandler(handler)
        handler.close()
    log.setLevel(config.logging.level)
    console = logging.StreamHandler()
    console.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    # What a command's report says in any case is for the file alone.
    console.addFilter(lambda record: not getattr(record, "is_reported", False))
    if quiet:
        console.setLevel(logging.ERROR)
    _install(log, console, "console")
    if config.logging.file is not None:
        _log_to_file(log, config.logging.file)


def _log_to_file(log: logging.Logger, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(file, maxBytes=5 * _MIB, backupCount=3, encoding="utf-8")
    except OSError as error:
        log.warning("cannot write the log file %s: %s", file, error.strerror)
        return
    handler.setFormatter(logging.Formatter(_LINE))
    _install(log, handler, "file")


def _install(log: logging.Logger, handler: logging.Handler, name: str) -> None:
    handler.set_name(f"{_OURS}{name}")
    log.addHandler(handler)
