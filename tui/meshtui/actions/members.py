"""What is done to members, and to machines that ask to become one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from meshproto.plain_text import plain

from meshtui import forms
from meshtui.actions.dialogue import Dialogue
from meshtui.connection import Refused
from meshtui.format import milliseconds
from meshtui.model import Member, Mesh, Pending
from meshtui.offers import named, switches_off
from meshtui.permissions import leads_by_force

FORCED_S = 25.0
"""Seconds: the node looks for the others once more before it leads alone."""

UNANSWERED = ("helper-unreachable", "timeout", "unavailable", "outcome-unknown")
"""Codes after which the rest is not tried: nobody answers."""

MOST_NAMED = 12
"""Names that a question lists; more are counted."""


def _names(members: Sequence[Member]) -> str:
    if len(members) == 1:
        return ""
    listed = ", ".join(one.name for one in members[:MOST_NAMED])
    rest = len(members) - MOST_NAMED
    return f"{listed}{f' and {rest} more' if rest > 0 else ''}.\n"


async def ping(talk: Dialogue, mesh: Mesh, members: Sequence[Member]) -> None:
    answered, silent = 0, []
    for member in members:
        talk.say(f"Pinging {member.name} …")
        try:
            reply = await talk.call("Ping", mesh=mesh.name, who=member.id, count=4, timeout_ms=9000)
        except Refused as error:
            if len(members) == 1 or error.code in UNANSWERED:
                raise
            silent.append(f"{member.name} ({error})")
            continue
        if reply.received:
            answered += 1
        else:
            silent.append(member.name)
        if len(members) == 1:
            _say_times(talk, member, reply)
            return
    if silent:
        talk.caution(f"{answered} of {len(members)} members answered, not: {', '.join(silent)}")
    else:
        talk.good(f"all {answered} members answered")


def _say_times(talk: Dialogue, member: Member, reply: object) -> None:
    sent, received = reply.sent, reply.received  # type: ignore[attr-defined]  # a PingReply
    if received == 0:
        talk.caution(f"{member.name} answered none of {sent} pings")
        return
    values = (reply.min_ms, reply.avg_ms, reply.max_ms)  # type: ignore[attr-defined]  # a PingReply
    times = " / ".join(milliseconds(one).removesuffix(" ms") for one in values)
    say = talk.good if received == sent else talk.caution
    say(f"{member.name} answered {received} of {sent}: {times} ms", "least / mean / most")


async def enable(talk: Dialogue, mesh: Mesh, members: Sequence[Member]) -> None:
    on = not switches_off(members)
    name, word = named(members), "enable" if on else "disable"
    effect = "Every member lets it in again." if on else "It loses access at every member at once; its name and "
    effect += "" if on else "address stay its own."
    if len(members) > 1:
        effect = effect.replace("It loses", "They lose").replace("its name", "their names").replace("its own", "theirs")
        effect = effect.replace("address ", "addresses ").replace("lets it", "lets them")
    if not await talk.ask(f"{word.capitalize()} {name}?", _names(members) + effect, f"{word} {_it(members)}"):
        return
    wanted = [member for member in members if member.enabled is not on]

    async def turn(member: Member) -> None:
        await talk.call("SetMemberEnabled", mesh=mesh.name, who=member.id, on=on)

    await _each(talk, wanted, turn, f"{name} {'is' if len(members) == 1 else 'are'} {word}d", f"{word}d")


async def _each(
    talk: Dialogue, members: Sequence[Member], act: Callable[[Member], Awaitable[None]], done: str, word: str
) -> None:
    """Acts on one after the other, and tells which were refused and why. Raises Refused where there is only one."""
    if len(members) == 1:
        await act(members[0])
        talk.good(done)
        return
    failed: dict[str, list[str]] = {}
    fix = ""
    for number, member in enumerate(members):
        try:
            await act(member)
        except Refused as error:
            failed.setdefault(str(error), []).append(member.name)
            fix = fix or error.fix
            if error.code in UNANSWERED:
                failed.setdefault("not tried", []).extend(one.name for one in members[number + 1 :])
                break
    if not failed:
        talk.good(done)
        return
    count = len(members) - sum(map(len, failed.values()))
    whom = "; ".join(f"{', '.join(names)}: {why}" for why, names in failed.items() if names)
    talk.refused(f"{count} of {len(members)} {'is' if count == 1 else 'are'} {word}, but not {whom}", fix)


def _it(members: Sequence[Member]) -> str:
    return "it" if len(members) == 1 else "them"


async def rename(talk: Dialogue, mesh: Mesh, members: Sequence[Member]) -> None:
    member = members[0]
    taken = [one.name for one in mesh.members.values()]
    values = await talk.form(
        f"A new name for {member.name}",
        "Its address and its connections stay; its DNS name changes.",
        forms.rename_fields(member.name),
        "rename it",
        lambda values: forms.judge_rename(values, member.name, taken),
    )
    if values is None or values["name"] == member.name:
        return
    await talk.call("RenameMember", mesh=mesh.name, who=member.id, name=values["name"])
    talk.good(f"{member.name} is {values['name']} now")


async def admin(talk: Dialogue, mesh: Mesh, members: Sequence[Member]) -> None:
    member = members[0]
    on = not member.admin
    if on:
        question, yes = f"Make {member.name} an admin of {mesh.name}?", "make it one"
        effect = "Whoever operates it may invite, rename, disable and remove members and publish routes."
    else:
        question, yes = f"Take the admin right from {member.name}?", "take it"
        effect = "It stays a member, and can't change the mesh any more."
    if not await talk.ask(question, effect, yes):
        return
    await talk.call("SetMemberAdmin", mesh=mesh.name, who=member.id, on=on)
    talk.good(f"{member.name} is {'an' if on else 'no'} admin{'' if on else ' any more'}")


async def promote(talk: Dialogue, mesh: Mesh, members: Sequence[Member]) -> None:
    name = members[0].name
    if leads_by_force(mesh, members[0]):
        await _lead_by_force(talk, mesh, members[0])
        return
    before = mesh.primary or "The primary"
    effect = f"{before} hands over to it. Changes wait for a moment and none is lost; tunnels don't notice."
    if not await talk.ask(f"Make {name} the primary of {mesh.name}?", effect, "make it that"):
        return
    await talk.call("PromoteNode", mesh=mesh.name, who=members[0].id)
    talk.good(f"{name} is the primary")


async def _lead_by_force(talk: Dialogue, mesh: Mesh, member: Member) -> None:
    """The helper says what may be lost, before and after it is asked."""
    told = await talk.call("ForcePromotion", mesh=mesh.name, who=member.id)
    effect = "\n".join(plain(warning) for warning in told.warnings)
    question = f"No majority answers. Have {member.name} lead {mesh.name} by force?"
    if not await talk.ask(question, effect, "lead by force"):
        return
    accepted = {"epoch": told.epoch, "revision": told.revision}
    await talk.call("ForcePromotion", FORCED_S, mesh=mesh.name, who=member.id, confirmed=True, **accepted)
    talk.good(f"{member.name} leads {mesh.name}", "by force")


async def remove(talk: Dialogue, mesh: Mesh, members: Sequence[Member]) -> None:
    it = _it(members)
    routes = [route.cidr for route in mesh.routes if any(one.name in route.nodes for one in members)]
    they = "it" if len(members) == 1 else "they"
    effect = f"{_names(members)}Every member drops {it} at once. To come back, {they} would have to join anew."
    if routes:
        effect += f"\nRoutes offered there end: {', '.join(routes)}."
    if not await talk.ask(f"Remove {named(members)} from {mesh.name}?", effect, f"remove {it}"):
        return

    async def drop(member: Member) -> None:
        await talk.call("RemoveMember", mesh=mesh.name, who=member.id)

    await _each(talk, members, drop, f"{named(members)} {'is' if len(members) == 1 else 'are'} removed", "removed")


async def let_in(talk: Dialogue, mesh: Mesh, machines: Sequence[Pending]) -> None:
    machine = machines[0]
    effect = f"It asks from {machine.source}. Its screen must show the same fingerprint of {mesh.name}:\n"
    if not await talk.ask(f"Let {machine.name} into {mesh.name}?", effect + machine.fingerprint, "let it in"):
        return
    await talk.call("AuthorizePeer", mesh=mesh.name, id=machine.id)
    talk.good(f"{machine.name} is let in")


async def refuse(talk: Dialogue, mesh: Mesh, machines: Sequence[Pending]) -> None:
    machine = machines[0]
    effect = f"It asks from {machine.source}, and is told that it was refused. It may ask again."
    if not await talk.ask(f"Refuse {machine.name}?", effect, "refuse it"):
        return
    await talk.call("DeauthorizePeer", mesh=mesh.name, id=machine.id)
    talk.good(f"{machine.name} is refused")
