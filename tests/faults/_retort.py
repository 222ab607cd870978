"""A `retort` command as a real process, ended by its own pid."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retort.offline.local.subprocesses import Child, start_child
from tests.serving._process import REPOSITORY


@contextmanager
def retort(home: Path, *words: str, **environment: str) -> Iterator[Child]:
    """Runs until the block ends; what it says is in `home`."""
    own = {name: "" for name in os.environ if name.startswith(("RETORT_", "REDIS_", "DATABASE_", "HISTORIES_"))}
    own |= {"RETORT_HOME": str(home), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    own |= {name.upper(): value for name, value in environment.items()}
    log = home / f"{'-'.join(words)}.log"
    with start_child(
        [sys.executable, "-m", "retort.offline.cli", *words], words[0], log=log, env=own, grace_s=15
    ) as child:
        yield child
