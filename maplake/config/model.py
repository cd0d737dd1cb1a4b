"""The settings with the file they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maplake.config.settings import PUBLISHED_PHOTOSTIM, Settings
from maplake.config.toml_lines import nearest_line
from maplake.errors import ConfigError, suggest
from maplake.readers.base import BehaviorContext

#: Kinds of sources, in the order in which they are ingested, and the keys that hold their paths.
_PATH_KEYS: dict[str, tuple[str, ...]] = {
    "ccf": ("ccf.annotation", "ccf.region_csv", "ccf.hexcode_csv", "ccf.surface_mesh"),
    "animals": ("spreadsheets.animals",),
    "behavior": ("behavior.rigs",),
    "foraging": ("foraging.projects", "foraging.meta_dir", "foraging.lab_meta_dir"),
    "ephys": ("ephys.paths",),
    "insertion_locations": ("spreadsheets.insertion_locations",),
    "tracking": ("tracking.rigs",),
    "histology": ("histology.paths",),
}
KINDS = tuple(_PATH_KEYS)


@dataclass(frozen=True)
class Config(Settings):
    """The settings, the file they came from, and the line of each of its keys."""

    file: Path | None = None
    lines: Mapping[tuple[str | int, ...], int] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def behavior_context(self) -> BehaviorContext:
        """What behavior readers are handed."""
        protocols = {p.photo_stim: p for p in (*PUBLISHED_PHOTOSTIM, *self.photostim)}
        rules = self.behavior
        return BehaviorContext(
            protocols, rules.late_delay_subjects, rules.late_delay_rig, self.foraging.setup_rigs
        )

    @property
    def condition_rows(self) -> tuple[tuple[str, str, str | None], ...]:
        """The lab's conditions as rows of ``psth.trial_condition``."""
        return tuple((n, c.predicate, c.description) for n, c in self.conditions.items())

    @property
    def align_rows(self) -> tuple[tuple[str, str, int, float, float, float], ...]:
        """The lab's moments as rows of ``psth.align_type``."""
        return tuple(
            (n, a.event, a.trial_offset, a.time_offset, a.start, a.stop)
            for n, a in self.align_types.items()
        )

    def paths(self, kind: str) -> tuple[Path, ...]:
        """Return the configured paths of a kind of sources, there or not; see :data:`KINDS`."""
        return tuple(path for _, path in self._paths(kind))

    def require_paths(self, kind: str) -> tuple[Path, ...]:
        """Return the configured paths of a kind of sources; none if the kind is not used.

        Raises
        ------
        ConfigError
            If there is no such kind, or one of its paths does not exist or cannot be looked at.
        """
        return tuple(self._existing(place, path) for place, path in self._paths(kind))

    def _paths(self, kind: str) -> Iterator[tuple[tuple[str | int, ...], Path]]:
        if kind not in _PATH_KEYS:
            raise ConfigError(f"there is no kind {kind!r} of sources", hint=suggest(kind, KINDS))
        for dotted in _PATH_KEYS[kind]:
            table, name = dotted.split(".")
            value = getattr(getattr(self, table), name)
            if isinstance(value, Path):
                yield (table, name), value
            for index, item in enumerate(value if isinstance(value, tuple) else ()):
                yield (
                    ((table, name, index), item)
                    if isinstance(item, Path)
                    else ((table, name, index, "path"), item.path)
                )

    def _existing(self, place: tuple[str | int, ...], path: Path) -> Path:
        try:
            if path.exists():
                return path
            problem = "the configured path does not exist"
        except OSError as error:
            problem = f"the configured path cannot be looked at ({error.strerror})"
        raise ConfigError(
            problem,
            file=self.file,
            place=place_of(place, self.lines),
            found=path,
            expected="an existing file or folder",
            hint="Correct the path, mount the drive, or take the key out to pass over this kind.",
        )


def place_of(path: Sequence[str | int], lines: Mapping[tuple[str | int, ...], int]) -> str:
    """Return line and dotted name of a key, for messages."""
    line = nearest_line(lines, tuple(path))
    dotted = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
    return ", ".join(filter(None, [f"line {line}" if line else "", f"key {dotted}"]))
