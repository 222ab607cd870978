"""Configuration that objectives share; no module in this folder imports torch."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from retort.offline.common.section import Section

Side = Literal["input", "output"]
Pooling = Literal["mean", "exponential", "attention", "last", "max"]
Combination = Literal["mean", "attention"]
Positions = Literal["all", "last"]


class ObjectiveConfig(Section):
    """Configuration that all objectives share: weight, epochs and scaling.

    In its epochs (first_epoch … last_epoch, counted from 1, both included) the loss is
    `(1 − weight)·own + weight·objective` if `share`, else `own + weight·objective`.
    With `match_scale` the objective is first scaled to the size of the student's own loss (the papers' β),
    at most `scale_cap` times. The scaled value carries no information, so the raw one is logged.
    """

    FAITHFUL_ONLY: ClassVar[frozenset[str]] = frozenset()  # keys that only the published form has

    WEIGHS_USERS: ClassVar[bool] = False  # whether `[teacher.weights]` is used

    name: str = Field(description="a file in offline/distillation")
    weight: float = Field(0.1, ge=0, description="weight relative to the student's own loss; 0: off")
    share: bool = Field(False, description="true: the own loss weighs 1 − weight; false: it weighs 1")
    first_epoch: int = Field(1, ge=1, description="the first in which it takes part, counted from 1")
    last_epoch: int | None = Field(None, ge=0, description="the last in which it takes part; unset: to the end")
    match_scale: bool = Field(False, description="bring it to the size of the own loss first (the papers' β)")
    scale_cap: float = Field(100.0, gt=0, description="match_scale: at most so many times")

    @model_validator(mode="after")
    def _check_weight_and_epochs(self) -> Self:
        if self.share and self.weight > 1:
            raise ValueError(
                f"share = true weighs the own loss by 1 − weight, which is negative for weight = {self.weight:g}; use "
                "a weight of at most 1, or share = false"
            )
        if self.last_epoch and self.last_epoch < self.first_epoch:
            raise ValueError(
                f"last_epoch = {self.last_epoch} is before first_epoch = {self.first_epoch}, so the objective would "
                "never take part; change one of the two"
            )
        return self

    @property
    def needs(self) -> frozenset[str]:
        """Parts of the teacher that the objective reads: "users", "items", "lists"."""
        return frozenset({"users"})

    def active(self, epoch: int) -> bool:
        """Return whether the objective takes part in this epoch; with weight 0 it never does."""
        last = self.last_epoch
        return self.weight > 0 and self.first_epoch <= epoch and (last is None or epoch <= last)
