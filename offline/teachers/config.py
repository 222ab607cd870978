"""`[teacher]` and its sections."""

from pathlib import Path
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


class TitleGenerationConfig(TunedModelConfig):
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


class TextEncoderConfig(Section):
    """How histories are read, how the maps are tuned, and what is kept of the answers."""

    width: int = Field(128, ge=1, description="principal components of the text vectors that are kept")
    history: int = Field(10, ge=1, description="newest items that are read")
    decay: float = Field(0.8, gt=0, le=1, description="an item weighs this much of the next newer one")
    latest: int | None = Field(None, ge=1, description="ask for each user's newest events only; unset: for all")
    k: int = Field(20, ge=1, description="items of a list that are kept")
    temperature: float = Field(1.0, gt=0, description="of the stored distributions")
    hide_seen: bool = Field(True, description="items of the history do not come back in the list")
    folds: int = Field(3, ge=0, description="groups of users for cross-fitting; 0 or 1: nothing is tuned")
    epochs: int = Field(5, ge=1, description="of tuning")
    batch_size: int = Field(512, ge=2, description="histories a step; their items are each other's negatives")
    learning_rate: float = Field(2e-3, gt=0, description="highest, while tuning")
    scale: float = Field(16.0, gt=0, description="cosines times this are logits; tuned from there")
    id_weight: float = Field(
        0.5, ge=0, description="in turns with a student: length of its item vector beside the text's, which is 1"
    )
    seed: int = Field(0, ge=0, description="of groups and batches")


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


class SelectionConfig(Section):
    """`[teacher.selection]`."""

    by: Literal["none", "hard", "sure"] = Field("none", description="hard wants lists made in turns with a student")
    share: float = Field(0.2, gt=0, le=1, description="of the users that the lists are about")


class WeightsConfig(Section):
    """How grounding becomes a weight."""

    by: Literal["none", "grounding"] = Field("none", description="none: every profile counts alike")
    power: float = Field(1.0, gt=0, description="above 1: badly grounded profiles count still less")
    unknown: float = Field(0.5, ge=0, le=1, description="grounding of profiles that could not be checked")


class TeacherConfig(Section):
    """`[teacher]`: the profiles' vectors, or what stands in for them in a control arm."""

    control: Literal["none", "shuffled", "gaussian", "history_mean", "history_pca"] = Field(
        "none", description="none: the real profiles; else a teacher that knows less, for comparison"
    )
    item_control: Literal["none", "shuffled", "gaussian"] = Field(
        "none",
        description="none: the items' own texts and their vectors; else those of other items, or vectors of noise, for "
        "comparison",
    )
    seed: int = Field(42, ge=0, description="shuffled, gaussian, history_pca")
    n_components: int = Field(64, ge=1, description="history_pca: width")
    min_coverage: float = Field(0.0, ge=0, le=1, description="share of users with a history who must have one")
    items: Literal["encoded", "tuned", "file", "published"] = Field(
        "encoded",
        description="item vectors: the encoder's; by the encoder tuned on train rows ([teacher.tuned_encoder]); a "
        "Parquet file of item_id and vector, or a published folder, at `items_path`",
    )
    items_path: Path | None = Field(None, description="a relative path starts at the data directory")
    lists: Literal["none", "text_encoder", "tuned_encoder", "grounding", "item_head", "mutual", "file", "published"] = (
        Field("none", description="where ranked items and distributions come from; the last two read `lists_path`")
    )
    lists_path: Path | None = Field(
        None,
        description="file: a folder with rankings.parquet, distributions.parquet or both; published: its folder; "
        "a relative path starts at the data directory",
    )
    text_encoder: TextEncoderConfig = Field(TextEncoderConfig(), description='lists = "text_encoder", or turns with it')
    tuned_encoder: TunedEncoderConfig = Field(
        TunedEncoderConfig(), description='lists = "tuned_encoder" or items = "tuned"'
    )
    grounding: TitleGenerationConfig = Field(TitleGenerationConfig(), description='lists = "grounding"')
    item_head: ItemHeadConfig = Field(ItemHeadConfig(), description='lists = "item_head", or turns with it')
    mutual: MutualConfig = Field(MutualConfig(), description='lists = "mutual" or "item_head"')
    selection: SelectionConfig = Field(SelectionConfig(), description="of which users the lists speak")
    weights: WeightsConfig = Field(WeightsConfig(), description="how much each user's profile counts")

    @property
    def makes_lists(self) -> bool:
        """Whether the lists are the work of a step of this run, not files that are given."""
        return self.lists not in ("none", "file", "published")

    @property
    def trains_with_student(self) -> bool:
        """Whether the lists' teacher reads a student's item vectors, and so is made together with one."""
        return self.lists in ("mutual", "item_head")

    @property
    def list_teachers(self) -> tuple[str, ...]:
        """The sections that shape the lists."""
        if self.lists == "mutual":
            return ("mutual", self.mutual.teacher)
        return ("mutual", "item_head") if self.lists == "item_head" else (self.lists,)

    @property
    def lists_read_vectors(self) -> bool:
        """Whether the lists' teacher reads the items' text vectors."""
        return self.makes_lists and "text_encoder" in self.list_teachers

    @property
    def lists_read_texts(self) -> bool:
        """Whether the lists' teacher reads the items' texts themselves."""
        return self.lists in ("grounding", "tuned_encoder")
