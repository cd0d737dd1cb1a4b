"""What a table declaration is: columns, types, units, keys, and how it is stored.

Everything that needs to know a table (Arrow schemas, DuckDB views and comments, integrity
checks, the data dictionary, the ER diagram) is derived from these declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns that the folder names carry, in the order of the folders.
PARTITION_KEYS = (
    "subject_id",
    "session",
    "insertion_number",
    "source",
    "archive",
    "tracking_device",
    "annotation_version",
)


class Kind(NamedTuple):
    """An Arrow type by its name; ``depth`` times in a list.

    Arrow itself is only imported where its types are asked for, as that takes longer than all
    else that opening a lake needs.
    """

    name: str
    depth: int = 0

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type."""
        return _arrow(self.name, self.depth)

    def listed(self) -> Kind:
        """Return the type of lists of this one."""
        return Kind(self.name, self.depth + 1)


@cache
def _arrow(name: str, depth: int) -> pa.DataType:
    import pyarrow as pa

    if depth:
        return pa.list_(_arrow(name, depth - 1))
    if name == LABEL.name:
        return pa.dictionary(pa.int32(), pa.string())
    return pa.type_for_alias(name)


TEXT = Kind("string")
LABEL = Kind("label")  # text that repeats
INT = Kind("int32")
LONG = Kind("int64")
FLOAT = Kind("float32")
REAL = Kind("float64")
BOOL = Kind("bool")
DATE = Kind("date32")
TIME = Kind("time64[us]")
TIMESTAMP = Kind("timestamp[us]")
REALS = REAL.listed()
TEXTS = TEXT.listed()


class Store(Enum):
    """Where the rows of a table are kept."""

    GLOBAL = "one file for the whole lake"
    SESSION = "a file per session"
    INSERTION = "a file per probe insertion"
    SOURCE = "a file per source of a session"
    ARCHIVE = "a file per archived result of a probe insertion"
    CAMERA = "a file per camera of a session"
    ANNOTATION = "a file per annotation version"
    LOOKUP = "constant rows of the declaration"
    VIEW = "computed when asked"

    @property
    def partition(self) -> tuple[str, ...]:
        """Names of the folder levels below the table's folder."""
        return _PARTITIONS.get(self.name, ())

    @property
    def on_disk(self) -> bool:
        """Whether the rows are kept in Parquet files."""
        return self not in (Store.LOOKUP, Store.VIEW)


_PARTITIONS = {
    "SESSION": ("subject_id", "session"),
    "INSERTION": ("subject_id", "session", "insertion_number"),
    "SOURCE": ("subject_id", "session", "source"),
    "ARCHIVE": ("subject_id", "session", "insertion_number", "archive"),
    "CAMERA": ("subject_id", "session", "tracking_device"),
    "ANNOTATION": ("annotation_version",),
}


#: Kinds of sources that people enter.
_ENTERED = ("entered", "insertion_location", "session_meta")


class Column(NamedTuple):
    """A column: its kind, its meaning, its unit.

    ``values`` lists the allowed words of a label column; empty = any.
    """

    name: str
    kind: Kind
    comment: str
    unit: str = ""
    nullable: bool = False
    values: tuple[str, ...] = ()

    @property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        return self.kind.arrow

    @property
    def field(self) -> pa.Field:
        """The Arrow field, with unit and comment as metadata."""
        import pyarrow as pa

        metadata = {"comment": self.comment} | ({"unit": self.unit} if self.unit else {})
        return pa.field(self.name, self.type, nullable=self.nullable, metadata=metadata)


