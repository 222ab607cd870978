"""A stack of containers of its own: project name, ports and volumes belong to one test run and go with it."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).parents[2]
# A first bundle is trained on whatever cores are left.
PATIENCE_S = 900.0
# Without any layer: torch and a hundred wheels are fetched and unpacked.
BUILD_PATIENCE_S = 2400.0


def engine_missing() -> str | None:
    """Why no containers can be started here, or None."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        return "no container engine answers"
    return None


def compose_command() -> list[str]:
    """Compose v2 where it is, else 1.29."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    return ["docker", "compose"] if plugin else ["docker-compose"]


class Stack:
    """The whole system under a project name."""

    def __init__(self, project: str, port: int, prometheus_port: int) -> None:
        self.project = project
        self.url = f"http://127.0.0.1:{port}"
        self.prometheus = f"http://127.0.0.1:{prometheus_port}"
        # another recipe for a machine in a hurry: CONFIG_DIR=./tests BOOTSTRAP=/config/tiny.toml make compose-test
        self.recipe = os.environ.get("BOOTSTRAP", "demo")
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": project,
            "COMPOSE": " ".join(compose_command()),
            "COMPOSE_DOCKER_CLI_BUILD": "1",
            "DOCKER_BUILDKIT": "1",
            "PORT": str(port),
            "PROMETHEUS_PORT": str(prometheus_port),
            "RETORT_FOLLOW_EVERY_S": "1",
            # The story asks who depends on whom, not how fast this machine is: where a whole system, a training and a
            # restart share two cores, Redis may miss its 250 ms, and a label that is right would look like a fault.
            "RETORT_HISTORY_TIMEOUT_S": "2",
            "RETORT_DEADLINE_S": "5",
        }

    def run(self, *words: str, timeout_s: float = PATIENCE_S) -> str:
        """Any command in the repository, with the stack's environment; its standard output."""
        done = subprocess.run(
            words, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=timeout_s
        )
        assert done.returncode == 0, f"{words}: status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def compose(self, *words: str, timeout_s: float = PATIENCE_S) -> str:
        return self.run(*compose_command(), *words, timeout_s=timeout_s)

    def docker(self, *words: str) -> str:
        return self.run("docker", *words)

    def inside(self, service: str, *words: str) -> str:
        """A command in a running container."""
        return self.compose("exec", "-T", service, *words)

    def sql(self, statement: str) -> str:
        """One value from PostgreSQL."""
        command = 'PGPASSWORD=$(cat /run/secrets/postgres_password) psql -h 127.0.0.1 -U retort -d retort -Atc "$0"'
        return self.inside("postgres", "sh", "-c", command, statement).strip()

    def count(self, table: str) -> int:
        """Rows of a table in PostgreSQL."""
        return int(self.sql(f"select count(*) from {table}"))

    def measured(self, query: str) -> list[float]:
        """What Prometheus answers now, one value a series."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": query}, timeout=10)
        return [float(series["value"][1]) for series in answer.json()["data"]["result"]]

    def containers(self, service: str) -> list[str]:
        """Ids of a service's containers, also of stopped ones."""
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        found = self.docker("ps", "-aq", *(word for label in labels for word in ("--filter", f"label={label}")))
        return found.split()

    def up(self, apis: int) -> None:
        self.compose("up", "-d", "--scale", f"api={apis}")

    def healthy(self, service: str) -> bool:
        """Whether all of a service's containers run, and are healthy where they can say so."""
        states = [json.loads(self.docker("inspect", "-f", "{{json .State}}", one)) for one in self.containers(service)]
        return bool(states) and all(
            state["Running"] and state.get("Health", {"Status": "healthy"})["Status"] == "healthy" for state in states
        )

    def recommend(self, user_id: str, k: int = 10) -> dict[str, Any]:
        """An answer through nginx; AssertionError unless it is one."""
        answer = httpx.post(f"{self.url}/recommend", json={"user_id": user_id, "k": k}, timeout=10)
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def student_answers(self, user_id: str) -> bool:
        """Whether the whole path works: nginx, API, history, graph."""
        try:
            return bool(self.recommend(user_id)["source"] == "student")
        except (AssertionError, httpx.HTTPError):
            return False

    def logs(self) -> str:
        return self.compose("logs", "--no-color", "--tail", "30")


def wait(what: str, is_so: Callable[[], bool], within_s: float = 120.0, every_s: float = 1.0) -> None:
    """Until it is so; AssertionError with its name otherwise."""
    until = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < until, f"not within {within_s:.0f} s: {what}"
        time.sleep(every_s)
