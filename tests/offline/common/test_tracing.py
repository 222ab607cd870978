"""One trace from who asks to the last question to the model; off by default; no user and no text in any span."""

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr
from sqlalchemy import Engine

from retort.offline.common.tracing import span, stop_tracing, trace_offline
from retort.offline.jobs.celery_app import make_app
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.refresh.jobs import create_job, read_spec
from retort.offline.refresh.messages import START_TASK, register_refreshes
from retort.offline.refresh.worker import RefreshWorker
from retort.shared.base.errors import RetortError
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from tests.offline.profiles._server import completion, serving
from tests.offline.refresh._factory import QUICK, snapshot

_OPTIONS: dict[str, Any] = {"model": "fake-model", "retries": 0, "timeout_s": 5.0}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/retort.db"
    upgrade(url)
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Whatever this process writes."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace_offline(provider)
    yield kept
    stop_tracing()


def ask(engine: Engine, folder: Path) -> str:
    config = ProfilesConfig(backend="openai", domain="movies", chunk_users=2, options=_OPTIONS)
    return create_job(engine, "test", config, snapshot(folder / "snapshot", 4, 2))


def work(engine: Engine, url: str) -> None:
    settings = LanguageModelSettings(openai_base_url=url, openai_api_key=SecretStr("secret-key"))
    with RefreshWorker(engine, settings, QUICK) as someone:
        someone.work_on()


def children(found: tuple[ReadableSpan, ...], parent: ReadableSpan) -> list[ReadableSpan]:
    return [one for one in found if one.parent is not None and one.parent.span_id == parent.context.span_id]


def test_a_refresh_is_one_trace_from_who_asked_to_each_question(
    engine: Engine, tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    with serving(lambda number, body: completion()) as server:
        with span("POST /refreshes", {}):
            ask(engine, tmp_path)
        work(engine, server.url)  # another process, as far as the trace can tell: nothing is handed over but the row
    found = spans.get_finished_spans()
    [asked] = [one for one in found if one.name == "POST /refreshes"]
    chunks = children(found, asked)
    assert [(one.name, (one.attributes or {})["retort.users"]) for one in chunks] == [("refresh chunk", 2)] * 2
    questions = [one for chunk in chunks for one in children(found, chunk)]
    assert [one.name for one in questions] == ["POST"] * 4
    assert {one.context.trace_id for one in found} == {asked.context.trace_id}
    heard = {headers["traceparent"].split("-")[1] for headers in server.headers}
    assert heard == {f"{asked.context.trace_id:032x}"}, "the server may go on with it"
    told = "".join(one.to_json() for one in found)
    assert "secret-key" not in told
    prompts = [message["content"] for body in server.bodies for message in body["messages"]]
    assert len(prompts) >= 4
    assert not any(json.dumps(prompt[:40])[1:-1] in told for prompt in prompts), "histories are nobody's business"


def test_a_task_goes_on_with_the_trace_of_its_sender(
    engine: Engine, tmp_path: Path, redis_url: str, spans: InMemorySpanExporter
) -> None:
    app, done, jobs = make_app(redis_url), threading.Event(), []

    def start(what: dict[str, Any]) -> None:
        jobs.append(ask(engine, tmp_path))
        done.set()

    register_refreshes(app, None, start)
    with start_worker(app, pool="solo", perform_ping_check=False, queues=["gpu-llm"], shutdown_timeout=60):
        with span("the sender", {}):
            app.send_task(START_TASK, kwargs={"what": {}}, queue="gpu-llm")
        assert done.wait(60)
    found = spans.get_finished_spans()
    [sender] = [one for one in found if one.name == "the sender"]
    [sent] = children(found, sender)
    [ran] = children(found, sent)
    assert (sent.name, ran.name) == (f"apply_async/{START_TASK}", f"run/{START_TASK}")
    carrier = read_spec(engine, jobs[0]).trace
    assert carrier["traceparent"].split("-")[1:3] == [f"{ran.context.trace_id:032x}", f"{ran.context.span_id:016x}"]


def test_without_traces_nothing_is_written_and_nothing_is_sent(engine: Engine, tmp_path: Path) -> None:
    with serving(lambda number, body: completion()) as server:
        with span("nobody asked for it", {}):
            job_id = ask(engine, tmp_path)
        work(engine, server.url)
    assert read_spec(engine, job_id).trace == {}
    assert server.headers
    assert not any("traceparent" in headers for headers in server.headers)


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.celery", None)
    with pytest.raises(RetortError, match=r"pip install 'retort-recsys\[otel\]'"):
        trace_offline()
