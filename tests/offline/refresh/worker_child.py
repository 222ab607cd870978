"""A real worker process: `python -m tests.offline.refresh.worker_child DATABASE_URL MODEL_URL [REDIS_URL]`.

Without Redis it only polls; with Redis it is a Celery worker of the queue `gpu-llm`. Leases are short.
"""

import logging
import signal
import sys
import threading

from retort.offline.jobs.leases import LeaseRules
from retort.offline.refresh.worker import RefreshWorker
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.session import open_database

RULES = LeaseRules(lease_s=4.0, beat_s=0.5, max_attempts=5, backoff_s=0.2)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    database_url, model_url, *rest = sys.argv[1:]
    settings = LanguageModelSettings(_env_file=None, openai_base_url=model_url)  # type: ignore[call-arg]
    engine = open_database(database_url)
    with RefreshWorker(engine, settings, RULES, retry_for_s=30.0) as worker:
        if rest:
            from retort.offline.jobs.celery_app import make_app, run_worker
            from retort.offline.refresh.messages import register_refreshes, serve_refreshes

            app = make_app(rest[0])
            with serve_refreshes(worker, poll_s=float(rest[1])) as wake:
                register_refreshes(app, wake, lambda _: None)
                run_worker(app, ["gpu-llm"])
        else:
            signal.signal(signal.SIGTERM, lambda *_: worker.stopping.set())
            worker.work_forever(threading.Event(), poll_s=0.2)


if __name__ == "__main__":
    main()
