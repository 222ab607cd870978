"""Manifest of a bundle: its format, origin and metrics, and the hashes of its other files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retort.shared.base.errors import BundleError, first_invalid
from retort.shared.base.hashing import hash_json
from retort.shared.model.sealed_files import FileEntry

FORMAT_VERSION = 3
REDUCED_FORMAT = 4
# In version 1 the item table is always inside the graph; in versions 1 and 2 the id depends on the time of sealing.
READABLE_FORMATS = (1, 2, 3, REDUCED_FORMAT)
_FIRST_WITHOUT_TIME = 3
MANIFEST = "manifest.json"
_REPEATED_SHARE = 0.05  # of the test's targets, from which on users choose items again


class Manifest(BaseModel):
    """Metadata of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format_version: int = FORMAT_VERSION
    name: str
    student: str
    max_length: int = Field(ge=1)
    n_items: int = Field(ge=1)
    created_at: str
    git_commit: str
    recipe: dict[str, Any]
    data_hash: str
    protocol: str
    metrics: dict[str, Any]
    files: dict[str, FileEntry] = {}

    @property
    def bundle_id(self) -> str:
        """Permanent id of the bundle: the first 16 hex digits of the manifest's hash."""
        timeless = self.format_version >= _FIRST_WITHOUT_TIME
        return hash_json(self.model_dump(mode="json", exclude={"created_at"} if timeless else None))[:16]

    @property
    def last_items(self) -> int | None:
        """Number of newest items of a history that the student read in the test; None: all that fit."""
        evaluation = self.recipe.get("evaluation")
        value = evaluation.get("last_items") if isinstance(evaluation, dict) else None
        return value if isinstance(value, int) and value > 0 else None


def recommends_again(metrics: Mapping[str, Any]) -> bool:
    """Whether items of the history are recommended again: they were shown in the test, and are what users choose.

    Where hardly any target is a seen item, as in the protocols of many papers, showing them only costs places.
    """
    cases = metrics.get("cases") or 0
    return metrics.get("seen_hidden") is False and metrics.get("seen_targets", 0) >= _REPEATED_SHARE * max(cases, 1)


def read_manifest(path: Path) -> Manifest:
    """Read the manifest alone, unverified; for listings.

    Raises:
        BundleError: It is missing, malformed, or of an unknown format.
    """
    try:
        raw = orjson.loads((path / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}; name one made by `retort run`.") from None
    except OSError as error:
        raise BundleError(
            f"{path / MANIFEST} cannot be read ({error.strerror}); check the directory and its permissions."
        ) from None
    except orjson.JSONDecodeError as error:
        raise BundleError(
            f"{path / MANIFEST} is not JSON ({error}); the bundle is damaged, publish it again."
        ) from None
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if version not in READABLE_FORMATS:
        raise BundleError(
            f"{path} has bundle format {version!r} and this program reads formats "
            f"{', '.join(map(str, READABLE_FORMATS))}; export it again with this version."
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        raise BundleError(
            f"{path / MANIFEST}: {first_invalid(error)}; the bundle is damaged, publish it again."
        ) from None
