"""Invites as text (`mesh1-…`), as `mesh://join/…` URI and as `.mesh` TOML file (DESIGN.md section 5).

The text is base32 of: length of the body (2 bytes), check byte of that length, body (`InviteContents`), checksum
(4 bytes). Length and checksum tell an invite that was cut short from one that was edited.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import tomllib
import uuid
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from google.protobuf.message import DecodeError

from meshproto import base32
from meshproto.format_error import FormatError
from meshproto.invite_pb2 import InviteContents, InviteNodeContents
from meshproto.keys import PrivateKey, PublicKey
from meshproto.state_pb2 import ROLE_NODE, ROLE_PEER, Role

PREFIX = "mesh1-"
URI_PREFIX = "mesh://join/"
REDEEM_PORT = 9000
"""The join service's port on overlay addresses when an invite names none."""

MOST_FURTHER_KEYS = 7
"""With the first, as many machines can redeem at the same time as mostly come at once."""

_HEADER_BYTES = 3
_CHECKSUM_BYTES = 4
_LONGEST_TEXT = 65_536  # characters; an invite with 3 nodes has about 600
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?", re.ASCII)
_ASK_AGAIN = "copy the whole invite again, or ask for a new one"


@dataclass(frozen=True, slots=True)
class InviteNode:
    """A node that the invite may be redeemed at. `endpoints` are `host:port` or `[v6]:port`, best first."""

    ipv4: IPv4Address
    ipv6: IPv6Address
    public_key: PublicKey
    endpoints: tuple[str, ...] = ()
    redeem_port: int = REDEEM_PORT


@dataclass(frozen=True, slots=True)
class Invite:
    """One invite with its secret. `repr` and `str` hide the temporary key."""

    id: str
    mesh_id: str
    mesh_name: str
    nodes: tuple[InviteNode, ...]
    temporary_key: PrivateKey
    temporary_ipv4: IPv4Address
    temporary_ipv6: IPv6Address
    ca_fingerprint: bytes
    expires_ms: int
    member: str = ""
    role: Role.ValueType = field(default=ROLE_PEER)
    further_keys: int = 0

    def access(self, number: int) -> tuple[PrivateKey, IPv4Address]:
        """A temporary key and its address: the first, or one of the further ones, so that two machines that redeem at
        once don't take the tunnel from each other."""
        return temporary_key(self.temporary_key, number), self.temporary_ipv4 + number

    def expired(self, now_ms: int) -> bool:
        """Whether it is of no use any more by this machine's clock."""
        return now_ms >= self.expires_ms

    def to_text(self) -> str:
        """The secret text, in lower case. In upper case it means the same and makes a smaller QR code."""
        body = _contents(self).SerializeToString(deterministic=True)
        header = _header(len(body))
        return PREFIX + base32.encode(header + body + _checksum(header + body))

    def to_uri(self) -> str:
        return URI_PREFIX + self.to_text()

    def to_file(self) -> str:
        """The contents of a `.mesh` file. Only `invite` is read back; the rest is for people."""
        expires = datetime.datetime.fromtimestamp(self.expires_ms / 1000, datetime.UTC).isoformat(timespec="seconds")
        lines = [
            "# An invite to join a mesh. Whoever holds it can join: keep it secret.",
            f"# Use it with: meshctl join {self.member or self.mesh_name}.mesh",
            f'mesh = "{self.mesh_name}"',
            f'member = "{self.member}"',
            f'role = "{"node" if self.role == ROLE_NODE else "peer"}"',
            f"expires = {expires}",
            f'invite = "{self.to_text()}"',
        ]
        return "\n".join(lines) + "\n"


def is_invite(text: str) -> bool:
    """Whether a text means to be an invite in any of its forms, good or not."""
    plain = text.strip().lower()
    return bool(re.match(r"mesh[0-9]*-|mesh://", plain)) or bool(re.search(r"^\s*invite\s*=", plain, re.MULTILINE))


