"""Joins that must fail: each says why, and nothing is left on the machine that tried."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network
from meshproto.cluster_key import ClusterKey

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


@dataclass
class Door:
    """gw-berlin has a mesh and the key; gw-paris wants in."""

    network: Network
    berlin: Host
    paris: Host
    key: str

    def refusal(self, *arguments: str, key: str = "") -> tuple[str, str]:
        """(code, message and fix); and gw-paris is as it was."""
        before = self.paris.network_state()
        done = self.paris.meshctl_raw("--json", "--timeout", "6", "join", "-", *arguments, input=key or self.key)
        assert done.returncode in (1, 4), done.stdout + done.stderr
        error = json.loads(done.stdout)["error"]
        assert "Traceback" not in self.paris.log() + self.berlin.log()
        assert self.paris.network_state() == before
        assert self.paris.meshctl("status")["meshes"] == []
        return error["code"], f"{error['message']}; {error['fix']}"


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    network = Network()
    try:
        berlin, paris = network.host("gw-berlin"), network.host("gw-paris")
        for host in (berlin, paris):
            host.start_meshd()
        yield Door(network, berlin, paris, berlin.meshctl("create", "home")["cluster_key"])
    finally:
        network.close()


def test_a_wrong_key(door: Door) -> None:
    key = ClusterKey(bytes(32), ClusterKey.parse(door.key).fingerprint).text()
    code, text = door.refusal(door.network.address("gw-berlin"), key=key)
    assert code == "wrong-key"
    assert "meshctl key show" in text


def test_a_key_of_another_mesh_is_not_even_tried(door: Door) -> None:
    before = door.berlin.log()
    key = ClusterKey(ClusterKey.parse(door.key).secret, bytes(32)).text()
    code, text = door.refusal(door.network.address("gw-berlin"), key=key)
    assert code == "wrong-fingerprint"
    assert "belongs to another mesh" in text
    assert "join" not in door.berlin.log().removeprefix(before)


def test_hosts_that_are_no_nodes(door: Door) -> None:
    router = door.network.router
    router.record(["python3", "-m", "http.server", "9000"], "other")
    wait_until(lambda: router.run("ss -Hltn sport = 9000").stdout, 5, "the other service")
    gateway = door.paris.run("ip route show default").stdout.split()[2]
    _, text = door.refusal(gateway)
    assert "is no node of a mesh" in text
    code, text = door.refusal(f"{gateway}:9009")
    assert (code, "can't be reached" in text) == ("unavailable", True)
    _, text = door.refusal("gw-nowhere.invalid")
    assert "gw-nowhere.invalid can't be resolved" in text


def test_the_second_host_is_tried_when_the_first_does_not_answer(door: Door) -> None:
    gateway = door.paris.run("ip route show default").stdout.split()[2]
    door.paris.meshctl("join", "-", f"{gateway}:9009", door.network.address("gw-berlin"), input=door.key)
    done = door.paris.meshctl_raw("join", "-", door.network.address("gw-berlin"), input=door.key)
    assert "this machine is in home already" in done.stderr
    door.paris.meshctl("leave", "home", "--yes")


def test_a_name_that_is_taken(door: Door) -> None:
    code, text = door.refusal(door.network.address("gw-berlin"), "--name", "gw-berlin")
    assert code == "conflict"
    assert "the name gw-berlin is taken in home" in text


@pytest.mark.parametrize(("offset", "says"), [("-30h", "behind"), ("+30h", "ahead"), ("+4000d", "ahead")])
def test_a_clock_that_is_off(door: Door, offset: str, says: str) -> None:
    assert FAKETIME is not None, "apt install libfaketime"
    door.paris.stop_meshd()
    door.paris.start_meshd(
        environment={"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    )
    try:
        code, text = door.refusal(door.network.address("gw-berlin"))
        assert code == "clock"
        assert says in text
        assert "set the clock" in text
    finally:
        door.paris.stop_meshd()
        door.paris.start_meshd()


ASK_OFTEN = """
import asyncio, sys
from ipaddress import ip_address
import grpc
from meshd.cluster.join_connection import connect
from meshproto import join_pb2

async def main():
    connection = await connect(ip_address(sys.argv[1]), 9000, None, 5)
    tries = 0
    while True:
        try:
            await connection.stub.JoinAsNode(join_pb2.JoinAsNodeRequest())
        except grpc.aio.AioRpcError as error:
            print(dict(error.trailing_metadata())["mesh-code"], flush=True)
        tries += 1
        await asyncio.sleep(0.01 if tries > 15 else 0)

asyncio.run(main())
"""


def test_joins_are_limited_by_source(door: Door) -> None:
    """The last test here: gw-paris has to wait afterwards. Whoever comes from elsewhere doesn't.

    It goes on asking, so that no try is left for meshctl, however long that takes to start: there is one every 2 s."""
    address = door.network.address("gw-berlin")
    began = time.monotonic()
    asking = door.paris.record([sys.executable, "-c", ASK_OFTEN, address], "asking")
    wait_until(lambda: door.paris.recorded("asking").count("too-many-tries") > 3, 20, "the limit to be reached")
    allowed = door.paris.recorded("asking").split().index("too-many-tries")
    assert 5 <= allowed <= 11 + (time.monotonic() - began) / 2  # ten, less what the tests before used up
    code, text = door.refusal(address)
    door.paris.send_signal(asking)
    asking.wait(10)
    codes = door.paris.recorded("asking").split()
    assert len(codes) - codes.count("too-many-tries") <= 11 + (time.monotonic() - began) / 2, codes
    assert code == "too-many-tries"
    assert f"too many attempts to join from {door.network.address('gw-paris')}; wait " in text
    oslo = door.network.host("gw-oslo").with_meshd()
    oslo.meshctl("join", "-", address, input=door.key)
    events = map(json.loads, door.berlin.meshctl_raw("--json", "events").stdout.splitlines())
    told = [event["text"] for event in events if event["kind"] == "audit"]
    place = door.network.address("gw-paris")
    assert told.count(f"refused at the join port: too many attempts to join from {place}") == 1, told
