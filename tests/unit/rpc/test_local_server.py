"""Every method with every kind of caller, through the real front door."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import grpc.aio
import pytest
from meshd.rpc.actor import Tier, actor_of
from meshd.rpc.front_door import tier_of
from meshproto import local_pb2
from meshproto.client import OPTIONS
from meshproto.tiers import METHODS

if TYPE_CHECKING:
    from conftest import Served

OBSERVE = {"GetStatus", "Watch", "ListEvents", "GetPast", "Ping", "Doctor"}


def test_the_table_is_what_was_decided() -> None:
    assert {path.rpartition("/")[2] for path, one in METHODS.items() if one.tier == local_pb2.TIER_OBSERVE} == OBSERVE
    assert all(one.tier in (local_pb2.TIER_OBSERVE, local_pb2.TIER_OPERATE) for one in METHODS.values())


async def test_meshds_own_user_may_call_everything(served: Served) -> None:
    answers = await served.call_as(os.getuid(), *METHODS)
    assert {path for path, answer in answers.items() if answer.startswith("OK 1")} == set(METHODS)
    assert {uid for uid, _, allowed in served.audited if allowed} == {os.getuid()}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_another_user_may_only_look(served: Served) -> None:
    answers = await served.call_as(65534, *METHODS)
    allowed = {path.rpartition("/")[2] for path, answer in answers.items() if answer.startswith("OK")}
    assert allowed == OBSERVE
    denied = [answer for answer in answers.values() if not answer.startswith("OK")]
    assert all(answer.startswith("PERMISSION_DENIED") for answer in denied)
    assert {name for name, _ in served.api.called} == OBSERVE
    assert sorted(path for _, path, ok in served.audited if not ok) == sorted(
        path for path in METHODS if path.rpartition("/")[2] not in OBSERVE
    )


async def test_odd_paths_are_denied(served: Served) -> None:
    odd = [
        "/meshproto.Meshd/NoSuchMethod",
        "//meshproto.Meshd/CreateMesh",
        "/meshproto.Meshd//CreateMesh",
        "/meshproto.Meshd/CreateMesh/",
        "/meshproto.meshd/CreateMesh",
        "/meshproto.Meshd/createmesh",
        "/other.Service/CreateMesh",
        "/" + "x" * 2000,
    ]
    answers = await served.call_as(os.getuid(), *odd)
    assert all(not answer.startswith("OK") for answer in answers.values()), answers
    assert len(answers) == len(odd)
    assert served.api.called == []


async def test_gRPCs_own_socket_is_closed_to_callers(served: Served) -> None:
    inner = served.socket.parent / "inner" / "grpc.sock"
    assert inner.stat().st_mode & 0o777 == 0o600
    assert inner.parent.stat().st_mode & 0o777 == 0o700
    async with grpc.aio.insecure_channel(f"unix:{inner}", options=OPTIONS) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/meshproto.Meshd/GetStatus")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert served.api.called == []


async def test_a_refusal_carries_code_and_fix(served: Served) -> None:
    request = local_pb2.ShowKeyRequest(mesh="busy").SerializeToString()
    async with grpc.aio.insecure_channel(f"unix:{served.socket}", options=OPTIONS) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/meshproto.Meshd/ShowKey")(request, timeout=5)
    metadata = dict(caught.value.trailing_metadata() or ())
    assert (metadata["mesh-code"], metadata["mesh-fix-bin"], caught.value.details()) == (
        "conflict",
        b"wait",
        "it is busy",
    )


def test_tier_comes_from_root_own_user_or_group() -> None:
    assert tier_of(0, set(), "no-such-group") is Tier.OPERATE
    assert tier_of(os.geteuid(), set(), "no-such-group") is Tier.OPERATE
    assert tier_of(54321, {54321}, "no-such-group") is Tier.OBSERVE
    assert tier_of(54321, {54321, 0}, "root") is Tier.OPERATE
    assert tier_of(54321, {54321}, "root") is Tier.OBSERVE


@pytest.mark.parametrize(
    "peer",
    ["unix:", "ipv4:127.0.0.1:5", "unix-abstract:meshd/0/root/1/" + "0" * 32, "unix-abstract:evil/meshd/0/operate/1/x"],
)
def test_who_did_not_come_through_the_front_door_is_nobody(peer: str) -> None:
    with pytest.raises(Exception, match="front door"):
        actor_of(peer)
