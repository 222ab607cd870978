"""The tables: profiles and their refreshes, runs and their steps, bundles and their aliases, what users did."""

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
    UtcTime,
    now,
)
from retort.shared.db.models.bundles import Alias, AliasChange, BundleVersion
from retort.shared.db.models.events import Event, Exposure
from retort.shared.db.models.profiles import Profile, ProfileChoice, RefreshChunk, RefreshJob
from retort.shared.db.models.runs import Run, Step

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
    "Exposure",
    "Profile",
    "ProfileChoice",
    "RefreshChunk",
    "RefreshJob",
    "Run",
    "Step",
    "UtcTime",
    "now",
]
