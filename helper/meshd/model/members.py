"""Members as plain, validated values. `from_message` is the edge where stored and foreign messages are checked."""

from __future__ import annotations

import enum
import ipaddress
import uuid
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from meshproto import state_pb2
from meshproto.keys import PublicKey

from meshd.model.errors import InvalidInput
from meshd.model.names import check_label


class Role(enum.Enum):
    NODE = "node"
    PEER = "peer"
    DEVICE = "device"

    @classmethod
    def from_message(cls, value: state_pb2.Role.ValueType) -> Role:
        try:
            return _ROLES[value]
        except KeyError:
            raise InvalidInput(f"unknown role {value}") from None

    @property
    def message(self) -> state_pb2.Role.ValueType:
        return next(value for value, role in _ROLES.items() if role is self)


_ROLES = {state_pb2.ROLE_NODE: Role.NODE, state_pb2.ROLE_PEER: Role.PEER, state_pb2.ROLE_DEVICE: Role.DEVICE}


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where UDP packets go: `host` is an address, or a name that is still to be resolved."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int = 0) -> Endpoint:
        """Reads `host:port`, `[v6]:port`, or a bare host when there is a default port. Raises InvalidInput.

        An address with a zone (`fe80::1%eth0`) is refused: it means something on one machine only.
        """
        host, port = text.strip(), default_port
        try:
            if "%" in host:
                raise ValueError
            if host.startswith("["):
                inside, _, rest = host[1:].partition("]")
                if rest and not rest.startswith(":"):
                    raise ValueError
                host, port = str(IPv6Address(inside)), _port(rest[1:]) if rest else default_port
            elif host.count(":") == 1:
                host, _, number = host.partition(":")
                port = _port(number)
            elif ":" in host:
                host = str(IPv6Address(host))
        except ValueError:
            raise InvalidInput(f"{text!r} is not an endpoint", "write HOST:PORT, or [IPV6]:PORT") from None
        if not 0 < port < 65536:
            raise InvalidInput(f"{text!r} has no port between 1 and 65535", "write HOST:PORT, or [IPV6]:PORT")
        return cls(_check_host(host, text), port)

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address, or None when the host is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _port(text: str) -> int:
    # `int` takes signs, underscores, spaces and foreign digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise ValueError
    return int(text)


def _check_host(host: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.rstrip(".").split(".")
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    if len(host) > 253 or not all(0 < len(label) < 64 and set(label) <= allowed for label in labels):
        raise InvalidInput(f"{text!r} is not an endpoint", "write HOST:PORT, or [IPV6]:PORT")
    if labels[-1].isdigit():
        raise InvalidInput(f"{text!r} is neither an IPv4 address nor a name")
    return host.lower()


def _overlay_ipv6(text: str) -> IPv6Address:
    address = IPv6Address(text)
    if address.scope_id is not None:
        raise ValueError(f"{text!r} has a zone")
    return address


@dataclass(frozen=True, slots=True)
class Member:
    """A node, peer or device, with the fields that the CA signed and those that the primary keeps."""

    id: str
    name: str
    role: Role
    public_key: PublicKey
    ipv4: IPv4Address
    ipv6: IPv6Address
    transport: IPv6Address | None
    subnet: IPv4Network | None
    admin: bool = False
    enabled: bool = True
    endpoints: tuple[Endpoint, ...] = ()
    listen_port: int = 0
    behind_nat: bool = False
    join_port: int = 0
    joined_ms: int = 0
    joined_by: str = ""
    ephemeral_ms: int = 0
    protocol_version: int = 0
    certificate_sha256: bytes = b""
    serial: int = 0

    @classmethod
    def from_message(cls, message: state_pb2.Member) -> Member:
        """Checks every field; raises InvalidInput naming it. The signature is checked by `meshd.cluster`."""
        try:
            statement = state_pb2.MemberStatement.FromString(message.record.statement)
        except Exception as error:
            raise InvalidInput(f"member {message.id!r}: the signed statement can't be read") from error
        if statement.id != message.id:
            raise InvalidInput(f"member {message.id!r}: the signed statement is about {statement.id!r}")
        field = "id"
        try:
            member_id = str(uuid.UUID(statement.id))
            if member_id != statement.id:
                raise ValueError("not in lower-case UUID form")
            field = "public_key"
            key = PublicKey(statement.public_key)
            field = "ipv4"
            ipv4 = IPv4Address(statement.ipv4)
            field = "ipv6"
            ipv6 = _overlay_ipv6(statement.ipv6)
            field = "transport"
            transport = _overlay_ipv6(statement.transport) if statement.transport else None
            field = "subnet"
            subnet = IPv4Network(statement.subnet) if statement.subnet else None
            field = "endpoints"
            endpoints = tuple(Endpoint.parse(text) for text in message.endpoints)
            field = "listen_port"
            if not 0 <= message.listen_port < 65536 or not 0 <= message.join_port < 65536:
                raise ValueError("port out of range")
        except (ValueError, InvalidInput) as error:
            raise InvalidInput(f"member {message.id!r}: {field}: {error}") from error
        return cls(
            id=member_id,
            name=check_label(statement.name, "member name"),
            role=Role.from_message(statement.role),
            public_key=key,
            ipv4=ipv4,
            ipv6=ipv6,
            transport=transport,
            subnet=subnet,
            admin=statement.admin,
            enabled=message.enabled,
            endpoints=endpoints,
            listen_port=message.listen_port,
            behind_nat=message.behind_nat,
            join_port=message.join_port,
            joined_ms=message.joined_ms,
            joined_by=message.joined_by,
            ephemeral_ms=message.ephemeral_ms,
            protocol_version=message.protocol_version,
            certificate_sha256=statement.certificate_sha256,
            serial=statement.serial,
        )
