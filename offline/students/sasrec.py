"""SASRec, https://arxiv.org/abs/1808.09781, pre-norm, padded keys masked, trained by softmax, not one negative."""

from torch import nn

from retort.offline.students._blocks import TransformerBlock
from retort.offline.students._stack import StackStudent
from retort.offline.students.configs.sasrec import Config


class Model(StackStudent):
    """Causal self-attention over the items, scored against the same item table."""

    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        self.initialise()

    def new_block(self) -> nn.Module:
        config = self.config
        return TransformerBlock(config.embedding_dim, config.n_heads, config.dropout, config.expansion)
