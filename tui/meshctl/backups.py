"""Commands about backups: the file is read and written here, with the rights of the person."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from meshproto import local_pb2
from meshproto.client import HelperError

from meshctl import as_json, as_text
from meshctl.session import Session

LARGEST = 64 * 1024 * 1024
"""Bytes of a backup: one of 3,000 members is about 3 MB."""


def _passphrase(again: bool) -> str:
    given = os.environ.get("MESHD_PASSPHRASE", "")
    if given:
        return given
    if not sys.stdin.isatty():
        raise HelperError("invalid", "the passphrase is missing", "run it on a terminal, or set MESHD_PASSPHRASE")
    try:
        entered = getpass.getpass("Passphrase: ")
        if again and getpass.getpass("Once more: ") != entered:
            raise HelperError("invalid", "the two passphrases differ", "try again")
    except EOFError:
        raise HelperError("invalid", "the passphrase is missing", "try again") from None
    return entered


def back_up(session: Session) -> None:
    path = session.options.file
    if os.path.lexists(path):
        raise HelperError("conflict", f"{path} exists already", "choose another file")
    request = local_pb2.BackUpRequest(mesh=session.mesh, passphrase=_passphrase(again=True))
    reply = session.call("BackUp", request)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(reply.data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise HelperError("failed", f"{path} can't be written: {error.strerror}", "choose another file") from error
    text = (
        f"{path} has {as_text.clean(reply.mesh)} as of change {reply.position.revision}. Keep it where this machine's "
        f"loss does not reach it.\nWhoever has it and the passphrase can become a node."
    )
    session.show({"file": str(path), "mesh": reply.mesh, "revision": reply.position.revision}, text)


def restore(session: Session) -> None:
    options = session.options
    try:
        with Path(options.file).open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise HelperError("invalid", f"{options.file} can't be read: {error.strerror}", "name a backup") from error
    if len(data) > LARGEST:
        raise HelperError("invalid", f"{options.file} is too large to be a backup", "name a backup")
    request = local_pb2.RestoreRequest(
        data=data,
        passphrase=_passphrase(again=False),
        member_name=options.member_name,
        endpoint=options.endpoint,
        interface=options.interface,
        listen_port=options.listen_port,
        join_port=options.join_port,
    )
    reply = session.change("Restore", request, "meshctl status")
    session.show(as_json.mesh(reply.mesh), as_text.mesh(reply.mesh))
