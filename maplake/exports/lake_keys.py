"""Which animals, sessions and probe insertions a smaller lake is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from maplake.errors import NotFoundError, QueryError
from maplake.exports.select import Insertion, Selection, ask, insertions, sessions
from maplake.query.sqltext import literal
from maplake.tables.model import INSERTION_KEY, SESSION_KEY

if TYPE_CHECKING:
    from maplake.query.lake import Lake

__all__ = ["Keys", "choose"]


@dataclass(frozen=True)
class Keys:
    """Animals, (subject_id, session) and (subject_id, session, insertion_number) to keep."""

    subjects: frozenset[int]
    sessions: frozenset[tuple[int, int]]
    insertions: frozenset[tuple[int, int, int]]

    def holds(self, values: Mapping[str, object]) -> bool:
        """Whether a row or partition is kept, by those key columns that it has."""
        levels = ((("subject_id",), {(s,) for s in self.subjects}), (SESSION_KEY, self.sessions))
        for names, kept in (*levels, (INSERTION_KEY, self.insertions)):
            if any(values.get(name) is None for name in names):
                continue
            if tuple(int(str(values[name])) for name in names) not in kept:
                return False
        return True


def choose(lake: Lake, wanted: Selection, regions: Sequence[str] = ()) -> Keys:
    """Return the keys that a selection and brain regions leave.

    Parameters
    ----------
    lake
        The lake.
    wanted
        Sessions; with insertion numbers only those probes of them.
    regions
        Names of CCF regions: only insertions with a unit in one of them are kept, and sessions
        with such an insertion.

    Raises
    ------
    NotFoundError
        If something named does not exist, or nothing is left.
    """
    probes = bool(wanted.insertions or regions)
    if not probes:
        chosen = {(s.subject_id, s.session) for s in sessions(lake, wanted)}
        known = ask(lake, f"SELECT {', '.join(INSERTION_KEY)} FROM ephys.probe_insertion").rows()
        return _keys(chosen, {(a, b, c) for a, b, c in known if (a, b) in chosen})
    kept = insertions(lake, wanted)
    if regions:
        kept = _inside(lake, kept, regions)
    triples = {(i.subject_id, i.session, i.insertion_number) for i in kept}
    return _keys({triple[:2] for triple in triples}, triples)


def _keys(chosen: set[tuple[int, int]], triples: set[tuple[int, int, int]]) -> Keys:
    return Keys(frozenset(subject for subject, _ in chosen), frozenset(chosen), frozenset(triples))


def _inside(lake: Lake, found: list[Insertion], regions: Sequence[str]) -> list[Insertion]:
    known = ask(lake, "SELECT DISTINCT region_name FROM ccf.ccf_brain_region ORDER BY ALL")
    names = known["region_name"].to_list()
    lower = {name.lower() for name in names}
    for region in regions:
        if region.lower() not in lower:
            near = get_close_matches(region, names, n=3, cutoff=0.4)
            raise NotFoundError(
                f"there is no brain region {region!r}",
                hint=f"Did you mean {' or '.join(near)}?"
                if near
                else '`maplake sql "FROM ccf.ccf_brain_region"` lists them.',
            )
    words = ", ".join(literal(region.lower()) for region in regions)
    rows = ask(
        lake,
        f"SELECT DISTINCT {', '.join(INSERTION_KEY)} FROM ephys.unit_ccf "
        f"WHERE lower(region_name) IN ({words})",
    ).rows()
    kept = [i for i in found if (i.subject_id, i.session, i.insertion_number) in set(rows)]
    if not kept:
        raise QueryError(f"no selected insertion has a unit in {' or '.join(regions)}")
    return kept
