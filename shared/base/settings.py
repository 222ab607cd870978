"""Settings say *where*: addresses, secrets, pools. They come from the environment and `.env`.

An entry point reads them once and passes them down; nothing else reads the environment.
What a run does (student, objective, epochs) is a recipe, never a setting.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from retort.shared.base.secret_files import SecretFiles


class EnvironmentSettings(BaseSettings):
    """Any setting `X` may also come from the file that `X_FILE` names; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls), dotenv_settings


class Settings(EnvironmentSettings):
    """Shared by offline and serving; each side adds its own."""

    redis_url: str | None = Field(None, description="histories and hot state; unset: an embedded Redis")
    histories_redis_url: str | None = Field(
        None, description="serving's Redis, where REDIS_URL is the queue's; unset: REDIS_URL"
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; unset: SQLite under RETORT_HOME")
    retort_home: Path = Field(Path(".retort"), description="where bundles, SQLite and embedded state live")
    history_length: int = Field(1000, ge=1, le=100_000, description="events kept a user")
    history_ttl_days: int = Field(0, ge=0, description="days without an event until a history is dropped; 0: never")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least severity that is logged")
    log_json: bool = Field(False, description="one JSON object a line instead of text")
    retort_traces: bool = Field(False, description="OpenTelemetry traces; needs the extra otel, see OTEL_…")

    @property
    def database(self) -> str:
        """The database's URL, SQLite where none was given."""
        return self.database_url or f"sqlite:///{self.retort_home.absolute() / 'retort.db'}"

    @property
    def histories_url(self) -> str | None:
        """Where histories and the event stream live, for whoever reads or writes them."""
        return self.histories_redis_url or self.redis_url

    @property
    def histories_setting(self) -> str:
        """The variable that `histories_url` came from."""
        return "HISTORIES_REDIS_URL" if self.histories_redis_url else "REDIS_URL"

    @property
    def bundles_dir(self) -> Path:
        """Where published bundles live, one directory each."""
        return self.retort_home / "bundles"


class LanguageModelSettings(EnvironmentSettings):
    """An OpenAI-compatible server, named as its own tools name it."""

    openai_base_url: str | None = Field(
        None, description="address of an OpenAI-compatible server; unset: profiles are written by rule"
    )
    openai_api_key: SecretStr | None = Field(None, description="the key that this server requires")
