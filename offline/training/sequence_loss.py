"""The student's own loss, chosen by the recipe."""

# Shapes: M positions with a target, D embedding_dim, N n_items + 1

from torch import Tensor

from retort.offline.data.split import Split
from retort.offline.students._base import Student
from retort.offline.training import losses
from retort.offline.training.config import TrainingConfig
from retort.offline.training.negatives import Negatives
from retort.offline.training.scored_loss import scored_loss


class SequenceLoss:
    """One of `losses` with its negative sampler."""

    def __init__(self, split: Split, config: TrainingConfig) -> None:
        power = config.popularity_power if config.loss == "sampled_softmax" else 0.0
        self.config = config
        self.n_items = len(split.item_index)
        self.sampler = Negatives(split, power, expected_of=config.negatives)
        self.robustness_N = losses.dros_weights(self.sampler.counts_N)

    def __call__(self, student: Student, states_MD: Tensor, table_ND: Tensor, targets_M: Tensor) -> Tensor:
        if not student.inner_product:
            return scored_loss(student, states_MD, table_ND, targets_M, self.sampler, self.config)
        config, draw = self.config, self.sampler.draw
        match config.loss:
            case "full_softmax":
                return losses.full_softmax(states_MD, table_ND, targets_M, bf16=config.bf16)
            case "sampled_softmax":
                negatives_K = draw(config.negatives)
                return losses.sampled_softmax(states_MD, table_ND, targets_M, negatives_K, self.sampler.log_expected_N)
            case "gbce":
                negatives_K, calibration = draw(config.negatives), config.gbce_calibration
                return losses.gbce(
                    states_MD, table_ND, targets_M, negatives_K, n_items=self.n_items, calibration=calibration
                )
            case "ccl":
                margin, weight = config.ccl_margin, config.ccl_weight
                return losses.ccl(states_MD, table_ND, targets_M, draw(config.negatives), margin=margin, weight=weight)
            case "bce":
                return losses.bce(states_MD, table_ND, targets_M, draw(len(targets_M)))
            case "bpr":
                return losses.bpr(states_MD, table_ND, targets_M, draw(len(targets_M)))
            case "dros":
                robust = losses.dros(states_MD, table_ND, targets_M, self.robustness_N, config.dros_temperature)
                return losses.bce(states_MD, table_ND, targets_M, draw(len(targets_M))) + config.dros_weight * robust
