"""Ingest: plan, read, stage and commit, session by session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from maplake.config import Config
from maplake.errors import NotFoundError
from maplake.ingest import animals, archive, ccf, lab_lists, locations, session_meta, surgery_csv
from maplake.ingest.decide import Again, never
from maplake.ingest.index import read_index
from maplake.ingest.lakes import update_catalog, writing
from maplake.ingest.numbers import SessionNumbers
from maplake.ingest.outdated import ON_REQUEST
from maplake.ingest.plan import Plan, make_plan, subjects_by_h2o
from maplake.ingest.publish import as_they_are, remember, rewrite
from maplake.ingest.report import Report, report_item
from maplake.ingest.session import FAILED, IN, PLANNED, Item, SessionPlan
from maplake.ingest.sources import BEHAVIOR, EPHYS, HISTOLOGY, LFP, NIDQ, TRACKING, Source
from maplake.ingest.spare import restore_spares
from maplake.ingest.state import read_all, read_whole
from maplake.layout import Layout

if TYPE_CHECKING:
    from maplake.ingest.rounds import Progress

#: Tells by the name of a session, or of a source that belongs to none, whether it may be taken in.
Ready = Callable[[str, Sequence[Source]], bool]

#: Everything that ``ingest`` knows, in the order in which it is taken in.
KINDS = (
    ccf.KIND,
    lab_lists.LAB,
    animals.ANIMALS,
    BEHAVIOR,
    EPHYS,
    LFP,
    NIDQ,
    locations.KIND,
    TRACKING,
    HISTOLOGY,
)

#: The configuration's name for the paths of each kind.
PATHS = {
    ccf.KIND: ("ccf",),
    lab_lists.LAB: ("foraging",),
    animals.ANIMALS: ("animals",),
    BEHAVIOR: ("behavior", "foraging"),
    EPHYS: ("ephys",),
    LFP: ("ephys",),
    NIDQ: ("ephys",),
    locations.KIND: ("insertion_locations",),
    TRACKING: ("tracking",),
    HISTOLOGY: ("histology",),
}

#: How many numbers an error lists.
_SHOWN = 20

#: What is loaded as a whole before the sessions, and after them.
_FIRST = {
    ccf.KIND: ccf.of_config,
    lab_lists.LAB: lab_lists.lab_of_config,
    animals.ANIMALS: animals.animals_of_config,
}
_LAST = {BEHAVIOR: session_meta.of_config, locations.KIND: locations.of_config}

T = TypeVar("T")


@dataclass(frozen=True)
class _Asked:
    """What :func:`run` is asked for."""

    kinds: Sequence[str] = ()
    subject: int | str | None = None
    session: int | None = None
    replace: bool = False
    again: Again = never
    ready: Ready | None = None

    def of(self, kinds: Mapping[str, T]) -> list[T]:
        """Return what belongs to the kinds that are asked for."""
        return [found for kind, found in kinds.items() if not self.kinds or kind in self.kinds]


def run(
    config: Config,
    *,
    kinds: Sequence[str] = (),
    subject: int | str | None = None,
    session: int | None = None,
    replace: bool = False,
    dry_run: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
    again: Again = never,
    ready: Ready | None = None,
) -> Report:
    """Take everything new or changed into the lake.

    Parameters
    ----------
    config
        Roots and settings.
    kinds
        What to take in, of :data:`KINDS`; empty = all.
    subject
        Only this animal, by subject_id or water restriction number.
    session
        Only this session of it.
    replace
        Let a new sorting or histology of a probe replace the one in the lake, which goes to the
        archive.
    dry_run
        Say what would be done; nothing is written.
    workers
        Number of processes that read and stage; the commits are made by this one.
    scheduler
        Address of a Dask scheduler whose workers read and stage instead; None = that of
        ``[dask]``.
    progress
        Called with a text, the number of sessions done and their total.
    again
        Tells which sources are read again although nothing changed.
    ready
        Asked for every session with something to read or with a fault, by its name and these of
        its sources: whether it may be taken in. The others are left as if they were not there.

    Returns
    -------
    What became of every source; faults of single sources are in it, not raised.

    Raises
    ------
    NotFoundError
        If a kind is unknown, or the animal, or the session.
    ConfigError
        If a configured path does not exist.
    ClusterError
        If the Dask cluster cannot be used.
    LakeError
        If the lake cannot be written to.
    """
    _check(config, kinds)
    report = Report(dry_run=dry_run)
    asked = _Asked(kinds, subject, session, replace, again, ready)
    if dry_run:
        _foresee(config, asked, report)
        return report
    plan = _begin(config, asked, report)
    idle = [one for one in plan.sessions if not one.todo]

    def replan(names: set[str]) -> list[SessionPlan]:
        new = _plan(config, asked)
        return [one for one in new.sessions if one.name in names]

    busy = [one for one in plan.sessions if one.todo]
    if busy:  # what reads need not be imported to find nothing new
        from maplake.ingest.rounds import How, take_in

        how = How(workers, config.dask.scheduler if scheduler is None else scheduler, progress)
        report.sources += take_in(config, busy, replan, how)
    remember(config, plan.others, idle)
    for load in asked.of(_LAST):
        report.sources += load(config)
    update_catalog(config)
    return report


def _foresee(config: Config, asked: _Asked, report: Report) -> None:
    """Report what a run would do; nothing is written."""
    layout = Layout(config.lake.root)
    for load in asked.of(_FIRST):
        report.sources += load(config, dry_run=True)
    sheets = asked.of(
        {
            lab_lists.LAB: surgery_csv.animals_of_surgery_csv,
            animals.ANIMALS: animals.animals_of_sheets,
        }
    )
    numbers = {h2o: number for found in sheets for h2o, number in found(config).items()}
    plan = make_plan(
        config,
        layout,
        SessionNumbers(layout),
        read_index(layout),
        asked.kinds,
        replace=asked.replace,
        again=asked.again,
        animals=numbers,
    )
    _select(plan, config, asked)
    report.sources += [report_item(item) for item in plan.others]
    report.sources += as_they_are(plan.sessions)
    for load_after in asked.of(_LAST):
        report.sources += load_after(config, plan.sessions)


def _begin(config: Config, asked: _Asked, report: Report) -> Plan:
    """Load what is loaded as a whole, and plan the sessions; report all that will not be read."""
    for load in asked.of(_FIRST):
        report.sources += load(config)
    plan = _plan(config, asked)
    _select(plan, config, asked)
    report.sources += [report_item(item) for item in plan.others]
    report.sources += as_they_are(one for one in plan.sessions if not one.todo)
    return plan


def prepare(
    config: Config,
    *,
    kinds: Sequence[str] = (),
    subject: int | str | None = None,
    session: int | None = None,
    replace: bool = False,
) -> tuple[list[SessionPlan], Report]:
    """Do what comes before the sessions, so that each can be taken in by a process of its own.

    Animals, CCF and the lab's lists are loaded, and sessions get their numbers. Parameters and
    errors are those of :func:`run`.

    Returns
    -------
    The sessions that have something to read, and what became of everything else.
    """
    _check(config, kinds)
    report = Report()
    plan = _begin(config, _Asked(kinds, subject, session, replace), report)
    return [one for one in plan.sessions if one.todo], report


def _plan(config: Config, asked: _Asked) -> Plan:
    """Make a plan and keep the session numbers that it gave."""
    with writing(config) as layout:  # makes the lake where there is none, and ends loose ends
        pass
    while True:
        numbers = SessionNumbers(layout)
        # A repair of one session must not fail at another one that is damaged, too.
        states = read_index(layout) if asked.again is never else read_whole(layout)
        plan = make_plan(
            config,
            layout,
            numbers,
            states,
            asked.kinds,
            replace=asked.replace,
            again=asked.again,
        )
        if not numbers.changed:
            break
        # Looking through slow disks without the lock; numbers that others gave meanwhile count.
        with writing(config):
            if numbers.save():
                break
    plan.seen.save()
    return plan


def _check(config: Config, kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise NotFoundError(f"there is no kind of source {kind!r}", expected=", ".join(KINDS))
    for name in dict.fromkeys(path for kind in kinds or KINDS for path in PATHS[kind]):
        config.require_paths(name)


def _select(plan: Plan, config: Config, asked: _Asked) -> None:
    """Leave in a plan what is asked for."""
    if asked.subject is not None:
        name = str(asked.subject).lower()
        _check_animal(plan, subjects_by_h2o(Layout(config.lake.root)), name)
        plan.sessions = [s for s in plan.sessions if name in (str(s.subject_id), s.h2o.lower())]
        plan.others = [i for i in plan.others if i.source.h2o.lower() == name]
    if asked.session is not None:
        plan.sessions = _numbered(plan.sessions, asked.session, asked.subject)
        plan.others = []
    ready = asked.ready
    if ready is not None:
        plan.sessions = [s for s in plan.sessions if _may(ready, s.name, s.items)]
        plan.others = [i for i in plan.others if _may(ready, " ".join(i.source.key), [i])]


def _check_animal(plan: Plan, animals: Mapping[str, int], name: str) -> None:
    """Refuse the name of an animal that neither the lake nor any file knows."""
    found = {s.h2o for s in plan.sessions} | {i.source.h2o for i in plan.others} | set(animals)
    numbers = {s.subject_id for s in plan.sessions} | set(animals.values())
    if name not in {str(number) for number in numbers} | {h2o.lower() for h2o in found}:
        known = ", ".join(sorted(found - {""})[:10])
        raise NotFoundError(
            f"there is no animal {name!r}", hint=f"Known are {known}." if known else None
        )


def _numbered(
    sessions: Sequence[SessionPlan], session: int, subject: int | str | None
) -> list[SessionPlan]:
    """Return the sessions of a number; refuse one that no animal has."""
    found = [s for s in sessions if s.session == session]
    if not found:
        known = sorted({s.session for s in sessions})
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        raise NotFoundError(
            f"there is no session {session}",
            place=None if subject is None else f"animal {subject}",
            hint=f"There are {', '.join(map(str, known[:_SHOWN]))}{more}."
            if known
            else "There is no session at all; `maplake status` says what waits for what.",
        )
    return found


def _may(ready: Ready, name: str, items: Sequence[Item]) -> bool:
    sources = [item.source for item in items if item.status in (PLANNED, FAILED)]
    return not sources or ready(name, sources)


def rebuild(
    config: Config,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read everything again from the raw files; session numbers stay.

    Each session is replaced in one commit of its own, so the lake stays usable meanwhile.
    Sessions whose raw files have gone are kept.

    Raises
    ------
    MaplakeError
        As :func:`run` does.
    """
    restore_spares(config)
    with writing(config) as layout:
        for name, states in read_all(layout).items():
            for state in states.values():
                if state.status == IN and state.kind != archive.KIND:
                    state.settings = state.fingerprint = ON_REQUEST
            rewrite(layout, name, states, "rebuild")
    return run(config, workers=workers, scheduler=scheduler, progress=progress)
