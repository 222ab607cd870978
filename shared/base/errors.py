"""Errors for users: one clear sentence that says what is wrong and the remedy.

Every mistake that a user can make is a `RetortError`; entry points print it without a traceback and exit with 2.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class RetortError(Exception):
    """Base of all errors whose message is written for the user."""


class DataError(RetortError):
    """Interactions or items that cannot be used; the message names file, row and column."""


class RecipeError(RetortError):
    """A recipe that cannot be run; the message names section and key."""


class ProfileError(RetortError):
    """A profile, prompt or language model that cannot be used."""


class KnowledgeError(RetortError):
    """Item knowledge that cannot be read or written."""


class TeacherError(RetortError):
    """Teacher knowledge that does not fit the users or items at hand."""


class TrainingError(RetortError):
    """A training that diverged; the message names the epoch and the settings to change."""


class BundleError(RetortError):
    """A bundle that is damaged, incomplete, or of another format."""


class StoreError(RetortError):
    """Redis or the database is unavailable or returns an error."""


class StoreOutdatedError(StoreError):
    """The database is available, but its tables are of another version."""


def invalid_reason(problem: Mapping[str, object]) -> str:
    """Return why pydantic refused a value, without the words that it puts before the messages of our validators."""
    return str(problem["msg"]).removeprefix("Value error, ")


def first_invalid(error: "ValidationError") -> str:
    """Return the first invalid field of a document and why; the reason alone where it is the whole document."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {invalid_reason(first)}" if where else invalid_reason(first)
