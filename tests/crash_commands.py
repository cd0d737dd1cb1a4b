"""The commands that the crash harness kills; one line each in :data:`COMMANDS` adds one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from faults import EVERYBODY, OWN, WORKERS

from maplake import simulate

#: The animal of the lab, and its sessions 1 and 2 with a probe each.
SUBJECT = "400001"

Cli = Callable[..., int]


@dataclass(frozen=True)
class Command:
    """A command line, and what happens in the lab before it.

    Attributes
    ----------
    arguments
        Of ``maplake``.
    before
        Gets the lab's folder and a function that runs ``maplake``; leaves the lake as the command
        is to find it.
    again
        Whether it may be given twice; one that may not is told so by its exit code.
    tables
        Whether it changes tables (the others change the catalog alone).
    whose
        Whose calls are tried, of a command that starts processes.
    also
        Commands that bring the lake to the same end one after the other, in whatever order, as
        processes side by side may.
    """

    arguments: tuple[str, ...]
    before: Callable[[Path, Cli], None]
    again: bool = True
    tables: bool = True
    whose: str = EVERYBODY
    also: tuple[tuple[str, ...], ...] = ()


def make_lab(folder: Path) -> None:
    """Write the raw files: one animal, two sessions, a probe each."""
    simulate.lab(
        folder,
        animals=1,
        sessions=2,
        probes=1,
        trials=12,
        units=6,
        recording=simulate.Recording(channels=24),
        sorting=simulate.Sorting(pc_features=False),
    )
    (folder / "people.csv").write_text(
        "username,fullname\nada,Ada Lovelace\nsantiago,Santiago Ramón y Cajal\n", encoding="utf-8"
    )


def nothing(_folder: Path, _cli: Cli) -> None:
    """Leave no lake."""


def first_only(folder: Path, cli: Cli) -> None:
    """Take in the first session; the second comes after."""
    later = [p for p in (folder / "ephys").glob("*/*") if p.name.endswith("02")]
    later += list((folder / "behavior").rglob("*_20210302_*.mat"))
    for path in later:
        shutil.move(path, folder / f"kept_{path.name}")
    _done(cli("ingest", "--no-compute"))
    for path in later:
        shutil.move(folder / f"kept_{path.name}", path)


def numbered(_folder: Path, cli: Cli) -> None:
    """Take in everything but the sessions, which get their numbers."""
    _done(cli("ingest", "--print-commands"))


def all_in(_folder: Path, cli: Cli) -> None:
    """Take in everything."""
    _done(cli("ingest", "--no-compute"))


def computed(_folder: Path, cli: Cli) -> None:
    """Take in and compute everything."""
    _done(cli("ingest"))


def sorted_again(folder: Path, cli: Cli) -> None:
    """Take in and compute everything, then sort one probe anew."""
    computed(folder, cli)
    file = min(folder.rglob("spike_clusters.npy"))
    clusters = np.load(file)
    clusters[:2] = np.unique(clusters[clusters != clusters[0]])[:1]
    np.save(file, clusters)


def merged(folder: Path, cli: Cli) -> None:
    """Merge the small tables of a lake with one of the two sessions; the second comes after."""
    first_only(folder, cli)
    _done(cli("compact"))


def all_merged(folder: Path, cli: Cli) -> None:
    """Take in and compute everything, and merge the small tables."""
    computed(folder, cli)
    _done(cli("compact"))


def kept(folder: Path, cli: Cli) -> None:
    """Keep the lake under a name, then sort one probe anew."""
    sorted_again(folder, cli)
    _done(cli("snapshot", "paper"))


def kept_and_replaced(folder: Path, cli: Cli) -> None:
    """Keep the lake under a name; the new sorting then replaces the old one."""
    kept(folder, cli)
    _done(cli("ingest", "--replace"))


def replaced(folder: Path, cli: Cli) -> None:
    """Let the new sorting replace the old one."""
    sorted_again(folder, cli)
    _done(cli("ingest", "--replace"))


def deleted(folder: Path, cli: Cli) -> None:
    """Delete a session."""
    computed(folder, cli)
    _done(cli("delete", "session", SUBJECT, "1", "--yes"))


def _done(code: int) -> None:
    if code:
        raise RuntimeError(f"preparing ended with {code}")


_SESSION = ("session", SUBJECT, "1")
_WORKERS = ("ingest", "--workers", "2", "--no-compute")
_ONE_BY_ONE = tuple(
    ("ingest", "--subject", SUBJECT, "--session", number, "--no-compute") for number in "12"
)
_COMPUTE = ("compute", "--workers", "2")
_ONE_COMPUTED = tuple(("compute", "--subject", SUBJECT, "--session", number) for number in "12")

COMMANDS: dict[str, Command] = {
    "init": Command(("init",), nothing),
    "ingest (new lake)": Command(("ingest",), nothing),
    "ingest": Command(("ingest",), first_only),
    "ingest --workers, committer": Command(_WORKERS, numbered, whose=OWN, also=_ONE_BY_ONE),
    "ingest --workers, a worker": Command(_WORKERS, numbered, whose=WORKERS, also=_ONE_BY_ONE),
    "ingest --replace": Command(("ingest", "--replace"), sorted_again),
    "compute": Command(("compute",), all_in),
    # Those that compute write nothing: what they found goes to the committer.
    "compute --workers, committer": Command(_COMPUTE, all_in, whose=OWN, also=_ONE_COMPUTED),
    "compute --remove": Command(
        ("compute", "--remove", "ephys.map_cluster_metric"), computed, again=True
    ),
    "delete session": Command(("delete", *_SESSION, "--yes"), computed, again=False),
    "delete subject": Command(("delete", "subject", SUBJECT, "--yes"), computed, again=False),
    "delete --undo": Command(("delete", *_SESSION, "--undo"), deleted, again=False),
    "rebuild": Command(("rebuild",), computed),
    "load": Command(("load", "lab.person", "people.csv"), all_in),
    "catalog": Command(("catalog",), all_in, tables=False),
    "compact": Command(("compact",), all_in),
    "ingest (compacted)": Command(("ingest",), merged),
    "delete session (compacted)": Command(("delete", *_SESSION, "--yes"), all_merged, again=False),
    "snapshot": Command(("snapshot", "paper"), all_in, again=False),
    "ingest --replace (snapshot)": Command(("ingest", "--replace"), kept),
    "open snapshot": Command(("--snapshot", "paper", "tables"), kept_and_replaced, tables=False),
    "delete-snapshot": Command(("delete-snapshot", "paper"), kept, again=False),
    "restore": Command(("restore", SUBJECT, "1", "1", "{archived}"), replaced, again=False),
}
