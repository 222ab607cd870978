"""`[teacher.mutual]`; apart from the turns themselves, which need torch."""

from typing import Literal

from pydantic import Field

from retort.offline.common.section import Section


class MutualConfig(Section):
    """LLMD4Rec's turns of a language-model recommender and a student, https://arxiv.org/abs/2505.18120.

    The paper gives neither weights nor temperatures. The last turn, that of the student that is served, is the run's
    own training with the objective "mutual": it has the plain student's budget.
    """

    mode: Literal["repaired", "faithful"] = Field(
        "repaired",
        description="repaired: what is said of a user comes from models that had not seen the user; "
        "faithful: both models speak of the rows they were trained on",
    )
    teacher: Literal["text_encoder", "item_head"] = Field(
        "text_encoder", description="the student's partner, shaped by its own section"
    )
    loops: int = Field(3, ge=1, description="the paper: 3 to 5")
    folds: int = Field(2, ge=2, description="repaired: groups of users, each with models of its own")
    student_epochs: int = Field(10, ge=1, description="of each turn of the student, instead of [training] epochs")
    upward: float = Field(0.5, ge=0, description="β: weight of the teacher's word in the student's turns")
    downward: float = Field(0.5, ge=0, description="γ: weight of the student's word in the teacher's turns")
    temperature: float = Field(2.0, gt=0, description="of both sides' distributions")
    k: int = Field(50, ge=1, description="items kept of each distribution; the others are one tail")
    weigh_samples: bool = Field(True, description="the model that ranks the true item worse listens more")
    seed: int = Field(0, ge=0, description="of the groups, and of the models that take turns")
