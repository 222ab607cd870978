"""Training in several processes, on one machine or under torchrun on many.

    RETORT_TRAIN_PROCESSES=4 retort run …                              four processes on this machine, workers included
    torchrun --nproc-per-node 4 -m retort.offline.cli.torchrun run …   with --nnodes on several machines

The first process runs the pipeline. The others follow: they wait for a training, take part in it and write nothing. On
several machines OUT and the database are shared.
"""

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from retort.offline.local.subprocesses import start_child
from retort.offline.training.processes import Processes, close_group, open_group
from retort.shared.base.settings import Settings

_FOLLOWER = "retort.offline.pipeline.follow"


@contextmanager
def with_followers(job: Mapping[str, Any], log_dir: Path) -> Iterator[None]:
    """Let the followers of this process take part in a training.

    Args:
        job: What `follow` needs to open the same training.
        log_dir: Directory of the logs of followers that are started here.
    """
    n_processes = Settings().retort_train_processes
    if Processes.current().count > 1:
        Processes.current().of_first(dict(job))
        yield
    elif n_processes == 1:
        yield
    else:
        with ExitStack() as stack:
            _start_group(stack, n_processes, log_dir)
            Processes.current().of_first(dict(job))
            yield
            Processes.current().of_first(None)


def _start_group(stack: ExitStack, n_processes: int, log_dir: Path) -> None:
    """Start the followers and join their group; both end with the stack."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(n_processes)}
    for rank in range(1, n_processes):
        env = {**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        name = f"follower-{rank}"
        stack.enter_context(start_child([sys.executable, "-m", _FOLLOWER], name, log=log_dir / f"{name}.log", env=env))
    open_group(init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=n_processes)
    stack.callback(close_group)
