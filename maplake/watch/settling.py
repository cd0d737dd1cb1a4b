"""Whether the files of a session have settled, so that nothing is read half copied."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maplake.errors import MaplakeError
from maplake.ingest.sources import Source


@dataclass
class Settling:
    """Remembers what sessions looked like, and since when.

    A session has settled when names, sizes and times of its files have been the same for
    ``settle_s`` seconds. Only what was seen counts, not the age of the files: copies keep the
    times of their originals, and clocks of file servers differ. A session that failed is left
    alone until a file of it changes.
    """

    settle_s: float
    clock: Callable[[], float] = time.monotonic
    waiting: set[str] = field(default_factory=set)
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    _failed: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """Begin a round: nothing is known to wait."""
        self.waiting = set()

    def ready(self, name: str, sources: Sequence[Source]) -> bool:
        """Tell whether a session may be read now."""
        look, now = signature(sources), self.clock()
        before, since = self._seen.get(name, ("", now))
        if look != before:
            self._seen[name] = (look, since := now)
        if self._failed.get(name) == look:
            return False
        if now - since < self.settle_s:
            self.waiting.add(name)
            return False
        return True

    def failed(self, name: str) -> None:
        """Leave a session alone until it changes."""
        self._failed[name] = self._seen.get(name, ("", 0.0))[0]


def signature(sources: Iterable[Source]) -> str:
    """Return a hash over names, sizes and times of all files at the places of sources."""
    digest = hashlib.sha256()
    for source in sorted(sources, key=lambda s: s.key):
        for line in sorted(set(_lines(source))):
            digest.update(f"{line}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def _lines(source: Source) -> Iterable[str]:
    try:
        files = source.files()
    except (MaplakeError, OSError) as error:
        yield f"fault {error}"
        files = []
    for path in files:
        yield _line(path)
    if source.path.is_dir():
        for folder, _, names in os.walk(source.path):
            for name in names:
                yield _line(Path(folder, name))


def _line(path: Path) -> str:
    try:
        info = path.stat()
    except OSError as error:
        return f"{path} {error.strerror}"
    return f"{path} {info.st_size} {info.st_mtime_ns}"
