"""maplake: recordings of a systems-neuroscience lab as a lake of plain files.

>>> import maplake
>>> lake = maplake.open("lake")  # doctest: +SKIP
>>> lake.sql("FROM psth.unit_psth LIMIT 5")  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maplake.query.lake import Lake

__all__ = ["Lake", "__version__", "open"]


def open(path: str | Path = ".", *, snapshot: str | None = None) -> Lake:  # noqa: A001  (maplake.open is the library's front door)
    """Open the lake in a folder for reading.

    Parameters
    ----------
    path
        The lake's folder, or any folder below it.
    snapshot
        Open the lake as it was when the snapshot of this name was taken.

    Returns
    -------
    The lake; close it or use it in a ``with`` statement.

    Raises
    ------
    LakeNotFoundError
        If there is no lake at or above ``path``.
    LakeVersionError
        If it was written by a newer maplake.
    LakeError
        If its catalog cannot be read.
    NotFoundError
        If there is no such snapshot.
    """
    from maplake.errors import LakeNotFoundError
    from maplake.query.lake import Lake, find_root

    try:
        place = Path(path)
    except TypeError:
        raise LakeNotFoundError("a lake's folder must be a path", found=repr(path)) from None
    root = find_root(place)
    recover(root)
    if snapshot is not None:
        from maplake.ingest.snapshot import opened

        root = opened(root, snapshot)
    return Lake(root, recover)


def recover(root: Path) -> bool:
    """Finish what a crashed writer left: a decided commit, the catalog that goes with it.

    The one place where reading may write. What cannot be finished is left to the next writer.

    Returns
    -------
    False where this process may not write to a lake in which a commit is to be finished.
    """
    from contextlib import suppress

    from maplake.errors import MaplakeError
    from maplake.layout import Layout
    from maplake.query import catalog

    journal, can_write = Layout(root).journal, True
    if journal.is_dir() and any(journal.iterdir()):
        from maplake.writers.commit import recover_if_needed

        can_write = recover_if_needed(root)
    if catalog.is_due(root):
        from maplake.writers.lock import write_lock

        with suppress(MaplakeError, OSError), write_lock(root, timeout_s=0):
            catalog.refresh(root)
    return can_write


def __getattr__(name: str) -> Any:
    # Both cost time that `import maplake` should not take.
    if name == "Lake":
        from maplake.query.lake import Lake

        return Lake
    if name == "__version__":
        from maplake.version import version

        return version()
    raise AttributeError(f"module 'maplake' has no attribute {name!r}")
