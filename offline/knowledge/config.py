"""Configuration of item knowledge: the recipe's `[knowledge]`."""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, model_validator

from retort.offline.common.section import Section

NONE: Final = "none"
FILE: Final = "file"


class KnowledgeConfig(Section):
    """Recipe section `[knowledge]`: what a language model knows of each item, one text an item."""

    backend: Literal["none", "file"] = Field(NONE, description="none; file: read ready texts from `path`")
    path: Path | None = Field(
        None,
        description="backend = file: .jsonl, .csv, .tsv or .parquet, one item a row; a relative path starts at --data",
    )
    id_column: str = Field("item_id", description="backend = file: column or key of the item's id")
    text_column: str | None = Field(
        None, description="backend = file: column or key of the text; unset: `knowledge`, else `text`"
    )
    max_reject_share: float = Field(
        0.01, ge=0, le=1, description="backend = file: share of unusable rows above which the run stops"
    )
    min_coverage: float = Field(0.0, ge=0, le=1, description="least share of the items that must have a text")
    max_chars: int = Field(1000, ge=20, description="longest text of an item, in characters; the rest is cut off")

    @model_validator(mode="after")
    def _require_path(self) -> "KnowledgeConfig":
        if self.backend == FILE and self.path is None:
            raise ValueError('backend = "file" requires path, the file with one text an item; add it')
        return self

    @property
    def is_on(self) -> bool:
        """Whether the recipe gives items knowledge."""
        return self.backend != NONE
