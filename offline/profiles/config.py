"""Configuration of profile generation: the recipe's `[profiles]`, prompt writers and the language model backend."""

from typing import Any

from pydantic import Field, field_validator

from retort.offline.common.plugins import load_plugin, plugin_names
from retort.offline.common.section import MAX_SEED, Section, parse_section
from retort.offline.data.interactions import Items
from retort.offline.profiles.backends._base import ProfileBackend, Sampling, ServedModelError
from retort.offline.profiles.backends._http import TEXT_OPTIONS
from retort.offline.profiles.checks import CheckRules
from retort.offline.profiles.corruption import CorruptionConfig
from retort.offline.profiles.faithfulness import FaithfulnessConfig
from retort.offline.profiles.history import Catalogue, ItemType
from retort.offline.profiles.prompt import COMBINED, Family, PromptWriter, aspect_names
from retort.offline.profiles.prompt_plan import Mode
from retort.offline.profiles.schema_probe import probe_schema
from retort.offline.profiles.token_budget import SpendingConfig
from retort.shared.base.errors import ProfileError, RecipeError
from retort.shared.base.settings import LanguageModelSettings

BACKENDS = "retort.offline.profiles.backends"
AUTO, IMPORTED, TEMPLATE = "auto", "imported", "template"


class ProfilesConfig(Section):
    """Recipe section `[profiles]`; the backend's own options are in `[profiles.options]`."""

    backend: str = Field(
        AUTO, description="template, openai, vllm, imported; auto: openai where OPENAI_* is set, else template"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="the backend's own keys; imported: path")
    family: Family = Field("long", description="long, short, json, or several aspects a user")
    domain: str = Field("generic", description="prompt templates: generic, movies, products")
    aspects: tuple[str, ...] = Field((), description="family = aspects: names of the aspects; empty: all of the domain")
    combine: bool = Field(True, description="family = aspects: also write one profile that combines the aspects")
    mode: Mode = Field(
        "agg_after",
        description="histories beyond the context: agg_after merges partial profiles, agg_with updates one profile",
    )
    language: str = Field("en", description="language of the profile; a code or a name")
    attributes: tuple[str, ...] | None = Field(None, description="item attributes in prompts; unset: all")
    item_text_chars: int = Field(160, ge=0, description="characters of each item's text in prompts")
    item_type: ItemType = Field(
        "added",
        description="where items have knowledge ([knowledge]): added: the type that it states follows the title; "
        "instead: it stands in the title's place; none: prompts read no knowledge",
    )
    max_history: int | None = Field(
        200, ge=1, description="latest events that a profile is written from; a very large number: all"
    )
    max_output_tokens: int = Field(1000, ge=16, description="longest reply, in tokens")
    temperature: float = Field(0.7, ge=0, le=2, description="sampling temperature")
    seed: int = Field(42, ge=0, le=MAX_SEED, description="sampling seed, where the server supports one")
    attempts: int = Field(3, ge=1, description="requests per prompt until a reply is accepted, the first included")
    max_failed: float = Field(0.5, gt=0, le=1, description="share of failed profiles above which the run stops")
    canary: bool = Field(
        True, description="family = json: probe once, with one short prompt, whether the server enforces the schema"
    )
    retry_failed: bool = Field(True, description="a rerun repeats profiles that failed before")
    chunk_users: int = Field(512, ge=1, description="users processed at a time")
    checks: CheckRules = Field(
        default_factory=CheckRules, validate_default=True, description="which replies are rejected"
    )
    trust: FaithfulnessConfig = Field(
        default_factory=FaithfulnessConfig,
        validate_default=True,
        description="required faithfulness of a profile to the history",
    )
    spending: SpendingConfig = Field(
        default_factory=SpendingConfig, validate_default=True, description="prices, and limits of a run"
    )
    history_share: float = Field(
        1.0, gt=0, le=1, description="experiments: write from this first share of each history"
    )
    damage: CorruptionConfig = Field(
        default_factory=CorruptionConfig, validate_default=True, description="experiments: corrupted profiles"
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
        """Sampling parameters for the backend."""
        return Sampling(self.temperature, self.max_output_tokens, self.seed)

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters stored with each text; a change leads to new requests."""
        return {
            "temperature": self.temperature,
            "max_output_tokens": self.max_output_tokens,
            "seed": self.seed,
            "mode": self.mode,
            # texts that were written before these options existed keep their key
            **{name: self.options[name] for name in TEXT_OPTIONS if name in self.options},
        }


def open_catalogue(items: Items, config: ProfilesConfig) -> Catalogue:
    """Return the item facts that this recipe's prompts may state."""
    return Catalogue(items, config.attributes, config.item_text_chars, config.item_type)


def prompt_writers(config: ProfilesConfig) -> list[PromptWriter]:
    """Return one prompt writer for each aspect, in order.

    Raises:
        RecipeError: `aspects` is set for another family, or names an unknown aspect.
    """
    known = aspect_names(config.family, config.domain)
    if config.aspects and config.family != "aspects":
        raise RecipeError(
            f"[profiles] aspects requires family = 'aspects', but family is {config.family!r}; change one of them."
        )
    if unknown := [name for name in config.aspects if name not in known]:
        raise RecipeError(f"[profiles] aspects names {unknown[0]!r}; domain {config.domain!r} has: {', '.join(known)}.")
    chosen = config.aspects or known
    return [PromptWriter(config.family, config.domain, aspect, config.language) for aspect in chosen]


def combination_writer(config: ProfilesConfig) -> PromptWriter | None:
    """Return the writer that combines several aspects into one profile, or None where the recipe has none."""
    if config.family != "aspects" or not config.combine:
        return None
    return PromptWriter(config.family, config.domain, COMBINED, config.language)


def backend_name(config: ProfilesConfig, settings: LanguageModelSettings) -> str:
    """Return the name of the backend; `auto` is resolved from the settings."""
    return auto_backend(settings) if config.backend == AUTO else config.backend


def auto_backend(settings: LanguageModelSettings) -> str:
    """Return the backend that "auto" means: the server of the settings, or the rules of the template backend."""
    return "openai" if settings.openai_base_url or settings.openai_api_key else "template"


def open_backend(config: ProfilesConfig, settings: LanguageModelSettings) -> ProfileBackend:
    """Open the backend that the recipe names; with family = "json" it also probes whether the schema is enforced.

    Raises:
        RecipeError: The options are invalid.
        ServedModelError: A model behind a server cannot be used.
        ProfileError: This process cannot load the model.
    """
    probes = config.family == "json" and config.canary
    return open_model(backend_name(config, settings), config.options, config.sampling, settings, probes=probes)


def open_model(
    name: str,
    options: dict[str, Any],
    sampling: Sampling,
    settings: LanguageModelSettings,
    *,
    probes: bool,
    section: str = "profiles",
) -> ProfileBackend:
    """Open a backend by its name, as `open_backend` does.

    Args:
        probes: Probe whether the schema is enforced; the rules of the template backend are not probed.
        section: Section of the recipe, for errors.
    """
    plugin = load_plugin(BACKENDS, name)
    parsed = parse_section(plugin.Config, options, f"{section}.options")
    try:
        return _probed(plugin.open_backend(parsed, sampling, settings), probes=probes and name != TEMPLATE)
    except ProfileError as error:
        if getattr(plugin, "SERVED", False):
            raise ServedModelError(str(error)) from None
        raise


def _probed(backend: ProfileBackend, *, probes: bool) -> ProfileBackend:
    if probes:
        try:
            probe_schema(backend)
        except BaseException:
            backend.close()
            raise
    return backend
