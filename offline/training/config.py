"""The recipe's `[training]`."""

from typing import Literal

from pydantic import Field

from retort.offline.common.section import MAX_SEED, Section

LearningRate = Literal["cosine", "constant"]
LossName = Literal["full_softmax", "sampled_softmax", "gbce", "bce", "bpr", "ccl", "dros"]


class TrainingConfig(Section):
    """How a student is trained; plain and distilled runs have the same budget."""

    epochs: int = Field(30, ge=1, le=100_000, description="maximum; validation may stop earlier")
    batch_size: int = Field(256, ge=1, le=1_000_000, description="windows per step")
    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate")
    rate: LearningRate = Field("cosine", description="schedule after the warm-up: cosine decay, or constant")
    warmup_steps: int = Field(50, ge=0, description="steps until the full learning rate")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    clip_norm: float = Field(5.0, gt=0, description="gradient clipping: largest norm")
    loss: LossName = Field("sampled_softmax", description="the student's own loss")
    negatives: int = Field(512, ge=1, le=1_000_000, description="shared by a batch; sampled_softmax, gbce and ccl")
    popularity_power: float = Field(
        0.5, ge=0, le=1, description="sampled_softmax: negatives are drawn ∝ popularity^power; other losses: 0"
    )
    gbce_calibration: float = Field(0.75, ge=0, le=1, description="gbce: 0 is plain bce, 1 corrects the sampling fully")
    ccl_margin: float = Field(0.4, ge=-1, le=1, description="a negative's cosine below it costs nothing")
    ccl_weight: float = Field(150.0, gt=0, description="of the mean over negatives")
    dros_weight: float = Field(0.5, ge=0, description="weight of the robust term added to bce")
    dros_temperature: float = Field(1.0, gt=0, description="dros: lower values give the worst items more weight")
    bf16: bool = Field(True, description="matrix products in bfloat16; sums, norms and weights in float32")
    every_window: bool = Field(
        True, description="train on all windows of long histories; false: only on the newest one"
    )
    patience: int = Field(10, ge=1, description="evaluations without a better validation NDCG@10 before stopping")
    evaluate_every: int = Field(1, ge=1, description="epochs")
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="time budget: the number of epochs, and with it the schedule, is set after the first epoch so that "
        "training ends within it, which may be within the first epoch; runs with it cannot be repeated exactly",
    )
    refit_epochs: int | None = Field(
        None, ge=1, description='protocol "refit": number of epochs; unset: a held training finds it'
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="of weights, batches and negatives")
