"""From one version of the layout to the next: a step each, in one commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from maplake.config import Config
from maplake.errors import LakeNotFoundError, LakeVersionError
from maplake.ingest.lakes import check_version, read_version, update_catalog
from maplake.layout import FORMAT_VERSION, Layout
from maplake.writers import files
from maplake.writers.commit import Stage, commit, recover
from maplake.writers.lock import staging_run, write_lock

__all__ = ["STEPS", "Step", "upgrade"]


@dataclass(frozen=True)
class Step:
    """The way from one version of the layout to the next.

    Attributes
    ----------
    why
        What is otherwise since then, for the log.
    stage
        Called with the lake and the commit to fill: files to write and to delete, manifests and
        states included. The version itself follows in the same commit.
    """

    why: str
    stage: Callable[[Layout, Stage], None]


#: The step that leads on from each version. Whoever raises FORMAT_VERSION adds one.
STEPS: dict[int, Step] = {}


def upgrade(config: Config) -> list[str]:
    """Bring a lake of an older layout up to date, step by step; each step is one commit.

    Killed at any point, the lake is of the version before or after a step, and may be upgraded
    again.

    Returns
    -------
    What each step did; empty where the lake is of the current version.

    Raises
    ------
    LakeNotFoundError
        If there is no lake.
    LakeVersionError
        If the lake is of a newer version, or so old that no step leads on from it.
    LakeError
        If it cannot be written to.
    """
    root = config.lake.root
    layout = Layout(root)
    if read_version(layout) is None:
        raise LakeNotFoundError("there is no lake", file=root)
    done = []
    with write_lock(root, config.lake.lock_timeout_s), files.lake_faults(root):
        check_version(layout, 0)
        recover(layout)
        while (version := read_version(layout) or 0) < FORMAT_VERSION:
            done.append(_step(layout, version))
    update_catalog(config, force=bool(done))
    return done


def _step(layout: Layout, version: int) -> str:
    step = STEPS.get(version)
    if step is None:
        raise LakeVersionError(
            "nothing leads on from the lake's format",
            file=layout.root,
            found=f"format {version}",
            hint="Upgrade it with the maplake before this one, or take it in anew.",
        )
    with staging_run(layout.root) as run:
        stage = Stage(layout, run)
        try:
            step.stage(layout, stage)
            place = layout.format_file.relative_to(layout.root).as_posix()
            stage.json(PurePosixPath(place), {"format_version": version + 1})
            staged = stage.finish()
        except BaseException:
            stage.abandon()
            raise
        note = {"command": "upgrade", "from": version, "to": version + 1, "why": step.why}
        commit(layout, [staged], note)
    return f"format {version} to {version + 1}: {step.why}"
