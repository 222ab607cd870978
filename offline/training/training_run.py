"""The state of one training: its epochs and steps, the time budget, validation and checkpoints.

All randomness of an epoch depends only on (seed, epoch), so a run resumed from its checkpoint ends with the same
weights as an uninterrupted one.
"""

# Shapes: B batch, T sequence, D embedding_dim, M positions with a target, K negatives

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retort.offline.common.progress import Progress
from retort.offline.data.split import Split
from retort.offline.distillation._base import Objective, StudentOutput
from retort.offline.evaluation.evaluate import EvaluationConfig
from retort.offline.evaluation.metrics import hit_rate, ndcg
from retort.offline.evaluation.validate import validation_ranks
from retort.offline.losses.divergence import check_losses, check_modules, check_tensors
from retort.offline.students._base import Examples, Student
from retort.offline.training.batches import Batch, Windows, batches, cut_windows
from retort.offline.training.config import TrainingConfig
from retort.offline.training.epochs import EarlyStopping, EpochLog, load_checkpoint
from retort.offline.training.optimization import Optimization
from retort.offline.training.processes import Processes
from retort.offline.training.sequence_loss import SequenceLoss
from retort.shared.base.errors import DataError
from retort.shared.base.schema import PAD

_CHECKED_WINDOWS = 64


