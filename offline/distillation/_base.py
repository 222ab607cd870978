"""Base class of distillation objectives: the student's output for a batch in, a scalar loss out.

Shapes: B batch, T sequence, D embedding_dim, P width of the teacher's vectors.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from retort.offline.distillation.configs._base import ObjectiveConfig
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError


@dataclass(frozen=True)
class StudentOutput:
    """The student's output for a batch, as objectives see it.

    Attributes:
        states: Hidden states (B, T, D) of each block, first block first.
        items_BT: Input items.
        users_B: user_index of each row.
        targets_BT: Target item of each position, PAD where there is none.
        events_BT: Index of the target in `split.train.values`, −1 where there is none.
        table_ND: Item vectors that the last states are scored against.
        bf16: Large products may be computed in bfloat16, as the student's own are.
    """

    states: list[Tensor]
    items_BT: Tensor
    users_B: Tensor
    targets_BT: Tensor
    events_BT: Tensor
    table_ND: Tensor
    bf16: bool = False


class Objective(nn.Module):
    """Base class of distillation objectives. It owns its projection and pooling, so nothing of it is exported.

    A row whose user or item is unknown to the teacher counts in neither numerator nor denominator. `fit` calls
    `prepare` once before the first epoch, `attach` when a training starts or resumes and `detach` at its end; it calls
    none of them for an objective with weight 0.
    """

    # False: the objective has no loss; it acts only in `prepare` or `attach`
    adds_loss: ClassVar[bool] = True
    # True: the objective scores items by inner products, which not every student does
    reads_products: ClassVar[bool] = False

    def __init__(self, config: ObjectiveConfig, student: Student, teacher: Teacher) -> None:
        super().__init__()
        if self.reads_products and not student.inner_product:
            raise TeacherError(
                f"objective {config.name!r} requires a student whose scores are inner products, and this student's are "
                "not; choose another student, or an objective that reads its states (feature, profile)."
            )
        self.config = config

    def prepare(self, student: Student) -> None:
        """Change the student's initial weights; a resumed training has them in its checkpoint."""

    def attach(self, student: Student) -> None:
        """Add to the student's item table, or register hooks on its modules."""

    def detach(self, student: Student) -> None:
        """Remove the hooks; `fit` folds additions to the item table."""

    def forward(self, output: StudentOutput) -> Tensor:
        """Return the scalar loss; 0 without gradient if the teacher knows no row of the batch."""
        raise NotImplementedError


def check_block(block: int, student: Student, objective: str) -> None:
    """Raise TeacherError if the student has no such block."""
    if not -student.n_blocks <= block < student.n_blocks:
        raise TeacherError(
            f"objective {objective!r}: block = {block}, but the student has {student.n_blocks} blocks, numbered from "
            "0; choose another block, or -1 for the last."
        )


def zero_loss(output: StudentOutput) -> Tensor:
    """Return 0 of the right type and device, for a batch of which the teacher knows no row."""
    return output.states[-1][:0].sum()
