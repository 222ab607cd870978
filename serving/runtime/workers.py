"""Supervisor of several worker processes behind one port, based on uvicorn's."""

import logging
import pickle
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

logger = logging.getLogger(__name__)

# A worker imports its libraries and loads a bundle before it answers; on a busy machine that takes minutes.
START_S = 600
# A worker that has answered before, and then does not for so long, hangs.
HUNG_S = 60


@dataclass
class _Heartbeat:
    """Answers of one worker to the supervisor's pings."""

    pinged_at_s: float | None = None  # of the ping that waits for its answer
    has_answered: bool = False


class Workers(Multiprocess):
    """Supervisor that starts workers, replaces dead ones and removes the gauges of dead ones from /metrics.

    uvicorn waits a few seconds for each answer of a worker and kills it without one. A worker that is still starting
    cannot answer, so on a slow machine no worker would ever start. Here the supervisor does not wait: it reads answers
    when they are there, and a worker that is starting has `START_S`.

    Counters and histograms of a dead worker are kept, so that the sums over all workers do not go back.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        metrics_dir: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(config, sockets)
        self._metrics_dir = metrics_dir
        self._clock = clock
        self._known: set[int] = set()
        self._heartbeats: dict[Process, _Heartbeat] = {}

    def keep_subprocess_alive(self) -> None:
        for index, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.process.is_alive() and not self._is_hung(process):
                continue
            self._replace(index, process)
        self._heartbeats = {process: beat for process, beat in self._heartbeats.items() if process in self.processes}
        alive = {process.pid for process in self.processes if process.pid is not None}
        for pid in self._known - alive:
            mark_process_dead(pid, str(self._metrics_dir))  # type: ignore[no-untyped-call]
        self._known = alive

    def _is_hung(self, process: Process) -> bool:
        beat = self._heartbeats.setdefault(process, _Heartbeat())
        try:
            if beat.pinged_at_s is not None and process.parent_conn.poll(0):
                process.parent_conn.recv()
                beat.pinged_at_s, beat.has_answered = None, True
            if beat.pinged_at_s is None:
                process.parent_conn.send(b"ping")
                beat.pinged_at_s = self._clock()
        except (OSError, EOFError, pickle.UnpicklingError):
            return True
        waited_s = self._clock() - beat.pinged_at_s
        if waited_s <= (HUNG_S if beat.has_answered else START_S):
            return False
        state = "does not answer" if beat.has_answered else "has not started"
        logger.error(f"worker {state}; it is replaced", extra={"worker": process.pid, "seconds": round(waited_s)})
        return True

    def _replace(self, index: int, process: Process) -> None:
        process.kill()
        process.join()
        if process.exitcode == STARTUP_FAILURE:
            # The settings or the bundle are at fault, so every further worker would fail as well.
            logger.error("worker failed to start; the server stops, see the error above", extra={"worker": process.pid})
            self.should_exit.set()
            return
        logger.info("worker died; it is replaced", extra={"worker": process.pid, "exit_code": process.exitcode})
        self.processes[index] = Process(self.config, self.sockets)
        self.processes[index].start()
