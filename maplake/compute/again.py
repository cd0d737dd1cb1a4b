"""Computing again what is current, as when its file was damaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from maplake.compute.publish import filling
from maplake.compute.registry import find, load
from maplake.config import Config
from maplake.ingest.lakes import writing
from maplake.ingest.outdated import ON_REQUEST
from maplake.ingest.publish import rewrite
from maplake.ingest.session import IN
from maplake.ingest.state import read_state

__all__ = ["forget"]


def forget(
    config: Config,
    names: Sequence[str],
    *,
    subject: int | None = None,
    session: int | None = None,
) -> int:
    """Let partitions of computed tables be computed anew by the next run; rows stay till then.

    Parameters
    ----------
    config
        Names the lake.
    names
        The tables, without what they are computed from; empty = all.
    subject, session
        Only this animal (subject_id) and session.

    Returns
    -------
    Number of partitions.

    Raises
    ------
    NotFoundError
        If a name is of no computed table.
    """
    computations = load(config)
    if names:
        find(computations, names)
    wanted = list(names) or [t.full_name for c in computations.values() for t in c.tables]
    count = 0
    with writing(config) as layout:
        for book, states in filling(layout, wanted).items():
            chosen = [
                state
                for state in states
                if state.status == IN
                and subject in (None, state.subject_id)
                and session in (None, state.session)
            ]
            if chosen:
                again = {s.key: dataclasses.replace(s, settings=ON_REQUEST) for s in chosen}
                rewrite(layout, book, read_state(layout, book) | again, "compute --again")
                count += len(chosen)
    return count
