"""Full disks: recognised whichever library wrote the file, and reported in one sentence.

Only Python's own writers raise an OSError with a number. numpy, polars, torch, safetensors, shutil and SQLite report a
full disk, a quota or a file size limit by other exceptions, which this module recognises by their text.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retort.shared.base.errors import RetortError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TEXTS = re.compile(
    r"no space left on device|disk quota exceeded|file too large"  # polars, safetensors, shutil, PostgreSQL
    r"|\d+ requested and \d+ written"  # numpy
    r"|inline_container\.cc.*(unexpected pos|file write failed)|PytorchStreamWriter failed"  # torch
    r"|database or disk is full|disk I/O error",  # SQLite
    re.IGNORECASE | re.DOTALL,
)


class DiskFullError(RetortError):
    """A file could not be written, because the disk is full or a quota or file size limit is reached."""


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an exception, or one that caused it, reports a full disk."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if not isinstance(error, RetortError) and _TEXTS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def disk_full_sentence(where: Path | None = None) -> str:
    """Return the sentence for a user.

    Args:
        where: A file or folder on the disk; None: unknown.
    """
    disk = "the disk" if where is None else f"the disk that holds {where}"
    return (
        f"{disk} is full; free some space and run the same command again: finished steps are kept. (With free space "
        "left, a quota or a file size limit is reached.)"
    )


@contextmanager
def explained_full_disk(where: Path) -> Iterator[None]:
    """Raise DiskFullError for every exception in the block that reports a full disk."""
    try:
        yield
    except RetortError:
        raise
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise DiskFullError(disk_full_sentence(where)) from error
