"""Where things are in a lake's folder: the one place that knows its file names.

::

    <lake>/
      lake.duckdb, views.sql
      tables/<schema>/<table>/[subject_id=…/session=…/[insertion_number=…/]]part.parquet
      arrays/ephys/subject_id=…/session=…/insertion_number=…/<clustering_method>.zarr
      arrays/ccf/<annotation_version>_<resolution>um.zarr
      .maplake/
        format.json            version of this layout
        sessions.json          which session has which number
        tables.json            the lab's own tables
        state/<name>.json      what became of the sources of a session (or of the whole lake)
        manifest/<name>.json   files of a session (or of the whole lake): rows, bytes, SHA-256
        spare/                 second copies of tables that cannot be made again from raw files
        snapshots/<name>/      manifests and states as they were, see maplake.ingest.snapshot
        kept/                  files that snapshots need and that the lake has replaced, by SHA-256
        cache/                 what was found out before, to be quick; may be deleted at any time
        compact/, compact.json small tables merged by animal, for the views, with SHA-256
        computed.json          after which commit everything was computed
        watch.json             how `maplake watch` does
        set-aside/             files that `maplake check --set-aside` found to be nobody's
        journal/, staging/     commits under way
        log/                   commits done
        lock, lock.json
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maplake.tables import Table

#: Version of the folder layout; a lake with a larger one is refused.
FORMAT_VERSION = 1
#: Oldest version that is read as it is; what is older must be upgraded first.
READABLE_SINCE = 1

PART = "part.parquet"
CATALOG = "lake.duckdb"
VIEWS = "views.sql"
OWN_TABLES = PurePosixPath(".maplake", "tables.json")
#: Folder of an opened snapshot, below that of the snapshot.
SNAPSHOT_LAKE = "lake"
#: Glob of states and manifests: not of the ``._…`` that macOS leaves on disks of other systems.
RECORDS = "[!.]*.json"
LAKE_NAME = "lake"  # name of the state and manifest of what belongs to no session

_SAFE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?")
#: Names of devices, which Windows takes for no file, whatever follows after a dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
#: The longest name that is kept: file systems allow 255 bytes, of which an ending takes some.
_LONGEST = 120


def safe_name(text: str) -> str:
    """Return ``text`` if it may be used as a file name, else percent-encode what may not.

    Names that come from raw files pass through here before they become part of a path.
    """
    if len(text) <= _LONGEST and _SAFE.fullmatch(text) and not _DEVICE.fullmatch(text):
        return text
    quoted = "".join(
        c if c.isascii() and (c.isalnum() or c in "_-") else f"%{ord(c):02X}" for c in text
    )
    if _DEVICE.fullmatch(quoted):
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    if len(quoted) > _LONGEST:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        quoted = f"{quoted[:_LONGEST].rpartition('%')[0] or quoted[:_LONGEST]}%7E{digest}"
    return quoted or "%00"


def is_inside(path: object) -> bool:
    """Whether a path in a record of the lake is one below the lake's root, as it was written."""
    if not isinstance(path, str) or not path or path[0] == "/" or "\0" in path:
        return False
    # A letter and a colon are a drive of Windows; asking pathlib takes too long for the 100,000
    # paths of a large lake.
    has_drive = path[1:2] == ":" and path[0].isascii() and path[0].isalpha()
    return not has_drive and ".." not in path.split("/") and "\\" not in path


@dataclass(frozen=True)
class Layout:
    """Paths inside the lake at ``root``."""

    root: Path

    @property
    def meta(self) -> Path:
        """Records that are not data: versions, numbers, states, journal."""
        return self.root / ".maplake"

    @property
    def format_file(self) -> Path:
        """Version of the layout."""
        return self.meta / "format.json"

    @property
    def session_registry(self) -> Path:
        """Which session has which number."""
        return self.meta / "sessions.json"

    @property
    def own_tables(self) -> Path:
        """Declarations of the lab's own tables."""
        return self.root / OWN_TABLES

    @property
    def staging(self) -> Path:
        """Files of commits under way; outside of every globbed tree."""
        return self.meta / "staging"

    @property
    def lock(self) -> Path:
        """The writer's lock; ``lock.json`` beside it names the holder."""
        return self.meta / "lock"

    @property
    def journal(self) -> Path:
        """Commits that are decided but perhaps not yet carried out."""
        return self.meta / "journal"

    @property
    def log(self) -> Path:
        """One file per commit that was carried out."""
        return self.meta / "log"

    @property
    def snapshots(self) -> Path:
        """One folder per snapshot."""
        return self.meta / "snapshots"

    @property
    def kept(self) -> Path:
        """Files that snapshots need and that are no more in the lake."""
        return self.meta / "kept"

    @property
    def compact_list(self) -> Path:
        """Which tables are kept merged by animal, too."""
        return self.meta / "compact.json"

    @property
    def snapshot_mark(self) -> Path:
        """Says of a folder that it is an opened snapshot, which nobody writes to."""
        return self.meta / "is_snapshot"

    def kept_file(self, sha256: str) -> Path:
        """Return where a file is kept that only snapshots need."""
        return self.kept / sha256[:2] / sha256

    @property
    def catalog(self) -> Path:
        """The DuckDB file with the views."""
        return self.root / CATALOG

    @property
    def views(self) -> Path:
        """The same views as a script."""
        return self.root / VIEWS

    def glob(self, table: Table) -> str:
        """Return the absolute glob, with forward slashes, of a table's files."""
        return f"{self.root.resolve().as_posix()}/{relative_glob(table)}"

    def table_dir(self, table: Table) -> Path:
        """Return the folder of a table."""
        return self.root / "tables" / table.schema / table.name


