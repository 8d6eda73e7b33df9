"""Whose request a change is and what it asks: a repeat is answered only to the same asker, for the same content.

Each asker has request ids of its own, so nobody can reserve, guess or answer for another one's.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from meshproto import node_pb2, state_pb2

from meshd.model.errors import Conflict, InvalidInput
from meshd.model.members import Member, Role

OURS = "meshd"
"""Asker of what the primary does by itself."""

NODES = "nodes"
"""Asker of what people ask for at nodes: a request may be repeated at another node."""

ID_IN_USE = "request-id-used"

DIGEST_SIZE = hashlib.sha256().digest_size

_USER = re.compile(r"\(((?:uid )?[\w.@\\+-]{1,64})\)\Z")
_REQUEST_ID = re.compile(r"[0-9A-Za-z._:-]{1,128}", re.ASCII)


def check_request_id(request_id: str) -> None:
    """Raises InvalidInput."""
    if not _REQUEST_ID.fullmatch(request_id):
        raise InvalidInput(
            "the request id of a change has 1 to 128 letters, digits and ._:-", "leave it out, and it gets one"
        )


def check_request(change: node_pb2.Change) -> None:
    """Whose it is and what it asks is kept for long, so it has the size that we make it. Raises InvalidInput."""
    check_request_id(change.request_id)
    if len(change.content) not in (0, DIGEST_SIZE) or len(change.asker) > 64:
        raise InvalidInput("the content of a change is a SHA-256, its asker the id of a member", "leave them out")


def _applicant(change: node_pb2.Change) -> node_pb2.Applicant | None:
    kind = change.WhichOneof("what")
    if kind == "redeem_invite":
        return change.redeem_invite.applicant
    return change.admit_node.applicant if kind == "admit_node" else None


def is_admission(change: node_pb2.Change) -> bool:
    return _applicant(change) is not None


def asker_of(change: node_pb2.Change) -> str:
    """Who wants to become a member asks as its public key."""
    applicant = _applicant(change)
    if applicant is not None:
        return f"key:{applicant.public_key.hex()}"
    return change.asker or NODES


def content_of(change: node_pb2.Change) -> bytes:
    """SHA-256 of what was asked. Of an admission it is never as the sender says: the token is in it. A machine may
    prove a later cluster key when it repeats its request."""
    if change.WhichOneof("what") == "admit_node":
        return digest("admit_node", change.admit_node.applicant.SerializeToString(deterministic=True))
    if change.content and not is_admission(change):
        return change.content
    kind = change.WhichOneof("what") or ""
    what = getattr(change, kind).SerializeToString(deterministic=True) if kind else b""
    return digest(kind, what)


def as_asked_by(member: Member, change: node_pb2.Change) -> node_pb2.Change:
    """A change that a member sent, with what its certificate says of whose it is. A node speaks for others; of what a
    peer says, only the local user counts."""
    if member.role is Role.NODE:
        return change
    copy = node_pb2.Change()
    copy.CopyFrom(change)
    copy.asker = member.id
    user = _USER.search(change.actor)
    copy.actor = f"{member.name} ({user[1]})" if user else member.name
    return copy


def digest(kind: str, content: bytes) -> bytes:
    return hashlib.sha256(kind.encode() + b"\0" + content).digest()


def check_repeat(change: node_pb2.Change, entry: state_pb2.ChangeEntry) -> None:
    """Raises Conflict when the entry, which has the id of the change, is not this very request. One of a release that
    did not keep whose it was is never the same."""
    same = entry.asker == asker_of(change) and hmac.compare_digest(entry.content, content_of(change))
    if not same:
        raise Conflict(
            f"request id {change.request_id} was used before, for another request; nothing was changed",
            "ask again with a new id",
            ID_IN_USE,
        )


def request_key(asker: str, request_id: str) -> str:
    """Under what a request is remembered. Releases that knew no askers remembered the id itself, which has no slash."""
    return f"{asker}/{request_id}" if asker else request_id
