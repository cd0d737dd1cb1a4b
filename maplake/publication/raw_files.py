"""Which raw files belong to a session, what they are, and where they go in a published copy.

The files are those of the sources that are in the lake, and what lies beside them without being
read: the samples of recordings and the videos.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath

from maplake.errors import CorruptFileError, UnreadableFileError
from maplake.ingest.session import IN, State
from maplake.ingest.sources import BEHAVIOR, EPHYS, HISTOLOGY, LFP, NIDQ, TRACKING
from maplake.ingest.state import SourceState
from maplake.layout import safe_name
from maplake.readers.dlc_files import POSITIONS, read_trial_map

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".mj2")

_POSITION = {word: position for position, words in POSITIONS.items() for word in words}
_NAMED = re.compile(
    rf".+?_(?P<word>{'|'.join(sorted(_POSITION, key=len, reverse=True))})"
    r"(?:_(?P<number>\d{1,9})(?:-.*)?)?\.\w+"
)


@dataclass(frozen=True)
class RawFile:
    """One raw file: where it is, what it is, and its path in a published copy."""

    path: Path
    file_type: str
    target: PurePosixPath
    insertion_number: int | None = None
    camera: str | None = None
    trial: int | None = None


def folder_of(h2o: str, day: date, session: int) -> PurePosixPath:
    """Return the folder of a session in a published copy."""
    return PurePosixPath(safe_name(h2o), f"{day.isoformat()}_s{session}")


def raw_files(state: State, folder: PurePosixPath) -> list[RawFile]:
    """Return the raw files of a session, each once, by their paths in a published copy.

    Parameters
    ----------
    state
        The session's sources; those that are not in the lake are left out.
    folder
        The session's folder in a published copy, see :func:`folder_of`.

    Raises
    ------
    UnreadableFileError
        If a source's folder has gone or cannot be listed.
    CorruptFileError
        If two files would get the same path, or a trial map is damaged.
    """
    found: dict[PurePosixPath, RawFile] = {}
    for source in state.values():
        if source.status != IN or source.kind not in _FILES_OF:
            continue
        for file in _FILES_OF[source.kind](source, folder):
            other = found.setdefault(file.target, file)
            if other.path != file.path:
                raise CorruptFileError(
                    "two raw files of a session have the same name",
                    file=file.path,
                    found=other.path,
                    hint="Rename one of them.",
                )
    return [found[target] for target in sorted(found)]


def _behavior(source: SourceState, folder: PurePosixPath) -> Iterator[RawFile]:
    for path in _read(source):
        yield RawFile(path, "behavior", folder / "behavior" / safe_name(path.name))


def _probe(source: SourceState, folder: PurePosixPath) -> Iterator[RawFile]:
    """Yield all that is in a probe's folder."""
    number = source.insertion_number
    top = Path(source.path)
    for path in _below(top):
        target = folder / str(number) / _safe(path.relative_to(top).parts)
        yield RawFile(path, probe_type(path), target, number)
    for path in _read(source):
        if not path.is_relative_to(top):
            yield RawFile(path, probe_type(path), folder / str(number) / _safe([path.name]), number)


def probe_type(path: Path) -> str:
    """Return what a file in a probe's folder is, by its name."""
    name = path.name.lower()
    for band in ("ap", "lf"):
        if name.endswith(f".{band}.meta"):
            return f"ephys {band} meta"
        if name.endswith((f".{band}.bin", f".{band}.cbin", f".{band}.ch")):
            return f"ephys {band}"
    return "bitcode" if "bitcode" in name and name.endswith((".mat", ".txt")) else "sorting"


def _nidq(source: SourceState, folder: PurePosixPath) -> Iterator[RawFile]:
    for path in _read(source):
        pair = {path, path.with_suffix(".bin"), path.with_suffix(".meta")}
        for file in sorted(p for p in pair if p.is_file()):
            kind = "nidq meta" if file.suffix == ".meta" else "nidq"
            yield RawFile(file, kind, folder / "nidq" / safe_name(file.name))


def _histology(source: SourceState, folder: PurePosixPath) -> Iterator[RawFile]:
    number = source.insertion_number
    for path in _read(source):
        target = folder / "histology" / str(number) / safe_name(path.name)
        yield RawFile(path, "histology", target, number)


def _tracking(source: SourceState, folder: PurePosixPath) -> Iterator[RawFile]:
    """Yield a camera's tracking files and, from their folder and the one beside, its videos."""
    read = _read(source)
    maps = {p.stem: read_trial_map(p) for p in read if p.suffix == ".txt"}
    trials = next(iter(maps.values()), None)
    words = {name["word"] for p in read if (name := _NAMED.fullmatch(p.name))}
    zero = _counts_from_zero(read)
    for path in read:
        camera, trial = _camera(path, trials, zero)
        kind = "tracking trial map" if path.suffix == ".txt" else "tracking"
        target = folder / "tracking" / safe_name(path.name)
        yield RawFile(path, kind, target, camera=camera, trial=trial)
    for path in _videos({p.parent for p in read}):
        name = _NAMED.fullmatch(path.name)
        if name is None or name["word"] not in words:
            continue
        camera, trial = _camera(path, trials, zero)
        target = folder / "video" / safe_name(path.name)
        yield RawFile(path, "video", target, camera=camera, trial=trial)


def _counts_from_zero(files: Iterable[Path]) -> bool:
    """Whether files are named as at the multi-target-licking rig: from 0, no second number."""
    names = [m for p in files if p.suffix != ".txt" and (m := _NAMED.fullmatch(p.name))]
    return bool(names) and all("-" not in m.string[m.end("number") :] for m in names)


def _camera(
    path: Path, trials: dict[int, int] | None, from_zero: bool
) -> tuple[str | None, int | None]:
    name = _NAMED.fullmatch(path.name)
    if name is None:
        return None, None
    camera = _POSITION[name["word"]]
    if name["number"] is None:
        return camera, None
    number = int(name["number"])
    if trials is not None:
        return camera, trials.get(number)
    return camera, number + int(from_zero)


def _videos(folders: Iterable[Path]) -> list[Path]:
    places = {place for folder in folders for place in (folder, folder.parent / "video")}
    return sorted(
        path
        for place in places
        if place.is_dir()
        for path in _listed(place)
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
    )


def _read(source: SourceState) -> list[Path]:
    """Return the files that were read, sorted."""
    return [Path(path) for path in sorted(source.files)]


def _below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in _listed(folder):
        if path.is_dir() and not path.is_symlink():
            found += _below(path)
        elif path.is_file():
            found.append(path)
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UnreadableFileError(
            "a folder of raw files cannot be listed",
            file=folder,
            found=error.strerror,
            hint="Has it been moved or unmounted since it was ingested?",
        ) from error


def _safe(parts: Iterable[str]) -> PurePosixPath:
    return PurePosixPath(*(safe_name(part) for part in parts))


_FILES_OF = {
    BEHAVIOR: _behavior,
    EPHYS: _probe,
    LFP: _probe,
    NIDQ: _nidq,
    TRACKING: _tracking,
    HISTOLOGY: _histology,
}