def lake_around(path: Path) -> Path | None:
    """Return the nearest folder, of a path and those above it, that is a lake."""
    start = path.expanduser().resolve()
    inside = (one for one in (start, *start.parents) if Layout(one).format_file.is_file())
    return next(inside, None)


def relative_glob(table: Table) -> str:
    """Return the glob of a table's files below the lake's root."""
    levels = [f"{name}=*" for name in table.partition]
    return "/".join(["tables", table.schema, table.name, *levels, PART])


def table_file(table: Table, partition: Mapping[str, object]) -> PurePosixPath:
    """Return the path, below the lake's root, of the file of one partition."""
    levels = [f"{name}={safe_name(str(partition[name]))}" for name in table.partition]
    return PurePosixPath("tables", table.schema, table.name, *levels, PART)


def spike_store(partition: Mapping[str, object], clustering_method: str) -> PurePosixPath:
    """Return the path, below the lake's root, of the Zarr group of one clustering."""
    levels = [f"{n}={partition[n]}" for n in ("subject_id", "session", "insertion_number")]
    return PurePosixPath("arrays", "ephys", *levels, f"{safe_name(clustering_method)}.zarr")


def ccf_store(annotation_version: str, resolution_um: int) -> PurePosixPath:
    """Return the path, below the lake's root, of the Zarr array of an annotation volume."""
    return PurePosixPath(
        "arrays", "ccf", f"{safe_name(annotation_version)}_{int(resolution_um)}um.zarr"
    )


def lfp_store(partition: Mapping[str, object]) -> PurePosixPath:
    """Return the path, below the lake's root, of the Zarr group of a probe's field potentials."""
    levels = [f"{n}={partition[n]}" for n in ("subject_id", "session", "insertion_number")]
    return PurePosixPath("arrays", "ephys", *levels, "lfp.zarr")


def archived_store(partition: Mapping[str, object], archive: str) -> PurePosixPath:
    """Return the path, below the lake's root, of the Zarr group of an archived clustering."""
    levels = [f"{n}={partition[n]}" for n in ("subject_id", "session", "insertion_number")]
    return PurePosixPath("arrays", "ephys", *levels, "archive", f"{safe_name(archive)}.zarr")


COMPACT = ".maplake/compact/"


def compact_folder(table: Table) -> PurePosixPath:
    """Return the folder, below the lake's root, of a table's merged files."""
    return PurePosixPath(COMPACT, "tables", table.schema, table.name)


def compact_file(table: Table, subject_id: str) -> PurePosixPath:
    """Return the path, below the lake's root, of an animal's rows of a table in one file."""
    return compact_folder(table) / f"subject_id={subject_id}" / PART


def compact_record(subject_id: str) -> PurePosixPath:
    """Return the path, below the lake's root, of the bytes and SHA-256 of an animal's files."""
    return PurePosixPath(COMPACT, "manifest", f"{subject_id}.json")


def compact_glob(table: Table) -> str:
    """Return the glob of a table's merged files below the lake's root."""
    return str(compact_file(table, "*"))


SPARE = ".maplake/spare/"


def spare_file(path: str | PurePosixPath) -> PurePosixPath:
    """Return the path, below the lake's root, of the second copy of a table's file."""
    return PurePosixPath(SPARE, path)


def book_of(path: str) -> str:
    """Return the name of the state and manifest that a file below the lake's root belongs to."""
    levels = dict(part.split("=", 1) for part in path.split("/") if "=" in part)
    if "subject_id" in levels and "session" in levels:
        return f"{levels['subject_id']}_{levels['session']}"
    return LAKE_NAME


def session_name(subject_id: int, session: int) -> str:
    """Return the name of a session's state and manifest."""
    return f"{subject_id}_{session}"


def session_key(name: str) -> tuple[int, int] | None:
    """Return the subject_id and session of :func:`session_name`; None for another name."""
    found = re.fullmatch(r"(\d+)_(\d+)", name, re.ASCII)
    return None if found is None else (int(found[1]), int(found[2]))


def is_record(name: str) -> bool:
    """Whether a file's name is that of a state or manifest, as :data:`RECORDS` finds them."""
    return name.endswith(".json") and name[0] != "."


def state_file(name: str) -> PurePosixPath:
    """Return the path, below the lake's root, of a session's (or the lake's) state."""
    return PurePosixPath(".maplake", "state", f"{name}.json")


def manifest_file(name: str) -> PurePosixPath:
    """Return the path, below the lake's root, of a session's (or the lake's) manifest."""
    return PurePosixPath(".maplake", "manifest", f"{name}.json")


#: Records of the whole lake; a second copy is kept of each, as of tables that people fill in.
SPARED_RECORDS = (manifest_file(LAKE_NAME), state_file(LAKE_NAME), OWN_TABLES)
