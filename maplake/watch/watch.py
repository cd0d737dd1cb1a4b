"""Rounds of ingest, compute and report, which keep going past errors until told to stop."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from maplake.compute.run import Done
from maplake.compute.run import run as compute
from maplake.config import Config
from maplake.errors import MaplakeError
from maplake.ingest import pipeline
from maplake.ingest.report import SourceReport
from maplake.ingest.session import FAILED, IN
from maplake.ingest.state import state_name
from maplake.layout import Layout
from maplake.watch.health import Health, health_file, read_health, write_health
from maplake.watch.settling import Settling

log = logging.getLogger("maplake.watch")


class Stopped(Exception):  # noqa: N818 - no error: somebody asked for it
    """The watch was told to stop in the middle of a round."""


@dataclass(frozen=True)
class Settings:
    """How to watch.

    Attributes
    ----------
    interval_s
        Pause between rounds, s.
    settle_s
        How long a session's files must have been the same before it is read, s.
    workers
        Number of processes that read.
    health
        The health file; None = in the lake.
    """

    interval_s: float = 60.0
    settle_s: float = 120.0
    workers: int = 1
    health: Path | None = None


@dataclass
class Watch:
    """A watch over the raw folders that a configuration names.

    Attributes
    ----------
    config
        Roots and settings.
    settings
        How to watch.
    report
        Called after a round that changed the lake; None = no reports are drawn.
    """

    config: Config
    settings: Settings
    report: Callable[[], None] | None = None
    settling: Settling = field(init=False)
    health: Health = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.settling = Settling(self.settings.settle_s)
        self._file = self.settings.health or health_file(self.config.lake.root)
        before = read_health(self._file)
        self.health = Health(
            pid=os.getpid(),
            host=socket.gethostname(),
            started=_now(),
            interval_s=self.settings.interval_s,
            # What was reported before a crash is not reported again.
            problems=dict(before.problems) if before else {},
            last_success=before.last_success if before else None,
        )
        self._done_for = -1  # after a crash, tables and reports may lack what the lake has

    def stop(self) -> None:
        """End after the session that is being read; may be called from a signal handler."""
        self._stop.set()

    def run(self, *, rounds: int | None = None) -> None:
        """Do rounds until told to stop.

        Parameters
        ----------
        rounds
            End after so many; None = never.
        """
        log.info("watching every %.0f s for %s", self.settings.interval_s, self.config.lake.root)
        while not self._stop.is_set():
            self.round()
            if rounds is not None and self.health.rounds >= rounds:
                break
            self._stop.wait(self.settings.interval_s)
        self._say("stopped")
        log.info("stopped")

    def round(self) -> None:
        """Take in, compute and report once; no error gets out."""
        self._say("working")
        try:
            self._work()
        except Stopped:
            pass
        except MaplakeError as error:
            self._fault(str(error))
        except Exception as error:  # a watch must outlive faults of its own, and say so
            log.exception("unexpected %s", type(error).__name__)
            self._fault(f"unexpected {type(error).__name__}: {error}")
        else:
            if self.health.fault is not None:
                log.info("all is well again")
            self.health.fault, self.health.last_success = None, _now()
        self.health.rounds += 1
        self.health.last_round = _now()
        self.health.settling = sorted(self.settling.waiting)
        self._say("waiting")

    def _work(self) -> None:
        self.settling.begin()
        found = pipeline.run(
            self.config,
            workers=self.settings.workers,
            progress=self.pause,
            ready=self.settling.ready,
        )
        self._heed(found.sources)
        self.pause()
        if self._data() == self._done_for:
            return
        made = compute(self.config, workers=self.settings.workers, progress=self.pause)
        for done in made.done:
            self._heed_computed(done)
        if self.report is not None:
            self.pause()
            self.report()
        self._done_for = self._data()

    def _data(self) -> int:
        """Return what changes whenever a command changes data of the lake."""
        manifests = Layout(self.config.lake.root).meta / "manifest"
        return manifests.stat().st_mtime_ns if manifests.is_dir() else 0

    def _heed(self, sources: list[SourceReport]) -> None:
        """Tell what came in, and each fault once; forget faults that are no more."""
        for source in sources:
            name = f"{source.kind} {source.name}"
            if source.status == IN:
                self.health.taken_in += 1
                log.info("in: %s, %d rows", name, source.rows)
            elif source.status == FAILED:
                place = state_name(source.subject_id, source.session)
                self.settling.failed(name if source.subject_id is None else place)
                self._tell(name, source.reason or "failed")
                continue
            if self.health.problems.pop(name, None) is not None:
                log.info("no longer faulty: %s", name)

    def _heed_computed(self, done: Done) -> None:
        where = (done.subject_id, done.session, done.insertion_number)
        place = " ".join(str(key) for key in where if key is not None)
        name = f"{done.table} {place}".strip()
        if done.status == FAILED:
            self._tell(name, done.reason or "failed")
        elif self.health.problems.pop(name, None) is not None:
            log.info("no longer faulty: %s", name)

    def _tell(self, name: str, reason: str) -> None:
        if self.health.problems.get(name) != reason:
            log.error("%s: %s", name, reason)
            self.health.problems[name] = reason

    def _fault(self, text: str) -> None:
        if self.health.fault != text:
            log.error("this round did not run through, the next one tries again: %s", text)
            self.health.fault = text

    def pause(self, *_progress: object) -> None:
        """Say that the watch lives; leave the round if it was told to stop.

        Long work calls it between its steps, with its progress.

        Raises
        ------
        Stopped
            If the watch was told to stop.
        """
        self._say("working")
        if self._stop.is_set():
            raise Stopped

    def _say(self, state: str) -> None:
        self.health.state, self.health.last_seen = state, _now()
        try:
            write_health(self._file, self.health)
        except OSError as error:
            log.warning("the health file %s cannot be written: %s", self._file, error.strerror)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
