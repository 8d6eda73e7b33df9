"""Invites: made, shown once, revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from meshproto.durations import format_duration, parse_duration_ms

from meshtui import forms
from meshtui.actions.dialogue import Dialogue
from meshtui.format import plain
from meshtui.model import Invite, Mesh

if TYPE_CHECKING:
    from meshproto import local_pb2

NODE = 1
"""ROLE_NODE of state.proto."""


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
    await _hand_over(talk, reply)


async def show(talk: Dialogue, mesh: Mesh, invites: Sequence[Invite]) -> None:
    """Once more, on the machine where it was made."""
    await _hand_over(talk, await talk.call("ShowInvite", mesh=mesh.name, id=invites[0].id))


async def _hand_over(talk: Dialogue, reply: local_pb2.CreateInviteReply) -> None:
    code = await asyncio.to_thread(_code, reply.text)
    on = " --always-on" if reply.invite.role != NODE else ""
    left = format_duration((reply.invite.expires_ms - talk.now_ms + 59_999) // 60_000 * 60_000)
    talk.secret(
        f"Invite {plain(reply.invite.id)} for {plain(reply.invite.member) or 'whoever has it'}",
        [
            f"On the other machine: press a in meshtui, or `meshctl join -{on}`, and paste this.",
            f"It lasts {left}. On this machine K shows it again while it is open.",
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
