"""Meshes of this machine: created, joined, connected, left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Sequence

from meshproto.plain_text import plain

from meshtui import forms
from meshtui.actions.dialogue import Dialogue, from_keyring
from meshtui.connection import Refused
from meshtui.model import Mesh, MeshState, Role

CREATE_TIMEOUT_S = 25.0
JOIN_TIMEOUT_S = 25.0
"""INTERFACES.md: `join` ends within that."""
DECISION_S = 1800.0
"""For people to let this machine in. The request stays open afterwards, and asking again finds it."""


def _host() -> str:
    return socket.gethostname().partition(".")[0].lower()


async def create(talk: Dialogue, known: Collection[str]) -> None:
    values = await talk.form(
        "A new mesh",
        "Everything else has a good default; `meshctl create --help` knows more.",
        forms.mesh_fields(_host()),
        "create it",
        lambda values: forms.judge_mesh(values, known),
    )
    if values is None:
        return
    talk.say(f"Creating {values['name']} …")
    reply = await talk.call(
        "CreateMesh",
        CREATE_TIMEOUT_S,
        name=values["name"],
        member_name=values["member_name"],
        endpoint=values["endpoint"],
    )
    talk.good(f"{plain(reply.mesh.name)} is there, and this machine is its first node")
    talk.show_mesh(plain(reply.mesh.name))
    _show_key(talk, plain(reply.mesh.name), plain(reply.cluster_key))


def _show_key(talk: Dialogue, mesh: str, key: str) -> None:
    talk.secret(
        f"The cluster key of {mesh}",
        [
            "It lets machines join as nodes. Keep it secret.",
            "On another gateway: press a in meshtui, or `meshctl join - HOST`, and paste this.",
            "For a laptop, i makes an invite.",
        ],
        key,
    )


async def key(talk: Dialogue, mesh: Mesh, meshes: Sequence[Mesh]) -> None:
    name = meshes[0].name
    reply = await talk.call("ShowKey", mesh=name)
    _show_key(talk, name, plain(reply.cluster_key))


async def join(talk: Dialogue) -> None:
    values = await talk.form(
        "Join a mesh",
        "What you paste is not shown. This machine makes its own keys; they never leave it.\n"
        "Without an invite or a key: name a node, and people there let this machine in.",
        forms.join_fields(_host()),
        "join",
        lambda values: forms.judge_join(values, talk.now_ms),
    )
    if values is None:
        return
    from meshproto import person_keys
    from meshproto.cluster_key import is_cluster_key

    what, hosts = values["what"], values["hosts"].split()
    asks = "" if what else hosts[0]  # the node that is asked to let this machine in
    entry = None
    if values["keys"] == forms.KEYRING and (asks or person_keys.belong_in_keyring(what)):
        try:
            entry = await asyncio.to_thread(person_keys.begin, asks)
        except person_keys.NoKeyring as error:
            effect = "The keys can be kept in a file that only root reads; this machine then connects whenever it "
            effect += f"starts.\nFor the keyring: {plain(error.fix)}."
            why = plain(str(error))
            if not await talk.ask(
                f"{why[:1].upper()}{why[1:]}. Join without?", effect, "keep them in a file", "do not join"
            ):
                return
    screen = talk.progress("Asking to be let in" if asks else "Joining")
    limit_s = DECISION_S if asks else JOIN_TIMEOUT_S
    try:
        await talk.follow(
            "JoinMesh",
            screen.heard,
            limit_s + 2,
            what=what,
            hosts=hosts,
            member_name=values["member_name"],
            always_on=entry is None and not is_cluster_key(what),
            keys=entry.message() if entry is not None else None,
            timeout_ms=int(limit_s * 1000),
            request=bool(asks),
        )
    except Refused as error:
        talk.failed(screen, error)
        asked_again = asks and error.code != "refused"
        if entry is not None and not asked_again and not await _joined_all_the_same(talk, entry.name):
            await asyncio.to_thread(person_keys.abandon, entry, asks)
        return
    if entry is not None and asks:
        await from_keyring(person_keys.finish, entry, asks)
    if screen.mesh:
        talk.show_mesh(screen.mesh)


async def _joined_all_the_same(talk: Dialogue, name: str) -> bool:
    """Whether the helper went on although its answer was lost. When nobody knows, the keys are kept."""
    try:
        status = await talk.call("GetStatus", 2.0)
    except Refused:
        return True
    return any(one.keyring_entry == name for one in status.meshes)


async def connect(talk: Dialogue, mesh: Mesh, meshes: Sequence[Mesh]) -> None:
    one = meshes[0]
    if one.state is MeshState.DOWN:
        talk.say(f"Connecting {one.name} …")
        try:
            await talk.call("Connect", 25.0, mesh=one.name)
        except Refused as error:
            if error.code != "keys-needed":
                raise
            from meshproto import person_keys

            entry = await from_keyring(person_keys.load, one.keyring_entry)
            await talk.call("Connect", 25.0, mesh=one.name, keys=entry.message())
        talk.good(f"{one.name} is up on this machine")
        return
    effect = f"This machine stays a member and reaches nobody in {one.name} until it connects again."
    own = one.own()
    if own is not None and own.role is Role.NODE:
        effect += " It is a node: peers and subnets behind it are cut off too."
    if not await talk.ask(f"Disconnect {one.name}?", effect, "disconnect it"):
        return
    await talk.call("Disconnect", 25.0, mesh=one.name)
    talk.good(f"{one.name} is down on this machine")


async def leave(talk: Dialogue, mesh: Mesh, meshes: Sequence[Mesh]) -> None:
    one = meshes[0]
    effect = "Keys, interface, routes and names of it are removed from this machine. To come back it must join anew."
    if len(one.nodes()) == 1 and (own := one.own()) is not None and own.role is Role.NODE:
        others = len(one.members) - 1
        for_whom = f", for {others} other members" if others else ""
        effect = f"This is its only node: {one.name} ends with it{for_whom}.\n{effect}"
    if not await talk.ask(f"Leave {one.name}?", effect, "leave the mesh"):
        return
    talk.say(f"Leaving {one.name} …")
    reply = await talk.call("LeaveMesh", 25.0, mesh=one.name, timeout_ms=20_000)
    left = plain(reply.left_behind)
    if reply.keyring_entry:
        from meshproto import person_keys

        try:
            await from_keyring(person_keys.delete, reply.keyring_entry)
        except Refused as error:
            left = "; ".join(filter(None, [left, f"its keys stay in the keyring of whoever joined: {error}"]))
    if left:
        talk.caution(f"{one.name} is left, but: {left}")
    else:
        talk.good(f"{one.name} is left; nothing of it remains here")
