"""Errors for users: one clear sentence that says what is wrong and the remedy.

Every mistake that a user can make is a `RetortError`; entry points print it without a traceback and exit with 2.
"""


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
