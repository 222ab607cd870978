"""Supervisor of several worker processes behind one port, based on uvicorn's."""

import socket
from pathlib import Path

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.supervisors import Multiprocess


class Workers(Multiprocess):
    """Supervisor that starts workers, replaces dead ones and removes the gauges of dead ones from /metrics.

    Counters and histograms of a dead worker are kept, so that the sums over all workers do not go back.
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
