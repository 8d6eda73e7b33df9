"""The file that `backup` makes: the mesh's state and its cluster secret, encrypted under a passphrase.

Layout: `MAGIC`, 16 bytes of salt, 12 of nonce, then AES-256-GCM under a key by scrypt (RFC 7914), bound to the magic.
"""

from __future__ import annotations

import os
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from google.protobuf.message import DecodeError
from meshproto import state_pb2

from meshd.model.errors import InvalidInput, NotPermitted
from meshd.store.formats import NewerFormat

FORMAT = 1

MAGIC = b"meshd-backup-%d\n" % FORMAT

SHORTEST_PASSPHRASE = 8
"""Characters. What is shorter is guessed on one machine in a day, scrypt or not."""

LONGEST_PASSPHRASE = 1024

_SALT, _NONCE = 16, 12
_COST = 2**16  # N of scrypt; with r=8: 64 MB of memory for about 0.2 s


def seal(backup: state_pb2.Backup, passphrase: str) -> bytes:
    """Takes about 0.2 s; run it in a thread. Raises InvalidInput for a passphrase that is too short."""
    if not SHORTEST_PASSPHRASE <= len(passphrase) <= LONGEST_PASSPHRASE:
        raise InvalidInput(
            f"a passphrase has {SHORTEST_PASSPHRASE} to {LONGEST_PASSPHRASE} characters", "choose a longer one"
        )
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    data = AESGCM(_key(passphrase, salt)).encrypt(nonce, backup.SerializeToString(), MAGIC)
    return MAGIC + salt + nonce + data


def unseal(data: bytes, passphrase: str) -> state_pb2.Backup:
    """Raises InvalidInput for what is no backup, NewerFormat, NotPermitted for a wrong passphrase or a damaged file."""
    named = re.match(rb"meshd-backup-([1-9][0-9]{0,3})\n", data)
    if named is not None and int(named[1]) > FORMAT:
        raise NewerFormat("the backup", int(named[1]), FORMAT)
    if not data.startswith(MAGIC):
        raise InvalidInput("that is no backup of a mesh", "give the file that `meshctl backup` made")
    salt, rest = data[len(MAGIC) :][:_SALT], data[len(MAGIC) + _SALT :]
    if len(rest) <= _NONCE:
        raise InvalidInput("the backup is cut short", "copy the whole file again")
    try:
        clear = AESGCM(_key(passphrase[:LONGEST_PASSPHRASE], salt)).decrypt(rest[:_NONCE], rest[_NONCE:], MAGIC)
    except InvalidTag:
        raise NotPermitted(
            "the passphrase is wrong, or the file was damaged", "try again", "wrong-passphrase"
        ) from None
    try:
        return state_pb2.Backup.FromString(clear)
    except DecodeError:
        raise InvalidInput("the backup was made by another version of meshd", "use that version") from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_COST, r=8, p=1).derive(passphrase.encode())
