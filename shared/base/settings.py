"""Settings: addresses, secrets and limits of this installation, from the environment and `.env`.

An entry point reads them once and passes them on; other code does not read the environment. What a run does (student,
objective, epochs) is in a recipe, not in a setting.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from retort.shared.base.errors import RetortError, invalid_reason

# Value of a RETORT_ variable of serving that unsets it, also where `.env` sets it: an empty one leaves `.env` in force.
UNSET = "null"


class SecretFiles(PydanticBaseSettingsSource):
    """Settings source: `X` from the file that `X_FILE` names, as container engines and clusters provide secrets.

    An environment variable can be read by every process of a container and by everyone who may view its description.

    Raises:
        RetortError: The file cannot be read, or `X` and `X_FILE` are both set.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = f"{self.config.get('env_prefix', '')}{field_name}".upper()
        path = os.environ.get(f"{name}_FILE")
        if not path:
            return None, field_name, False
        if os.environ.get(name):
            raise RetortError(f"{name} and {name}_FILE are both set; unset one of them.")
        return _read_secret(Path(path), f"{name}_FILE"), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


def _read_secret(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise RetortError(
            f"{name} names {path}, which cannot be read ({why}); mount the secret at this path."
        ) from None


class EnvironmentSettings(BaseSettings):
    """Base of settings: `X` may also come from the file that `X_FILE` names; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    def __init__(self, **values: Any) -> None:
        """Read the settings.

        Raises:
            RetortError: A value is invalid.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            name = "_".join(map(str, first["loc"])).upper()
            reason = invalid_reason(first)
            raise RetortError(
                f"the setting {name} cannot be used: {reason}; correct it in the environment or in .env."
            ) from None

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
    """Settings that offline and serving share; each adds its own."""

    redis_url: str | None = Field(None, description="Redis of histories and queue; unset: a private local Redis")
    histories_redis_url: str | None = Field(
        None, description="serving's Redis, if REDIS_URL is only the queue's; unset: REDIS_URL"
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; unset: SQLite under RETORT_HOME")
    retort_home: Path = Field(Path(".retort"), description="directory of bundles, SQLite and the private Redis")
    retort_train_processes: int = Field(
        1, ge=1, le=64, description="processes that train a student together, one a GPU where there are GPUs"
    )
    history_length: int = Field(1000, ge=1, le=100_000, description="events kept for each user")
    history_ttl_days: int = Field(
        0, ge=0, description="days without an event after which a history is deleted; 0: never"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least severity that is logged")
    log_json: bool = Field(False, description="one JSON object a line instead of text")
    retort_traces: bool = Field(
        False, description="OpenTelemetry traces; requires the extra otel, configured by OTEL_…"
    )

    @property
    def database(self) -> str:
        """URL of the database; SQLite where none is set."""
        return self.database_url or f"sqlite:///{self.retort_home.absolute() / 'retort.db'}"

    @property
    def histories_url(self) -> str | None:
        """URL of the Redis with histories and event stream."""
        return self.histories_redis_url or self.redis_url

    @property
    def histories_setting(self) -> str:
        """Name of the variable that `histories_url` came from."""
        return "HISTORIES_REDIS_URL" if self.histories_redis_url else "REDIS_URL"

    @property
    def bundles_dir(self) -> Path:
        """Directory of published bundles, one subdirectory each."""
        return self.retort_home / "bundles"


def _http_address(address: str | None) -> str | None:
    """Check the address of an HTTP server."""
    if address is None:
        return None
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        is_address = False
    if not is_address or not address.isprintable() or " " in address:
        raise ValueError("write an address such as http://127.0.0.1:8000/v1")
    return address


def _header_value(key: SecretStr | None) -> SecretStr | None:
    """Check that a key can be sent in a header."""
    text = "" if key is None else key.get_secret_value()
    if not text.isascii() or (text and not text.isprintable()) or " " in text:
        raise ValueError("a key has ASCII characters only, without spaces and line ends; copy it again")
    return key


HttpAddress = Annotated[str | None, AfterValidator(_http_address)]
ApiKey = Annotated[SecretStr | None, AfterValidator(_header_value)]


class LanguageModelSettings(EnvironmentSettings):
    """OpenAI-compatible server, with the usual names of the variables."""

    openai_base_url: HttpAddress = Field(
        None, description="address of an OpenAI-compatible server; unset: profiles are written by rule"
    )
    openai_api_key: ApiKey = Field(None, description="the key that this server requires")


class EmbeddingSettings(EnvironmentSettings):
    """OpenAI-compatible server of text vectors, for recipes with `[encoder] model = "served:NAME"`."""

    embeddings_base_url: HttpAddress = Field(
        None, description="address of an OpenAI-compatible embeddings server; unset: OPENAI_BASE_URL"
    )
    embeddings_api_key: ApiKey = Field(
        None, description="the key that this server requires; OPENAI_API_KEY is sent to OPENAI_BASE_URL alone"
    )
