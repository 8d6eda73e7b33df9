"""Invites: made, shown once, revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from meshproto.durations import format_left, parse_duration_ms
from meshproto.plain_text import plain

from meshtui import forms
from meshtui.actions.dialogue import Dialogue, from_keyring
from meshtui.connection import Refused
from meshtui.model import Invite, Mesh

if TYPE_CHECKING:
    from meshproto import local_pb2


async def make(talk: Dialogue, mesh: Mesh, nobody: Sequence[object]) -> None:
    taken = [one.name for one in mesh.members.values()]
    values = await talk.form(
        f"An invite to {mesh.name}",
        "Lets machines join, each once, until it ends.",
        forms.invite_fields(),
        "make it",
        lambda values: forms.judge_invite(values, taken),
    )
    if values is None:
        return
    lasts, ephemeral = parse_duration_ms(values["expires"]), values["ephemeral"]
    reply = await talk.call(
        "CreateInvite",
        mesh=mesh.name,
        member=values["member"],
        lifetime_ms=lasts,
        uses=int(values["uses"]),
        ephemeral_ms=parse_duration_ms(ephemeral) if ephemeral else 0,
        admin=values["admin"] == "yes",
        node=values["role"] == "node",
    )
    lost = ""
    if reply.keyring_entry:
        from meshproto import person_keys

        try:
            await from_keyring(person_keys.keep_invite, reply.keyring_entry, reply.invite.id, reply.text, talk.now_ms)
        except Refused as error:
            lost = f"It can't be shown again: {error}."
    await _hand_over(talk, reply, lost)


async def show(talk: Dialogue, mesh: Mesh, invites: Sequence[Invite]) -> None:
    """Once more, on the machine where it was made."""
    try:
        reply = await talk.call("ShowInvite", mesh=mesh.name, id=invites[0].id)
    except Refused as error:
        if error.code != "in-keyring":
            raise
        reply = await _from_entry(mesh, invites[0])
    await _hand_over(talk, reply)


async def _from_entry(mesh: Mesh, invite: Invite) -> local_pb2.CreateInviteReply:
    from meshproto import local_pb2, person_keys

    text = (await from_keyring(person_keys.load, mesh.keyring_entry)).invites.get(invite.id)
    if text is None:
        raise Refused(
            f"the secret of invite {invite.id} is not in your keyring", f"ask {invite.created_by}, who made it"
        )
    status = local_pb2.InviteStatus(id=invite.id, member=invite.member, expires_ms=invite.expires_ms)
    return local_pb2.CreateInviteReply(invite=status, text=text)


async def _hand_over(talk: Dialogue, reply: local_pb2.CreateInviteReply, lost: str = "") -> None:
    code = await asyncio.to_thread(_code, reply.text)
    left = format_left(reply.invite.expires_ms - talk.now_ms)
    talk.secret(
        f"Invite {plain(reply.invite.id)} for {plain(reply.invite.member) or 'whoever has it'}",
        [
            "On the other machine: press a in meshtui, or `meshctl join -`, and paste this.",
            f"It lasts {left}. {lost or 'On this machine K shows it again while it is open.'}",
        ],
        plain(reply.text),
        code,
    )


def _code(text: str) -> str:
    from meshproto.qr import qr_text

    return qr_text(text.upper())


async def revoke(talk: Dialogue, mesh: Mesh, invites: Sequence[Invite]) -> None:
    invite = invites[0]
    who = invite.member or "whoever has it"
    effect = f"It is for {who}, and lets nobody in any more. Who joined with it stays."
    if not await talk.ask(f"Revoke invite {invite.id}?", effect, "revoke it"):
        return
    await talk.call("RevokeInvite", mesh=mesh.name, id=invite.id)
    talk.good(f"invite {invite.id} is revoked")
