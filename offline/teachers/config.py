"""`[teacher]` and its sections."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from retort.offline.common.section import MAX_SEED, Section


class TuningConfig(Section):
    """Tuning of LoRA weights, and the events that the tuned model evaluates."""

    lora_rank: int = Field(16, ge=1, description="rank of the LoRA matrices")
    lora_alpha: int = Field(16, ge=1, description="LoRA weights are scaled by lora_alpha / lora_rank")
    lora_dropout: float = Field(0.05, ge=0, lt=1, description="dropout before the LoRA matrices, while tuning")
    lora_layers: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description='names of the layers that are tuned, such as ["q_proj", "v_proj"]'
    )
    epochs: int = Field(3, ge=1, description="epochs of tuning")
    batch_size: int = Field(16, ge=1, description="events per batch, in tuning and evaluation")
    learning_rate: float = Field(3e-4, gt=0, description="peak learning rate of tuning")
    warmup_steps: int = Field(100, ge=0, description="at most a fifth of all steps")
    rows: int | None = Field(None, ge=1, description="training events per epoch, sampled in each epoch; unset: all")
    latest: int | None = Field(None, ge=1, description="evaluate only each user's newest events; unset: all")
    hide_seen: bool = Field(True, description="exclude items of the history from the list")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of folds, sampled events and new weights")


class TunedModelConfig(TuningConfig):
    """A causal language model."""

    model: str = Field("Qwen/Qwen1.5-0.5B", description="a hub name, or a folder in the hub's layout")
    revision: str | None = Field(None, description="hub models: commit or tag")
    device: str | None = Field(None, description="cpu or cuda; unset: the best available")


class ItemHeadConfig(TunedModelConfig):
    """E4SRec, https://arxiv.org/abs/2312.02443, with its settings: the items of the history are soft prompts."""

    history: int = Field(50, ge=1, description="newest items that are read")
    lora_layers: Literal["all-linear"] | tuple[str, ...] = ("gate_proj", "down_proj", "up_proj")


class TitleGenerationConfig(TunedModelConfig):
    """BIGRec, https://arxiv.org/abs/2308.08434, with its settings: the next title is generated and looked up."""

    lora_rank: int = Field(8, ge=1)
    lora_layers: Literal["all-linear"] | tuple[str, ...] = ("q_proj", "v_proj")
    learning_rate: float = Field(1e-4, gt=0)
    epochs: int = Field(50, ge=1)
    rows: int | None = Field(1024, ge=1, description="training events, the same in all epochs; unset: all")
    latest: int | None = Field(1, ge=1, description="evaluate only each user's newest events; unset: all (slow)")
    history: int = Field(10, ge=1, description="newest items that are read")
    folds: int = Field(2, ge=1, description="folds of users for cross-fitting; 1: one model for all, as in the paper")
    max_new_tokens: int = Field(32, ge=1, description="longest generated title")
    max_tokens: int = Field(512, ge=16, description="longest prompt and title; older titles are dropped")
    k: int = Field(20, ge=1, description="length of the lists")
    temperature: float = Field(
        0.5,
        gt=0,
        description="temperature of the stored distributions, whose logits are −distance / deviation of the row",
    )


class CoOccurrenceConfig(Section):
    """The directions of the item vectors in which items of one history agree: a linear map in closed form."""

    width: int = Field(512, ge=1, description="directions that are kept")
    components: int = Field(1024, ge=1, description="principal components of the item vectors that are whitened first")
    window: int = Field(3, ge=1, description="two items of a history co-occur if at most so many events apart")
    decay: float = Field(0.7, gt=0, le=1, description="weight of each further event between the two")
    power: float = Field(
        0.25, ge=0, le=2, description="a direction is scaled by its co-occurrence to this power; 0: all equally loud"
    )


