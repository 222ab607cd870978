"""A Celery worker for the line. One process, no pool of forks: CUDA and vLLM cannot be used in a forked child."""

import logging
import uuid
from collections.abc import Sequence

from celery import Celery

from retort.offline.jobs.tasks import QUEUES
from retort.shared.base.errors import RetortError


def run_worker(app: Celery, queues: Sequence[str], *, log_level: str = "INFO") -> None:
    """Work until told to stop. Ctrl-C once: after the step in hand; twice: at once, and the step is given back."""
    unknown = sorted(set(queues) - set(QUEUES))
    if unknown or not queues:
        raise RetortError(f"there is no queue {', '.join(unknown) or '(none)'}; choose among: {', '.join(QUEUES)}.")
    # Several workers of one machine need different names, or they hear each other's commands.
    name = f"retort-{'-'.join(queues)}-{uuid.uuid4().hex[:8]}@%h"
    logging.getLogger("celery").setLevel(log_level)
    app.Worker(
        pool="solo",
        concurrency=1,
        queues=list(queues),
        hostname=name,
        loglevel=log_level,
        without_gossip=True,
        without_mingle=True,
    ).start()
