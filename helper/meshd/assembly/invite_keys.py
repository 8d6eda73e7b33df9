"""The temporary private keys of invites that were made on this machine: a root-only file each while the invite is open,
so that `invites show` can give it once more. The mesh itself knows only hashes. Where a person's keyring has the
member's keys, it has these too, and nothing stays here. Everything here blocks.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from meshproto import state_pb2
from meshproto.keys import PrivateKey

from meshd.model.errors import Failed
from meshd.model.state import State
from meshd.store.files import write_atomically

FOLDER = "invites"
"""In the folder of the mesh."""

LONGEST_CHANGE = 600.0
"""Seconds after which a key without an invite is of no use: the change that made it was refused."""


def keep_key(mesh_folder: Path, invite_id: str, key: PrivateKey) -> None:
    """Raises Failed."""
    folder = mesh_folder / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        write_atomically(folder / invite_id, key.data)
    except OSError as error:
        raise Failed(f"the invite's key can't be kept in {folder}: {error.strerror}", "look for a full disk") from error


def read_key(mesh_folder: Path, invite_id: str) -> PrivateKey | None:
    try:
        return PrivateKey((mesh_folder / FOLDER / invite_id).read_bytes())
    except (OSError, ValueError):
        return None


def forget_key(mesh_folder: Path, invite_id: str) -> None:
    (mesh_folder / FOLDER / invite_id).unlink(missing_ok=True)


def forget_closed(mesh_folder: Path, state: State) -> None:
    """Removes the keys of invites that are used, revoked or expired, and old or half-written ones of no invite."""
    folder, before = mesh_folder / FOLDER, time.time() - LONGEST_CHANGE
    for path in folder.iterdir() if folder.is_dir() else ():
        invite = state.invites.get(path.name)
        known_open = invite is not None and invite.state == state_pb2.INVITE_STATE_OPEN
        with contextlib.suppress(FileNotFoundError):  # its change was refused just now
            if not known_open and (invite is not None or path.stat().st_mtime < before):
                path.unlink()
