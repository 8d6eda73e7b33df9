"""The keys of a request to be let in, kept until it is decided: so asking again finds the request that was made.

Files in `.requests/<CA fingerprint>/` of the state folder (0700, files 0600). No mesh can have that name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from meshproto.keys import PrivateKey

from meshd.cluster.certificates import new_private_key, private_key_pem
from meshd.cluster.identity import write_private

FOLDER = ".requests"


@dataclass(frozen=True, slots=True)
class RequestKeys:
    """What the member will have, once it is let in."""

    wireguard: PrivateKey
    certificate: ec.EllipticCurvePrivateKey


def _folder(state_dir: Path, ca_fingerprint: str) -> Path:
    return state_dir / FOLDER / ca_fingerprint


def keep_request_keys(state_dir: Path, ca_fingerprint: str) -> RequestKeys:
    """Those of the request that was made before, else new ones, on disk on return. Damaged ones are replaced."""
    folder = _folder(state_dir, ca_fingerprint)
    try:
        certificate = serialization.load_pem_private_key((folder / "certificate.key").read_bytes(), None)
        if isinstance(certificate, ec.EllipticCurvePrivateKey):
            return RequestKeys(PrivateKey.parse((folder / "wireguard.key").read_text().strip()), certificate)
    except (OSError, ValueError, TypeError):
        pass  # none yet, or unusable
    keys = RequestKeys(PrivateKey.from_random(os.urandom(32)), new_private_key())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / "wireguard.key", keys.wireguard.text().encode() + b"\n")
    write_private(folder / "certificate.key", private_key_pem(keys.certificate))
    return keys


def forget_request_keys(state_dir: Path, ca_fingerprint: str) -> None:
    """After the decision: a member keeps its keys elsewhere, and a refused machine asks anew."""
    shutil.rmtree(_folder(state_dir, ca_fingerprint), ignore_errors=True)
    with contextlib.suppress(OSError):  # other requests are open, or there was none
        (state_dir / FOLDER).rmdir()
