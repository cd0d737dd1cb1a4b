"""What all commands share: the global options, and the settings and the lake behind them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import Output

if TYPE_CHECKING:
    from maplake.config import Config

__all__ = ["JsonOption", "State", "state_of"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@dataclass
class State:
    """The global options; settings are read when a command first asks for them."""

    config_file: Path | None = None
    lake_folder: Path | None = None
    debug: bool = False
    output: Output = field(default_factory=Output)
    snapshot: str | None = None

    @cached_property
    def config(self) -> Config:
        """The settings, with ``--lake`` and ``--snapshot`` applied and logging set up.

        Raises
        ------
        ConfigError
            If there are none, or they are wrong.
        """
        from maplake.config import setup_logging

        config = self._load()
        if self.lake_folder is not None:
            root = self.lake_folder.expanduser().resolve()
            config = replace(config, lake=replace(config.lake, root=root))
        setup_logging(config, quiet=self.output.quiet)
        if self.snapshot is not None:
            from maplake.ingest.snapshot import opened

            root = opened(config.lake.root, self.snapshot)
            config = replace(config, lake=replace(config.lake, root=root))
        return config

    def _load(self) -> Config:
        from maplake.config import Config, find_config, load
        from maplake.errors import ConfigError

        if self.config_file is not None:
            return load(self.config_file)
        try:
            file = find_config()
        except ConfigError:
            if self.lake_folder is None:
                raise
            return Config()  # a lake can be read without settings
        return load(file)

    def require_lake(self) -> None:
        """Refuse to go on where there is no lake.

        Raises
        ------
        LakeNotFoundError
            If there is none in the very folder that is named.
        """
        from maplake.errors import LakeNotFoundError
        from maplake.layout import Layout

        root = self.config.lake.root
        if not Layout(root).format_file.exists():
            hint = "`maplake init` or `maplake ingest` make one."
            raise LakeNotFoundError("there is no lake", file=root, hint=hint)

    def require_session(self, subject_id: int | None, session: int) -> None:
        """Refuse to go on where the lake has no such session.

        Raises
        ------
        NotFoundError
            If an animal, or any, has none of this number; it says which there are.
        """
        from maplake.query.absent import absent

        with self.lake() as lake:
            key = {"subject_id": subject_id, "session": session}
            problem = absent(lambda query: lake.sql(query).pl(), key)
        if problem is not None:
            raise problem

    def settle(self) -> None:
        """Finish what a crashed writer left, if there is a lake and nobody else writes."""
        from maplake import recover
        from maplake.layout import Layout

        if Layout(self.config.lake.root).format_file.is_file():
            recover(self.config.lake.root)

    def lake(self) -> Any:
        """Open the lake for reading.

        Raises
        ------
        LakeNotFoundError
            If there is none yet.
        """
        import maplake

        return maplake.open(self.config.lake.root)


def state_of(context: typer.Context, *, json: bool = False) -> State:
    """Return the state that the global options made, told whether JSON is wanted."""
    state = context.find_object(State) or State()
    state.output.json = json
    return state
