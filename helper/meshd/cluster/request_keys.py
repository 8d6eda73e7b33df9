"""The keys of a request to be let in, kept until it is decided: so asking again finds the request that was made.

Files in `.requests/<CA fingerprint>/` of the state folder (0700, files 0600). No mesh can have that name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from meshproto.keys import PrivateKey

from meshd.cluster.certificates import new_private_key
from meshd.cluster.identity import Keys, read_keys, write_keys

FOLDER = ".requests"


def _folder(state_dir: Path, ca_fingerprint: str) -> Path:
    return state_dir / FOLDER / ca_fingerprint


def keep_request_keys(state_dir: Path, ca_fingerprint: str) -> Keys:
    """Those of the request that was made before, else new ones, on disk on return. Damaged ones are replaced."""
    folder = _folder(state_dir, ca_fingerprint)
    with contextlib.suppress(OSError, ValueError, TypeError):  # none yet, or unusable
        return read_keys(folder)
    keys = Keys(PrivateKey.from_random(os.urandom(32)), new_private_key())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_keys(folder, keys)
    return keys


def forget_request_keys(state_dir: Path, ca_fingerprint: str) -> None:
    """After the decision: a member keeps its keys elsewhere, and a refused machine asks anew."""
    shutil.rmtree(_folder(state_dir, ca_fingerprint), ignore_errors=True)
    with contextlib.suppress(OSError):  # other requests are open, or there was none
        (state_dir / FOLDER).rmdir()
