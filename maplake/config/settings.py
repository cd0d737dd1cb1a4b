"""What ``lake.toml`` may say: the one declaration of its keys, types, defaults and limits.

``lake.toml.example`` explains every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from maplake.config.decode import key
from maplake.readers.base import PhotostimProtocol, PhotostimSite
from maplake.tables.experiment import TRIAL_EVENT_TYPES

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_LEFT = PhotostimSite("ALM", ap_location=2500.0, ml_location=-1500.0)
_RIGHT = replace(_LEFT, ml_location=1500.0)
#: The protocols of the MAP rigs; ``[[photostim]]`` adds to them or replaces those of its number.
PUBLISHED_PHOTOSTIM = (
    PhotostimProtocol(4, (_LEFT,)),
    PhotostimProtocol(5, (_RIGHT,)),
    PhotostimProtocol(6, (_LEFT, _RIGHT)),
)


@dataclass(frozen=True)
class LakeSettings:
    """``[lake]``: where the lake is, and how long (s) to wait for another writer."""

    root: Path = Path("lake")
    lock_timeout_s: float = key(30.0, at_least=0)


@dataclass(frozen=True)
class BehaviorRig:
    """A folder of behavior files; of the same file on two rigs the one of lower priority counts."""

    name: str
    path: Path
    priority: int = 0


@dataclass(frozen=True)
class BehaviorSettings:
    """``[behavior]``: rigs, and rules that depend on the lab.

    ``min_file_kib`` (KiB): smaller delay-response files are aborted sessions, 0 = read all.
    ``late_delay_subjects``, ``late_delay_rig``: photostimulation is late in the delay where the
    h2o matches the one and the file name holds the other.
    """

    rigs: tuple[BehaviorRig, ...] = ()
    min_file_kib: float = key(1000.0, at_least=0)
    session_user: str = "unknown"
    late_delay_subjects: str = key("^SC", pattern=True)
    late_delay_rig: str = "RecordingRig3"


@dataclass(frozen=True)
class ForagingSettings:
    """``[foraging]``: pybpod projects, the animals' and the lab's metadata, setups by rig."""

    projects: tuple[Path, ...] = ()
    meta_dir: Path | None = None
    lab_meta_dir: Path | None = None
    setup_rigs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EphysSettings:
    """``[ephys]``: folders with spike sorting results."""

    paths: tuple[Path, ...] = ()


@dataclass(frozen=True)
class TrackingRig:
    """A folder of tracking files and the rig they come from."""

    name: str
    path: Path


@dataclass(frozen=True)
class TrackingSettings:
    """``[tracking]``: folders of video tracking, by rig."""

    rigs: tuple[TrackingRig, ...] = ()


@dataclass(frozen=True)
class HistologySettings:
    """``[histology]``: folders of histology."""

    paths: tuple[Path, ...] = ()


@dataclass(frozen=True)
class CcfSettings:
    """``[ccf]``: files of the Common Coordinate Framework; resolution in um."""

    version_name: str = "CCF_2017"
    annotation: Path | None = None
    resolution_um: int = key(20, above=0)
    region_csv: Path | None = None
    hexcode_csv: Path | None = None
    surface_mesh: Path | None = None


@dataclass(frozen=True)
class SpreadsheetSettings:
    """``[spreadsheets]``: what people enter, read by every ingest."""

    animals: tuple[Path, ...] = ()
    insertion_locations: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Condition:
    """A named set of trials: an SQL predicate over ``psth.trial``."""

    predicate: str
    description: str | None = None


@dataclass(frozen=True)
class AlignType:
    """A named moment: an event ``trial_offset`` trials later plus ``time_offset`` (s).

    ``start`` and ``stop`` (s) bound the window of a PSTH around it.
    """

    event: str = key(choices=TRIAL_EVENT_TYPES)
    trial_offset: int = 0
    time_offset: float = 0.0
    start: float = -2.0
    stop: float = 5.0


@dataclass(frozen=True)
class TableSettings:
    """``[tables]``: Python files that declare the lab's own computed tables; they are run."""

    modules: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """A Globus endpoint and a path on it; for the lab's own, the local folder that it shows."""

    endpoint: str
    path: str = "/"
    local: Path | None = None


@dataclass(frozen=True)
class PublishSettings:
    """``[publish]``: the endpoint that raw files are on, and places that they go to, by name."""

    source: Endpoint | None = None
    destinations: Mapping[str, Endpoint] = field(default_factory=dict)


@dataclass(frozen=True)
class LoggingSettings:
    """``[logging]``: least severe level shown, and a file that gets the same."""

    level: str = key("WARNING", choices=LEVELS)
    file: Path | None = None


@dataclass(frozen=True)
class DaskSettings:
    """``[dask]``: address or file of the scheduler that works; other words mean none."""

    scheduler: str = "threads"


@dataclass(frozen=True)
class Settings:
    """All tables of ``lake.toml``."""

    lake: LakeSettings = LakeSettings()
    behavior: BehaviorSettings = BehaviorSettings()
    foraging: ForagingSettings = field(default_factory=ForagingSettings)
    ephys: EphysSettings = EphysSettings()
    tracking: TrackingSettings = TrackingSettings()
    histology: HistologySettings = HistologySettings()
    ccf: CcfSettings = CcfSettings()
    spreadsheets: SpreadsheetSettings = SpreadsheetSettings()
    photostim: tuple[PhotostimProtocol, ...] = ()
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    align_types: Mapping[str, AlignType] = field(default_factory=dict)
    tables: TableSettings = TableSettings()
    publish: PublishSettings = field(default_factory=PublishSettings)
    logging: LoggingSettings = LoggingSettings()
    dask: DaskSettings = DaskSettings()
