"""Profile reconstruction, ECIR 2026, https://arxiv.org/abs/2604.21536: predicts the profile vector from pooled states.

mode "faithful" maps the profile to the student's width with a learnt projection, as published: the target can then
collapse to a constant, which has no loss and teaches nothing. mode "repaired" (default) keeps the target fixed, centred
and of unit length, and projects the student's side instead. In both modes padding and users without a profile do not
count; the published code pools padding too, and keeps such users in the denominator. In mode "faithful" a block given
by its number is read before the final norm, as in the published code; −1 is read after it.

With `[teacher.weights]` users are weighted by the faithfulness of their profile, which the paper does not do.

Several profiles of a user (`[encoder] aspects = "apart"`) are mapped separately and then combined.

Shapes: B batch, T sequence, D embedding_dim, U n_users, K profiles of a user, W width of each.
"""

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from retort.offline.distillation._activations import Pool, capture_activation
from retort.offline.distillation._base import Objective, StudentOutput, check_block, zero_loss
from retort.offline.distillation._user_targets import (
    ProfileCombination,
    split_profiles,
    standardise_profiles,
    user_targets,
)
from retort.offline.distillation.configs.profile import Config
from retort.offline.students._base import Student, real_positions
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError


class Model(Objective):
    """Distance between the projected, pooled states and the user's profile vector."""

    config: Config
    targets_UKW: Tensor
    known_U: Tensor
    weights_U: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        targets = user_targets(teacher, "profile")
        check_block(config.block, student, "profile")
        targets_UKW = split_profiles(targets, teacher)
        if config.mode == "repaired":
            targets_UKW = standardise_profiles(targets_UKW, targets.known_U)
        dim, (_, n_profiles, width) = student.config.embedding_dim, targets_UKW.shape
        self.register_buffer("targets_UKW", targets_UKW, persistent=False)
        self.register_buffer("known_U", targets.known_U, persistent=False)
        self.register_buffer("weights_U", targets.weights_U, persistent=False)
        self._captured: list[Tensor] | None = None
        self._handle: RemovableHandle | None = None
        self.pool = Pool(config.pooling, dim, config.gamma)
        self.of_profile, self.of_student = _maps(config, dim, width)
        self.gather = ProfileCombination(config.aspects, n_profiles, dim if _is_narrowed(config) else width)

    def attach(self, student: Student) -> None:
        norm = dict(student.named_children()).get("norm")
        if norm is not None and self.config.mode == "faithful" and self.config.block == student.n_blocks - 1:
            self._captured = []
            self._handle = capture_activation(norm, "input", self._captured)

    def detach(self, student: Student) -> None:
        if self._handle is not None:
            self._handle.remove()

    def forward(self, output: StudentOutput) -> Tensor:
        known_B = self.known_U[output.users_B] & real_positions(output.items_BT).any(-1)
        if not known_B.any():
            return zero_loss(output)
        pooled_BD = self.pool(self._states(output)[known_B], real_positions(output.items_BT[known_B]))
        # a user may have several rows in a batch, and nobody is the own negative
        users_V, rows_B = output.users_B[known_B].unique(return_inverse=True)
        target_VW = self.gather(self.of_profile(self.targets_UKW[users_V]))
        weights_B = self.weights_U[users_V][rows_B]
        if self.config.loss == "infonce":
            return self._info_nce(self.of_student(pooled_BD), target_VW, rows_B, weights_B)
        return self._distance(self.of_student(pooled_BD), target_VW[rows_B], weights_B)

    def _states(self, output: StudentOutput) -> Tensor:
        """(B, T, D) of the block."""
        if self._captured is None:
            return output.states[self.config.block]
        return self._captured[0].float()  # a block returns bfloat16 under autocast

    def _info_nce(self, predicted_BW: Tensor, target_VW: Tensor, rows_B: Tensor, weights_B: Tensor) -> Tensor:
        """Cross-entropy of finding the own profile among those of the batch's V users."""
        cosines_BV = functional.normalize(predicted_BW, dim=-1) @ functional.normalize(target_VW, dim=-1).T
        losses_B = functional.cross_entropy(cosines_BV / self.config.temperature, rows_B, reduction="none")
        return (weights_B * losses_B).mean()

    def _distance(self, predicted_BW: Tensor, target_BW: Tensor, weights_B: Tensor) -> Tensor:
        if self.config.loss == "cosine":
            return (weights_B * (1 - functional.cosine_similarity(predicted_BW, target_BW, dim=-1))).mean()
        squared = (weights_B * (predicted_BW - target_BW).square().mean(-1)).mean()
        return squared if self.config.loss == "mse" else squared.clamp(min=1e-12).sqrt()


def _is_narrowed(config: Config) -> bool:
    """Whether the profiles are mapped to the student's width."""
    return config.mode == "faithful" and config.down_scale


def _maps(config: Config, dim: int, width: int) -> tuple[nn.Module, nn.Module]:
    """Maps of the profile and of the student's states to a common width."""
    if config.mode == "repaired":
        if not config.down_scale or config.up_scale:
            raise TeacherError("objective 'profile': down_scale and up_scale require mode = \"faithful\"; remove them.")
        return nn.Identity(), nn.Linear(dim, width)
    if not config.down_scale and not config.up_scale and width != dim:
        raise TeacherError(
            f"objective 'profile', down_scale = false: the profiles are {width} wide, the student's states {dim}; "
            f"reduce them to {dim} ([reducer] n_components), or set up_scale = true (the states are mapped to the "
            "profiles' width) or down_scale = true."
        )
    of_profile = nn.Linear(width, dim) if config.down_scale else nn.Identity()
    target_width = dim if config.down_scale else width
    return of_profile, nn.Linear(dim, target_width) if config.up_scale else nn.Identity()
