"""More than a server can do: it says no at once and when to come back, holds those it took, and recovers."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from benchmarks.load import Report, Run, post
from serving.auth import Scope, new_key
from tests.faults._watch import Load, metric, soon
from tests.serving._process import Server, serving_process

REQUEST: dict[str, Any] = {"history": ["i1", "i2", "i3"], "k": 5}
RUN_S = 0.01  # of the graph, by the prelude: capacity is known whatever the machine
WAITING = 32


def slow_graph(run_s: float, when: Path) -> str:
    """Python that makes every run of the graph last at least so long while the file `when` is there."""
    return (
        "import os, time, shared.scoring as s\nold = s.Scorer.top_k\ndef top_k(self, *a, **k):\n"
        f"    time.sleep({run_s} if os.path.exists({str(when)!r}) else 0.005)\n"
        "    return old(self, *a, **k)\ns.Scorer.top_k = top_k\n"
    )


@pytest.mark.parametrize("seconds", [3.0, pytest.param(60.0, marks=pytest.mark.long)])
def test_three_times_the_capacity(bundles: list[Path], tmp_path: Path, seconds: float) -> None:
    settings = {"retort_max_waiting": WAITING, "retort_max_batch": 1}
    with serving_process(tmp_path, prelude=slow_graph(RUN_S, tmp_path), retort_bundle=bundles[0], **settings) as server:
        server.ready()
        report = overloaded(server, rate=3 / RUN_S, seconds=seconds)
        refused = report.statuses[503]
        print(
            dict(report.statuses),
            f"taken p50 {report.quantile_ms(0.5):.0f} p99 {report.quantile_ms(0.99):.0f} ms, {report.most_ahead} ahead",
        )
        assert set(report.statuses) == {200, 503}
        assert report.wrong == report.refused_without_date == 0
        assert report.failures == refused, "no connection was broken"
        # Three times what it can do was asked for: at most a third is answered.
        assert refused > report.statuses[200] > 2 * WAITING
        # Who is taken waits behind one full house, and one more that is under way: on any machine, at any speed.
        assert report.most_ahead <= 2 * WAITING
        assert metric(server, "retort_refused_requests_total", why="overload") >= refused
        soon(lambda: metric(server, "retort_requests_in_flight") <= 1, within_s=5)
        with Load(server.url, REQUEST, callers=2) as few:
            soon(lambda: len(few.answers) >= 20)
        assert not few.refusals
        assert {answer["source"] for answer in few.answers} == {"student"}


def overloaded(server: Server, rate: float, seconds: float) -> Report:
    """An open loop: callers who come whether or not the others were answered."""

    def whole(which: int, body: bytes) -> bool:
        return len(orjson.loads(body)["items"]) == REQUEST["k"]

    run = Run([post("/recommend", orjson.dumps(REQUEST))], whole, watch_pid=server.process.pid, check_every=1)
    port = int(server.url.rpartition(":")[2])
    return asyncio.run(run.open(port, connections=256, rate=rate, warm_up_s=0.5, seconds=seconds))


def test_more_senders_than_connections_to_redis_wait_for_one(
    bundles: list[Path], redis_url: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"redis_url": redis_url, "retort_history_timeout_s": 5}
    with serving_process(tmp_path, retort_bundle=bundles[0], **settings) as server:
        server.ready()
        events = [post("/events", orjson.dumps({"user_id": f"u{n}", "item_id": "i1"})) for n in range(100)]
        run = Run(events, lambda *_: True, watch_pid=server.process.pid)
        port = int(server.url.rpartition(":")[2])
        report = asyncio.run(run.closed(port, connections=64, warm_up_s=0, seconds=1))
        assert set(report.statuses) == {202}
        assert metric(server, "retort_store_failures_total") == 0


def test_a_late_student_is_answered_for_by_the_deadline(bundles: list[Path], tmp_path: Path) -> None:
    prelude = slow_graph(1.0, tmp_path / "slow")
    with serving_process(tmp_path, prelude=prelude, retort_bundle=bundles[0], retort_deadline_s=0.2) as server:
        server.ready()
        (tmp_path / "slow").touch()
        answer = httpx.post(f"{server.url}/recommend", json=REQUEST, timeout=10).json()
        assert (answer["source"], answer["fallback_reason"]) == ("similar_items", "deadline")
        assert len(answer["items"]) == 5
        assert metric(server, "retort_answers_total", source="similar_items", reason="deadline") == 1


def test_a_key_above_its_rate_is_told_when_to_come_back(bundles: list[Path], tmp_path: Path) -> None:
    key, entry = new_key("app", frozenset({Scope.READ}))
    _, other = new_key("other", frozenset({Scope.READ}))
    entries = [one.model_copy(update={"per_second": 2.0}).model_dump(mode="json") for one in (entry, other)]
    (tmp_path / "keys.json").write_bytes(orjson.dumps(entries))
    with serving_process(tmp_path, retort_bundle=bundles[0], retort_keys_file=tmp_path / "keys.json") as server:
        server.ready()
        with httpx.Client(base_url=server.url, headers={"x-api-key": key}) as client:
            answers = [client.post("/recommend", json=REQUEST) for _ in range(30)]
            refused = [answer for answer in answers if answer.status_code == 429]
            assert answers[0].status_code == 200
            assert len(refused) >= 10
            assert {answer.headers["retry-after"] for answer in refused} == {"1"}
            assert metric(server, "retort_requests_total", status="429") == len(refused)
            soon(lambda: client.post("/recommend", json=REQUEST).status_code == 200)
