"""Who is calling: a member's certificate, checked against the member list as it is now (DESIGN.md section 5)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from meshproto import PROTOCOL_VERSION

from meshd.cluster.certificates import UNREADABLE
from meshd.cluster.channels import VERSION_KEY
from meshd.model.errors import Conflict, NotPermitted
from meshd.model.members import Member
from meshd.model.state import State

WRONG_VERSION = "protocol-version"
"""Code of the error."""

_PEER = re.compile(r"ipv[46]:\[?([0-9A-Fa-f:.]+)(?:%[^\]]*)?\]?:\d+")


@lru_cache(maxsize=8192)
def _fingerprint(pem: bytes) -> bytes:
    return hashlib.sha256(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).digest()


def source_address(peer: str) -> IPv4Address | IPv6Address:
    """The address in gRPC's `context.peer()`, as `ipv4:192.0.2.1:5` or `ipv6:[2001:db8::1]:5`. Raises NotPermitted."""
    match = _PEER.fullmatch(unquote(peer))
    try:
        address = ip_address(match[1]) if match else None
    except ValueError:
        address = None
    if address is None:
        raise NotPermitted("the caller has no address")
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def spoken_version(context: Any) -> int:
    """The version of the messages that the caller speaks; 0 when it does not say."""
    said = dict(context.invocation_metadata() or ()).get(VERSION_KEY, "")
    return int(said) if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 10 else 0


def caller(context: Any, state: Callable[[], State]) -> Member:
    """The member that calls. Raises NotPermitted for a certificate that is no enabled member's, or for one that is
    used from another address than that member's overlay addresses."""
    pems = list(context.auth_context().get("x509_pem_cert") or [])
    if not pems:
        raise NotPermitted("no client certificate")
    try:
        fingerprint = _fingerprint(bytes(pems[0]))
    except UNREADABLE:
        raise NotPermitted("the client certificate can't be read") from None
    member = state().by_certificate(fingerprint)
    if member is None:
        raise NotPermitted("the certificate is no member's")
    if not member.enabled:
        raise NotPermitted(f"{member.name} is disabled")
    if source_address(context.peer()) not in (member.ipv4, member.ipv6):
        raise NotPermitted(f"the certificate of {member.name} is used from another member's address")
    return member


def check_version(member: Member, version: int) -> None:
    """Raises Conflict for a member that speaks another version of the messages than this node."""
    if version != PROTOCOL_VERSION:
        raise Conflict(
            f"{member.name} speaks protocol version {version or 'unknown'}, this node {PROTOCOL_VERSION}",
            "install the same release of meshtui on both",
            WRONG_VERSION,
        )
