"""`[encoder]`; apart from the encoders themselves, which need more than a recipe does."""

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from retort.offline.common.section import Section
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.embeddings.windows import LongTexts

PACKAGED = "packaged-minilm"
Role = Literal["query", "passage"]
_SIDE_BY_SIDE = " + "
_E5 = re.compile(r"(^|[/_-])e5([_-]|$)", re.IGNORECASE)


class EncoderConfig(Section):
    """`[encoder]`: how texts become vectors."""

    model: str = Field(
        PACKAGED,
        description="packaged-minilm (in the wheel, offline), a hub name, a folder, or word counts: tfidf; "
        "several are set side by side: packaged-minilm + tfidf",
    )
    revision: str | None = Field(None, description="hub models: commit or tag")
    prefix: str | None = Field(None, description="put before every text; unset: by family ('query: ' for E5)")
    long_texts: LongTexts = Field("chunk_mean", description="texts beyond the model's length: mean of windows, or cut")
    max_tokens: int | None = Field(None, ge=8, description="window length; unset: the model's own")
    batch_size: int = Field(32, ge=1, description="texts encoded at a time")
    device: str | None = Field(None, description="cpu, cuda, mps; unset: the best there is")
    aspects: Literal["mean", "concat", "apart"] = Field(
        "mean", description="several texts a user: their mean, one long vector, or vectors that stay apart"
    )
    shards: int | None = Field(
        None, ge=1, description="users' vectors spread over so many files, one in memory at a time; unset: all at once"
    )

    @model_validator(mode="after")
    def _one_by_one(self) -> Self:
        if self.shards is not None and self.counts_words:
            raise ValueError(f"shards and model = {TFIDF!r} exclude each other: words are counted over all texts")
        return self

    @property
    def models(self) -> list[str]:
        """Those that are set side by side; most often one."""
        return [model.strip() for model in self.model.split(_SIDE_BY_SIDE)]

    @property
    def counts_words(self) -> bool:
        """Whether the vectors of one set of texts are of no use beside another's."""
        return TFIDF in self.models


def prefix_for(config: EncoderConfig, role: Role) -> str:
    """What the model was trained to see before each text; E5's instruct models want a sentence of one's own."""
    if config.prefix is not None:
        return config.prefix
    name = config.model.rstrip("/").rsplit("/", 1)[-1]
    return f"{role}: " if _E5.search(name) and "instruct" not in name.lower() else ""
