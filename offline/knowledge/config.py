"""Configuration of item knowledge: the recipe's `[knowledge]`."""

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from retort.offline.common.plugins import plugin_names
from retort.offline.common.section import MAX_SEED, Section
from retort.offline.profiles.backends._base import ProfileBackend, Sampling
from retort.offline.profiles.backends._http import TEXT_OPTIONS
from retort.offline.profiles.config import AUTO, BACKENDS, auto_backend, open_model
from retort.offline.profiles.token_budget import SpendingConfig
from retort.shared.base.settings import LanguageModelSettings

NONE: Final = "none"
FILE: Final = "file"
Family = Literal["json", "text"]
FIELDS = ("type", "properties", "need", "segment", "rivals", "goes_with", "next")
_TOKENS_AROUND = 64  # of a reply: braces, and what a model writes before its answer


class KnowledgeChecks(Section):
    """Recipe section `[knowledge.checks]`: which texts about items are refused."""

    min_words: int = Field(3, ge=1, description="shorter texts are refused")
    max_words: int = Field(90, ge=5, description="longer texts are refused")
    min_distinct: float = Field(
        0.2, ge=0, le=1, description="share of different texts among all below which the run stops; from 20 items on"
    )
    refuse_restated: bool = Field(True, description="refuse a text whose words are all in the title and attributes")


class KnowledgeConfig(Section):
    """Recipe section `[knowledge]`: what a language model knows of each item, one text an item."""

    backend: str = Field(
        NONE,
        description="none; file: read ready texts from `path`; openai, vllm, template; auto: openai where OPENAI_* is "
        "set, else template",
    )
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
    max_chars: int = Field(1000, ge=20, description="backend = file: longest text, in characters; the rest is cut off")
    options: dict[str, Any] = Field(
        default_factory=dict, description="the model backend's own keys, those of [profiles.options]"
    )
    family: Family = Field("json", description="json: bounded fields by a schema; text: one line an item")
    domain: str = Field("generic", description="prompt templates: books, generic, jobs, movies, music, news, products")
    fields: tuple[str, ...] = Field(FIELDS, min_length=1, description="fields asked for, in this order")
    facets: tuple[str, ...] = Field(
        (), description="family = json: fields that become attributes of the items, `knowledge_type` for example"
    )
    words: int = Field(25, ge=5, le=200, description="words of a text that the prompt asks for")
    language: str = Field("en", description="language of the texts; a code or a name")
    attributes: tuple[str, ...] | None = Field(None, description="item attributes in prompts; unset: all")
    item_text_chars: int = Field(300, ge=0, description="characters of each item's text in prompts")
    items_per_call: int = Field(8, ge=1, le=64, description="items of one request; one that is missing is asked alone")
    max_output_tokens: int = Field(160, ge=16, description="longest reply, in tokens of each item")
    temperature: float = Field(0.2, ge=0, le=2, description="sampling temperature")
    seed: int = Field(42, ge=0, le=MAX_SEED, description="sampling seed, where the server supports one")
    attempts: int = Field(3, ge=1, description="requests for an item alone until a reply is accepted")
    max_failed: float = Field(0.5, gt=0, le=1, description="share of failed items above which the run stops")
    canary: bool = Field(
        True, description="family = json: probe once, with one short prompt, whether the server enforces the schema"
    )
    retry_failed: bool = Field(True, description="a rerun repeats items that failed before")
    chunk_items: int = Field(512, ge=1, description="items processed at a time")
    checks: KnowledgeChecks = Field(
        default_factory=KnowledgeChecks, validate_default=True, description="which texts are refused"
    )
    spending: SpendingConfig = Field(
        default_factory=SpendingConfig, validate_default=True, description="prices, and limits of a run"
    )

    @field_validator("backend")
    @classmethod
    def _known(cls, name: str) -> str:
        names = [NONE, FILE, AUTO, *plugin_names(BACKENDS)]
        if name not in names:
            raise ValueError(f"choose one of: {', '.join(names)}")
        return name

    @field_validator("fields", "facets")
    @classmethod
    def _known_fields(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in FIELDS]:
            raise ValueError(f"{unknown[0]!r} is no field; choose from: {', '.join(FIELDS)}")
        return names

    @model_validator(mode="after")
    def _check_parts(self) -> "KnowledgeConfig":
        if self.backend == FILE and self.path is None:
            raise ValueError('backend = "file" requires path, the file with one text an item; add it')
        if missing := [name for name in self.facets if name not in self.fields]:
            raise ValueError(f"facets names {missing[0]!r}, which fields does not; add it there")
        if self.facets and self.family == "text" and self.generates:
            raise ValueError('facets requires family = "json": texts of family = "text" have no fields')
        return self

    @property
    def is_on(self) -> bool:
        """Whether the recipe gives items knowledge."""
        return self.backend != NONE

    @property
    def generates(self) -> bool:
        """Whether a backend writes the texts."""
        return self.backend not in (NONE, FILE)

    @property
    def sampling(self) -> Sampling:
        """Sampling parameters for the backend, for a request with all of `items_per_call` items."""
        return Sampling(self.temperature, self.max_output_tokens * self.items_per_call + _TOKENS_AROUND, self.seed)

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters stored with each text; a change leads to new requests. Items a call are none of them."""
        chosen = {name: self.options[name] for name in TEXT_OPTIONS if name in self.options}
        return {
            "temperature": self.temperature,
            "max_output_tokens": self.max_output_tokens,
            "seed": self.seed,
        } | chosen


def backend_name(config: KnowledgeConfig, settings: LanguageModelSettings) -> str:
    """Return the name of the backend; `auto` is resolved from the settings."""
    return auto_backend(settings) if config.backend == AUTO else config.backend


def named_model(config: KnowledgeConfig, settings: LanguageModelSettings) -> str | None:
    """Return the name that the backend will give its model; None where only an opened backend knows it."""
    name, options = backend_name(config, settings), config.options
    if name == "openai":
        return None if options.get("model") is None else str(options["model"])
    if name != "vllm" or options.get("model") is None:
        return None
    revision = f"@{options['revision']}" if options.get("revision") else ""
    adapter = f"+{Path(str(options['lora'])).name}" if options.get("lora") else ""
    return f"{options['model']}{revision}{adapter}"


def open_backend(config: KnowledgeConfig, settings: LanguageModelSettings) -> ProfileBackend:
    """Open the backend that the recipe names; with family = "json" it also probes whether the schema is enforced.

    Raises:
        RecipeError: The options are invalid.
        ServedModelError: A model behind a server cannot be used.
        ProfileError: This process cannot load the model.
    """
    probes = config.family == "json" and config.canary
    name = backend_name(config, settings)
    return open_model(name, config.options, config.sampling, settings, probes=probes, section="knowledge")
