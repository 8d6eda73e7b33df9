"""Mutual-TLS gRPC channels to other members, one for each, made when first used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import grpc.aio
from meshproto import PROTOCOL_VERSION
from meshproto.node_pb2_grpc import MeshNodeStub

if TYPE_CHECKING:
    from meshproto.node_pb2_grpc import MeshNodeAsyncStub  # exists for type checkers only

from meshd.cluster.certificates import certificate_pem, private_key_pem
from meshd.cluster.identity import Identity
from meshd.model.members import Member

MESSAGE_LIMIT = 64 * 1024 * 1024
"""Bytes in one message: a view of 3,000 members is about 3 MB."""

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Also how long gRPC lets one try to connect take (grpc/grpc issue 12830): a lost SYN is sent again after 1 s.
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Meshes on one machine share a process: without this, gRPC would share connections between equal targets.
    ("grpc.use_local_subchannel_pool", 1),
)

CALLS_END = 10.0
"""Seconds in which every call but a stream has ended."""

VERSION_KEY = "mesh-protocol"
"""Name of the metadata that says which version of the messages a caller speaks."""


class _Versioned:
    """A channel whose calls say our protocol version."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def unary_unary(self, *method: Any, **options: Any) -> Callable[..., Any]:
        return partial(self._channel.unary_unary(*method, **options), metadata=_VERSION)

    def unary_stream(self, *method: Any, **options: Any) -> Callable[..., Any]:
        return partial(self._channel.unary_stream(*method, **options), metadata=_VERSION)


_VERSION = ((VERSION_KEY, str(PROTOCOL_VERSION)),)


def host_port(address: IPv4Address | IPv6Address, port: int) -> str:
    """A gRPC target."""
    return f"ipv6:[{address}]:{port}" if address.version == 6 else f"ipv4:{address}:{port}"


class MemberChannels:
    """Channels by member id. `address_of` says where a member is; a channel is made anew when that changes."""

    def __init__(self, identity: Identity, port: int, own_address: IPv4Address | IPv6Address) -> None:
        self._identity = identity
        self._port = port
        self._own_address = own_address
        self._channels: dict[str, tuple[str, grpc.aio.Channel, MeshNodeAsyncStub]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._credentials = grpc.ssl_channel_credentials(
            certificate_pem(identity.ca_certificate),
            private_key_pem(identity.keys.certificate),
            certificate_pem(identity.certificate),
        )

    def stub(self, member: Member) -> MeshNodeAsyncStub:
        """The calls of that member. Nothing is sent before the first call."""
        target = host_port(member.ipv4, self._port)
        known = self._channels.get(member.id)
        if known is not None and known[0] == target:
            return known[2]
        name = f"{member.id}.{member.role.value}.{self._identity.choices.mesh_id}"
        channel = grpc.aio.secure_channel(
            target, self._credentials, options=(*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", name))
        )
        stub: MeshNodeAsyncStub = MeshNodeStub(_Versioned(channel))  # type: ignore[call-overload]  # all that stubs use
        self._channels[member.id] = (target, channel, stub)
        return stub

    async def renew(self, member_id: str) -> None:
        """Drops a connection that may be half dead: TCP would try it for many seconds more."""
        known = self._channels.pop(member_id, None)
        if known is not None:
            await known[1].close(None)

    def renew_all(self) -> None:
        """The same for all, after this machine slept. Calls under way end by themselves, or when their time is over."""
        channels, self._channels = list(self._channels.values()), {}
        for _, channel, _ in channels:
            closing = asyncio.create_task(channel.close(CALLS_END), name="closing an old connection")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def connecting(self, member_id: str) -> bool:
        """Whether a connection is being made at this moment: on a slow link that takes seconds."""
        known = self._channels.get(member_id)
        return known is not None and known[1].get_state() is grpc.ChannelConnectivity.CONNECTING

    async def keep_only(self, wanted: Callable[[str], bool]) -> None:
        """Closes the channels of members that are gone."""
        for member_id in [known for known in self._channels if not wanted(known)]:
            _, channel, _ = self._channels.pop(member_id)
            await channel.close(None)

    async def close(self) -> None:
        await self.keep_only(lambda _: False)
        for closing in list(self._closing):
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
