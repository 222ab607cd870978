"""Behaviour of separate processes: a SIGKILL during a run, and imports at start-up."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from retort.shared.db.migrate import upgrade
from tests.offline.profiles._fakes import sqlite_store
from tests.offline.profiles._server import Answer, completion, serving

ROOT = Path(__file__).parents[3]
N_USERS, IN_FLIGHT = 40, 4

WRITE = """
import sys
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.profiles.generator import write_profiles
from retort.offline.profiles.store import ProfileStore
from retort.offline.common.progress import Silent
from retort.shared.db.session import open_database
from retort.shared.base.settings import LanguageModelSettings
from tests.offline.profiles._fakes import catalogue, histories

url, database, n_users, concurrency = sys.argv[1:]
config = ProfilesConfig(backend="openai", options={"model": "m", "concurrency": int(concurrency)})
settings = LanguageModelSettings(_env_file=None, openai_base_url=url)
store = ProfileStore(open_database(database))
report = write_profiles(histories(int(n_users), 3, 12), catalogue(), config, store, settings, Silent())
print(report.written, report.reused)
"""


def test_sigkill_loses_at_most_the_requests_in_flight(tmp_path: Path) -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        time.sleep(0.05)
        return completion()

    database = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(database)
    with serving(script) as fake:
        command = [sys.executable, "-c", WRITE, fake.url, database, str(N_USERS), str(IN_FLIGHT)]
        first = subprocess.Popen(command, cwd=ROOT)
        deadline_s = time.monotonic() + 30
        while len(fake.bodies) < 20 and first.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.01)
        first.kill()
        first.wait()
        asked = len(fake.bodies)
        kept = sqlite_store(tmp_path).count()
        assert 20 <= asked < N_USERS
        assert asked - IN_FLIGHT <= kept <= asked
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert second.stdout.split() == [str(N_USERS - kept), str(kept)]
    assert len(fake.bodies) - asked == N_USERS - kept


def test_heavy_libraries_are_imported_only_where_they_work() -> None:
    heavy = "torch", "transformers", "sentence_transformers", "umap", "sklearn", "vllm"
    code = (
        "import sys; from retort.offline.embeddings import encoder, reducer; "
        "from retort.offline.profiles import generator; from retort.offline.teachers import build; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
