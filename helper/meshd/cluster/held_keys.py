"""Keys that a person handed over from their keyring, held until they disconnect or the machine restarts.

Files in `keys/<mesh id>/` of the run folder, which is in memory (folder 0700, files 0600): a restart of the helper
needs nobody.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from meshproto import local_pb2
from meshproto.keys import PrivateKey

from meshd.cluster.certificates import UNREADABLE
from meshd.cluster.identity import Keys, read_keys, write_keys
from meshd.model.errors import InvalidInput

FOLDER = "keys"


def parse_keys(message: local_pb2.MemberKeys) -> Keys:
    """Raises InvalidInput."""
    try:
        wireguard = PrivateKey(message.wireguard)
        certificate = serialization.load_der_private_key(message.certificate, None)
    except UNREADABLE as error:
        raise InvalidInput("the keys of a member can't be read") from error
    if not isinstance(certificate, ec.EllipticCurvePrivateKey) or not isinstance(certificate.curve, ec.SECP256R1):
        raise InvalidInput("a member's certificate key is of P-256")
    return Keys(wireguard, certificate)


def hold_keys(run_dir: Path, mesh_id: str, keys: Keys) -> None:
    folder = run_dir / FOLDER / mesh_id
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.parent.chmod(0o700)
    write_keys(folder, keys)


def held_keys(run_dir: Path, mesh_id: str) -> Keys | None:
    """None when there are none, or they are damaged."""
    try:
        return read_keys(run_dir / FOLDER / mesh_id)
    except (OSError, ValueError, TypeError):
        return None


def drop_keys(run_dir: Path, mesh_id: str) -> None:
    shutil.rmtree(run_dir / FOLDER / mesh_id, ignore_errors=True)
    with contextlib.suppress(OSError):  # those of other meshes are there, or there were none
        (run_dir / FOLDER).rmdir()
