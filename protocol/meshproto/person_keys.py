"""A person's keys in the OS keyring, through `keyring` (Secret Service on Linux): one entry for each membership.

An entry is named by the member's WireGuard public key and holds its private keys, and the secrets of the invites that
were made with it. Everything here blocks, and the desktop may ask the person to unlock the keyring: call it in a
thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from meshproto import base32, local_pb2
from meshproto.cluster_key import is_cluster_key
from meshproto.format_error import FormatError
from meshproto.invite import parse_invite
from meshproto.keys import PrivateKey
from meshproto.state_pb2 import ROLE_NODE

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "meshtui"
"""What the entries are called in the desktop's own program for passwords."""

T = TypeVar("T")


class NoKeyring(Exception):
    """Raised when there is no keyring to be used. `str()` is why, `fix` what to do about it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class NoEntry(NoKeyring):
    """Raised when the keyring can be used, and holds nothing of that name."""


@dataclass(slots=True)
class Entry:
    """`invites` are texts by the invites' ids. `repr` hides everything."""

    wireguard: PrivateKey
    certificate: bytes = field(repr=False)  # PKCS #8 in DER
    invites: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return str(self.wireguard.public)

    def message(self) -> local_pb2.MemberKeys:
        return local_pb2.MemberKeys(wireguard=self.wireguard.data, certificate=self.certificate)


def belong_in_keyring(what: str) -> bool:
    """Whether who joins with this becomes a peer. What can't be read is for the helper to refuse."""
    try:
        return not is_cluster_key(what) and parse_invite(what).role != ROLE_NODE
    except FormatError:
        return False


def begin(host: str = "") -> Entry:
    """New keys, in the keyring already. With `host`, those of an earlier request to be let in there.

    Raises NoKeyring.
    """
    pending = _load(_request(host)) if host else None
    if pending is not None:
        return pending
    entry = _new_entry()
    _save(_request(host) if host else entry.name, entry)
    return entry


def finish(entry: Entry, host: str) -> None:
    """The machine was let in by request. Raises NoKeyring."""
    _save(entry.name, entry)
    delete(_request(host))


def abandon(entry: Entry, host: str = "") -> None:
    """They came to nothing. What a keyring that is gone still holds is of no use to anybody."""
    try:
        delete(_request(host) if host else entry.name)
    except NoKeyring:
        return


def load(name: str) -> Entry:
    """Raises NoKeyring, also when there is no such entry."""
    entry = _load(name)
    if entry is None:
        raise NoEntry(
            "the keys of this mesh are not in your keyring",
            "connect as the person who joined, in their session; or leave the mesh and join again",
        )
    return entry


def keep_invite(name: str, invite_id: str, text: str, now_ms: int) -> None:
    """Puts an invite's secret into the entry, and takes those that expired out of it. Raises NoKeyring."""
    entry = load(name)
    entry.invites = {key: one for key, one in entry.invites.items() if not _expired(one, now_ms)}
    entry.invites[invite_id] = text
    _save(name, entry)


def delete(name: str) -> None:
    """Nothing happens when there is no such entry. Raises NoKeyring."""

    def remove(backend: KeyringBackend) -> None:
        if backend.get_password(SERVICE, name) is not None:
            backend.delete_password(SERVICE, name)

    _with_keyring(remove)


def _expired(text: str, now_ms: int) -> bool:
    try:
        return parse_invite(text).expired(now_ms)
    except FormatError:
        return True


def _request(host: str) -> str:
    return f"request to {host}"


def _new_entry() -> Entry:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    certificate = ec.generate_private_key(ec.SECP256R1())
    return Entry(
        PrivateKey.from_random(os.urandom(32)),
        certificate.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    )


def _save(name: str, entry: Entry) -> None:
    document = json.dumps(
        {
            "wireguard": entry.wireguard.text(),
            "certificate": base32.encode(entry.certificate),
            "invites": entry.invites,
        }
    )

    def write(backend: KeyringBackend) -> None:
        backend.set_password(SERVICE, name, document)

    _with_keyring(write)


def _load(name: str) -> Entry | None:
    document = _with_keyring(lambda backend: backend.get_password(SERVICE, name))
    if document is None:
        return None
    try:
        found: dict[str, Any] = json.loads(document)
        return Entry(PrivateKey.parse(found["wireguard"]), base32.decode(found["certificate"]), dict(found["invites"]))
    except (ValueError, TypeError, KeyError) as error:
        raise NoKeyring(f"the entry {name} of your keyring is damaged", "leave the mesh and join again") from error


def _with_keyring(use: Callable[[KeyringBackend], T]) -> T:
    """Raises NoKeyring for whatever a backend may raise."""
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError as error:
        raise NoKeyring(
            "the package that opens keyrings is not installed", "install meshtui with its extra: meshtui[tui]"
        ) from error
    backend = keyring.get_keyring()
    if backend.priority < 1:  # none, or one that keeps secrets readable in a file
        raise NoKeyring("there is no keyring in this session", _how_to_get_one())
    try:
        return use(backend)
    except KeyringError as error:
        raise NoKeyring(f"the keyring can't be used: {error}", "unlock it, and try again") from error
    except Exception as error:  # a backend is a program of the desktop, and fails as that does
        raise NoKeyring(f"the keyring can't be used: {type(error).__name__}: {error}", _how_to_get_one()) from error


def _how_to_get_one() -> str:
    if os.geteuid() == 0 and os.environ.get("SUDO_USER"):
        return f"run this as {os.environ['SUDO_USER']}, without sudo (group mesh), in a desktop session"
    return "run this in a desktop session with GNOME Keyring, KWallet or KeePassXC"
