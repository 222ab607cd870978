"""`[teacher.item_head]`, `[teacher.grounding]`, `[teacher.tuned_encoder]`; apart from what needs torch."""

from typing import Literal

from pydantic import Field

from retort.offline.common.section import Section


class TuningConfig(Section):
    """LoRA weights, how they are tuned, and about what the tuned model is asked."""

    lora_rank: int = Field(16, ge=1, description="rank of the matrices that are added")
    lora_alpha: int = Field(16, ge=1, description="they count by lora_alpha / lora_rank")
    lora_dropout: float = Field(0.05, ge=0, lt=1, description="in front of them, while tuning")
    lora_layers: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description='names of the layers that are tuned, such as ["q_proj", "v_proj"]'
    )
    epochs: int = Field(3, ge=1, description="of tuning")
    batch_size: int = Field(16, ge=1, description="events a step, also when it is asked")
    learning_rate: float = Field(3e-4, gt=0, description="highest, while tuning")
    warmup_steps: int = Field(100, ge=0, description="at most a fifth of all steps")
    rows: int | None = Field(None, ge=1, description="events that are learnt an epoch, drawn anew; unset: all")
    latest: int | None = Field(None, ge=1, description="ask for each user's newest events only; unset: for all")
    hide_seen: bool = Field(True, description="items of the history do not come back in the list")
    seed: int = Field(0, ge=0, description="of groups, drawn events and new weights")


class TunedModelConfig(TuningConfig):
    """A causal language model."""

    model: str = Field("Qwen/Qwen1.5-0.5B", description="a hub name, or a folder in the hub's layout")
    revision: str | None = Field(None, description="hub models: commit or tag")
    device: str | None = Field(None, description="cpu, cuda; unset: the best there is")


class ItemHeadConfig(TunedModelConfig):
    """E4SRec's way, https://arxiv.org/abs/2312.02443, with its knobs: the history's items are soft prompts."""

    history: int = Field(50, ge=1, description="newest items that are read")
    lora_layers: Literal["all-linear"] | tuple[str, ...] = ("gate_proj", "down_proj", "up_proj")


class GroundingConfig(TunedModelConfig):
    """BIGRec's way, https://arxiv.org/abs/2308.08434, with its knobs: the next title is written and looked up."""

    lora_rank: int = Field(8, ge=1)
    lora_layers: Literal["all-linear"] | tuple[str, ...] = ("q_proj", "v_proj")
    learning_rate: float = Field(1e-4, gt=0)
    epochs: int = Field(50, ge=1)
    rows: int | None = Field(1024, ge=1, description="events that are learnt, the same in all epochs; unset: all")
    latest: int | None = Field(1, ge=1, description="ask for each user's newest events only; unset: for all (slow)")
    history: int = Field(10, ge=1, description="newest items that are read")
    folds: int = Field(2, ge=1, description="groups of users for cross-fitting; 1: the paper's way, one model for all")
    max_new_tokens: int = Field(32, ge=1, description="of a title that is written")
    max_tokens: int = Field(512, ge=16, description="of prompt and title; what is older is cut")
    k: int = Field(20, ge=1, description="items of a list that are kept")
    temperature: float = Field(
        0.5, gt=0, description="of the stored distributions, whose scores are −distance in deviations of its list"
    )


class TunedEncoderConfig(TuningConfig):
    """The sentence encoder of `[encoder]`, tuned; the defaults keep a CPU busy for minutes, not hours."""

    lora_rank: int = Field(8, ge=1)
    lora_alpha: int = Field(16, ge=1)
    lora_layers: Literal["all-linear"] | tuple[str, ...] = ("query", "value")
    epochs: int = Field(1, ge=1)
    batch_size: int = Field(64, ge=2, description="histories a step; their items are each other's negatives")
    learning_rate: float = Field(1e-3, gt=0)
    rows: int | None = Field(8192, ge=1, description="events that are learnt an epoch, drawn anew; unset: all")
    latest: int | None = Field(1, ge=1, description="ask for each user's newest events only; unset: for all (slow)")
    history: int = Field(5, ge=1, description="newest items whose texts are read")
    max_tokens: int = Field(96, ge=8, description="of a history's text and of an item's")
    folds: int = Field(2, ge=1, description="groups of users for cross-fitting; 1: one encoder for all")
    scale: float = Field(20.0, gt=0, description="cosines times this are logits")
    k: int = Field(20, ge=1, description="items of a list that are kept")
    temperature: float = Field(1.0, gt=0, description="of the stored distributions")
