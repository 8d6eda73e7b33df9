"""Invites: made, redeemed in one change (the first wins), revoked, expired."""

from __future__ import annotations

import hashlib
import hmac
import re

from meshproto import state_pb2
from meshproto.invite import MOST_FURTHER_KEYS
from meshproto.keys import PublicKey

from meshd.model.addresses import Pools, ipv6_addresses, next_temporary_addresses
from meshd.model.changes.admission import check_name_free, drop_old_requests, new_member, temporary_keys
from meshd.model.changes.context import Draft
from meshd.model.changes.members import delete_members, new_cluster_key
from meshd.model.errors import Conflict, InvalidInput, NotFound, NotPermitted
from meshd.model.members import Role
from meshd.model.names import check_label

DEFAULT_LIFETIME_MS = 14 * 24 * 3600 * 1000
LONGEST_LIFETIME_MS = 366 * 24 * 3600 * 1000
MOST_USES = 10_000

LATE_MS = 10 * 60 * 1000
"""How long a closed invite's temporary key still works, so that whoever comes late hears why it is closed."""

KEPT_MS = 30 * 24 * 3600 * 1000
"""How long a closed invite is still listed."""

INVITE_ID = re.compile(r"(?:[0-9a-f]{2}){4,16}", re.ASCII)

REDEEMERS_KEPT = 64
"""Members that an invite for many machines lists; the count goes on."""

_CLOSED = {
    state_pb2.INVITE_STATE_REDEEMED: ("was already used", "invite-used"),
    state_pb2.INVITE_STATE_EXPIRED: ("has expired", "invite-expired"),
    state_pb2.INVITE_STATE_REVOKED: ("was revoked", "invite-revoked"),
}


def _copy(invite: state_pb2.Invite) -> state_pb2.Invite:
    copy = state_pb2.Invite()
    copy.CopyFrom(invite)
    return copy


def create_invite(draft: Draft) -> None:
    asked = draft.change.create_invite
    if not INVITE_ID.fullmatch(asked.id):
        raise InvalidInput("the id of an invite has 8 to 32 hexadecimal digits")
    if asked.id in draft.state.invites:
        raise Conflict("an invite with that id exists already", "try again")
    uses = asked.uses or 1
    lifetime = asked.lifetime_ms or DEFAULT_LIFETIME_MS
    if not 0 < uses <= MOST_USES:
        raise InvalidInput(f"an invite may be for 1 to {MOST_USES} machines, not {uses}")
    if not 1000 <= lifetime <= LONGEST_LIFETIME_MS:
        raise InvalidInput("an invite may last from 1 s to 366 days", "choose --expires")
    if asked.ephemeral_ms and not 1000 <= asked.ephemeral_ms <= LONGEST_LIFETIME_MS:
        raise InvalidInput("members may be ephemeral by 1 s to 366 days", "choose --ephemeral")
    if asked.cidr:
        raise InvalidInput(f"there is no CIDR {asked.cidr!r} in {draft.state.settings.name}")
    if asked.member:
        check_label(asked.member, "member name")
        check_name_free(draft, asked.member)
        if uses > 1:
            raise InvalidInput("an invite for several machines can't name one", "leave the name out")
    role = Role.from_message(asked.role)
    if role is Role.DEVICE:
        raise InvalidInput("a device gets no invite")
    if role is Role.NODE and asked.admin:
        raise InvalidInput("a node may change everything anyway", "leave --admin out")
    if len(asked.further_public_keys) > min(MOST_FURTHER_KEYS, uses - 1):
        raise InvalidInput("the invite has more temporary keys than machines that it is for")
    try:
        keys = [PublicKey(data) for data in (asked.temporary_public_key, *asked.further_public_keys)]
    except ValueError as error:
        raise InvalidInput(f"temporary_public_key: {error}") from error
    used = {one.public_key for one in draft.state.parsed.values()}
    used |= {PublicKey(data) for one in draft.state.invites.values() for data in temporary_keys(one)}
    if len(set(keys)) < len(keys) or used.intersection(keys):
        raise Conflict("a temporary key of the invite is in use already", "try again")
    if len(asked.token_sha256) != hashlib.sha256().digest_size:
        raise InvalidInput("token_sha256 has the wrong length")
    pools = Pools.from_settings(draft.state.settings)
    ipv6, _ = ipv6_addresses(pools, keys[0])
    addresses = next_temporary_addresses(draft.state, pools, len(keys))
    invite = state_pb2.Invite(
        id=asked.id,
        member=asked.member,
        role=role.message,
        uses=uses,
        state=state_pb2.INVITE_STATE_OPEN,
        created_by=draft.change.actor,
        created_ms=draft.context.now_ms,
        expires_ms=draft.context.now_ms + lifetime,
        admin=asked.admin,
        temporary_public_key=keys[0].data,
        further_public_keys=[key.data for key in keys[1 : len(addresses)]],
        temporary_ipv4=str(addresses[0]),
        temporary_ipv6=str(ipv6),
        token_sha256=asked.token_sha256,
        ephemeral_ms=asked.ephemeral_ms,
    )
    draft.put("invite", invite.id, invite)
    draft.subject_id = draft.result.object_id = invite.id
    draft.summary = f"invite {invite.id} was made for {invite.member or 'whoever has it'}"


