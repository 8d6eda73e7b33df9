"""When a connection to a node that does not answer is made anew."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from meshd.assembly import node_calls
from meshd.assembly.node_calls import NodeCalls
from meshd.cluster.channels import MemberChannels
from meshproto import node_pb2


class Silent:
    """Calls that are not answered; `connecting` says whether the connection is still being made."""

    def __init__(self) -> None:
        self.now_connecting = False
        self.renewed: list[str] = []

    def stub(self, member: Any) -> Any:
        async def fail(request: Any, timeout: float) -> Any:
            raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata())

        return SimpleNamespace(Heartbeat=fail)

    def connecting(self, member_id: str) -> bool:
        return self.now_connecting

    async def renew(self, member_id: str) -> None:
        self.renewed.append(member_id)


async def test_one_that_is_still_being_made_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    channels, paris, now = Silent(), SimpleNamespace(id="paris"), [0.0]
    monkeypatch.setattr(node_calls.time, "monotonic", lambda: now[0])
    calls = NodeCalls(channels)  # type: ignore[arg-type]  # all that it uses

    async def beat(at: float) -> None:
        now[0] = at
        assert await calls.heartbeat(paris, node_pb2.HeartbeatRequest(), 1.0) is None  # type: ignore[arg-type]

    channels.now_connecting = True
    for second in range(6):
        await beat(second)
    assert channels.renewed == []
    channels.now_connecting = False
    for at in (6.0, 7.0, 8.0):
        await beat(at)
    assert channels.renewed == []
    await beat(8.1)
    assert channels.renewed == ["paris"]


async def test_a_connection_that_is_being_made_is_known_as_such() -> None:
    """To a server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        channel = grpc.aio.secure_channel(f"ipv4:127.0.0.1:{deaf.getsockname()[1]}", grpc.ssl_channel_credentials())
        channels = MemberChannels.__new__(MemberChannels)
        channels._channels = {"paris": ("", channel, None)}  # type: ignore[dict-item]  # no call is made
        try:
            assert not channels.connecting("paris")
            assert not channels.connecting("oslo")
            state = channel.get_state(try_to_connect=True)
            await channel.wait_for_state_change(state)
            assert channels.connecting("paris")
        finally:
            await channel.close(None)
