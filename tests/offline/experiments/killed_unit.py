"""One trial of a tiny experiment, three times: killed in its second epoch, again, and undisturbed elsewhere.

Argument: a directory. Each is a fork of this process, which has imported torch and computed nothing. Prints one JSON
object each.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

import retort.offline.training.loop  # noqa: F401 - paid for once, before the forks
from retort.offline.experiments.run_unit import Experiment, run_unit
from retort.offline.experiments.unit import Unit
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from tests.offline.experiments.test_plan import plan

TRIAL = Unit("trial", "plain", "sasrec", 0, {"training.seed": 1})


class Killer:
    """Kills its own process after so many epochs; remembers those that it saw."""

    def __init__(self, at: int | None) -> None:
        self.at, self.epochs = at, list[int]()

    def update(self, what: str, done: int, total: int | None) -> None:
        if what == "epoch":
            self.epochs.append(done)
            if done == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def say(self, line: str) -> None:
        """Nobody reads it."""


def experiment_in(out: Path) -> Experiment:
    """The tiny experiment in a run directory."""
    return Experiment.open(plan(set={"training.epochs": 4, "encoder.model": "tfidf"}), None, out)


def main() -> None:
    root = Path(sys.argv[1])
    for out, at in (("killed", 2), ("killed", None), ("whole", None)):
        pid = os.fork()
        if pid == 0:
            print(json.dumps(_do(root / out, at)), flush=True)
            os._exit(0)
        _, how = os.waitpid(pid, 0)
        if os.WIFSIGNALED(how):
            print(json.dumps({"killed_by": os.WTERMSIG(how)}), flush=True)


def _do(out: Path, at: int | None) -> dict[str, object]:
    torch.set_num_threads(1)
    out.mkdir(exist_ok=True)
    url = f"sqlite:///{out / 'retort.db'}"
    upgrade(url)
    progress = Killer(at)
    record = run_unit(experiment_in(out), TRIAL, open_database(url), progress)
    return {"epochs": progress.epochs, "record": record}


if __name__ == "__main__":
    main()