class Ref(NamedTuple):
    """A foreign key: ``columns`` of this table name a row of ``table`` by ``to``.

    ``to`` empty = columns of the same names. A row with a null among ``columns`` refers to nothing.
    """

    columns: tuple[str, ...]
    table: str
    to: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The referenced columns."""
        return self.to or self.columns


@dataclass(frozen=True)
class Table:
    """The declaration of one table; see :mod:`maplake.tables` for how to add one.

    ``order`` are the columns that rows are sorted by in a file (default: the key).
    ``encodings`` are Parquet encodings by column where the default is not the best.
    ``kind`` is the kind of source that fills it (behavior, ephys, …); empty = several or none.
    ``computed`` are columns that the public view adds; that view is then written in ``query/sql``.
    ``rows`` are the constant rows of a lookup, or the first rows of a global table.
    ``merged``: kept merged by animal in every new lake, as it is asked across all sessions; see
    :mod:`maplake.writers.compact`.
    """

    schema: str
    name: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    store: Store = Store.SESSION
    refs: tuple[Ref, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    kind: str = ""
    order: tuple[str, ...] = ()
    encodings: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[tuple[object, ...], ...] = ()
    computed: tuple[Column, ...] = ()
    row_group: int = 100_000
    merged: bool = False

    def __post_init__(self) -> None:
        names = [column.name for column in self.all_columns]
        known = set(names)
        named = {*self.key, *self.order, *self.store.partition}
        named.update(*self.unique, *(ref.columns for ref in self.refs))
        if len(known) < len(names) or not named <= known:
            twice = {name for name in names if names.count(name) > 1}
            raise TypeError(
                f"table {self.full_name}: columns declared twice {sorted(twice)}, "
                f"named but not declared {sorted(named - known)}"
            )

    @property
    def full_name(self) -> str:
        """``schema.name``."""
        return f"{self.schema}.{self.name}"

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Stored and computed columns, as the view shows them."""
        return self.columns + self.computed

    @cached_property
    def partition(self) -> tuple[str, ...]:
        """Columns that the folder names carry and the files do not."""
        return self.store.partition

    @property
    def spared(self) -> bool:
        """Whether a second copy of its files is kept, as raw files alone cannot give them back.

        Tables of the whole lake hold rows of many sources; others what people entered by hand.
        """
        if self.kind == "computed":
            return False
        return self.store is Store.GLOBAL or self.kind in _ENTERED

    @cached_property
    def file_columns(self) -> tuple[Column, ...]:
        """Columns inside the files."""
        return tuple(c for c in self.columns if c.name not in self.partition)

    @cached_property
    def file_schema(self) -> pa.Schema:
        """Arrow schema of one file (without the partition columns)."""
        import pyarrow as pa

        metadata = {"table": self.full_name, "comment": self.comment}
        return pa.schema([c.field for c in self.file_columns], metadata=metadata)

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """Arrow schema of all stored columns, partition columns included."""
        import pyarrow as pa

        return pa.schema([c.field for c in self.columns])

    @cached_property
    def sort_columns(self) -> tuple[str, ...]:
        """Columns that the rows of one file are sorted by."""
        return self.order or tuple(name for name in self.key if name not in self.partition)

    def column(self, name: str) -> Column:
        """Return a column by name; KeyError if there is none."""
        for column in self.all_columns:
            if column.name == name:
                return column
        raise KeyError(name)


# Columns that many tables share, so that type, unit and comment stay the same everywhere.
SUBJECT_ID = Column("subject_id", INT, "institution's animal number")
SESSION = Column("session", INT, "number of the animal's session, from 1")
INSERTION = Column("insertion_number", INT, "number of the probe insertion, from 1")
TRIAL = Column("trial", INT, "trial number within the session, from 1")

SESSION_KEY = ("subject_id", "session")
INSERTION_KEY = (*SESSION_KEY, "insertion_number")
TRIAL_KEY = (*SESSION_KEY, "trial")
TO_SESSION = Ref(SESSION_KEY, "experiment.session")
TO_INSERTION = Ref(INSERTION_KEY, "ephys.probe_insertion")
TO_SESSION_TRIAL = Ref(TRIAL_KEY, "experiment.session_trial")
TO_BEHAVIOR_TRIAL = Ref(TRIAL_KEY, "experiment.behavior_trial")
