"""Several workers behind one port: uvicorn's supervisor, and the books of their metrics."""

import socket
from pathlib import Path

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.supervisors import Multiprocess


class Workers(Multiprocess):
    """Starts the workers, replaces those that die, and takes the gauges of the dead out of /metrics.

    What a dead worker counted stays: counters and histograms go on from where all workers were.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], metrics_dir: Path) -> None:
        super().__init__(config, sockets)
        self._metrics_dir = metrics_dir
        self._known: set[int] = set()

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        alive = {process.pid for process in self.processes if process.pid is not None}
        for pid in self._known - alive:
            mark_process_dead(pid, str(self._metrics_dir))  # type: ignore[no-untyped-call]
        self._known = alive
