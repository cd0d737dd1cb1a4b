"""Reading again what is in the lake: damaged sessions, and what a corrected reader wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from maplake.config import Config
from maplake.errors import LakeError, MissingFileError, NotFoundError
from maplake.ingest import archive, ccf, pipeline
from maplake.ingest.decide import Again
from maplake.ingest.numbers import SessionNumbers
from maplake.ingest.outdated import is_outdated
from maplake.ingest.plan import GONE, make_plan
from maplake.ingest.records import mend_records
from maplake.ingest.report import Report
from maplake.ingest.rounds import Progress
from maplake.ingest.session import IN, PLANNED, SESSION_KINDS, SessionPlan
from maplake.ingest.state import SourceState, read_all, read_whole
from maplake.layout import Layout

__all__ = ["KINDS", "rebuild_ccf", "rebuild_outdated", "rebuild_session"]

#: What can be read again by kind.
KINDS = (*SESSION_KINDS, ccf.KIND)


def rebuild_session(
    config: Config,
    subject: int | str,
    session: int | None = None,
    kinds: Sequence[str] = (),
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read a session again from its raw files, whatever has become of it in the lake.

    It keeps its number; the same raw files give the same bytes. Computed rows stay where what
    they were computed from is the same, else they wait for ``compute``.

    Parameters
    ----------
    config
        Roots and settings.
    subject
        The animal, by subject_id or water restriction number.
    session
        Number of the session; None = all of the animal.
    kinds
        What to read, with what is aligned to it; empty = everything.
    workers, scheduler, progress
        As for :func:`maplake.ingest.pipeline.run`.

    Raises
    ------
    NotFoundError
        If there is no such animal, session or kind.
    MissingFileError
        If raw files of what is in the lake have gone; nothing is changed then.
    LakeError
        If raw files are there but cannot be taken as they are; nothing is changed then.
    """
    _check_kinds(kinds)
    layout = Layout(config.lake.root)
    subject_id = archive.subject_of(config, str(subject))

    def again(state: SourceState) -> bool:
        here = state.subject_id == subject_id and session in (None, state.session)
        return here and (not kinds or state.kind in kinds)

    plans = _plans(config, layout, subject_id, session, again)
    if not plans:
        raise NotFoundError(
            f"there is no session {session} of animal {subject_id} in the lake or in its raw files"
            if session is not None
            else f"there is no session of animal {subject_id}",
            hint="`maplake status` lists them.",
        )
    for plan in plans:
        _check_raw(layout, plan, kinds)
    mend_records(config, [plan.name for plan in plans])
    return pipeline.run(
        config,
        kinds=kinds or SESSION_KINDS,
        subject=subject_id,
        session=session,
        workers=workers,
        scheduler=scheduler,
        progress=progress,
        again=again,
    )


def rebuild_outdated(
    config: Config,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read again what a reader wrote that has been corrected since, and what is aligned to it.

    Raises
    ------
    MaplakeError
        As :func:`maplake.ingest.pipeline.run` does.
    """
    kinds = {
        state.kind
        for states in read_all(Layout(config.lake.root)).values()
        for state in states.values()
        if is_outdated(state) and state.kind in SESSION_KINDS
    }
    if not kinds:
        return Report()
    return pipeline.run(
        config,
        kinds=[kind for kind in SESSION_KINDS if kind in kinds],
        workers=workers,
        scheduler=scheduler,
        progress=progress,
        again=is_outdated,
    )


def rebuild_ccf(config: Config) -> Report:
    """Read the annotation volume again that lake.toml names.

    Raises
    ------
    MissingFileError
        If lake.toml names none.
    """
    if config.ccf.annotation is None:
        raise MissingFileError("lake.toml names no annotation", place="ccf.annotation")
    return Report(ccf.of_config(config, again=True))


def _check_kinds(kinds: Iterable[str]) -> None:
    for kind in kinds:
        if kind not in SESSION_KINDS:
            raise NotFoundError(
                f"{kind!r} is no kind that a session is read from",
                expected=", ".join(SESSION_KINDS),
            )


def _plans(
    config: Config, layout: Layout, subject_id: int, session: int | None, again: Again
) -> list[SessionPlan]:
    plan = make_plan(config, layout, SessionNumbers(layout), read_whole(layout), again=again)
    return [s for s in plan.sessions if s.subject_id == subject_id and session in (None, s.session)]


def _check_raw(layout: Layout, plan: SessionPlan, kinds: Sequence[str]) -> None:
    """Refuse to rebuild what cannot be read again: nothing may get lost."""
    for kind, number, path in _held(layout, plan):
        if kinds and kind not in kinds:
            continue
        items = [
            item
            for item in plan.items
            if item.source.kind == kind and item.source.insertion_number in (None, number)
        ]
        what = f"{kind} of session {plan.session} of {plan.h2o}"
        if number is not None:
            what += f", insertion {number}"
        if any(item.status == PLANNED for item in items):
            continue
        waiting = next((item for item in items if item.reason != GONE), None)
        if waiting is not None:
            raise LakeError(
                f"{what} cannot be read again: {waiting.reason}", file=waiting.source.path
            )
        raise MissingFileError(
            f"the raw files of {what} have gone; nothing was changed",
            file=path or None,
            hint="Put them back, or name the kinds that are there, as in `maplake rebuild "
            "behavior --subject … --session …`. What has no raw files comes from a backup alone.",
        )


def _held(layout: Layout, plan: SessionPlan) -> Iterator[tuple[str, int | None, str]]:
    """Yield kind, insertion and path of what is in the lake of a session and is read from raw."""
    known = [s for s in plan.state.values() if s.status == IN and s.kind in SESSION_KINDS]
    for state in known:
        yield state.kind, state.insertion_number, state.path
    if known:
        return
    # Its record is lost: the arrays and tables that lie there tell what there was.
    place = f"subject_id={plan.subject_id}/session={plan.session}"
    if (layout.root / "tables" / "experiment" / "session" / place).is_dir():
        yield "behavior", None, ""
    folder: Path = layout.root / "tables" / "ephys" / "unit" / place
    for probe in sorted(folder.glob("insertion_number=*")):
        yield "ephys", int(probe.name.split("=")[1]), ""
