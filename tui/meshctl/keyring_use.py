"""What meshctl does with the keyring: keys of a mesh that is joined, connected or left, and secrets of invites.

Imported only by commands that need it, because of what it imports.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from meshproto import local_pb2, person_keys
from meshproto.client import HelperError
from meshproto.invite import parse_invite
from meshproto.person_keys import Entry, NoKeyring

from meshctl.session import Session


def no_keyring(error: NoKeyring, or_else: str = "") -> HelperError:
    return HelperError("no-keyring", str(error), f"{error.fix}{or_else}")


@contextmanager
def keys_to_join(session: Session, what: str) -> Iterator[Entry | None]:
    """New keys, in the keyring, while this machine joins; taken out again when it does not. None where the keyring has
    no part in it. Raises HelperError."""
    options = session.options
    host = options.request or ""
    if options.always_on or not (host or person_keys.belong_in_keyring(what)):
        yield None
        return
    try:
        entry = person_keys.begin(host)
    except NoKeyring as error:
        raise no_keyring(error, "; or add --always-on: the keys are then in files that only root reads") from error
    try:
        yield entry
    except BaseException as error:
        asked_again = host and not (isinstance(error, HelperError) and error.code == "refused")
        if not asked_again and not _has_joined(session, entry):
            person_keys.abandon(entry, host)
        raise
    if host:
        try:
            person_keys.finish(entry, host)
        except NoKeyring as error:
            raise no_keyring(error, "; until this machine restarts, meshd has the keys") from error


def _has_joined(session: Session, entry: Entry) -> bool:
    """Whether the helper went on without us. When nobody knows, the keys are kept."""
    session.extend(2.0)
    try:
        found = session.call("GetStatus", local_pb2.GetStatusRequest()).meshes
    except HelperError as error:
        return error.code != "helper-unreachable"
    return any(one.keyring_entry == entry.name for one in found)


def connect(session: Session) -> local_pb2.MeshReply:
    """Hands the keys of the mesh to the helper, which has none. Raises HelperError."""
    mesh = session.one_mesh()
    try:
        keys = person_keys.load(mesh.keyring_entry).message()
    except NoKeyring as error:
        raise no_keyring(error) from error
    reply: local_pb2.MeshReply = session.change(
        "Connect", local_pb2.ConnectRequest(mesh=mesh.name, keys=keys), "meshctl status"
    )
    return reply


def forget(name: str) -> str:
    """After leaving. What stays, "" for nothing."""
    try:
        person_keys.delete(name)
    except NoKeyring as error:
        return f"its keys stay in the keyring of whoever joined, of no use now: {error}"
    return ""


def keep_invite(reply: local_pb2.CreateInviteReply) -> str:
    """What to know when its secret could not be kept, "" when it was."""
    try:
        person_keys.keep_invite(reply.keyring_entry, reply.invite.id, reply.text, int(time.time() * 1000))
    except NoKeyring as error:
        return f"it can't be shown again: {error}"
    return ""


def kept_invite(session: Session, beginning: str) -> local_pb2.CreateInviteReply:
    """One that was made here, with its secret. Raises HelperError."""
    mesh = session.one_mesh()
    found = next(one for one in mesh.invites if one.id.startswith(beginning))
    try:
        text = person_keys.load(mesh.keyring_entry).invites.get(found.id)
    except NoKeyring as error:
        raise no_keyring(error) from error
    if text is None:
        raise HelperError(
            "no-secret",
            f"the secret of invite {found.id} is not in your keyring",
            f"ask {found.created_by}, who made it; or revoke it and make another: meshctl invites create",
        )
    invite = parse_invite(text)
    return local_pb2.CreateInviteReply(invite=found, text=text, uri=invite.to_uri(), file=invite.to_file())