def redeem_invite(draft: Draft) -> None:
    asked = draft.change.redeem_invite
    invite = draft.state.invites.get(asked.invite_id)
    if invite is None:
        raise NotFound(
            f"{draft.state.settings.name} has no invite {asked.invite_id}", "ask for a new one", "invite-unknown"
        )
    # A closed invite that was cleared has no token any more; what became of it is still said.
    cleared = invite.state in _CLOSED and not invite.token_sha256
    if not cleared and not hmac.compare_digest(hashlib.sha256(asked.token).digest(), invite.token_sha256):
        raise NotPermitted("the invite was edited", "ask for a new one", "invite-edited")
    if invite.state == state_pb2.INVITE_STATE_OPEN and invite.expires_ms <= draft.context.now_ms:
        raise Conflict(f"invite {invite.id} has expired", "ask for a new one", "invite-expired")
    if invite.state in _CLOSED:
        text, code = _CLOSED[invite.state]
        raise Conflict(f"invite {invite.id} {text}", "ask for a new one", code)
    name = invite.member or asked.applicant.name
    check_name_free(draft, name, except_id=invite.id)
    role = Role.from_message(invite.role)
    member = new_member(
        draft, asked.applicant, role, name, f"invite {invite.id}", admin=invite.admin, ephemeral_ms=invite.ephemeral_ms
    )
    changed = _copy(invite)
    changed.used += 1
    changed.redeemed_by[:] = [*changed.redeemed_by, member.id][-REDEEMERS_KEPT:]
    if changed.used >= changed.uses:
        changed.state = state_pb2.INVITE_STATE_REDEEMED
        changed.closed_ms = draft.context.now_ms
    draft.put("member", member.id, member)
    draft.put("invite", invite.id, changed)
    draft.result.object_id = invite.id
    draft.summary = f"{name} joined by invite {invite.id} of {invite.created_by}"


def revoke_invite(draft: Draft) -> None:
    wanted = draft.change.revoke_invite.id
    exact = draft.state.invites.get(wanted)
    found = [exact] if exact else [one for one in draft.state.invites.values() if wanted and one.id.startswith(wanted)]
    if len(found) != 1:
        raise NotFound(f"there is no invite {wanted!r}", "see `meshctl invites list`")
    if found[0].state in _CLOSED:
        raise Conflict(f"invite {found[0].id} {_CLOSED[found[0].state][0]}")
    changed = _copy(found[0])
    changed.state = state_pb2.INVITE_STATE_REVOKED
    changed.closed_ms = draft.context.now_ms
    draft.put("invite", changed.id, changed)
    draft.subject_id = draft.result.object_id = changed.id
    draft.summary = f"invite {changed.id} was revoked"


def expire_invites(draft: Draft) -> None:
    """Also frees what closed invites hold, and removes ephemeral members that stayed away."""
    now = draft.context.now_ms
    parts, gone = [], []
    for invite in draft.state.invites.values():
        if invite.state == state_pb2.INVITE_STATE_OPEN and invite.expires_ms <= now:
            changed = _copy(invite)
            changed.state = state_pb2.INVITE_STATE_EXPIRED
            changed.closed_ms = now
            draft.put("invite", invite.id, changed)
            parts.append(f"invite {invite.id} expired")
            draft.subject_id = invite.id
        elif invite.closed_ms and invite.closed_ms + KEPT_MS <= now:
            draft.delete("invite", invite.id)
        elif invite.closed_ms and invite.closed_ms + LATE_MS <= now and invite.temporary_public_key:
            changed = _copy(invite)
            for name in (
                "temporary_public_key", "further_public_keys", "temporary_ipv4", "temporary_ipv6", "token_sha256",
            ):  # fmt: skip
                changed.ClearField(name)
            draft.put("invite", invite.id, changed)
    voters = {*draft.state.voters.current, *draft.state.voters.next}
    for member in draft.state.parsed.values():
        if member.id in voters:
            continue
        # One that was not seen yet counts from when it joined.
        offline = min(draft.context.offline_ms.get(member.id, 0), now - member.joined_ms)
        if member.ephemeral_ms and offline > member.ephemeral_ms:
            gone.append(member.id)
            parts.append(f"{member.name} was offline for too long and is removed")
    delete_members(draft, gone)
    if any(draft.state.parsed[one].role is Role.NODE for one in gone):
        new_cluster_key(draft, without=set(gone))
        parts.append("the cluster key, which that node knew, is a new one")
    parts += drop_old_requests(draft)
    draft.summary = "; ".join(parts) or "closed invites were cleared"
