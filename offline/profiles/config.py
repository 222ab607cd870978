"""`[profiles]`: what is written of each user, and by whom."""

from typing import Any

from pydantic import Field, field_validator

from retort.offline.common.plugins import load_plugin, plugin_names
from retort.offline.common.section import Section, parse_section
from retort.offline.profiles.backends._base import ProfileBackend, Sampling, ServedModelError
from retort.offline.profiles.checks import CheckRules
from retort.offline.profiles.corruption import CorruptionConfig
from retort.offline.profiles.faithfulness import FaithfulnessConfig
from retort.offline.profiles.prompt import COMBINED, Family, PromptWriter, aspect_names
from retort.offline.profiles.prompt_plan import Mode
from retort.offline.profiles.schema_probe import probe_schema
from retort.offline.profiles.token_budget import SpendingConfig
from retort.shared.base.errors import ProfileError, RecipeError
from retort.shared.base.settings import LanguageModelSettings

BACKENDS = "retort.offline.profiles.backends"
AUTO, IMPORTED, TEMPLATE = "auto", "imported", "template"


class ProfilesConfig(Section):
    """`[profiles]`. Everything but the options of the backend is declared here."""

    backend: str = Field(
        AUTO, description="template, openai, vllm, imported; auto: openai where OPENAI_* is set, else template"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="the backend's own keys; imported: path")
    family: Family = Field("long", description="long, short, json, or several aspects a user")
    domain: str = Field("generic", description="which templates: generic, movies, products")
    aspects: tuple[str, ...] = Field((), description="family = aspects: which; none named: all of the domain")
    combine: bool = Field(True, description="family = aspects: one more profile made of the aspects")
    mode: Mode = Field("agg_after", description="histories beyond the context: merged after, or carried along")
    language: str = Field("en", description="language of the profile; a code or a name")
    attributes: tuple[str, ...] | None = Field(None, description="item attributes in prompts; unset: all")
    item_text_chars: int = Field(160, ge=0, description="characters of each item's text in prompts")
    max_history: int | None = Field(
        200, ge=1, description="latest events that a profile is written from; a huge number: all"
    )
    max_output_tokens: int = Field(1000, ge=16, description="longest reply")
    temperature: float = Field(0.7, ge=0, le=2, description="of sampling")
    seed: int = Field(42, ge=0, description="of sampling, where the server takes one")
    attempts: int = Field(3, ge=1, description="how often a bad reply is asked for, the first time included")
    max_failed: float = Field(0.5, gt=0, le=1, description="share of failed users that stops the run")
    canary: bool = Field(True, description="family = json: prove once, with one short prompt, that the schema binds")
    retry_failed: bool = Field(True, description="a rerun asks again where the model had failed")
    chunk_users: int = Field(512, ge=1, description="users worked on at a time")
    checks: CheckRules = Field(
        default_factory=CheckRules, validate_default=True, description="which replies are refused"
    )
    trust: FaithfulnessConfig = Field(
        default_factory=FaithfulnessConfig, validate_default=True, description="how far the history must carry a text"
    )
    spending: SpendingConfig = Field(
        default_factory=SpendingConfig, validate_default=True, description="prices and limits of a run"
    )
    history_share: float = Field(1.0, gt=0, le=1, description="experiments: write from this first part of each history")
    damage: CorruptionConfig = Field(
        default_factory=CorruptionConfig, validate_default=True, description="experiments: wrong profiles"
    )

    @field_validator("backend")
    @classmethod
    def _known(cls, name: str) -> str:
        names = [AUTO, IMPORTED, *plugin_names(BACKENDS)]
        if name not in names:
            raise ValueError(f"choose one of: {', '.join(names)}")
        return name

    @property
    def sampling(self) -> Sampling:
        """What backends are told of it."""
        return Sampling(self.temperature, self.max_output_tokens, self.seed)

    @property
    def parameters(self) -> dict[str, Any]:
        """What is stored beside each text; a change asks the model again."""
        return {
            "temperature": self.temperature,
            "max_output_tokens": self.max_output_tokens,
            "seed": self.seed,
            "mode": self.mode,
        }


def prompt_writers(config: ProfilesConfig) -> list[PromptWriter]:
    """One for each aspect that is asked of each user, in order."""
    known = aspect_names(config.family, config.domain)
    if config.aspects and config.family != "aspects":
        raise RecipeError(f"[profiles] aspects wants family = 'aspects', not {config.family!r}.")
    if unknown := [name for name in config.aspects if name not in known]:
        raise RecipeError(f"[profiles] aspects names {unknown[0]!r}; domain {config.domain!r} has: {', '.join(known)}.")
    chosen = config.aspects or known
    return [PromptWriter(config.family, config.domain, aspect, config.language) for aspect in chosen]


def combination_writer(config: ProfilesConfig) -> PromptWriter | None:
    """Writes one profile of several aspects, where the recipe wants that."""
    if config.family != "aspects" or not config.combine:
        return None
    return PromptWriter(config.family, config.domain, COMBINED, config.language)


def backend_name(config: ProfilesConfig, settings: LanguageModelSettings) -> str:
    """What `auto` means here and now."""
    if config.backend != AUTO:
        return config.backend
    return "openai" if settings.openai_base_url or settings.openai_api_key else "template"


def open_backend(config: ProfilesConfig, settings: LanguageModelSettings) -> ProfileBackend:
    """The plug-in the recipe names, opened with its own options; a form that is asked for is proved to bind.

    Raises RecipeError for its options, ServedModelError where a model that is served elsewhere cannot be used, and
    ProfileError where this process cannot load one.
    """
    name = backend_name(config, settings)
    plugin = load_plugin(BACKENDS, name)
    options = parse_section(plugin.Config, config.options, "profiles.options")
    try:
        return _proved(plugin.open_backend(options, config.sampling, settings), config, name)
    except ProfileError as error:
        if getattr(plugin, "SERVED", False):
            raise ServedModelError(str(error)) from None
        raise


def _proved(backend: ProfileBackend, config: ProfilesConfig, name: str) -> ProfileBackend:
    if config.family == "json" and config.canary and name != TEMPLATE:
        try:
            probe_schema(backend)
        except BaseException:
            backend.close()
            raise
    return backend
