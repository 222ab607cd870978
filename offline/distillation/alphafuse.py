"""AlphaFuse, https://arxiv.org/abs/2504.19218: ids are learnt in the null space of the text vectors.

The leading principal directions of the text vectors are the first columns of an item's vector and stay fixed. The other
columns, where the texts have little to say, are learnt from the data. The sum is written into the item table when
training ends, so that a plain student is exported.

Shapes: N n_items + 1, D embedding_dim, P text columns.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._item_targets import item_targets, whitened
from retort.offline.distillation.configs.alphafuse import Config
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError


class Model(Objective):
    """Fixed text columns of the item table; an item without a text learns all of its columns."""

    adds_loss: ClassVar[bool] = False
    config: Config
    text_ND: Tensor
    fixed_ND: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        dim = student.config.embedding_dim
        width = config.width or dim // 2
        if not 0 < width < dim:
            raise TeacherError(
                f"objective 'alphafuse': width = {width} leaves no column of {dim} for the ids; lower width, or raise "
                "[student] embedding_dim."
            )
        targets = whitened(item_targets(teacher, "alphafuse"), width, config.whiten)
        text_ND = functional.pad(targets.vectors_NE * config.rms, (0, dim - width))
        fixed_ND = targets.known_N[:, None] & (torch.arange(dim) < width)
        self.register_buffer("text_ND", text_ND, persistent=False)
        self.register_buffer("fixed_ND", fixed_ND, persistent=False)
        self._handle: RemovableHandle | None = None

    @torch.no_grad()
    def prepare(self, student: Student) -> None:
        student.items.weight.masked_fill_(self.fixed_ND, 0.0)

    def attach(self, student: Student) -> None:
        student.add_to_items(self)
        # the columns of the student's own table stay zero: without a gradient, AdamW changes no zero
        self._handle = student.items.weight.register_hook(lambda gradient: gradient.masked_fill(self.fixed_ND, 0.0))

    def detach(self, student: Student) -> None:
        if self._handle is not None:
            self._handle.remove()

    def rows(self, items: Tensor) -> Tensor:
        """Return the text columns (..., D) of the item indexes (...); zero in the others."""
        return self.text_ND[items]

    def table(self) -> Tensor:
        """Return the text columns (N, D) of all items."""
        return self.text_ND

    def forward(self, output: StudentOutput) -> Tensor:
        return zero_loss(output)
