"""`X_FILE` in place of `X`: the file that holds a setting, as container engines and clusters hand out secrets.

A secret in the environment can be read by every process of a container and by who may look at its description.
"""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from retort.shared.base.errors import RetortError


class SecretFiles(PydanticBaseSettingsSource):
    """A source for pydantic-settings. RetortError where the file cannot be read, or `X` is set beside `X_FILE`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = f"{self.config.get('env_prefix', '')}{field_name}".upper()
        place = os.environ.get(f"{name}_FILE")
        if not place:
            return None, field_name, False
        if os.environ.get(name):
            raise RetortError(f"{name} and {name}_FILE are both set; unset one of them.")
        return _read(Path(place), f"{name}_FILE"), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise RetortError(f"{name} names {path}, which cannot be read ({why}); mount the secret there.") from None
