"""What makes this machine a member of a mesh, as files in /var/lib/meshd/<mesh>/ (folder 0700, files 0600).

Keys are written once, or are in a person's keyring and only held for a while (`held_keys`); `identity.json` holds what
is not secret and may change. Every write is atomic and on disk before it counts.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from meshproto.keys import PrivateKey

from meshd.cluster.certificates import private_key_pem
from meshd.model.errors import Failed, MeshError, NotPermitted
from meshd.model.members import Role
from meshd.store.formats import Document, Step, brought_up

STEPS: tuple[Step, ...] = ()
"""Of identity.json, from each format to the next."""

WIREGUARD_KEY, CERTIFICATE_KEY = "wireguard.key", "certificate.key"


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen for this machine when it joined, and by its people since. Not secret."""

    mesh: str
    mesh_id: str
    member_id: str
    role: Role
    interface: str
    listen_port: int  # UDP
    join_port: int = 0  # TCP; 0: the join service listens on the overlay address only
    endpoints: tuple[str, ...] = ()  # given by hand; empty: found on the machine
    always_on: bool = True  # comes back by itself after a restart: its keys are in files here
    person: str = ""  # else: whose keyring has them …
    keyring_entry: str = ""  # … under this name, the WireGuard public key
    up: bool = True  # the person wants it connected
    connected_by: str = ""  # the local user who joined or connected it
    paused_until_ms: int = 0  # Unix time; 0: it is not paused
    accepted_routes: tuple[str, ...] = ()
    ignored_routes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keys:
    """The private keys of a member."""

    wireguard: PrivateKey
    certificate: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Identity:
    """A member's secrets and choices on this machine."""

    choices: Choices
    held: Keys | None  # None while they are only in a person's keyring
    certificate: bytes  # DER
    ca_certificate: bytes  # DER
    cluster_secret: bytes | None = None  # nodes only

    @property
    def keys(self) -> Keys:
        """Raises KeysNeeded."""
        if self.held is None:
            raise KeysNeeded(self.choices)
        return self.held

    def with_choices(self, **changes: object) -> Identity:
        return replace(self, choices=replace(self.choices, **changes))  # type: ignore[arg-type]  # field names above

    def with_keys(self, keys: Keys | None) -> Identity:
        """Raises NotPermitted when they are another member's."""
        if keys is not None:
            public = x509.load_der_x509_certificate(self.certificate).public_key()
            if str(keys.wireguard.public) != self.choices.keyring_entry or keys.certificate.public_key() != public:
                raise NotPermitted(f"these are not this machine's keys for {self.choices.mesh}")
        return replace(self, held=keys)


class KeysNeeded(MeshError):
    """Raised when a mesh can't be connected without a person, whose keyring has its keys."""

    def __init__(self, choices: Choices) -> None:
        super().__init__(
            f"the keys of {choices.mesh} are in the keyring of {choices.person}",
            f"as {choices.person}, in a session with that keyring: meshctl up {choices.mesh}",
            "keys-needed",
        )


def write_private(path: Path, data: bytes) -> None:
    """Writes a file 0600 so that it is either the old or the new one after a crash, and on disk on return."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_keys(folder: Path, keys: Keys) -> None:
    write_private(folder / WIREGUARD_KEY, keys.wireguard.text().encode() + b"\n")
    write_private(folder / CERTIFICATE_KEY, private_key_pem(keys.certificate))


def read_keys(folder: Path) -> Keys:
    """Raises OSError or ValueError."""
    wireguard = PrivateKey.parse((folder / WIREGUARD_KEY).read_text().strip())
    certificate = serialization.load_pem_private_key((folder / CERTIFICATE_KEY).read_bytes(), None)
    if not isinstance(certificate, ec.EllipticCurvePrivateKey):
        raise ValueError("not a P-256 key")
    return Keys(wireguard, certificate)


def save_choices(folder: Path, choices: Choices) -> None:
    """Stores what may change. Blocks for the time of two fsyncs."""
    document = {"format": len(STEPS) + 1, **asdict(choices), "role": choices.role.value}
    write_private(folder / "identity.json", json.dumps(document, indent=2).encode() + b"\n")


def save_identity(folder: Path, identity: Identity) -> None:
    """Stores everything; `identity.json` comes last, so that a half-written folder is no identity."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if identity.choices.always_on:
        write_keys(folder, identity.keys)
    write_private(folder / "certificate.der", identity.certificate)
    write_private(folder / "ca.der", identity.ca_certificate)
    if identity.cluster_secret is not None:
        write_private(folder / "cluster.secret", identity.cluster_secret)
    save_choices(folder, identity.choices)


def _choices(document: Document) -> Choices:
    """Raises KeyError, TypeError and ValueError."""
    names = {one.name for one in fields(Choices)} & document.keys()
    given: Document = {name: document[name] for name in names}
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    given["role"] = Role(document["role"])
    return Choices(**given)


def load_identity(folder: Path) -> Identity:
    """Reads what `save_identity` wrote. Raises NewerFormat, and Failed naming the file that is missing or damaged."""
    name = "identity.json"
    try:
        document = brought_up(json.loads((folder / name).read_bytes()), folder / name, STEPS)
        choices = _choices(document)
        name = f"{WIREGUARD_KEY} or {CERTIFICATE_KEY}"
        keys = read_keys(folder) if choices.always_on else None
        name = "certificate.der"
        certificate = (folder / name).read_bytes()
        name = "ca.der"
        ca_certificate = (folder / name).read_bytes()
        name = "cluster.secret"
        secret = (folder / name).read_bytes() if choices.role is Role.NODE else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(
            f"{folder / name} can't be used: {error}",
            f"restore it from a backup of the folder, or remove the folder and join again: rm -r {folder}",
        ) from error
    return Identity(choices, keys, certificate, ca_certificate, secret)


def list_identities(state_dir: Path) -> list[Path]:
    """The folders below the state folder that hold an identity, by name."""
    try:
        return sorted(path.parent for path in state_dir.glob("*/identity.json"))
    except OSError:
        return []


def delete_identity(folder: Path) -> None:
    """Removes the folder of a mesh that was left, the identity first, so that a crash in between leaves no member."""
    (folder / "identity.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
