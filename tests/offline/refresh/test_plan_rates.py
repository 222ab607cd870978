"""Rates of `retort plan` come from a calibration with a model that counts tokens, and from nothing else."""

import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from retort.offline.profiles.config import ProfilesConfig
from retort.offline.refresh.cost import TokenModel
from retort.offline.refresh.jobs import create_job
from retort.offline.refresh.measured_cost import measure_cost, rescale_tokens
from retort.offline.refresh.worker import RefreshWorker
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from tests.offline.profiles._server import Answer, completion, serving
from tests.offline.refresh._factory import QUICK, job, snapshot


def answer(_number: int, _body: dict[str, Any]) -> Answer:
    time.sleep(0.01)
    return completion()


def test_a_model_that_counts_tokens_gives_rates_and_the_template_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/retort.db"
    upgrade(url)
    engine = open_database(url)
    job(engine, tmp_path / "template", 4, 4)
    with RefreshWorker(engine, LanguageModelSettings(openai_base_url=None, openai_api_key=None), QUICK) as someone:
        assert someone.work_on() == 1
    before = measure_cost(engine)
    assert (before.prompt_tokens_per_s, before.answer_tokens_per_s) == (None, None)

    config = ProfilesConfig(backend="openai", domain="movies", chunk_users=3, options={"model": "fake-model"})
    create_job(engine, "calibration", config, snapshot(tmp_path / "served", 6, 3))
    with serving(answer) as fake:
        settings = LanguageModelSettings(openai_base_url=fake.url, openai_api_key=SecretStr("key"))
        with RefreshWorker(engine, settings, QUICK) as someone:
            assert someone.work_on() == 2
    after, same, other = measure_cost(engine), measure_cost(engine, "fake-model"), measure_cost(engine, "another-model")
    cut = measure_cost(engine, max_history=3)
    engine.dispose()
    assert same == after
    assert (other.models, other.answer_tokens, other.prompt_tokens_per_s) == ((), None, None)
    assert (after.models, after.prompt_tokens, after.n_events) == (("fake-model",), 11.0, 4.0)
    # what the model counted for histories of four events takes the place of the estimate
    moved = rescale_tokens(TokenModel(base=100.0, per_event=30.0, profile=7.0), after)
    assert moved.prompt(4, update=False) == pytest.approx(11.0)
    assert moved.per_event / moved.base == pytest.approx(0.3)
    assert rescale_tokens(moved, before) == moved
    # a prompt reads the latest events alone, so a longer history says nothing of a longer prompt
    assert cut.n_events == 3.0
    assert after.answer_tokens == pytest.approx(7.0)
    assert after.prompt_tokens_per_s
    assert after.answer_tokens_per_s
    # the server says 11 tokens read and 7 written of each prompt
    assert after.prompt_tokens_per_s / after.answer_tokens_per_s == pytest.approx(11 / 7)