def parse_invite(text: str) -> Invite:
    """Reads text, URI or contents of a `.mesh` file. Raises FormatError that says which way it is broken."""
    if len(text) > _LONGEST_TEXT:
        raise FormatError("that is too long for an invite", _ASK_AGAIN, "invite-unreadable")
    plain = text.strip()
    if "=" in plain:
        plain = _from_file(plain)
    plain = "".join(plain.split()).lower()
    return _from_contents(_body(plain.removeprefix(URI_PREFIX)))


def redeem_token(temporary_key: PrivateKey, invite_id: str) -> bytes:
    """What proves possession of the invite to the primary, which knows only its SHA-256. 32 bytes, by HKDF."""
    info = b"meshd-redeem-token-1:" + invite_id.encode()
    return _derived(temporary_key, info)


def temporary_key(first: PrivateKey, number: int) -> PrivateKey:
    """The first temporary key of an invite (0), or one of those that are derived from it by HKDF."""
    if number == 0:
        return first
    info = b"meshd-temporary-key-1:" + str(number).encode()
    return PrivateKey.from_random(_derived(first, info))


def _derived(key: PrivateKey, info: bytes) -> bytes:
    """32 bytes, by HKDF (RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256  # 6 MB that few programs need
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key.data)


def _from_file(text: str) -> str:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        raise FormatError("the invite file is not valid TOML", _ASK_AGAIN, "invite-unreadable") from None
    invite = document.get("invite")
    if not isinstance(invite, str):
        raise FormatError("the file holds no invite", "an invite file has a line `invite = …`", "invite-unreadable")
    return invite


def _body(plain: str) -> bytes:
    if not plain.startswith(PREFIX):
        if re.match(r"mesh[0-9]+-", plain):
            raise FormatError(
                "the invite is of a newer kind than this version reads", "upgrade meshtui here", "invite-newer"
            )
        if plain and (PREFIX.startswith(plain) or URI_PREFIX.startswith(plain)):
            raise _truncated()
        raise FormatError("that is not an invite", "an invite starts with mesh1- or mesh://join/", "invite-unreadable")
    try:
        data = base32.decode(plain.removeprefix(PREFIX))
    except ValueError:
        raise _edited() from None
    header, rest = data[:_HEADER_BYTES], data[_HEADER_BYTES:]
    if len(header) < _HEADER_BYTES:
        raise _truncated()
    length = int.from_bytes(header[:2], "big")
    if header != _header(length):
        raise _edited()
    if len(rest) < length + _CHECKSUM_BYTES:
        raise _truncated()
    body, checksum = rest[:length], rest[length:]
    if checksum != _checksum(header + body) or PREFIX + base32.encode(data) != plain:
        raise _edited()
    return body


def _truncated() -> FormatError:
    return FormatError("the invite is truncated: its end is missing", _ASK_AGAIN, "invite-truncated")


def _edited() -> FormatError:
    return FormatError("the invite was edited or mistyped: its checksum is wrong", _ASK_AGAIN, "invite-edited")


def _header(length: int) -> bytes:
    size = length.to_bytes(2, "big")
    return size + hashlib.sha256(b"meshd-invite-length-1" + size).digest()[:1]


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(b"meshd-invite-1" + data).digest()[:_CHECKSUM_BYTES]


def _contents(invite: Invite) -> InviteContents:
    prefix = invite.temporary_ipv6.packed[:8]
    for node in invite.nodes:
        if node.ipv6.packed[:8] != prefix:
            raise ValueError("all IPv6 addresses of an invite have the same /64")
    return InviteContents(
        invite_id=bytes.fromhex(invite.id),
        mesh_id=uuid.UUID(invite.mesh_id).bytes,
        mesh_name=invite.mesh_name,
        nodes=[
            InviteNodeContents(
                public_key=node.public_key.data,
                ipv4=node.ipv4.packed,
                ipv6=node.ipv6.packed[8:],
                endpoints=[_pack_endpoint(endpoint) for endpoint in node.endpoints],
                redeem_port=0 if node.redeem_port == REDEEM_PORT else node.redeem_port,
            )
            for node in invite.nodes
        ],
        temporary_private_key=invite.temporary_key.data,
        temporary_ipv4=invite.temporary_ipv4.packed,
        temporary_ipv6=invite.temporary_ipv6.packed[8:],
        ca_fingerprint=invite.ca_fingerprint,
        expires_s=invite.expires_ms // 1000,
        member=invite.member,
        role=invite.role,
        prefix=prefix,
        further_keys=invite.further_keys,
    )


def _from_contents(body: bytes) -> Invite:
    """The checksum is no protection against whoever made the invite, so every field is checked."""
    name = "contents"
    try:
        contents = InviteContents.FromString(body)
        name = "prefix"
        prefix = _exactly(contents.prefix, 8)
        name = "nodes"
        if not 0 < len(contents.nodes) <= 32:
            raise ValueError
        nodes = tuple(_node(node, prefix) for node in contents.nodes)
        name = "names"
        if not _LABEL.fullmatch(contents.mesh_name) or (contents.member and not _LABEL.fullmatch(contents.member)):
            raise ValueError
        name = "id"
        if not 4 <= len(contents.invite_id) <= 16:
            raise ValueError
        name = "expiry"
        if not 0 < contents.expires_s < 1 << 40:
            raise ValueError
        name = "role"
        if contents.role not in {ROLE_NODE, ROLE_PEER}:
            raise ValueError
        name = "addresses and keys"
        if contents.further_keys > MOST_FURTHER_KEYS:
            raise ValueError
        IPv4Address(_exactly(contents.temporary_ipv4, 4)) + contents.further_keys
        return Invite(
            id=contents.invite_id.hex(),
            mesh_id=str(uuid.UUID(bytes=_exactly(contents.mesh_id, 16))),
            mesh_name=contents.mesh_name,
            nodes=nodes,
            temporary_key=PrivateKey(contents.temporary_private_key),
            temporary_ipv4=IPv4Address(_exactly(contents.temporary_ipv4, 4)),
            temporary_ipv6=IPv6Address(prefix + _exactly(contents.temporary_ipv6, 8)),
            ca_fingerprint=_exactly(contents.ca_fingerprint, 32),
            expires_ms=contents.expires_s * 1000,
            member=contents.member,
            role=contents.role,
            further_keys=contents.further_keys,
        )
    except (ValueError, DecodeError):
        raise FormatError(f"the invite holds {name} that can't be used", _ASK_AGAIN, "invite-unreadable") from None


def _node(contents: InviteNodeContents, prefix: bytes) -> InviteNode:
    if not contents.redeem_port < 65536 or len(contents.endpoints) > 16:
        raise ValueError
    return InviteNode(
        ipv4=IPv4Address(_exactly(contents.ipv4, 4)),
        ipv6=IPv6Address(prefix + _exactly(contents.ipv6, 8)),
        public_key=PublicKey(contents.public_key),
        endpoints=tuple(_unpack_endpoint(endpoint) for endpoint in contents.endpoints),
        redeem_port=contents.redeem_port or REDEEM_PORT,
    )


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ValueError
    return data


def _pack_endpoint(text: str) -> bytes:
    host, _, port = text.rpartition(":")
    number = int(port).to_bytes(2, "big")
    try:
        return number + ip_address(host.strip("[]")).packed
    except ValueError:
        if not _HOST.fullmatch(host):
            raise ValueError(f"{text!r} is not an endpoint") from None
        return b"\0\0" + number + host.encode("ascii")


def _unpack_endpoint(data: bytes) -> str:
    port = int.from_bytes(data[:2], "big")
    if port:
        if len(data) not in {6, 18}:
            raise ValueError
        address = ip_address(data[2:])
        return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    port, host = int.from_bytes(data[2:4], "big"), data[4:].decode("ascii")
    if not port or not _HOST.fullmatch(host):
        raise ValueError
    return f"{host}:{port}"