class TunedEncoderConfig(TuningConfig):
    """The sentence encoder of `[encoder]`, tuned; with the defaults it takes minutes on a CPU, not hours."""

    lora_rank: int = Field(8, ge=1)
    lora_alpha: int = Field(16, ge=1)
    lora_layers: Literal["all-linear"] | tuple[str, ...] = ("query", "value")
    epochs: int = Field(1, ge=1)
    batch_size: int = Field(64, ge=2, description="histories per step; their items are in-batch negatives")
    learning_rate: float = Field(1e-3, gt=0)
    rows: int | None = Field(8192, ge=1, description="training events per epoch, sampled in each epoch; unset: all")
    latest: int | None = Field(1, ge=1, description="evaluate only each user's newest events; unset: all (slow)")
    history: int = Field(5, ge=1, description="newest items whose titles are read")
    max_tokens: int = Field(96, ge=8, description="longest text of a history or an item")
    folds: int = Field(2, ge=1, description="folds of users for cross-fitting; 1: one encoder for all")
    scale: float = Field(20.0, gt=0, description="factor from cosines to logits")
    k: int = Field(20, ge=1, description="length of the lists")
    temperature: float = Field(1.0, gt=0, description="temperature of the stored distributions")


class TextEncoderConfig(Section):
    """Text-encoder teacher: reading of histories, tuning of the maps, and length of the lists."""

    width: int = Field(128, ge=1, description="principal components of the text vectors")
    history: int = Field(10, ge=1, description="newest items that are read")
    decay: float = Field(0.8, gt=0, le=1, description="weight of an item relative to the next newer one")
    latest: int | None = Field(None, ge=1, description="evaluate only each user's newest events; unset: all")
    k: int = Field(20, ge=1, description="length of the lists")
    temperature: float = Field(1.0, gt=0, description="temperature of the stored distributions")
    hide_seen: bool = Field(True, description="exclude items of the history from the list")
    folds: int = Field(3, ge=0, description="folds of users for cross-fitting; 0 or 1: no tuning")
    epochs: int = Field(5, ge=1, description="epochs of tuning")
    batch_size: int = Field(512, ge=2, description="histories per step; their items are in-batch negatives")
    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate of tuning")
    scale: float = Field(16.0, gt=0, description="initial factor from cosines to logits; it is tuned")
    id_weight: float = Field(
        0.5, ge=0, description="mutual distillation: length of the student's item vector; the text's is 1"
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of folds and batches")


class MutualConfig(Section):
    """Mutual distillation of LLMD4Rec, https://arxiv.org/abs/2505.18120: a teacher and a student learn from each other.

    The paper gives neither weights nor temperatures. The student that is served is trained last, in the run's own
    training with the objective "mutual", with the plain student's budget.
    """

    mode: Literal["repaired", "faithful"] = Field(
        "repaired",
        description="repaired: predictions for a user come from models that had not seen the user; "
        "faithful: both models predict the rows they were trained on",
    )
    teacher: Literal["text_encoder", "item_head"] = Field(
        "text_encoder", description="the teacher, configured by its own section"
    )
    loops: int = Field(3, ge=1, description="loops; the paper uses 3 to 5")
    folds: int = Field(2, ge=2, description="repaired: folds of users, each with its own models")
    student_epochs: int = Field(
        10, ge=1, description="epochs of the student in each loop, instead of [training] epochs"
    )
    upward: float = Field(0.5, ge=0, description="β: weight of the teacher's predictions in the student's training")
    downward: float = Field(0.5, ge=0, description="γ: weight of the student's predictions in the teacher's training")
    temperature: float = Field(2.0, gt=0, description="temperature of both sides' distributions")
    k: int = Field(50, ge=1, description="items kept of each distribution; all others are one tail")
    weigh_samples: bool = Field(True, description="the model that ranks the true item worse has a larger weight")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of the folds and of the models")


class SelectionConfig(Section):
    """`[teacher.selection]`."""

    by: Literal["none", "hard", "sure"] = Field(
        "none", description="hard requires lists of mutual distillation; sure: best ranks by the teacher"
    )
    share: float = Field(0.2, gt=0, le=1, description="share of the users with lists")


class WeightsConfig(Section):
    """Weights of users by the faithfulness (`grounding`) of their profiles."""

    by: Literal["none", "grounding"] = Field("none", description="none: equal weights; grounding: by faithfulness")
    power: float = Field(1.0, gt=0, description="exponent of the faithfulness")
    unknown: float = Field(0.5, ge=0, le=1, description="faithfulness of profiles that could not be checked")


class TeacherConfig(Section):
    """`[teacher]`: the vectors of the profiles, or those of a control."""

    control: Literal["none", "shuffled", "gaussian", "history_mean", "history_pca"] = Field(
        "none", description="none: the real profiles; else a control that knows less"
    )
    item_control: Literal["none", "shuffled", "gaussian"] = Field(
        "none",
        description="none: the items' own texts and vectors; else a control: those of other items, or noise",
    )
    seed: int = Field(42, ge=0, le=MAX_SEED, description="shuffled, gaussian, history_pca")
    n_components: int = Field(64, ge=1, description="history_pca: number of components")
    min_coverage: float = Field(
        0.0, ge=0, le=1, description="smallest share of users with a history who must have a vector"
    )
    users: Literal["profiles", "file"] = Field(
        "profiles",
        description="profiles: their encoded texts; file: ready vectors, a Parquet file of user_id and vector at "
        "`users_path`, which must not know the held-out events",
    )
    users_path: Path | None = Field(None, description="a relative path starts at the data directory")
    items: Literal["encoded", "co_occurrence", "tuned", "file", "published"] = Field(
        "encoded",
        description="encoded: by the encoder; co_occurrence: the same, mapped to the directions in which items of one "
        "history agree ([teacher.co_occurrence]); tuned: by the encoder tuned on train rows ([teacher.tuned_encoder]); "
        "file: a Parquet file of item_id and vector at `items_path`; published: a published folder there",
    )
    items_path: Path | None = Field(None, description="a relative path starts at the data directory")
    lists: Literal["none", "text_encoder", "tuned_encoder", "grounding", "item_head", "mutual", "file", "published"] = (
        Field("none", description="where ranked items and distributions come from; the last two read `lists_path`")
    )
    list_control: Literal["none", "shuffled"] = Field(
        "none",
        description="shuffled: each event gets the list of another event; the teacher itself is not trained again",
    )
    lists_path: Path | None = Field(
        None,
        description="file: a folder with rankings.parquet, distributions.parquet or both; published: its folder; "
        "a relative path starts at the data directory",
    )
    text_encoder: TextEncoderConfig = Field(
        TextEncoderConfig(), description='lists = "text_encoder", or mutual distillation with it'
    )
    co_occurrence: CoOccurrenceConfig = Field(CoOccurrenceConfig(), description='items = "co_occurrence"')
    tuned_encoder: TunedEncoderConfig = Field(
        TunedEncoderConfig(), description='lists = "tuned_encoder" or items = "tuned"'
    )
    grounding: TitleGenerationConfig = Field(TitleGenerationConfig(), description='lists = "grounding"')
    item_head: ItemHeadConfig = Field(
        ItemHeadConfig(), description='lists = "item_head", or mutual distillation with it'
    )
    mutual: MutualConfig = Field(MutualConfig(), description='lists = "mutual" or "item_head"')
    selection: SelectionConfig = Field(SelectionConfig(), description="selection of the users that are taught")
    weights: WeightsConfig = Field(WeightsConfig(), description="weights of the users' profiles")

    @property
    def makes_lists(self) -> bool:
        """Whether a step of this run makes the lists; else they are given or absent."""
        return self.lists not in ("none", "file", "published")

    @property
    def trains_with_student(self) -> bool:
        """Whether the teacher of the lists is trained together with a student."""
        return self.lists in ("mutual", "item_head")

    @property
    def list_teachers(self) -> tuple[str, ...]:
        """The sections that configure the lists."""
        if self.lists == "mutual":
            return ("mutual", self.mutual.teacher)
        return ("mutual", "item_head") if self.lists == "item_head" else (self.lists,)

    @property
    def lists_read_vectors(self) -> bool:
        """Whether the teacher of the lists reads the items' text vectors."""
        return self.makes_lists and "text_encoder" in self.list_teachers

    @property
    def lists_read_texts(self) -> bool:
        """Whether the teacher of the lists reads the items' texts."""
        return self.lists in ("grounding", "tuned_encoder")
