"""Traces are off by default, continue the caller's trace and hold no user id."""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from retort.serving.api.app import create_app
from retort.serving.api.tracing import with_tracing
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.errors import RetortError
from retort.shared.base.settings import Settings
from retort.shared.base.tracing import shut_down, tracer_provider
from retort.shared.history.store import MemoryHistory
from tests.serving._process import REPOSITORY, serving_process

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_span_has_the_route_and_the_callers_trace_and_no_user_id(bundle_path: Path, tmp_path: Path) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    serving = ServingSettings(_env_file=None, bundle=bundle_path)
    app = create_app(Settings(_env_file=None, retort_home=tmp_path), serving, histories=MemoryHistory())
    with TestClient(with_tracing(app, provider), raise_server_exceptions=False) as client:
        headers = {"traceparent": CALLER, "x-request-id": "mine"}
        client.post("/recommend", json={"user_id": "ann-secret"}, headers=headers)
        client.get("/users/ann-secret/history?x=ann-secret")
        client.get("/no/such/ann-secret")
        client.get("/health/ready")
    finished = spans.get_finished_spans()
    assert [span.name for span in finished] == [
        "POST /recommend",
        "GET /users/{user_id:path}/history",
        "GET other",
    ]
    first = finished[0]
    assert f"{first.context.trace_id:032x}" == CALLER.split("-")[1]
    assert first.parent is not None
    assert dict(first.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/recommend",
        "http.response.status_code": 200,
        "retort.request_id": "mine",
    }
    assert "ann-secret" not in "".join(span.to_json() for span in finished)


def test_a_server_exports_its_spans_to_the_configured_endpoint(bundle_path: Path, tmp_path: Path) -> None:
    received: list[tuple[str, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{collector.server_address[1]}"
        environment = {"retort_traces": "true", "otel_exporter_otlp_endpoint": address, "otel_service_name": "shop"}
        with serving_process(tmp_path, retort_bundle=bundle_path, **environment) as server:
            server.ready()
            assert httpx.post(f"{server.url}/recommend", json={"history": ["i1"]}).status_code == 200
        collector.shutdown()
        thread.join()
    assert {path for path, _ in received} == {"/v1/traces"}
    sent = b"".join(body for _, body in received)
    assert b"POST /recommend" in sent
    assert b"shop" in sent


def test_without_the_extra_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    async def app(*_: object) -> None:
        """Never called."""

    with pytest.raises(RetortError, match=r"retort-recsys\[otel\]"):
        with_tracing(app)


def test_a_dead_collector_does_not_delay_the_end(caplog: pytest.LogCaptureFixture) -> None:
    class Dead:
        def __init__(self) -> None:
            self.shutdowns = 0

        def shutdown(self) -> None:
            self.shutdowns += 1
            time.sleep(1.0)

    dead = Dead()
    started = time.monotonic()
    shut_down(dead, timeout_s=0.1)
    shut_down(dead, timeout_s=0.1)
    assert time.monotonic() - started < 0.9
    assert dead.shutdowns == 1
    assert "collector does not answer" in caplog.text


def test_a_provider_of_our_own_ends_within_the_time_though_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    provider = tracer_provider("test")
    with provider.get_tracer("test").start_as_current_span("last"):
        pass
    started = time.monotonic()
    shut_down(provider, timeout_s=0.5)
    assert time.monotonic() - started < 2


def test_a_process_ends_though_the_collector_takes_the_last_spans_and_does_not_answer() -> None:
    code = (
        "from retort.shared.base.tracing import tracer_provider\n"
        "tracer_provider('test').get_tracer('test').start_span('last').end()\n"
        "print('done', flush=True)"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            started = time.monotonic()
            process.wait(60)
    assert time.monotonic() - started < 8
