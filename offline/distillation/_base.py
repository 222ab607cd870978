"""What every distillation objective is: states and a batch in, one number out.

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
    """What an objective may look at.

    states: (B, T, D) a block, oldest block first. items_BT: what the student read. users_B: user_index of each row.
    targets_BT: the item asked for at each position, PAD where none is. events_BT: where that item stands in
    `split.train.values`, −1 where none is asked for. table_ND: the vectors that the last state is scored against.
    bf16: large products may be taken in bfloat16, as the student's own are.
    """

    states: list[Tensor]
    items_BT: Tensor
    users_B: Tensor
    targets_BT: Tensor
    events_BT: Tensor
    table_ND: Tensor
    bf16: bool = False


class Objective(nn.Module):
    """One way to learn from a teacher. It owns its projection and pooling, so nothing of it is exported.

    A row whose user (or item) the teacher does not know counts in neither numerator nor denominator.
    `fit` calls `prepare` once before the first epoch, `attach` when a training starts or goes on, `detach` at its end;
    of an objective with weight 0 it calls nothing.
    """

    # False: it has no loss of its own and acts by `prepare` or `attach` alone
    adds_loss: ClassVar[bool] = True
    # True: it scores items by their inner product with a state, which not every student's scores are
    reads_products: ClassVar[bool] = False

    def __init__(self, config: ObjectiveConfig, student: Student, teacher: Teacher) -> None:
        super().__init__()
        if self.reads_products and not student.inner_product:
            raise TeacherError(
                f"objective {config.name!r} takes a student's scores for inner products, and this student's are none; "
                "choose another student, or an objective that reads its states (feature, profile)."
            )
        self.config = config

    def prepare(self, student: Student) -> None:
        """Change the student's first weights (an interrupted training has them in its checkpoint)."""

    def attach(self, student: Student) -> None:
        """Add to the student's item table, or listen to its modules."""

    def detach(self, student: Student) -> None:
        """Stop listening. Additions to the item table are folded by `fit`."""

    def forward(self, output: StudentOutput) -> Tensor:
        """A scalar; 0 with no gradient where no row of the batch has a teacher."""
        raise NotImplementedError


def zero_loss(output: StudentOutput) -> Tensor:
    """0 of the right type and device, for a batch that the teacher knows nothing of."""
    return output.states[-1][:0].sum()