class TrainingRun:
    """The state of one training."""

    def __init__(
        self,
        student: Student,
        split: Split,
        objectives: Sequence[Objective],
        config: TrainingConfig,
        *,
        evaluation: EvaluationConfig,
    ) -> None:
        self.student = student
        self.evaluation = evaluation
        self.objectives = nn.ModuleList(objectives)
        self.config = config
        self.split = split
        self.windows: Windows = cut_windows(split.train, student.config.max_length, every=config.every_window)
        if not len(self.windows):
            raise DataError(
                "nothing to train on: no user has two train events; give longer histories, or raise "
                "[split] train_share or quantile."
            )
        self.processes = Processes.current()
        self.device = student.items.weight.device
        self.sequence_loss = SequenceLoss(split, config, self.device)
        self.steps_per_epoch = -(-len(self.windows) // config.batch_size)
        self.n_epochs = self.most_epochs = config.epochs
        self.optimization = Optimization(
            (student, *objectives), config, self.steps_per_epoch * config.epochs, self.processes
        )
        self.epoch = 0
        self.seconds = 0.0  # of all epochs, validation included
        self.best = EarlyStopping(config.patience)
        self.log: list[EpochLog] = []

    @property
    def finished(self) -> bool:
        return self.split.validation is not None and self.best.finished

    def train_epoch(self, progress: Progress) -> None:
        """Train one epoch; the first one reports its steps, and ends with the time budget.

        How long epochs take is known after the first one only.
        """
        started = time.perf_counter()
        self.epoch += 1
        torch.manual_seed(self.config.seed * 1_000_003 + self.epoch)
        self.student.train()
        self.objectives.train()
        own_sum = torch.zeros((), device=self.device)
        sums = {objective.config.name: torch.zeros((), device=self.device) for objective in self._objectives()}
        n_steps = 0
        for batch in batches(self.windows, self.config.batch_size, self.config.seed, self.epoch):
            own_sum += self.step(batch, sums, (self.epoch - 1) * self.steps_per_epoch + n_steps)
            n_steps += 1
            if self.epoch == 1:
                progress.update("steps of the first epoch", n_steps, self.steps_per_epoch)
                if self._budget_is_spent(time.perf_counter() - started):
                    break
        for total in (own_sum, *sums.values()):
            self.processes.add(total)
        active = {o.config.name for o in self._objectives() if o.config.active(self.epoch)}
        self.log.append(
            EpochLog(
                epoch=self.epoch,
                seconds=round(time.perf_counter() - started, 3),
                loss=float(own_sum) / n_steps,
                objectives={name: float(value) / n_steps for name, value in sums.items() if name in active},
                share=n_steps / self.steps_per_epoch,
            )
        )

    def _objectives(self) -> list[Objective]:
        return [module for module in self.objectives if isinstance(module, Objective)]

    def _used(self) -> list[Objective]:
        return [objective for objective in self._objectives() if objective.config.weight > 0]

    def start(self, work: Path) -> None:
        """Start a training, or resume it from the checkpoint in `work`."""
        state = load_checkpoint(work)
        if state is not None:
            self.resume(state)
        for objective in self._used():
            if state is None:
                objective.prepare(self.student)
            objective.attach(self.student)

    def detach_objectives(self) -> None:
        for objective in self._used():
            objective.detach(self.student)

    def step(self, batch: Batch, sums: dict[str, Tensor], step: int) -> Tensor:
        """Take one step of the schedule; returns the student's own loss and adds the objectives' to `sums`."""
        whole, batch = batch, self.processes.part_of(batch)
        examples = self.student.examples(batch.sequences_BT.to(self.device))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.bf16):
            states = [state.float() for state in self.student.hidden_states(examples.items_BT)]
        table_ND = self.student.item_table()
        has_target_BT = examples.targets_BT != PAD
        targets_M = examples.targets_BT[has_target_BT]
        own = self.sequence_loss(self.student, states[-1][has_target_BT], table_ND, targets_M)
        penalty = self.student.penalty(len(targets_M))
        own = own if penalty is None else own + penalty
        output = self._output(states, examples, batch, table_ND)
        total = own
        share = self.processes.share(len(targets_M), whole, self.device)
        for objective in self._objectives():
            if objective.config.active(self.epoch):
                raw = objective(output)
                sums[objective.config.name] += share * raw.detach()
                total = add_weighted(total, own, raw, objective)
        self.optimization.step(total * share if self.processes.count > 1 else total, step)
        return own.detach() * share

    def _output(self, states: list[Tensor], examples: Examples, batch: Batch, table_ND: Tensor) -> StudentOutput:
        targets_BT = examples.targets_BT
        events_BT = batch.events_BT[:, -targets_BT.shape[1] :].to(self.device)
        target_events_BT = events_BT.masked_fill(targets_BT == PAD, -1)
        users_B = batch.users_B.to(self.device)
        return StudentOutput(
            states, examples.items_BT, users_B, targets_BT, target_events_BT, table_ND, self.config.bf16
        )

    def check_finite(self) -> None:
        """Raise TrainingError if a loss, a weight or a score is not finite."""
        entry = self.log[-1]
        named = {f"the loss of the objective {name!r}": value for name, value in entry.objectives.items()}
        check_losses({"the loss": entry.loss, **named})
        self.optimization.check_finite()
        check_modules({"the student": self.student})
        check_modules({f"the objective {o.config.name!r}": o for o in self._used()})
        if self.split.validation is None:  # else the validation checks the scores
            self._check_scores()

    @torch.no_grad()
    def _check_scores(self) -> None:
        batch = next(batches(self.windows, min(_CHECKED_WINDOWS, self.config.batch_size), seed=0, epoch=0))
        self.student.eval()
        items_BT = batch.sequences_BT[:, -self.student.config.max_length :].to(self.device)
        scores_BN = self.student.scores(self.student.last_state(items_BT), self.student.item_table())
        check_tensors("the scores", [scores_BN[:, PAD + 1 :]])

    def remedy(self) -> str:
        """Return what to change after a divergence."""
        config = self.config
        parts = [
            f"lower [training] learning_rate (now {config.learning_rate:g}) or clip_norm (now {config.clip_norm:g})",
            f"raise warmup_steps (now {config.warmup_steps})",
        ]
        if used := [objective.config.name for objective in self._used()]:
            parts.append(f"lower the weight of the objective {used[0]!r}")
        return ", or ".join(parts)

    def limit_epochs(self, n_epochs: int) -> None:
        """Stop after fewer epochs of the same schedule."""
        self.n_epochs = self.most_epochs = n_epochs

    def _budget_is_spent(self, seconds: float) -> bool:
        limit = self.config.max_minutes
        return limit is not None and bool(self.processes.of_first(seconds >= limit * 60))

    def keep_budget(self, seconds: float) -> None:
        """Count the time of an epoch, and set the number of epochs to those that fit into `max_minutes`."""
        self.seconds += (seconds := self.processes.of_first(seconds))
        if self.config.max_minutes is not None:
            # the latest epoch tells most: the first one has start-up costs
            left = int(max(0.0, self.config.max_minutes * 60 - self.seconds) / max(seconds, 1e-3))
            self._set_epochs(min(self.most_epochs, self.epoch + left))

    def _set_epochs(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs
        self.optimization.total_steps = self.steps_per_epoch * n_epochs

    def ranks(self) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Return the ranks of the validation targets by the current weights; None without validation cases."""
        cases = self.split.validation
        if cases is None:
            return None
        rows = np.arange(self.processes.rank, len(cases), self.processes.count)
        some = cases if self.processes.count == 1 else cases.take(rows)
        return self.processes.gather(rows, validation_ranks(self.student, some, self.evaluation), len(cases))

    def validate(self, *, is_last: bool) -> None:
        """Evaluate the validation cases every `evaluate_every` epochs, and keep the best weights."""
        if self.split.validation is None:
            self.best.best_epoch = self.epoch
            return
        if self.epoch % self.config.evaluate_every and not is_last:
            return
        ranks = self.ranks()
        assert ranks is not None
        entry = self.log[-1]
        entry.ndcg, entry.hit_rate = float(ndcg(ranks, 10).mean()), float(hit_rate(ranks, 10).mean())
        self.best.update(self.epoch, entry.ndcg, self.student)

    def restore_best(self) -> None:
        """Fold the additions and load the best weights of the run."""
        self.student.fold()
        if self.best.best_weights is not None:
            self.student.load_state_dict(self.best.best_weights)

    def state(self) -> dict[str, Any]:
        return {
            "student": self.student.state_dict(),
            "objectives": self.objectives.state_dict(),
            "optimizer": self.optimization.optimizer.state_dict(),
            "epoch": self.epoch,
            "n_epochs": None if self.config.max_minutes is None else self.n_epochs,
            "seconds": self.seconds,
            **self.best.state(),
            "log": [asdict(entry) for entry in self.log],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Load the state of a checkpoint."""
        self.student.load_state_dict(state["student"])
        self.objectives.load_state_dict(state["objectives"])
        self.optimization.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]
        self.seconds = state.get("seconds", 0.0)
        if n_epochs := state.get("n_epochs"):
            self._set_epochs(n_epochs)
        self.best.resume(state)
        self.log = [EpochLog(**entry) for entry in state["log"]]


def add_weighted(total: Tensor, own: Tensor, raw: Tensor, objective: Objective) -> Tensor:
    """Add one weighted objective to the total loss."""
    config = objective.config
    scale = 1.0
    if config.match_scale:
        scale = float((own.detach() / raw.detach().clamp(min=1e-8)).clamp(max=config.scale_cap))
    if config.share:
        total = total - config.weight * own
    return total + config.weight * scale * raw
