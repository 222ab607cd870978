"""The tables: profiles and refreshes, item knowledge, runs and their parts, bundles, events and exposures."""

from retort.shared.db.models.base import (
    CANCELLED,
    DONE,
    EDITED,
    ERASED,
    FAILED,
    NO_PARAMETERS,
    PENDING,
    PINNED,
    RUNNING,
    STOPPED,
    Base,
    LeasedRow,
    UtcTime,
    now,
)
from retort.shared.db.models.bundles import Alias, AliasChange, BundleVersion
from retort.shared.db.models.events import Event, Exposure
from retort.shared.db.models.knowledge import ItemCorrection, ItemKnowledge
from retort.shared.db.models.profiles import Profile, ProfileChoice, RefreshChunk, RefreshJob
from retort.shared.db.models.runs import ExperimentUnit, OfflineResult, Run, Step

__all__ = [
    "CANCELLED",
    "DONE",
    "EDITED",
    "ERASED",
    "FAILED",
    "NO_PARAMETERS",
    "PENDING",
    "PINNED",
    "RUNNING",
    "STOPPED",
    "Alias",
    "AliasChange",
    "Base",
    "BundleVersion",
    "Event",
    "ExperimentUnit",
    "Exposure",
    "ItemCorrection",
    "ItemKnowledge",
    "LeasedRow",
    "OfflineResult",
    "Profile",
    "ProfileChoice",
    "RefreshChunk",
    "RefreshJob",
    "Run",
    "Step",
    "UtcTime",
    "now",
]
