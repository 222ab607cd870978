"""Settings from the environment, and from the files in which container engines provide secrets."""

from pathlib import Path

import pytest

from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.errors import RetortError
from retort.shared.base.settings import LanguageModelSettings, Settings


@pytest.fixture(autouse=True)
def _no_dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "DATABASE_URL", "OPENAI_API_KEY", "RETORT_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_a_secret_comes_from_the_file_that_its_name_points_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:secret@somewhere:6379/0\n")
    (tmp_path / "key").write_text("sk-123\n")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    assert Settings().redis_url == "redis://:secret@somewhere:6379/0"
    key = LanguageModelSettings().openai_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-123"


def test_a_missing_file_is_reported_with_the_settings_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "nothing"))
    with pytest.raises(RetortError, match=r"DATABASE_URL_FILE names .*cannot be read"):
        Settings()


def test_a_setting_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://a")
    monkeypatch.setenv("REDIS_URL", "redis://b")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "url"))
    with pytest.raises(RetortError, match="both set"):
        Settings()


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.setenv("RETORT_KEYS_FILE", "")
    assert Settings().redis_url is None
    assert LanguageModelSettings().openai_api_key is None
    assert ServingSettings().keys_file is None


def test_dotenv_is_read_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_URL=redis://from-dotenv\n")
    assert Settings().redis_url == "redis://from-dotenv"
    (tmp_path / "url").write_text("redis://from-file")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "url"))
    assert Settings().redis_url == "redis://from-file"
