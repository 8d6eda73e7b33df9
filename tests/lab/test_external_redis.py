"""`--redis URL`: an administrator's server with a password, before, while and after a node keeps its replica there."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lab.conftest import Lab
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

URL = "redis://:p%40ss@127.0.0.1:6390"
CONFIG = """
port 6390
bind 127.0.0.1
requirepass p@ss
appendonly yes
appendfsync always
save ""
dir /run
"""


def redis(host: Host, *words: str) -> Any:
    return json.loads(host.run(["redis-cli", "--no-auth-warning", "-p", "6390", "-a", "p@ss", "--json", *words]).stdout)


def start_redis(host: Host, config: str = CONFIG) -> None:
    host.run("cat > /run/redis.conf", input=config)
    host.record(["redis-server", "/run/redis.conf"], "redis")
    wait_until(lambda: "Ready to accept" in host.recorded("redis"), 5, "redis-server")


@dataclass
class LabWithRedis(Lab):
    """`special` is the gateway that has the administrator's server."""

    special: Host


@pytest.fixture(scope="module", params=["first node", "second node"])
def lab(request: pytest.FixtureRequest) -> Iterator[LabWithRedis]:
    """gw-berlin uses the server as the primary, or gw-paris as a replica."""
    network = Network()
    try:
        berlin, paris = network.host("gw-berlin"), network.host("gw-paris")
        special = berlin if request.param == "first node" else paris
        start_redis(special)
        for host in (berlin, paris):
            host.start_meshd(environment={"MESHD_REDIS": URL} if host is special else {})
        berlin.meshctl("create", "home")
        lab = LabWithRedis(network, [berlin, paris], [], special)
        lab.join_as_node(paris)
        yield lab
    finally:
        network.close()


def newest(host: Host) -> str:
    return str(redis(host, "XREVRANGE", "changes", "+", "-", "COUNT", "1")[0][0])


def test_it_holds_what_was_committed(lab: LabWithRedis) -> None:
    berlin, paris = lab.gateways
    paris.meshctl("routes", "add", "203.0.113.0/24")

    def committed() -> str:
        status = lab.status(berlin)
        return f"{status['revision']}-{status['epoch']}"

    wait_until(lambda: newest(lab.special) == committed(), 5, "the server to hold all that was committed")
    assert lab.special.run("pgrep -c redis-server").stdout.strip() == "1"
    assert "p@ss" not in lab.special.log()
    assert "p%40ss" not in lab.special.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_meshd_restarts(lab: LabWithRedis, number: signal.Signals) -> None:
    lab.special.stop_meshd(number)
    lab.special.start_meshd(environment={"MESHD_REDIS": URL})
    for host in lab.gateways:
        wait_until(lambda h=host: lab.status(h)["writable"], 20, f"{host.name} to be writable")
    lab.gateways[0].meshctl("invites", "create", f"laptop-{number.name.lower()}")


def test_leaving_gives_it_back_as_it_was(lab: LabWithRedis) -> None:
    for host in reversed(lab.gateways):
        host.meshctl("leave", "home", "--yes")
    assert redis(lab.special, "DBSIZE") == 0
    assert redis(lab.special, "CONFIG", "GET", "bind", "port") == {"bind": "127.0.0.1", "port": "6390"}
    assert [line.split()[1] for line in redis(lab.special, "ACL", "LIST")] == ["default"]
    assert redis(lab.special, "ROLE")[0] == "master"


def test_a_server_that_may_lose_changes_is_refused(network: Network) -> None:
    berlin = network.host("gw-berlin")
    start_redis(berlin, CONFIG.replace("appendfsync always", "appendfsync everysec"))
    berlin.start_meshd("--redis", URL)
    done = berlin.meshctl_raw("create", "home")
    assert done.returncode == 1
    assert "has appendfsync everysec" in done.stderr
    assert "p@ss" not in done.stderr
    assert berlin.run("ls -A /var/lib/meshd").stdout == ""
    assert berlin.meshctl("status")["meshes"] == []
