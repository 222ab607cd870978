"""Units of an experiment, the selection of those to run, and the records that they leave.

A unit is a trial (trained under protocol "held", never tested), a run (one seed of the selected setting, tested once),
or a floor (a ranker without training). Each leaves a JSON record; runs and floors also leave the ranks of all test
cases.
"""

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from retort.offline.experiments.plan import Plan
from retort.shared.base.errors import RetortError
from retort.shared.base.hashing import hash_json

Kind = Literal["trial", "run", "floor"]


@dataclass(frozen=True)
class Unit:
    """A unit of work. number: which trial, or the seed. keys: settings beyond those of the arm and the student."""

    kind: Kind
    arm: str
    student: str
    number: int = 0
    keys: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """Name in messages and file names."""
        place = {"trial": f"trial-{self.number}", "run": f"seed-{self.number}", "floor": "floor"}[self.kind]
        return f"{self.arm}-{self.student}-{place}".replace(" ", "_")

    def as_json(self) -> dict[str, Any]:
        """Serialise the unit for another process."""
        return {
            "kind": self.kind,
            "arm": self.arm,
            "student": self.student,
            "number": self.number,
            "keys": dict(self.keys),
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Unit":
        """Rebuild a unit from `as_json`."""
        return cls(**fields)


@dataclass(frozen=True)
class Selection:
    """The part of an experiment to run this time: some arms, some students, the first n_seeds seeds. None: all."""

    arms: Sequence[str] | None = None
    students: Sequence[str] | None = None
    n_seeds: int | None = None

    def rows(self, plan: Plan) -> list[tuple[str, str]]:
        """Select (arm, student) in the order of the table; RetortError for a name that the plan does not have."""
        _check_names("arm", self.arms, list(plan.arms))
        _check_names("student", self.students, plan.students)
        return [
            (arm, student)
            for arm, student in plan.rows
            if (self.arms is None or arm in self.arms) and (self.students is None or student in self.students)
        ]

    def seeds(self, plan: Plan) -> list[int]:
        """Select the seeds to run."""
        return plan.config.seeds[: self.n_seeds]


def _check_names(what: str, names: Sequence[str] | None, known: Sequence[str]) -> None:
    if odd := sorted(set(names or ()) - set(known)):
        raise RetortError(f"there is no {what} {odd[0]!r}; {what}s are: {', '.join(known)}.")


@dataclass(frozen=True)
class Records:
    """The finished units of an experiment in OUT/experiments/NAME: one file a unit, written atomically."""

    folder: Path

    def path(self, unit: Unit, settings: Mapping[str, Any]) -> Path:
        """The record's file; its name holds a hash of all settings, so other settings make another record."""
        return self.folder / "records" / f"{unit.name}-{hash_json(dict(settings))[:10]}.json"

    def find(self, path: Path) -> dict[str, Any] | None:
        """Read a finished record; None where there is none.

        Raises:
            RetortError: The file holds no record.
        """
        try:
            record = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, orjson.JSONDecodeError) as error:
            raise _unreadable(path, str(error)) from None
        if not isinstance(record, dict) or not record:
            raise _unreadable(path, "it holds no object")
        return record

    def newest(self, unit: Unit) -> dict[str, Any] | None:
        """Read the latest record of the unit with the same keys, whatever its recipe; None without one."""
        files = sorted(self.path(unit, {}).parent.glob(f"{glob.escape(unit.name)}-*.json"), key=_changed_ns)
        records = (orjson.loads(file.read_bytes()) for file in reversed(files))
        return next((record for record in records if record["unit"] == unit.as_json()), None)

    def save(self, path: Path, record: Mapping[str, Any]) -> None:
        """Write a record to a temporary file, then rename it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.new")
        temporary.write_bytes(orjson.dumps(dict(record), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
        os.replace(temporary, path)


def _unreadable(path: Path, why: str) -> RetortError:
    return RetortError(f"the record {path} cannot be read ({why}); delete it and run the same command again.")


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns
