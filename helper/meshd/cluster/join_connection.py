"""The joiner's connection to a node it doesn't know yet: read the CA unverified, compare, reconnect with it as root.

Python's TLS shows the server's own certificate only, so the CA is read over gRPC with that certificate as the root;
nothing of ours is sent before the CA's fingerprint agreed (DESIGN.md section 5).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from meshproto import PROTOCOL_VERSION, join_pb2
from meshproto.join_pb2_grpc import JoinStub

from meshd.cluster.certificates import UNREADABLE, certificate_pem, fingerprint, identity_of
from meshd.cluster.channels import CHANNEL_OPTIONS, host_port
from meshd.model.errors import Conflict, Failed, InvalidInput, MeshError, NotPermitted, Unavailable
from meshd.model.members import Role

_MIN_BACKOFF = "grpc.min_reconnect_backoff_ms"
_OPTIONS = (*(option for option in CHANNEL_OPTIONS if option[0] != _MIN_BACKOFF), (_MIN_BACKOFF, 20_000))
"""gRPC ends a try to connect after that time, too (grpc/grpc issue 12830), and a slow link may need a second for TLS.
Whoever calls sets the limit."""

CLOCK_TOLERANCE = 24 * 3600
"""Seconds by which clocks may differ: certificates are valid from one day before they are made."""

RESOLVE_TIME = 5.0
"""Seconds for a name. The system's own resolver tries for longer than whoever joins waits."""

Address = IPv4Address | IPv6Address


@dataclass(slots=True)
class JoinConnection:
    """A verified connection to one node's join service."""

    address: Address
    port: int
    channel: grpc.aio.Channel
    stub: Any  # JoinStub; its generated type is for synchronous channels
    ca_certificate: bytes  # DER
    server_certificate: bytes  # DER
    node_id: str
    mesh_id: str
    mesh_name: str
    networks: tuple[str, ...] = ()  # its pools, as the node says

    async def close(self) -> None:
        await self.channel.close(None)


async def resolve(host: str, port: int, limit: float = RESOLVE_TIME) -> list[Address]:
    """The addresses of a host, IPv6 and IPv4 in the system's order. Raises Unavailable, also after `limit` seconds."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Unavailable(
            f"{host} can't be resolved: no name server answers", "check this machine's network, or use an address"
        ) from None
    except OSError as error:
        raise Unavailable(
            f"{host} can't be resolved: {error.strerror or error}", "check the name, or use an address"
        ) from error
    texts = dict.fromkeys(str(entry[4][0]).split("%")[0] for entry in found)
    return [IPv6Address(text) if ":" in text else IPv4Address(text) for text in texts]


async def connect(address: Address, port: int, expected_fingerprint: str | None, timeout: float) -> JoinConnection:
    """Connects and verifies. With no expected fingerprint, the caller shows the one found (`fingerprint`).

    Raises Unavailable when nobody answers, Failed when that is no node, NotPermitted when it is another mesh's,
    Conflict when its protocol or the clocks don't match.
    """
    where = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    try:
        async with asyncio.timeout(timeout):
            leaf = await _server_certificate(address, port)
            return await _verified(address, port, where, leaf, expected_fingerprint)
    except TimeoutError:
        raise Unavailable(
            f"no answer from {where}", "check the address, and that TCP to that port is open in its firewall"
        ) from None


async def _server_certificate(address: Address, port: int) -> bytes:
    """The server's certificate in DER, from an unverified connection. The caller limits the time."""
    where = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        _, writer = await asyncio.open_connection(str(address), port, ssl=context)
    except ssl.SSLError as error:
        raise Failed(f"{where} is no node of a mesh: it does not speak TLS", "give the address of a node") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)  # asyncio has words of its own for it
        raise Unavailable(
            f"{where} can't be reached: {reason}", "check the address and that meshd runs there"
        ) from error
    try:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()  # nothing is said on it, and nobody waits for the end of it
    if not isinstance(certificate, bytes):
        raise Failed(f"{where} is no node of a mesh: it has no certificate", "give the address of a node")
    return certificate


async def _verified(address: Address, port: int, where: str, leaf: bytes, expected: str | None) -> JoinConnection:
    _check_clock(leaf, where)
    try:
        node_id, role, mesh_id = identity_of(leaf)
    except (MeshError, ValueError) as error:
        raise Failed(
            f"{where} is no node of a mesh: its certificate is not one of ours", "give the address of a node"
        ) from error
    if role is not Role.NODE:
        raise Failed(f"{where} is a {role.value}, not a node", "give the address of a node")
    name = f"{node_id}.{role.value}.{mesh_id}"
    unverified = _channel(address, port, leaf, name)
    try:
        authority: join_pb2.AuthorityReply = await JoinStub(unverified).GetAuthority(join_pb2.AuthorityRequest())
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            raise Unavailable(
                f"{where} stopped answering: {error.details()}", "check the network to it, and that meshd runs there"
            ) from error
        raise Failed(f"{where} is no node of a mesh: {error.details()}", "give the address of a node") from error
    finally:
        await unverified.close(None)
    if authority.protocol_version != PROTOCOL_VERSION:
        raise Conflict(
            f"{where} speaks protocol version {authority.protocol_version}, this machine {PROTOCOL_VERSION}",
            "install the same release of meshtui on both",
            "protocol-version",
        )
    found = fingerprint(authority.ca_certificate)
    if expected is not None and found != expected:
        raise NotPermitted(
            f"{where} belongs to another mesh: its CA has fingerprint {found}, expected {expected}",
            "check the address, and that the key or invite is of the mesh you mean",
            "wrong-fingerprint",
        )
    channel = _channel(address, port, authority.ca_certificate, name)
    return JoinConnection(
        address,
        port,
        channel,
        JoinStub(channel),
        authority.ca_certificate,
        leaf,
        node_id,
        mesh_id,
        authority.mesh_name,
        tuple(authority.networks),
    )


def _check_clock(leaf: bytes, where: str) -> None:
    try:
        certificate = x509.load_der_x509_certificate(leaf)
    except UNREADABLE as error:
        raise InvalidInput(f"the certificate of {where} can't be read") from error
    now = time.time()
    if now < certificate.not_valid_before_utc.timestamp():
        raise Conflict(
            f"this machine's clock is behind: the certificate of {where} is valid only from "
            f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            "set the clock: timedatectl set-ntp true",
            "clock",
        )
    if now > certificate.not_valid_after_utc.timestamp():
        raise Conflict(
            f"the certificate of {where} ended on {certificate.not_valid_after_utc:%Y-%m-%d}, or this machine's clock "
            "is ahead",
            "set the clock: timedatectl set-ntp true",
            "clock",
        )


def check_clock_difference(node_ms: int, where: str) -> None:
    """Raises Conflict when a certificate made by the node now would not be valid here."""
    difference = time.time() - node_ms / 1000
    if abs(difference) > CLOCK_TOLERANCE:
        raise Conflict(
            f"this machine's clock is {abs(difference) / 3600:.0f} h "
            f"{'ahead of' if difference > 0 else 'behind'} that of {where}",
            "set the clock: timedatectl set-ntp true",
            "clock",
        )


def _channel(address: Address, port: int, root: bytes, name: str) -> grpc.aio.Channel:
    pem = certificate_pem(root)
    return grpc.aio.secure_channel(
        host_port(address, port),
        grpc.ssl_channel_credentials(pem),
        options=(*_OPTIONS, ("grpc.ssl_target_name_override", name)),
    )
