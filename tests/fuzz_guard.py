"""Sees what no file may bring about: code that is run, and files outside of where they belong.

An audit hook (PEP 578) sees every ``open``, rename, process and piece of code of this process
before it happens. Used by ``fuzz.py``.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Always a violation, whatever the arguments.
_NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
          "os.startfile", "subprocess.Popen", "pty.spawn", "pickle.find_class", "socket.connect",
          "ftplib.connect", "urllib.Request", "webbrowser.open")  # fmt: skip
#: What changes names; the first argument, or the first two, say where.
_ONE = ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime",
        "os.setxattr", "shutil.rmtree")  # fmt: skip
_TWO = ("os.rename", "os.link", "os.symlink", "shutil.copyfile", "shutil.move")
#: Libraries that build classes from texts of their own.
_BUILDERS = ("dataclasses.py", "collections/__init__.py", "typing.py", "functools.py", "enum.py")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _beside(path: Any, folder: Any) -> Any:
    """Return a path that is given from an open folder, as rmtree does, as a whole one."""
    if not isinstance(path, str) or not isinstance(folder, int) or folder < 0 or path[:1] == "/":
        return path
    try:
        return f"{Path(f'/proc/self/fd/{folder}').readlink()}/{path}"
    except OSError:
        return None


class Guard:
    """Notes violations while a case is read; one per process, as hooks stay."""

    def __init__(self) -> None:
        here = Path(__file__).resolve().parents[1]
        roots = [sys.prefix, sys.base_prefix, str(here), *sysconfig.get_paths().values()]
        self._code = tuple({os.path.realpath(root) for root in roots} | set(roots))
        self._case = ""
        self._allowed: tuple[str, ...] | None = None
        self.executed: list[str] = []
        self.wrote: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def watching(self, case: Path, allowed: Path | None) -> Iterator[None]:
        """Watch what happens; files may be written below ``allowed`` and in the temporary folder.

        The folder of the case is where no code may come from.
        """
        self.executed, self.wrote = [], []
        self._case = str(case)
        places = [tempfile.gettempdir(), *([str(allowed)] if allowed else [])]
        self._allowed = tuple(os.path.realpath(place) for place in places)
        try:
            yield
        finally:
            self._allowed = None

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._allowed is None:
            return
        if event in _NEVER:
            self.executed.append(f"{event} {arguments!r:.200}")
        elif event == "exec":
            self._exec(arguments[0])
        elif event == "import" and arguments[1]:
            self._from(event, str(arguments[1]))
        elif event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)) and (flags or 0) & _WRITING:
                self._write(event, path)
        elif event in _ONE:
            self._write(event, _beside(arguments[0], arguments[-1]))
        elif event in _TWO:
            for path in arguments[:2] if event == "os.rename" else arguments[1:2]:
                self._write(event, path)

    def _exec(self, code: Any) -> None:
        name = getattr(code, "co_filename", "")
        if name.startswith("<") and not name.startswith("<frozen"):
            caller = sys._getframe(2).f_code.co_filename.replace(os.sep, "/")
            if not caller.endswith(_BUILDERS) and not caller.startswith(self._code):
                self.executed.append(f"exec {name} by {caller}")
        else:
            self._from("exec", name)

    def _from(self, event: str, name: str) -> None:
        if name.startswith("<frozen") or not name:
            return
        place = os.path.realpath(name)
        if place.startswith(os.path.realpath(self._case)) or not place.startswith(self._code):
            self.executed.append(f"{event} {name}")

    def _write(self, event: str, path: Any) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a file that is open already
        place = os.path.realpath(os.fsdecode(path))
        inside = self._allowed or ()
        if place != os.devnull and not any(Path(place).is_relative_to(top) for top in inside):
            self.wrote.append(f"{event} {place}")
