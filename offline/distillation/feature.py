"""LLM-KT, https://arxiv.org/abs/2411.00556: reconstructs the profile from a hidden layer's activations.

The layer has its torch name (`blocks.1.attention`, `norm`); a hook captures its input or output, so no student needs
changes. The target is fixed. Activations with positions must have those of the student's input, as in every module that
a student defines; activations without positions are used as they are.

Shapes: B batch, T sequence, H width of the layer, P width of the teacher's vectors.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from retort.offline.distillation._activations import Pool, capture_activation
from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._teacher_positions import info_nce
from retort.offline.distillation._user_targets import standardise, user_targets
from retort.offline.distillation.configs._base import Side
from retort.offline.distillation.configs.feature import Config
from retort.offline.students._base import Student, real_positions
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError


class Model(Objective):
    """Distance between the pooled, projected activations of one module and the profile vector."""

    config: Config
    targets_UP: Tensor
    known_U: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        targets = user_targets(teacher, "feature")
        if config.mode == "repaired":
            targets = standardise(targets)
        width = targets.vectors_UP.shape[1]
        _check_width(config, width)
        self.layer = config.layer or [name for name, _ in student.named_children()][-1]
        captured = _captured_width(_module(student, self.layer), student, config.side)
        if config.first_columns:
            _check_first_columns(config, captured, width)
        elif config.mode == "faithful" and captured != width:
            raise TeacherError(
                f"objective 'feature', faithful: {self.layer!r} is {captured} wide, the user vectors {width}; "
                f'reduce them to {captured} ([reducer] n_components), or use mode = "repaired".'
            )
        self.register_buffer("targets_UP", targets.vectors_UP, persistent=False)
        self.register_buffer("known_U", targets.known_U, persistent=False)
        self.pool = Pool(config.pooling, captured, config.gamma)
        # the paper has no projector: the columns are compared unchanged
        self.project: nn.Module = nn.Linear(captured, width) if config.mode == "repaired" else _FirstColumns(width)
        self._captured: list[Tensor] = []
        self._handle: RemovableHandle | None = None

    def attach(self, student: Student) -> None:
        self._handle = capture_activation(_module(student, self.layer), self.config.side, self._captured)

    def detach(self, student: Student) -> None:
        if self._handle is not None:
            self._handle.remove()

    def forward(self, output: StudentOutput) -> Tensor:
        if not self._captured:
            raise TeacherError(f"objective 'feature': {self.layer!r} was not called in this step; name another layer.")
        captured = self._captured.pop().float()  # a linear layer returns bfloat16 under autocast
        real_BT = real_positions(output.items_BT)
        known_B = self.known_U[output.users_B] & real_BT.any(-1)
        if not known_B.any():
            return zero_loss(output)
        pooled_BH = self.pool(captured[known_B], real_BT[known_B]) if captured.dim() == 3 else captured[known_B]
        return self._distance(self.project(pooled_BH), self.targets_UP[output.users_B[known_B]])

    def _distance(self, predicted_BP: Tensor, target_BP: Tensor) -> Tensor:
        match self.config.loss:
            case "mse":
                return functional.mse_loss(predicted_BP, target_BP)
            case "rmse":
                return functional.mse_loss(predicted_BP, target_BP).clamp(min=1e-12).sqrt()
            case "cosine":
                return (1 - functional.cosine_similarity(predicted_BP, target_BP, dim=-1)).mean()
            case "infonce":
                return info_nce(predicted_BP, target_BP, self.config.temperature)


class _FirstColumns(nn.Module):
    """The first columns, unchanged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, predicted_BH: Tensor) -> Tensor:
        return predicted_BH[:, : self.width]


def _check_width(config: Config, width: int) -> None:
    if config.width is not None and width != config.width:
        raise TeacherError(
            f"objective 'feature': width = {config.width}, but the user vectors have {width}; change one of the two."
        )
    # the published code passes the width of UMAP as another parameter, and always gets two columns
    if config.width is None and width == 2:
        raise TeacherError(
            "objective 'feature': the user vectors have two columns, too few to describe a user; raise [reducer] "
            "n_components, or set width = 2 if two are intended."
        )


def _check_first_columns(config: Config, captured: int, width: int) -> None:
    if config.mode == "repaired":
        raise TeacherError("objective 'feature': first_columns requires mode = \"faithful\"; remove it.")
    if width > captured:
        raise TeacherError(
            f"objective 'feature': the user vectors are {width} wide, the layer only {captured}; reduce them to "
            f"at most {captured} ([reducer] n_components)."
        )


def _module(student: Student, name: str) -> nn.Module:
    modules = dict(student.named_modules())
    if name not in modules:
        names = ", ".join(known for known in modules if known)
        raise TeacherError(f"objective 'feature': the student has no layer {name!r}; it has: {names}.")
    return modules[name]


def _captured_width(module: nn.Module, student: Student, side: Side) -> int:
    """Width of the layer, found by a forward pass over two sequences of three items."""
    captured: list[Tensor] = []
    handle = capture_activation(module, side, captured)
    was_training = student.training
    student.train()
    with torch.no_grad():
        student.hidden_states(torch.ones(2, 3, dtype=torch.long, device=student.items.weight.device))
    student.train(was_training)
    handle.remove()
    if not captured or not captured[0].is_floating_point() or captured[0].shape[:-1] not in ((2,), (2, 3)):
        raise TeacherError(
            "objective 'feature': this layer has no vectors of users or positions; name one that the student's "
            "states pass."
        )
    return captured[0].shape[-1]
