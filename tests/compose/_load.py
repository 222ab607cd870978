"""Users who go on asking while a test does something to the containers."""

import itertools
import threading
import time
from collections import Counter
from types import TracebackType

import httpx

_THREADS = 4
_PAUSE_S = 0.1


class Load:
    """While the block runs, several users ask for recommendations through nginx. Read the counts after it."""

    def __init__(self, url: str, user_ids: list[str]) -> None:
        self.failures: Counter[str] = Counter()
        self.answers: Counter[tuple[str, str | None]] = Counter()
        self.versions: Counter[str] = Counter()
        self._url = url
        self._users = itertools.cycle(user_ids)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask_on, daemon=True) for _ in range(_THREADS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def asked(self) -> int:
        return sum(self.answers.values()) + sum(self.failures.values())

    def _ask_on(self) -> None:
        with httpx.Client(base_url=self._url, timeout=15) as client:
            while not self._ended.is_set():
                with self._lock:
                    user_id = next(self._users)
                self._ask(client, user_id)
                time.sleep(_PAUSE_S)

    def _ask(self, client: httpx.Client, user_id: str) -> None:
        try:
            answer = client.post("/recommend", json={"user_id": user_id, "k": 5})
        except httpx.HTTPError as error:
            with self._lock:
                self.failures[type(error).__name__] += 1
            return
        with self._lock:
            if answer.status_code != 200:
                self.failures[str(answer.status_code)] += 1
                return
            said = answer.json()
            self.answers[said["source"], said["fallback_reason"]] += 1
            self.versions[str(said["model"])] += 1
