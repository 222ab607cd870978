"""Encoder configuration: the recipe's `[encoder]`. It imports no model library, so reading a recipe stays fast."""

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from retort.offline.common.section import Section
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.embeddings.windows import LongTexts

PACKAGED = "packaged-minilm"
SERVED = "served:"  # an embeddings server's model: served:NAME
Role = Literal["query", "passage"]
ViewText = Literal["title", "text", "titled", "knowledge", "all"]
_SEPARATOR = " + "
_E5 = re.compile(r"(^|[/_-])e5([_-]|$)", re.IGNORECASE)


class EmbeddingServerConfig(Section):
    """Recipe section `[encoder.server]`: requests to the embeddings server of `model = "served:NAME"`."""

    dimensions: int | None = Field(
        None, ge=1, description="width to request, for models that can be cut; unset: the model's own"
    )
    concurrency: int = Field(4, ge=1, le=256, description="concurrent requests, of batch_size texts each")
    timeout_s: float = Field(60.0, gt=0, description="total time limit of one request, in seconds")
    retries: int = Field(5, ge=0, description="further attempts after 429, 5xx, a timeout or an incomplete response")
    backoff_s: float = Field(1.0, ge=0, description="seconds before the second attempt; doubled each time")
    max_wait_s: float = Field(60.0, gt=0, description="most seconds between two attempts, Retry-After included")


class ViewConfig(Section):
    """One `[[encoder.views]]`: one text of each item, encoded apart. Views are concatenated, each times its weight."""

    text: ViewText = Field(
        "titled",
        description="title, text, titled (title and text, as without views), knowledge, or all (titled and knowledge)",
    )
    model: str = Field(PACKAGED, description="as in [encoder]; one model a view")
    weight: float = Field(1.0, gt=0, description="length of this view's part of an item's vector")
    width: int | None = Field(
        None, ge=1, description="principal components that are kept; unset: all (tfidf: 384 at most)"
    )
    whiten: float | None = Field(
        None,
        ge=0,
        le=1,
        description="centre, and divide each component by its deviation to this power; unset: as it is",
    )
    control: Literal["none", "shuffled", "gaussian"] = Field(
        "none", description="shuffled: the texts of other items, gaussian: noise; for controls of this view alone"
    )


class EncoderConfig(Section):
    """Recipe section `[encoder]`: how texts become vectors."""

    model: str = Field(
        PACKAGED,
        description="packaged-minilm (installed, no network), a hub name, a folder, tfidf (word counts), or "
        "served:NAME (an OpenAI-compatible embeddings server at EMBEDDINGS_BASE_URL: TEI, vLLM, Infinity); "
        "several are concatenated: packaged-minilm + tfidf",
    )
    revision: str | None = Field(None, description="hub models: commit or tag")
    prefix: str | None = Field(
        None,
        description="prefix of every text; unset: by model family ('query: ' for E5); "
        "empty where an embeddings server adds it itself",
    )
    long_texts: LongTexts = Field(
        "chunk_mean", description="texts longer than the model reads: mean of windows, or truncated"
    )
    max_tokens: int | None = Field(
        None,
        ge=8,
        description="window length in tokens; unset: the model's own; served: a high estimate of tokens, unset: the "
        "server decides",
    )
    batch_size: int = Field(32, ge=1, description="texts encoded at a time")
    device: str | None = Field(None, description="cpu, cuda, mps; unset: the best available")
    aspects: Literal["mean", "concat", "apart"] = Field(
        "mean", description="several texts a user: their mean, one concatenated vector, or separate vectors (apart)"
    )
    server: EmbeddingServerConfig = Field(EmbeddingServerConfig(), description='model = "served:NAME"')
    shards: int | None = Field(
        None, ge=1, description="number of files for users' vectors, one in memory at a time; unset: all at once"
    )

    views: tuple[ViewConfig, ...] = Field(
        (),
        description="items: several texts, each encoded apart (`[[encoder.views]]`); none: title and text by `model`",
    )

    @model_validator(mode="after")
    def _refuse_sharded_tfidf(self) -> Self:
        if self.shards is not None and self.uses_tfidf:
            raise ValueError(
                f"shards and model = {TFIDF!r} exclude each other, because words are counted over all texts; remove one"
            )
        return self

    @property
    def models(self) -> list[str]:
        """Names of the models whose vectors are concatenated; usually one."""
        return [model.strip() for model in self.model.split(_SEPARATOR)]

    @property
    def uses_tfidf(self) -> bool:
        """Whether the vectors of two sets of texts cannot be compared with each other."""
        return TFIDF in self.models

    @property
    def item_models(self) -> list[str]:
        """Names of the models that encode items."""
        return list(dict.fromkeys(view.model for view in self.views)) or self.models

    @property
    def items_comparable(self) -> bool:
        """Whether item vectors are in the same space as those of users' texts."""
        return not self.views and not self.uses_tfidf

    @property
    def reads_knowledge(self) -> bool:
        """Whether a view reads the item knowledge."""
        return any(view.text in ("knowledge", "all") for view in self.views)


def prefix_for(config: EncoderConfig, role: Role) -> str:
    """Return the prefix that the model was trained with; E5's instruct models require one of the recipe's own."""
    if config.prefix is not None:
        return config.prefix
    name = config.model.removeprefix(SERVED).rstrip("/").rsplit("/", 1)[-1]
    return f"{role}: " if _E5.search(name) and "instruct" not in name.lower() else ""
