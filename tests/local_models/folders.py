"""Folders of the local models for tests, which are skipped where the models are absent."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "models"


def local_model(name: str) -> Path:
    """Return the folder of a local model, or skip the test with the reason."""
    path = FOLDER / name
    if not path.is_dir():
        pytest.skip(f"there is no models/{name}; `make local-models` builds it")
    return path
