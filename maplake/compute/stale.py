"""Computed partitions that are not what would be computed now; and taking tables out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maplake.compute.ledger import Counts, Ledger
from maplake.compute.plan import Books, Task, is_current, orphans, state_key
from maplake.compute.publish import filling, removal, stage_declarations
from maplake.compute.recipes import Recipe, bases_of, recipes_of
from maplake.compute.registry import dependants, load
from maplake.config import Config
from maplake.errors import MaplakeError, NotFoundError
from maplake.ingest.lakes import update_catalog, writing
from maplake.ingest.outdated import CHANGED
from maplake.ingest.session import IN, WAITING
from maplake.ingest.state import SourceState, state_name
from maplake.layout import Layout
from maplake.tables import SCHEMAS, own
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

__all__ = [
    "FORGOTTEN",
    "OTHERS",
    "STALE",
    "Standing",
    "counts_by_session",
    "remove",
    "standing",
]

#: A partition with rows that are not what would be computed now.
STALE = "stale"
#: Stands for all tables that nobody knows how to compute any more.
OTHERS = "others"
#: Why, where nobody knows how to compute it any more.
FORGOTTEN = (
    "nothing that lake.toml names computes this table any more; "
    "`maplake compute --remove` removes it"
)


@dataclass(frozen=True)
class Standing:
    """Where a computed partition stands.

    Attributes
    ----------
    table
        Name of the computation.
    status
        ``in``, ``waiting`` (no rows yet), ``failed``, or ``stale``: it has rows, but its inputs,
        its function or maplake changed since.
    reason
        Why it is not in.
    subject_id, session, insertion_number
        The partition, as far as the table has one.
    rows
        Number of rows.
    """

    table: str
    status: str
    reason: str | None = None
    subject_id: int | None = None
    session: int | None = None
    insertion_number: int | None = None
    rows: int = 0

    @property
    def partition(self) -> str:
        """Which partition, as its folder is called."""
        names = ("subject_id", "session", "insertion_number")
        values = [(name, getattr(self, name)) for name in names]
        return "/".join(f"{name}={value}" for name, value in values if value is not None)


def standing(config: Config) -> list[Standing]:
    """Return where every computed partition stands, by table and session; nothing is computed.

    Raises
    ------
    ConfigError
        If a module of the lab cannot be run.
    """
    layout = Layout(config.lake.root)
    if not layout.format_file.exists():
        return []
    return _standing(Books.read(layout), recipes_of(layout.root, load(config)))


def _standing(books: Books, recipes: Mapping[str, Recipe]) -> list[Standing]:
    planned = [task for recipe in recipes.values() for task in recipe.tasks(books)]
    found = []
    for task in planned:
        state = books.states.get(task.book, {}).get(state_key(task.computation, task.key))
        found.append(_of_task(task, state))
    for states in orphans(books, recipes, planned).values():
        found += [_of_state(state, STALE, "what it was computed from is gone") for state in states]
    return found + _unknown(books, recipes)


def counts_by_session(
    layout: Layout, recipes: Mapping[str, Recipe], *, others: bool = True
) -> list[Counts]:
    """Return the numbers of partitions, session by session; only what changed is looked at.

    Parameters
    ----------
    layout
        The lake.
    recipes
        What computes them.
    others
        Whether to count what no recipe is known of: under :data:`OTHERS`, by table and status.
    """
    bases = bases_of(layout, recipes)
    if bases is None:
        return list(_counts(Books.read(layout), recipes).values())
    if others:
        bases[OTHERS] = " ".join(sorted(recipes))
    ledger = Ledger.open(layout, bases)
    found = _counts(Books.read(layout, ledger.changed), recipes)
    ledger.write(found)
    return [*found.values(), *ledger.counts.values()]


def _counts(books: Books, recipes: Mapping[str, Recipe]) -> dict[str, Counts]:
    names = {*books.states, *books.manifests}
    found: dict[str, Counts] = {book: {name: {} for name in (*recipes, OTHERS)} for book in names}
    for item in _standing(books, recipes):
        name, status = item.table, item.status
        if name not in recipes:
            name, status = OTHERS, f"{item.table} {item.status}"
        by_status = found[state_name(item.subject_id, item.session)][name]
        by_status[status] = by_status.get(status, 0) + 1
    return found


def _of_task(task: Task, state: SourceState | None) -> Standing:
    if state is None:
        return Standing(task.computation, WAITING, "new: `maplake compute` computes it", **task.key)
    if is_current(task, state):
        return _of_state(state, IN, None)
    if state.status != IN:
        return _of_state(state, state.status, state.reason)
    changed = state.files != task.files
    return _of_state(state, STALE, CHANGED if changed else "its function or maplake has changed")


def _of_state(state: SourceState, status: str, reason: str | None) -> Standing:
    return Standing(
        state.name.split(" ")[0],
        status,
        reason,
        state.subject_id,
        state.session,
        state.insertion_number,
        sum(state.rows.values()),
    )


def _unknown(books: Books, computations: Mapping[str, object]) -> list[Standing]:
    """Return partitions of tables whose function is not known here."""
    return [
        _of_state(
            state,
            STALE if state.status == IN else state.status,
            FORGOTTEN,
        )
        for states in books.states.values()
        for state in states.values()
        if state.kind == own.KIND and state.name.split(" ")[0] not in computations
    ]


def remove(config: Config, name: str, *, dry_run: bool = False) -> dict[str, int]:
    """Remove a computed table with everything that is computed from it, in one commit.

    A table of the lab is forgotten as well; while lake.toml names its module, the next
    ``compute`` makes it again.

    Parameters
    ----------
    config
        Names the lake.
    name
        ``schema.table``.
    dry_run
        Only count.

    Returns
    -------
    Rows by table, of all tables that are (or would be) emptied.

    Raises
    ------
    NotFoundError
        If there is no such computed table.
    """
    layout = Layout(config.lake.root)
    try:
        computations = load(config)
    except MaplakeError:
        computations = {}  # a module that no longer runs must not keep its tables in the lake
    mine = own.read(layout.own_tables, SCHEMAS)
    parents = {t.full_name: c.name for c in computations.values() for t in c.tables}
    if name not in parents and name not in mine:
        known = ", ".join(sorted({*parents, *mine}))
        raise NotFoundError(f"{name!r} is no computed table", expected=known)
    names = dependants(computations, parents.get(name, name))
    counts = _rows(layout, names)
    if dry_run:
        return counts
    with writing(config) as layout, staging_run(layout.root) as run:
        parts = [
            part
            for book, states in filling(layout, names).items()
            for part in removal(layout, run, book, states)
        ]
        stage = Stage(layout, run)
        left = {n: t for n, t in own.read(layout.own_tables, SCHEMAS).items() if n not in names}
        stage_declarations(stage, left)
        note = {"command": "compute --remove", "tables": names}
        commit(layout, [*parts, stage.finish()], note)
    update_catalog(config)
    return counts


def _rows(layout: Layout, names: list[str]) -> dict[str, int]:
    counts = dict.fromkeys(names, 0)
    for states in filling(layout, names).values():
        for state in states:
            for table, rows in state.rows.items():
                counts[table] = counts.get(table, 0) + rows
    return counts
