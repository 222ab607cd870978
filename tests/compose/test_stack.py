"""The containers as an operator meets them: first start, daily work, faults, upgrade, backup. One story, in order."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compose._load import Load
from tests.compose._stack import PATIENCE_S, Stack, wait
from tests.compose.conftest import APIS

pytestmark = pytest.mark.long

USERS = [f"u{number:07d}" for number in range(40)]
USER = USERS[0]
# What everybody is answered from whose history is in Redis: the student over the whole of it, and nothing to explain.
# No other answer is right while redis-history runs. (The stack's Redis may take seconds here: see _stack.py.)
WHOLE = {("student", None)}
STRANGERS = {("popular", "unknown_user")}
# Without Redis: the history that this process remembers, else none; both say so.
AWAY = {("partial_history", "history_unavailable"), ("popular", "history_unavailable")}
# What our layers of the serving image may weigh, in bytes.
_SERVING_LIMIT = 450e6


def _ids(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def _settled(stack: Stack) -> None:
    """The student answers everybody again, from whole histories."""
    wait("the student answers again", lambda: all(stack.student_answers(user) for user in USERS[:12]))


def test_the_first_start_ends_with_the_student_answering(stack: Stack) -> None:
    wait("the demo's bundle answers", lambda: stack.student_answers(USER), PATIENCE_S, 5.0)
    wait("the bootstrap has ended", lambda: "serves." in stack.compose("logs", "--no-color", "bootstrap"))
    assert len(_ids(stack.recommend(USER))) == 10


@pytest.mark.parametrize("service", ["api", "worker-cpu", "drain", "beat", "exporter", "nginx", "prometheus"])
def test_nobody_had_to_be_started_twice(stack: Stack, service: str) -> None:
    assert stack.containers(service)
    for container in stack.containers(service):
        assert stack.docker("inspect", "-f", "{{.RestartCount}}", container).strip() == "0", stack.logs()[-3000:]


def test_the_serving_image_is_light_and_its_container_shut(stack: Stack) -> None:
    layers = [json.loads(stack.docker("inspect", name))[0] for name in ("retort-serving", "python:3.11-slim")]
    assert layers[0]["Size"] - layers[1]["Size"] < _SERVING_LIMIT
    assert layers[0]["Config"]["Labels"]["org.opencontainers.image.title"] == "retort-serving"
    seen = stack.inside(
        "api", "sh", "-c", "id -u; python -c 'import torch' 2>&1 | tail -1; touch /code/x 2>&1; ls /venv/bin"
    )
    assert seen.startswith("10001\n")
    assert "No module named 'torch'" in seen
    assert "Read-only file system" in seen
    assert "gcc" not in seen


def test_metrics_are_for_prometheus_alone(stack: Stack) -> None:
    assert httpx.get(f"{stack.url}/metrics").status_code == 404

    wait("Prometheus sees every API container", lambda: len(stack.measured('up{job="retort-api"} == 1')) == APIS)
    rules = httpx.get(f"{stack.prometheus}/api/v1/rules").json()["data"]["groups"]
    assert [group["name"] for group in rules] == ["retort"]


def _opened_connections(stack: Stack) -> int:
    """Connections that the API containers have accepted since their start."""
    opened = 0
    for container in stack.containers("api"):
        names, values = [
            line.split()
            for line in stack.docker("exec", container, "cat", "/proc/net/snmp").splitlines()
            if "Tcp:" in line
        ]
        opened += int(values[names.index("PassiveOpens")])
    return opened


def test_nginx_keeps_its_connections_to_the_containers(stack: Stack) -> None:
    before = _opened_connections(stack)
    with httpx.Client() as caller:
        for number in range(600):
            assert caller.get(f"{stack.url}/recommend", params={"user_id": USERS[number % 40]}).status_code == 200
    # Health checks and Prometheus open some as well.
    assert _opened_connections(stack) - before < 120


def _recommended(stack: Stack, container: str) -> int:
    """Recommendations that this container has answered."""
    fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    lines = stack.docker("exec", container, "python", "-c", fetch).splitlines()
    counted = [line for line in lines if line.startswith("retort_requests_total{") and 'route="/recommend"' in line]
    return int(sum(float(line.rpartition(" ")[2]) for line in counted))


def test_nginx_follows_the_number_of_containers(stack: Stack) -> None:
    before = set(stack.containers("api"))
    with Load(stack.url, USERS) as load:
        stack.up(APIS + 1)
        [added] = set(stack.containers("api")) - before
        wait("the added container answers", lambda: stack.healthy("api") and _recommended(stack, added) > 20)
        stack.up(APIS)
        wait("the added container has gone", lambda: set(stack.containers("api")) == before)
        gone = load.asked
        wait("the load goes on", lambda: load.asked > gone + 60)
    assert not load.failures
    assert load.answers.keys() == WHOLE, load.answers


def test_what_no_request_shows_is_seen_too(stack: Stack) -> None:
    wait("every store is seen", lambda: stack.measured("retort_store_answered") == [1, 1, 1])
    assert stack.measured("sum(retort_queue_tasks)") == [0]
    assert stack.measured('retort_database_connections{application="api"}'), "connections are known by program"


def test_an_event_changes_the_answer_and_reaches_the_database(stack: Stack) -> None:
    before = stack.recommend(USER)
    event = {"user_id": USER, "item_id": _ids(before)[0], "event_type": "click"}
    assert httpx.post(f"{stack.url}/events", json=event).status_code == 202
    assert _ids(stack.recommend(USER)) != _ids(before)
    wait("the event is in PostgreSQL", lambda: stack.count("events") == 1)


def test_a_refresh_goes_through_celery_and_postgresql(stack: Stack) -> None:
    before = stack.count("profiles")
    listed = "\\n".join(USERS[:20])
    stack.inside("worker-cpu", "sh", "-c", f"printf '{listed}\\n' >/runs/users.txt")
    # shorter histories: who has more events is asked about anew
    words = [stack.recipe, "--data", "/data", "--out", "/runs", "--users", "/runs/users.txt"]
    stack.inside("worker-cpu", "retort", "refresh", "start", *words, "--set", "profiles.max_history=7")

    def latest() -> dict[str, Any]:
        rows = json.loads(stack.inside("worker-cpu", "retort", "refresh", "status", "--json"))
        return dict(rows[0]) if rows else {}

    wait("the refresh is done", lambda: latest().get("status") == "done", 300, 3.0)
    assert (latest()["users_done"], latest()["users"]) == (20, 20)
    assert before < stack.count("profiles") <= before + 20
    name = Path(stack.recipe).stem
    wait("its progress is seen", lambda: stack.measured(f'retort_refresh_users_done{{refresh="{name}"}}') == [20])


def test_a_new_bundle_is_swapped_in_under_load_and_rolled_back(stack: Stack) -> None:
    words = f"{stack.recipe} --data /data --out /runs --no-plain --json --set training.epochs=1"
    train = f"retort run {words} 2>/dev/null | tail -1"
    bundle = json.loads(stack.inside("worker-cpu", "sh", "-c", train))["bundle"]
    stack.inside("worker-cpu", "retort", "publish", bundle)
    with Load(stack.url, USERS) as load:
        why = ["--force", "--because", "the swap is what is tested"]
        stack.inside("worker-cpu", "retort", "promote", Path(bundle).name, *why)
        new = Path(bundle).name[:8]
        wait("the new version answers", lambda: sum(new in version for version in list(load.versions)) > 0)
        stack.inside("worker-cpu", "retort", "rollback")
        wait("the old version is back", lambda: new not in str(stack.recommend(USER)["model"]))
    assert not load.failures
    assert load.answers.keys() == WHOLE, load.answers
    assert len(load.versions) == 2


@pytest.mark.parametrize("service", ["redis-broker", "postgres", "worker-cpu", "drain", "beat", "prometheus", "api"])
def test_who_is_killed_costs_no_answer(stack: Stack, service: str) -> None:
    victim = stack.containers(service)[0]
    with Load(stack.url, USERS) as load:
        wait("the load runs", lambda: load.asked > 20)
        stack.docker("kill", victim)
        gone = load.asked
        wait("the load goes on", lambda: load.asked > gone + 60)
        stack.docker("start", victim)
        wait(f"{service} is back", lambda: stack.healthy(service), 180)
    assert not load.failures
    assert load.answers.keys() == WHOLE, load.answers
    _settled(stack)


def test_without_its_histories_it_answers_and_says_so(stack: Stack) -> None:
    victim = stack.containers("redis-history")[0]
    mixed = [name for number, user in enumerate(USERS) for name in (user, f"stranger{number}")]
    with Load(stack.url, mixed) as load:
        wait("the load runs", lambda: load.asked > 20)
        stack.docker("kill", victim)
        gone = load.asked
        wait("the load goes on", lambda: load.asked > gone + 60)
        event = {"user_id": USER, "item_id": "i001", "event_type": "click"}
        refused = httpx.post(f"{stack.url}/events", json=event, timeout=10)
        stack.docker("start", victim)
        wait("redis-history is back", lambda: stack.healthy("redis-history"))
    assert not load.failures
    assert load.answers.keys() == WHOLE | STRANGERS | AWAY, load.answers
    assert refused.status_code == 503
    assert "retry-after" in refused.headers
    _settled(stack)


def test_the_start_page_leads_to_the_console_through_nginx(stack: Stack) -> None:
    assert httpx.get(stack.url).headers["location"] == "console", "relative: no host is named"
    page = httpx.get(stack.url, follow_redirects=True)
    assert (page.status_code, str(page.url)) == (200, f"{stack.url}/console")
    assert httpx.get(f"{stack.url}/models/").status_code == 404, "no redirect to whatever Host was sent"


def test_nginx_is_the_one_door_and_comes_back(stack: Stack) -> None:
    victim = stack.containers("nginx")[0]
    stack.docker("kill", victim)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{stack.url}/health/live")
    stack.docker("start", victim)
    _settled(stack)


def test_a_rolling_restart_loses_no_request(stack: Stack) -> None:
    with Load(stack.url, USERS) as load:
        said = stack.run("sh", "deploy/rolling-restart.sh")
    assert said.count("healthy again") == APIS
    assert load.asked > 100
    assert not load.failures
    assert load.answers.keys() == WHOLE, load.answers


def test_all_profiles_are_counted_now_and_then(stack: Stack) -> None:
    written = stack.count("profiles")
    wait("all are seen", lambda: stack.measured("sum(retort_profiles)") == [written], 400)
    [young] = stack.measured('retort_profile_age_seconds_bucket{le="86400.0"}')
    assert 0 < young == stack.measured('retort_profile_age_seconds_bucket{le="+Inf"}')[0] <= written


def test_an_older_schema_is_brought_up_with_its_data(stack: Stack) -> None:
    kept = {table: stack.count(table) for table in ("profiles", "events", "bundles")}
    head = stack.sql("select version_num from alembic_version")
    stack.compose("stop", "drain", "worker-cpu", "beat")
    step_back = (
        "from alembic.script import ScriptDirectory as S; from retort.shared.db import migrate as m; "
        "from retort.shared.base.settings import Settings; s = S(str(m._MIGRATIONS)); "
        "m.downgrade(Settings().database, s.get_revision(s.get_current_head()).down_revision)"
    )
    stack.compose("run", "--rm", "--no-deps", "-T", "migrate", "python", "-c", step_back)
    assert stack.sql("select version_num from alembic_version") != head
    stack.up(APIS)
    wait("the workers are back", lambda: stack.healthy("worker-cpu") and stack.healthy("drain"))
    assert stack.sql("select version_num from alembic_version") == head
    assert {table: stack.count(table) for table in kept} == kept
    _settled(stack)


def test_a_backup_makes_an_empty_stack_answer_the_same(stack: Stack, tmp_path: Path) -> None:
    before = {user: _ids(stack.recommend(user)) for user in USERS[:5]}
    rows = stack.count("profiles")
    stack.run("sh", "deploy/backup.sh", str(tmp_path))
    stack.compose("down", "-v", "-t", "10")
    stack.compose("up", "-d", "postgres", "redis-history", "redis-broker")
    stack.run("sh", "deploy/restore.sh", str(tmp_path))
    wait("the restored stack answers", lambda: stack.student_answers(USER), 300)
    assert {user: _ids(stack.recommend(user)) for user in before} == before
    assert stack.count("profiles") == rows


def test_a_stack_is_not_published_to_the_world_without_keys(stack: Stack) -> None:
    command = ["run", "--rm", "--no-deps", "-T", "-e", "RETORT_REACHED_AT=0.0.0.0", "api"]
    done = subprocess.run(
        [*stack.environment["COMPOSE"].split(), *command],
        env=stack.environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "there are no API keys" in done.stdout + done.stderr
