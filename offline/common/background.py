"""A thread that works beside a block, and ends with it."""

import threading
from types import TracebackType
from typing import Self


class BackgroundThread:
    """Context manager whose `_run` works in a thread of its own during the block, until `_ended` is set."""

    def __init__(self, name: str, join_s: float | None = None) -> None:
        """Prepare the thread.

        Args:
            join_s: How long the end of the block waits for it; None: as long as it takes.
        """
        self._ended, self._join_s = threading.Event(), join_s
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(self._join_s)

    def _run(self) -> None:
        raise NotImplementedError
