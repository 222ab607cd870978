"""Errors that a person reads: one clear sentence, with the remedy.

Everything that a user can get wrong is a `RetortError`; entry points print it without a traceback and exit with 2.
"""


class RetortError(Exception):
    """Base of all errors whose message is written for the user."""


class DataError(RetortError):
    """Interactions or items that cannot be used; names file, row and column."""


class RecipeError(RetortError):
    """A recipe that cannot be run; names the section and key."""


class ProfileError(RetortError):
    """A profile, prompt or language model that cannot be used."""


class TeacherError(RetortError):
    """Knowledge that does not fit the users or items at hand."""


class BundleError(RetortError):
    """A bundle that is damaged, incomplete, or of another format."""


class StoreError(RetortError):
    """Redis or the database cannot be reached or answers wrongly."""


class StoreOutdatedError(StoreError):
    """The database is there, but not at this version's tables."""
