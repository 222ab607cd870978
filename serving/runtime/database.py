"""What serving asks about the database before it asks the database."""

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError


def database_exists(database_url: str) -> bool:
    """False where the SQLite file is not there: offline has never run here, and looking must not create it."""
    try:
        url = make_url(database_url)
    except ArgumentError:
        return True  # whoever opens it says what is wrong with it
    return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()
