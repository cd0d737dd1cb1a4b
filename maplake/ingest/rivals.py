"""Several folders of one probe and session: raw and CatGT's copy, or two layouts; one is taken."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from maplake.errors import AmbiguousSourceError
from maplake.ingest.session import IN, PLANNED, SKIPPED, WAITING, Item, SessionPlan
from maplake.ingest.sources import EPHYS, LFP, NIDQ, Source
from maplake.ingest.starts import SAME_START_S

__all__ = ["settle"]

_KINDS = (EPHYS, LFP, NIDQ)  # what lies beside a probe's sorting is told by it
_BY_DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}"), re.compile(r"catgt_\d{8}_g0")

_Test = Callable[[Source], bool]


def settle(session: SessionPlan, is_far: _Test) -> list[Item]:
    """Leave one source for each probe and kind in a session's plan; return the others.

    What is in the lake stays; then what is complete goes before what is not, what began with the
    session before what did not, the roots' order, and folders named by the date, by CatGT and the
    date, by animal and date, in this order. Of what is still equal neither is taken: that fails.
    Several folders named by animal and date that all began at another time wait.

    Parameters
    ----------
    session
        The plan; its items are changed.
    is_far
        Tells that a recording did not begin with the session.
    """
    groups: dict[tuple[str, int | None], list[Source]] = defaultdict(list)
    for item in session.items:
        if item.source.kind in _KINDS:
            groups[item.source.kind, item.source.insertion_number].append(item.source)
    lost: list[Item] = []
    sorted_in: list[str] = []
    for kind in _KINDS:
        for key in [key for key in groups if key[0] == kind]:
            rivals = groups[key]
            if len(rivals) > 1 and all(_is_other(s, session, is_far) for s in rivals):
                lost += _leave(session, rivals)
                continue
            best = _best(rivals, session, is_far, sorted_in)
            if kind == EPHYS:
                sorted_in.append(best.name)
            if len(rivals) > 1:
                lost += _take(session, rivals, best)
    return lost


def _is_other(source: Source, session: SessionPlan, is_far: _Test) -> bool:
    """Tell whether a folder that is named by animal and date is of another time of the day."""
    state = session.state.get(source.key)
    known = state is not None and state.status == IN
    return not known and _layout(source) == len(_BY_DATE) and is_far(source)


def _leave(session: SessionPlan, rivals: Sequence[Source]) -> list[Item]:
    keys = {source.key for source in rivals}
    session.items = [item for item in session.items if item.source.key not in keys]
    reason = f"none of that day's recordings began within {SAME_START_S:.0f} s of the session"
    return [Item(source, WAITING, reason) for source in rivals]


def _best(
    sources: Sequence[Source], session: SessionPlan, is_far: _Test, sorted_in: Sequence[str]
) -> Source:
    if len(sources) == 1:
        return sources[0]
    roots = list(dict.fromkeys(map(_root, sources)))

    def rank(source: Source) -> tuple[int, ...]:
        state = session.state.get(source.key)
        beside = any(
            name == source.name or name.startswith(source.name + "/") for name in sorted_in
        )
        return (
            int(state is None or state.status != IN),
            int(source.problem is not None or source.waits_for is not None),
            int(not beside),
            int(is_far(source)),
            roots.index(_root(source)),
            _layout(source),
        )

    ranks = [rank(source) for source in sources]
    first = [source for source, its in zip(sources, ranks, strict=True) if its == min(ranks)]
    if len(first) == 1 or min(ranks)[1]:
        return first[0]
    problem = AmbiguousSourceError(
        "more than one folder for one probe of one session",
        file=first[0].path,
        found=", ".join(source.name for source in first),
        expected="one",
        hint="Move the ones that should not be read out of the root.",
    )
    return replace(first[0], problem=problem)


def _take(session: SessionPlan, rivals: Sequence[Source], best: Source) -> list[Item]:
    keys = {source.key for source in rivals}
    session.items = [item for item in session.items if item.source.key not in keys]
    session.items.append(Item(best, PLANNED))
    reason = f"the same probe and session is at {best.path}, which goes first"
    return [Item(source, SKIPPED, reason) for source in rivals if source.key != best.key]


def _root(source: Source) -> Path:
    return source.path.parents[2]  # {root}/{h2o}/{session}/ and a probe's folder or a file


def _layout(source: Source) -> int:
    folder = Path(source.name).parts[1]
    return next((n for n, form in enumerate(_BY_DATE) if form.fullmatch(folder)), len(_BY_DATE))
