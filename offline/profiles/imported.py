"""Imported profiles: a JSONL file with `user_id`, `profile` and, where known, `model`, joined by user id."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from retort.offline.common.section import Section, parse_section
from retort.offline.data.ids import id_text
from retort.offline.data.interactions import Items
from retort.offline.data.sources._json_lines import parse_json
from retort.offline.profiles.checks import find_problem
from retort.offline.profiles.config import IMPORTED, ProfilesConfig, open_catalogue
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import Event, UserHistory
from retort.offline.profiles.prompt import WHOLE
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.store import ProfileKey, ProfileStore, Record
from retort.offline.profiles.thoughts import cut_thoughts
from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_file
from retort.shared.base.schema import MAX_ID_LENGTH
from retort.shared.base.text import clean_text

VERSION = "imported"


class Config(Section):
    """Options (`[profiles.options]`) of `backend = "imported"`."""

    path: Path = Field(description="JSONL file, one user a line")
    model: str | None = Field(
        None, description="model that wrote the texts; unset: each line's `model`, else 'unknown'"
    )
    min_coverage: float = Field(
        0.0, ge=0, le=1, description="least share of the users with a history that must have a profile"
    )


def read_profiles(config: Config, aspect: str) -> Iterator[Record]:
    """Yield one record a line.

    Raises:
        ProfileError: The file is missing, or a line is malformed or a duplicate.
    """
    if not config.path.is_file():
        raise ProfileError(
            f"there is no file {config.path}; set [profiles.options] path to the JSONL with the profiles."
        )
    digest = hash_file(config.path)
    lines_by_user: dict[str, int] = {}
    with config.path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            row, where = _parse(line, f"{config.path}, line {number}"), f"{config.path}, line {number}"
            user_id = _user_id(row, where)
            if (first := lines_by_user.setdefault(user_id, number)) != number:
                raise ProfileError(
                    f"{where}: user_id {user_id!r} is already in line {first}; keep one profile for each user."
                )
            model = clean_text(config.model or str(row.get("model") or "unknown"))
            yield Record(user_id, digest, ProfileKey(aspect, VERSION, model[:MAX_ID_LENGTH]), _text(row, where))


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise ProfileError(f"{where} is not JSON ({error}); write one object a line.") from None
    if not isinstance(row, dict):
        raise ProfileError(f"{where} is not a JSON object; write {{'user_id': …, 'profile': …}}.")
    return row


def _user_id(row: dict[str, Any], where: str) -> str:
    value = row.get("user_id")
    try:
        user_id = id_text(value)
    except ValueError as error:
        raise ProfileError(f"{where}: user_id {value!r} {error}; correct it there and in the interactions.") from None
    if user_id is None or (isinstance(value, float) and not value.is_integer()):
        raise ProfileError(f"{where}: user_id is {value!r}; give each line the user's id as text or a whole number.")
    return user_id


def _text(row: dict[str, Any], where: str) -> str:
    text = row.get("profile")
    if not isinstance(text, str):
        raise ProfileError(f"{where}: profile is {text!r}; give each line the profile as text.")
    return clean_text(text)


def check_coverage(config: Config, file_ids: Collection[str], user_ids: Collection[str]) -> None:
    """Raise ProfileError if the file belongs to other users, or covers too few.

    Args:
        file_ids: User ids in the file.
        user_ids: User ids with a history.
    """
    if not file_ids:
        raise ProfileError(f"{config.path} contains no profile; give a file with one JSON object a line.")
    matched = len(set(file_ids) & set(user_ids))
    if not matched:
        raise ProfileError(
            f"{config.path} contains profiles of other users: none of its {len(file_ids)} user ids "
            f"(like {next(iter(file_ids))!r}) is among the {len(user_ids)} users with a history "
            f"(like {next(iter(user_ids), None)!r}); give the file that belongs to this data."
        )
    if (share := matched / len(user_ids)) < config.min_coverage:
        raise ProfileError(
            f"{config.path} covers {share:.1%} of the users, but [profiles.options] min_coverage requires "
            f"{config.min_coverage:.1%}; lower it, or give a file with more users."
        )


def import_profiles(
    histories: Iterable[UserHistory], items: Items, config: ProfilesConfig, store: ProfileStore
) -> ProfilesReport:
    """Join a file by user id: count lines of other users, store unusable texts as failed, score the rest.

    Raises:
        ProfileError: The file cannot be used, or too many of its profiles are unusable.
    """
    options = parse_section(Config, config.options, "profiles.options")
    records = {record.user_id: record for record in read_profiles(options, WHOLE)}
    report = ProfilesReport(IMPORTED)
    catalogue = open_catalogue(items, config)
    checker = FaithfulnessChecker(catalogue.vocabulary)
    with_history, matched = set(), []
    for history in histories:
        report.users += 1
        if not history.item_ids:
            report.without_history += 1
            continue
        with_history.add(history.user_id)
        if (record := records.get(history.user_id)) is not None:
            events, _ = catalogue.events(history, config.max_history)
            matched.append(replace(_checked(record, events, checker, config), n_events=len(history.item_ids)))
    check_coverage(options, records, with_history)
    store.save(matched)
    _fill(report, matched, len(records), len(with_history))
    problems = [record.error for record in matched if record.error is not None]
    if problems and len(problems) > config.max_failed * len(matched):
        raise ProfileError(
            f"{options.path}: {len(problems)} of {len(matched)} profiles are unusable (most often: "
            f"{Counter(problems).most_common(1)[0][0]}); correct the file, or change [profiles.checks]."
        )
    return report


def _fill(report: ProfilesReport, matched: Sequence[Record], n_lines: int, n_wanted: int) -> None:
    report.source = matched[0].history_hash
    report.keys = sorted({record.key for record in matched})
    report.not_ours = n_lines - len(matched)
    report.problems = Counter(record.error.split(" (")[0] for record in matched if record.error is not None)
    report.written = len(matched) - report.problems.total()
    lacking = n_wanted - len(matched)
    report.failed = report.problems.total() + lacking
    if lacking:
        report.problems["no line in the file"] = lacking


def _checked(record: Record, events: Sequence[Event], checker: FaithfulnessChecker, config: ProfilesConfig) -> Record:
    text, problem = cut_thoughts(record.text or "")
    problem = problem or (find_problem(text, config.checks) if text else "empty")
    if problem is not None:
        return replace(record, text=None, error=problem)
    faithfulness = checker.check(text, events)
    if config.trust.reject_imported and (problem := faithfulness.problem(config.trust)):
        return replace(record, text=None, error=problem)
    return replace(record, text=text, faithfulness=faithfulness.score)
