"""The lab's settings: ``lake.toml``, checked key by key (see ``lake.toml.example``)."""

from maplake.config.load import CONFIG_NAME, find_config, load
from maplake.config.logs import setup_logging
from maplake.config.model import KINDS, Config
from maplake.config.settings import (
    AlignType,
    BehaviorRig,
    BehaviorSettings,
    CcfSettings,
    Condition,
    DaskSettings,
    Endpoint,
    EphysSettings,
    ForagingSettings,
    HistologySettings,
    LakeSettings,
    LoggingSettings,
    PublishSettings,
    Settings,
    SpreadsheetSettings,
    TrackingRig,
    TrackingSettings,
)

__all__ = [
    "CONFIG_NAME",
    "KINDS",
    "AlignType",
    "BehaviorRig",
    "BehaviorSettings",
    "CcfSettings",
    "Condition",
    "Config",
    "DaskSettings",
    "Endpoint",
    "EphysSettings",
    "ForagingSettings",
    "HistologySettings",
    "LakeSettings",
    "LoggingSettings",
    "PublishSettings",
    "Settings",
    "SpreadsheetSettings",
    "TrackingRig",
    "TrackingSettings",
    "find_config",
    "load",
    "setup_logging",
]
