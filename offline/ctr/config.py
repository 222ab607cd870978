"""Settings of a comparison of click-through-rate (CTR) models, `[ctr]`: models, knowledge and training."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from retort.offline.common.section import MAX_SEED, Section

ModelName = Literal["deepfm", "dcn_v2"]
# base: ids and attributes. kar: knowledge as input. taught: knowledge as a training target (LLM-KT);
# taught_faithful: as published, without a learned projection. …_shuffled: controls with the profiles and item texts of
# other users and items.
Arm = Literal["base", "kar", "kar_shuffled", "taught", "taught_faithful", "taught_shuffled"]


class CtrConfig(Section):
    """Settings of the CTR models. All arms of a model have the same budget; validation AUC selects each arm's epoch."""

    models: tuple[ModelName, ...] = Field(("deepfm", "dcn_v2"), min_length=1, description="models to compare")
    arms: tuple[Arm, ...] = Field(
        get_args(Arm),
        min_length=1,
        description="base: ids and attributes; kar: knowledge as input; taught: as target; shuffled: control",
    )
    seeds: tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...] = Field(
        (0,), min_length=1, description="seeds; one training for each"
    )
    positive_from: float = Field(4.0, description="least weight of an interaction with label 1")
    embedding_dim: int = Field(16, ge=1, le=8192, description="width of each field's vector")
    layers: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(
        (128, 64), min_length=1, description="widths of the deep layers"
    )
    n_cross: int = Field(3, ge=1, le=100, description="cross layers of dcn_v2")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the deep layers")
    n_shared: int = Field(2, ge=1, description="kar: experts that users and items share")
    n_own: int = Field(2, ge=1, description="kar: experts for users only, and as many for items only")
    teaching_weight: float = Field(0.5, ge=0, le=1, description="taught: α of LLM-KT, in the first half of the epochs")
    epochs: int = Field(12, ge=1, description="maximum number of epochs")
    patience: int = Field(
        3, ge=1, description="epochs without a better validation AUC before training stops; not in the taught half"
    )
    batch_size: int = Field(1024, ge=1, description="events of a step")
    learning_rate: float = Field(1e-3, gt=0, description="of AdamW")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
