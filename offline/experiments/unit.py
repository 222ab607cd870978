"""One piece of an experiment's work, and what it leaves: a JSON record, and the ranks of all test users.

A unit is a trial (trained held, never tested), a run (one seed of the chosen setting, tested once), or a floor.
"""

import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from retort.shared.base.errors import RetortError
from retort.shared.base.hashing import hash_json

Kind = Literal["trial", "run", "floor"]


@dataclass(frozen=True)
class Unit:
    """What is to be done. number: which trial, or the seed. keys: what is set beyond the arm and the student."""

    kind: Kind
    arm: str
    student: str
    number: int = 0
    keys: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """For people and files."""
        place = {"trial": f"trial-{self.number}", "run": f"seed-{self.number}", "floor": "floor"}[self.kind]
        return f"{self.arm}-{self.student}-{place}".replace(" ", "_")

    def as_json(self) -> dict[str, Any]:
        """To cross a process."""
        return {
            "kind": self.kind,
            "arm": self.arm,
            "student": self.student,
            "number": self.number,
            "keys": dict(self.keys),
        }

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "Unit":
        return cls(**said)


@dataclass(frozen=True)
class Records:
    """OUT/experiments/NAME: what is done. One file a unit; it appears whole or not at all."""

    folder: Path

    def path(self, unit: Unit, recipe: Mapping[str, Any]) -> Path:
        """Named by all that was asked: another recipe or other data are another record."""
        return self.folder / "records" / f"{unit.name}-{hash_json(dict(recipe))[:10]}.json"

    def find(self, path: Path) -> dict[str, Any] | None:
        """The finished record, or None; RetortError for a file that holds none."""
        try:
            found = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, orjson.JSONDecodeError) as error:
            raise _unreadable(path, str(error)) from None
        if not isinstance(found, dict) or not found:
            raise _unreadable(path, "it holds no object")
        return found

    def newest(self, unit: Unit) -> dict[str, Any] | None:
        """The latest record of the unit with the same keys, under whatever recipe; None without one."""
        files = sorted(self.path(unit, {}).parent.glob(f"{glob.escape(unit.name)}-*.json"), key=_changed_ns)
        found = (orjson.loads(file.read_bytes()) for file in reversed(files))
        return next((record for record in found if record["unit"] == unit.as_json()), None)

    def keep(self, path: Path, record: Mapping[str, Any]) -> None:
        """Write beside, then rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.new")
        beside.write_bytes(orjson.dumps(dict(record), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
        os.replace(beside, path)


def _unreadable(path: Path, why: str) -> RetortError:
    return RetortError(f"the record {path} cannot be read ({why}); delete it and run the same command again.")


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns
