"""Where tracking files are, what their names say, and which trial each belongs to.

======================  =====================================================================
rig                     folder, file
======================  =====================================================================
all but RRig-MTL        ``{h2o}/{h2o}_{MMDDYY}[_{n}]/``, ``{h2o}/{YYYYMMDD}[_{n}]/tracking/``;
                        ``{h2o}*_{position}_{number}-*.csv``, numbers are trials
RRig-MTL                ``{position}/{h2o}/{YYYY_MM_DD}[_{n}]/``;
                        ``{h2o}*_{position}_{number}.csv``, numbers from 0
======================  =====================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from maplake.errors import CorruptFileError, UnreadableFileError

__all__ = [
    "POSITIONS",
    "Named",
    "TrackingFolder",
    "day_label",
    "device_of",
    "from_zero",
    "named_files",
    "read_trial_map",
    "tracking_folders",
]

#: Words in file names, by where the camera looks; the first is preferred.
POSITIONS = {
    "side": ("side", "side_face"),
    "bottom": ("bottom", "bottom_face"),
    "body": ("body", "side_body"),
}
_MTL = "RRig-MTL"
_WORDS = {word: position for position, words in POSITIONS.items() for word in words}
_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_FILE = re.compile(
    rf"(?P<stem>.+?)_(?P<word>{_WORD})_(?P<number>\d{{1,9}})(?P<rest>-.*)?\.(?P<type>csv|h5)"
)
#: What DeepLabCut makes of poses and lays beside them.
_NO_POSE = re.compile(r"_skeleton\.(csv|h5)$")
_MAP = re.compile(rf".+_(?P<word>{_WORD})\.txt")
_NTH = r"(?:_(?P<n>[1-9]\d*))?"


def from_zero(rig: str) -> bool:
    """Whether a rig numbers its files from 0, without a second number behind."""
    return rig == _MTL


def device_of(position: str, rig: str) -> str:
    """Return the camera that looks at ``position`` (side, bottom, body) at a rig."""
    number = list(POSITIONS).index(position)
    return f"Camera {number + 3 if rig == _MTL else number}"


@dataclass(frozen=True)
class TrackingFolder:
    """A session's tracking folder; ``n`` says which of the day's sessions, from 1."""

    path: Path
    h2o: str
    day: date
    n: int


def tracking_folders(
    root: Path, rig: str, other: Callable[[Path, str], object] | None = None
) -> list[TrackingFolder]:
    """Return the sessions' tracking folders below a rig's root, in a fixed order.

    Of two folders of one session and camera, the first is the one to take: the layout
    ``{h2o}_{MMDDYY}`` comes before ``{YYYYMMDD}/tracking``. ``other`` is told of all other folders
    of animals, with the animal's name.

    Raises
    ------
    UnreadableFileError
        If a folder cannot be listed.
    """
    if rig == _MTL:
        animals = [a for name in _WORDS for p in [root / name] if p.is_dir() for a in _folders(p)]
    else:
        animals = _folders(root)
    found = []
    for animal in animals:
        for path in _folders(animal):
            folder = _folder(path, animal.name, rig)
            if folder is not None:
                found.append(folder)
            elif other is not None:
                other(path, animal.name)
    return sorted(found, key=lambda f: (f.h2o, f.day, f.n, f.path.name == "tracking", str(f.path)))


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir())
    except OSError as error:
        raise UnreadableFileError(
            "a folder cannot be listed", file=path, found=error.strerror
        ) from error


def _folder(path: Path, h2o: str, rig: str) -> TrackingFolder | None:
    if rig == _MTL:
        return _dated(path, path.name, r"(?P<day>\d{4}_\d{2}_\d{2})", "%Y_%m_%d", h2o)
    found = _dated(path, path.name, rf"{re.escape(h2o)}_(?P<day>\d{{6}})", "%m%d%y", h2o)
    if found is None and (path / "tracking").is_dir():
        found = _dated(path / "tracking", path.name, r"(?P<day>\d{8})", "%Y%m%d", h2o)
    return found


def _dated(path: Path, name: str, pattern: str, form: str, h2o: str) -> TrackingFolder | None:
    match = re.fullmatch(pattern + _NTH, name)
    if match is None:
        return None
    try:
        day = datetime.strptime(match["day"], form).date()
    except ValueError:
        return None
    return TrackingFolder(path, h2o, day, int(match["n"] or 1))


def day_label(folder: Path, h2o: str) -> str:
    """Return the day, with the session's number of the day, as the folder writes it."""
    name = folder.parent.name if folder.name == "tracking" else folder.name
    return name.removeprefix(f"{h2o}_")


@dataclass(frozen=True)
class Named:
    """A tracking file (``number``, ``suffix`` .csv or .h5) or a trial map (number -1)."""

    path: Path
    word: str
    number: int
    has_rest: bool

    @property
    def is_filtered(self) -> bool:
        """Whether DeepLabCut smoothed it; what was tracked is in the file without that word."""
        return self.path.stem.endswith("_filtered")

    @property
    def position(self) -> str:
        """Where the camera looks."""
        return _WORDS[self.word]


def named_files(folder: Path) -> list[Named]:
    """Return the tracking files and trial maps in a folder, sorted by name.

    Raises
    ------
    UnreadableFileError
        If the folder cannot be listed.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError as error:
        raise UnreadableFileError(
            "a folder cannot be listed", file=folder, found=error.strerror
        ) from error
    return list(_named(folder, names))


def _named(folder: Path, names: Sequence[str]) -> Iterator[Named]:
    for name in names:
        if _NO_POSE.search(name):
            continue
        if match := _FILE.fullmatch(name):
            rest = match["rest"] is not None
            yield Named(folder / name, match["word"], int(match["number"]), rest)
        elif match := _MAP.fullmatch(name):
            yield Named(folder / name, match["word"], -1, has_rest=False)


def read_trial_map(path: Path) -> dict[int, int]:
    """Read which trial each file number belongs to: ``number<tab>trial`` in each line.

    Raises
    ------
    UnreadableFileError
        If it cannot be read.
    CorruptFileError
        If a line is something else, or a number or a trial occurs twice.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CorruptFileError("the trial map is no text", file=path) from error
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    trials: dict[int, int] = {}
    taken: set[int] = set()
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"\s*(\d{1,9})\s*\t\s*(\d{1,9})\s*", line)
        if match is None or int(match[1]) in trials or int(match[2]) in taken:
            raise CorruptFileError(
                "not one trial per file" if match else "no file number and trial",
                file=path,
                place=f"line {row}",
                found=repr(line[:60]),
                expected="file number, tab, trial; each once",
            )
        trials[int(match[1])] = int(match[2])
        taken.add(int(match[2]))
    if not trials:
        raise CorruptFileError("the trial map is empty", file=path)
    return trials
