"""`[ctr]`: which models guess the labels, with which knowledge, and for how long."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from retort.offline.common.section import MAX_SEED, Section

ModelName = Literal["deepfm", "dcn_v2"]
# base: ids and attributes. kar: the knowledge as input. taught: the knowledge as a target while training (LLM-KT);
# taught_faithful: as published, without a map that is learnt. …_shuffled: the same with the profiles of others, and
# item texts of others: what a gain without knowledge would be.
Arm = Literal["base", "kar", "kar_shuffled", "taught", "taught_faithful", "taught_shuffled"]


class CtrConfig(Section):
    """All arms of a model have the same budget; validation AUC chooses each one's epoch."""

    models: tuple[ModelName, ...] = Field(("deepfm", "dcn_v2"), min_length=1, description="which are compared")
    arms: tuple[Arm, ...] = Field(
        get_args(Arm),
        min_length=1,
        description="base: ids and attributes; kar: knowledge read; taught: knowledge learnt; shuffled: that of others",
    )
    seeds: tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...] = Field(
        (0,), min_length=1, description="one training each"
    )
    positive_from: float = Field(4.0, description="weight of an interaction from which its label is 1")
    embedding_dim: int = Field(16, ge=1, le=8192, description="of every field")
    layers: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(
        (128, 64), min_length=1, description="widths of the deep part"
    )
    n_cross: int = Field(3, ge=1, le=100, description="cross layers; dcn_v2")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of what is hidden while training")
    n_shared: int = Field(2, ge=1, description="kar: experts for users and items alike")
    n_own: int = Field(2, ge=1, description="kar: experts for users, and as many for items")
    teaching_weight: float = Field(0.5, ge=0, le=1, description="taught: α in the first half of the epochs")
    epochs: int = Field(12, ge=1, description="at most")
    patience: int = Field(3, ge=1, description="epochs without a better validation AUC; not in the taught half")
    batch_size: int = Field(1024, ge=1, description="events a step")
    learning_rate: float = Field(1e-3, gt=0, description="of AdamW")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
