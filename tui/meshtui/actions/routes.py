"""Routes: published and withdrawn for everybody, used or not on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from meshtui import forms
from meshtui.actions.dialogue import Dialogue
from meshtui.model import Mesh, Role, Route


async def publish(talk: Dialogue, mesh: Mesh, nobody: Sequence[object]) -> None:
    nodes = sorted(node.name for node in mesh.nodes())
    own = mesh.own()
    first = own.name if own is not None and own.role is Role.NODE else ""
    values = await talk.form(
        f"A route for {mesh.name}",
        "A subnet behind a node. Hosts there see the node's address.",
        forms.route_fields(nodes, first),
        "publish it",
        lambda values: forms.judge_route(values, nodes),
    )
    if values is None:
        return
    await talk.call("AddRoute", mesh=mesh.name, cidr=values["cidr"], node=values["node"])
    talk.good(f"{values['cidr']} is offered by {values['node']}")


async def withdraw(talk: Dialogue, mesh: Mesh, routes: Sequence[Route]) -> None:
    route = routes[0]
    if len(route.nodes) == 1:
        node = route.nodes[0]
        effect = f"{node} offers it. Members don't reach it through {mesh.name} any more."
        if not await talk.ask(f"Withdraw {route.cidr}?", effect, "withdraw it"):
            return
    else:
        values = await talk.form(
            f"Withdraw {route.cidr}",
            "Several nodes offer it; the others go on.",
            [forms.node_choice(route.nodes)],
            "withdraw it there",
            lambda values: ("", ""),
        )
        if values is None:
            return
        node = values["node"]
    await talk.call("RemoveRoute", mesh=mesh.name, cidr=route.cidr, node=node)
    talk.good(f"{route.cidr} is not offered by {node} any more")


async def use(talk: Dialogue, mesh: Mesh, routes: Sequence[Route]) -> None:
    route = routes[0]
    accept = bool(route.not_installed)
    if accept:
        question, yes = f"Use {route.cidr} on this machine all the same?", "use it"
        effect = f"It is not used because: {route.not_installed}.\nPackets for it would go into the mesh."
    else:
        question, yes = f"Don't use {route.cidr} on this machine?", "don't use it"
        effect = "Packets for it go where they went without the mesh. Other members are not concerned."
    if not await talk.ask(question, effect, yes):
        return
    await talk.call("SetRoutePreference", mesh=mesh.name, cidr=route.cidr, accept=accept)
    talk.good(f"{route.cidr} is {'used' if accept else 'not used'} on this machine")
